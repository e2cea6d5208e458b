"""Functions, and what is set of them."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class FunctionState(StrEnum):
    """`PENDING → ACTIVE | FAILED`, and `INACTIVE` after long disuse."""

    PENDING = "Pending"
    ACTIVE = "Active"
    FAILED = "Failed"
    INACTIVE = "Inactive"


class UpdateStatus(StrEnum):
    """How the latest change went; the old revision serves until `SUCCESSFUL`."""

    NONE = ""
    IN_PROGRESS = "InProgress"
    SUCCESSFUL = "Successful"
    FAILED = "Failed"


class InitMode(StrEnum):
    """How instances come to be."""

    AUTO = "auto"
    PER_INSTANCE = "per-instance"


class Network(StrEnum):
    """What a function can reach, from the least to the most."""

    NONE = "none"
    """A loopback of its own, and no way out."""

    EGRESS = "egress"
    """Out to public addresses, and to what the operator allowed its tenant besides."""

    HOST = "host"
    """The machine's own network, local services included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function as the engine knows it."""

    name: str
    arn: str
    version: str
    handler: str
    runtime: str
    memory_mb: int
    timeout_s: int
    environment: dict[str, str]
    ephemeral_storage_mb: int
    description: str
    init_mode: InitMode
    network: Network
    code_size: int
    """Bytes of the package."""

    code_sha256: str
    """Of the package, base64 as AWS gives it."""

    state: FunctionState
    state_reason: str
    update_status: UpdateStatus
    update_reason: str
    fork_safe: bool
    """Whether instances are forked from a zygote that has imported the handler."""

    fork_safety_reason: str
    """What the import left behind that a fork would share; empty if nothing."""

    last_modified: datetime
    revision_id: str
    """Changes with every change of the function."""

    image: str = ""
    """The container image that it is, in place of a package: `oci:PATH:TAG`."""

    instances: int = 0
    """That live of what serves, whatever they do."""

    standbys: int = 0
    """Of them, those that nobody has used yet, ready for a cold start."""

    snap_start: bool = False
    """AWS's SnapStart, of versions that are published."""

    entry_point: tuple[str, ...] = ()
    """What is run of an image; where it is empty, what the image says."""

    command: tuple[str, ...] = ()
    """What follows the entry point; where it is empty, what the image says."""

    working_directory: str = ""
    """Where it is run; where it is empty, where the image says."""

    layers: tuple[str, ...] = ()
    """ARNs of the layer versions that it has at /opt, what is later over what is
    before."""

    tags: dict[str, str] = field(default_factory=dict)
    """What its owner calls it by: of all its versions, and no part of any."""

    @property
    def import_error(self) -> str:
        """Why the handler cannot be imported, and all invocations fail; else empty."""
        reason = self.fork_safety_reason
        return next(
            (reason.removeprefix(one) for one in NO_IMPORT if reason.startswith(one)),
            "",
        )


NO_IMPORT = ("the import failed: ", "the import ended the process: ")
"""How the engine's reason for not forking instances begins where there is nothing to
fork. In the first it quotes the function's own error."""
