"""Functions: what a tenant uploads, its settings, its versions, and its life."""

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sandlot_engine.model.network import Network

LATEST = "$LATEST"


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
    """Forked from a zygote that has imported the handler, where that is safe."""

    PER_INSTANCE = "per-instance"
    """Every instance imports the handler itself, as AWS Lambda does."""


IMAGE = "image"
"""The runtime of functions that are container images. Nobody names it: it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSource:
    """A container image on this machine, in place of a zip."""

    uri: str
    """`oci:PATH[:TAG]` or `oci-archive:PATH[:TAG]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The container image that a package was made from."""

    uri: str
    digest: str
    """SHA-256 of its manifest, as the builder says: to be shown."""

    tag: str
    """Which it is in its archive; empty where that has no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """What a function wants run of its image; what is empty is as the image says."""

    entry_point: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    working_directory: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """What a package comes to."""

    size: int
    """Bytes of all its files."""

    entries: int
    """Files and folders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A stored package, named by its hash."""

    sha256: str
    """SHA-256 of the zip, lower-case hex: the name of its file and folder. Of an image:
    of the archive that was made of it."""

    size: int
    """Bytes of the zip."""

    unpacked_size: int
    """Bytes of all its files."""

    image: Image | None = None

    entries: int = 0
    """Files and folders; 0 of those that were built before they were counted."""

    @property
    def sha256_base64(self) -> str:
        """The hash as AWS shows it: `CodeSha256`."""
        if self.image is not None:
            return self.image.digest
        return base64.b64encode(bytes.fromhex(self.sha256)).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerUse:
    """A layer version that a function has at /opt."""

    arn: str
    """Of the layer version; its owner may be another tenant."""

    code: Code


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """How a function logs. Levels are empty with the text format."""

    format: str = "Text"
    """`Text` or `JSON`."""

    application_level: str = ""
    system_level: str = ""
    group: str = ""
    """Empty: AWS's default, `/aws/lambda/NAME`."""


LEAST_INIT_AHEAD_S = 130.0
"""AWS Lambda's limit for it, where the function's timeout is not more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionConfig:
    """The settings of a function. Limits and defaults are AWS Lambda's."""

    handler: str
    """`module.function`; at most 128 characters, no white space."""

    runtime: str
    """`python3.11`, `nodejs20.x`, `provided.al2023`: one that the node has."""

    memory_mb: int = 128
    """128 to 10240."""

    timeout_s: int = 3
    """1 to 900."""

    environment: dict[str, str] = field(default_factory=dict)
    """At most 4 KB as compact JSON."""

    has_environment: bool = False
    """Whether one was ever given over AWS's API, whose answers show it from then on,
    also where it is empty."""

    ephemeral_storage_mb: int = 512
    """Size of the private /tmp, 512 to 10240."""

    description: str = ""
    """At most 256 characters."""

    layers: tuple[LayerUse, ...] = ()
    """At most 5, merged into /opt in this order: a later one's files win."""

    init_mode: InitMode = InitMode.AUTO

    network: Network = Network.NONE
    """At most what its tenant may have: a policy that may change at any time."""

    logging: Logging = field(default_factory=Logging)

    image_config: ImageConfig = field(default_factory=ImageConfig)
    """Of functions that are images."""

    per_tenant: bool = False
    """AWS's `PER_TENANT`: an instance serves one isolation key alone, which each
    invocation has to bring. Chosen when the function is created."""

    snap_start: bool = False
    """`ApplyOn: PublishedVersions`. Instances are clones of a zygote that has imported
    the handler, asked for or not; with it, a version whose import fails is no version,
    the import may take longer, and a start is reported as a restore."""

    # Kept and shown, because AWS's tools send them; nothing here uses them.
    role: str = ""
    """ARN of the role. There are no roles: a function gets no credentials."""

    tracing: str = "PassThrough"
    """`Active` or `PassThrough`."""

    kms_key_arn: str = ""
    dead_letter_arn: str = ""

    @property
    def is_image(self) -> bool:
        """Whether its package is a container image."""
        return self.runtime == IMAGE

    @property
    def is_program(self) -> bool:
        """Whether an instance is a program that speaks the Runtime API, and no clone of
        a Python that has imported the handler."""
        return not self.runtime.startswith("python")

    @property
    def init_ahead_s(self) -> float:
        """What an init may take that nobody waits for: of a snapshot, or of an instance
        that is started ahead."""
        return max(LEAST_INIT_AHEAD_S, float(self.timeout_s))

    @property
    def layer_hashes(self) -> tuple[str, ...]:
        """The hashes of the layers' packages, in their order."""
        return tuple(layer.code.sha256 for layer in self.layers)

    @property
    def opt_sha256(self) -> str:
        """Names what is at /opt by what it is made of; empty where nothing is."""
        if not self.layers:
            return ""
        return hashlib.sha256(",".join(self.layer_hashes).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """Code and settings together: what an instance is an instance of.

    Immutable. Every change of a function makes a new one, so that a running
    instance never changes under its invocation.
    """

    id: str
    """A UUID. What runs belongs to it."""

    code: Code
    config: FunctionConfig

    @property
    def hashes(self) -> frozenset[str]:
        """Of what it needs on disk: its package, its layers' and those merged."""
        names = {self.code.sha256, *self.config.layer_hashes, self.config.opt_sha256}
        return frozenset(names - {""})


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A version of a tenant's function: `$LATEST`, which changes, or a published one,
    whose code and settings do not. `serving` answers; `pending` is being made ready."""

    tenant_id: str
    name: str
    version: str = LATEST
    """`$LATEST`, or a number from 1 on that is never used again."""

    revision_id: str
    """AWS's `RevisionId`, a UUID: anew with each change, and again when it settles."""

    serving: Revision | None
    """None only while the function is first being made ready, or failed to be."""

    pending: Revision | None
    """Of a create or update that has not settled, or of a create that failed."""

    state: FunctionState
    state_reason: str = ""
    state_reason_code: str = ""
    """AWS's, of a version that could not be made ready; empty is `InternalError`."""

    update_status: UpdateStatus = UpdateStatus.NONE
    update_reason: str = ""
    fork_safe: bool = True
    fork_safety_reason: str = ""
    last_modified: datetime
    """UTC. Of a published version, as `$LATEST` had it."""

    published_description: str = ""
    """Of a published version: how `$LATEST` was described then. Its own description
    may be another, which makes it no other version."""

    @property
    def current(self) -> Revision:
        """The revision to show: the newest, whether it serves yet or not."""
        revision = self.pending or self.serving
        assert revision is not None, "a function always has a revision"  # noqa: S101
        return revision

    @property
    def has_snapshot(self) -> bool:
        """Whether its starts are restores, as far as its import lets it be cloned."""
        return self.version != LATEST and self.current.config.snap_start

    @property
    def revisions(self) -> tuple[Revision, ...]:
        """Those there are: what is being made ready, and what serves."""
        both = (self.pending, self.serving)
        return tuple(revision for revision in both if revision is not None)

    @property
    def hashes(self) -> frozenset[str]:
        """Of all that its revisions need on disk."""
        return frozenset().union(*(revision.hashes for revision in self.revisions))


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A name for one version of a function, or for two by weight."""

    tenant_id: str
    function: str
    name: str
    """1 to 128 characters, not digits alone."""

    version: str
    description: str = ""
    weights: dict[str, float] = field(default_factory=dict)
    """Version to its share of invocations, 0 to 1; at most one, beside `version`."""

    revision_id: str
    """A UUID, anew with each change."""


def function_arn(region: str, tenant_id: str, name: str, qualifier: str = "") -> str:
    """As AWS writes it; unqualified where there is no qualifier."""
    suffix = f":{qualifier}" if qualifier else ""
    return f"arn:aws:lambda:{region}:{tenant_id}:function:{name}{suffix}"
