"""All that a jail is made from: the launcher writes it, the warden works by it."""

from __future__ import annotations

from dataclasses import dataclass

from sandlot_sandbox import linux
from sandlot_sandbox.guest import cell, enter
from sandlot_sandbox.limits import Limits


@dataclass(frozen=True)
class Plan:
    """Copied into the warden by the clone."""

    root: enter.Root
    limits: Limits
    last_capability: int
    zygote_filter: bytes | None
    warden_filter: bytes | None
    reaper_filter: bytes | None
    has_network: bool
    """False where the jail shares the machine's: by policy, or because the operator
    gave that layer up."""

    landlock: int
    """The version of Landlock's interface; 0 where it was given up, or is not there."""

    joins: tuple[int, ...]
    """Who writes to these is in the zygote's control group. The warden is not: it has
    to work while the zygote is frozen."""

    has_memory_group: bool
    """Whether control groups hold cells to their memory; else the warden does."""

    has_freezer: bool
    """Whether control groups freeze cells; else their first processes do."""

    has_runtime_api: bool
    """Whether its instances speak the Runtime API, instead of the zygote's language."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    channel: int
    """The zygote's socket to the engine."""

    log: int
    """Where its stdout and stderr go until it has instances."""

    packages: tuple[int, ...] = ()
    """A builder's: what it is to unpack, its descriptors from 4 on."""

    has_image: bool = False
    """Whether an image's root is that of its cells."""

    leash: int | None = None
    """Tells when to freeze the zygote, where no group can; the warden's to read."""

    @property
    def blueprint(self) -> cell.Blueprint:
        return cell.Blueprint(
            limits=self.limits,
            seccomp=self.reaper_filter,
            has_network=self.has_network,
            landlock=self.landlock,
            has_runtime_api=self.has_runtime_api,
            has_image=self.has_image,
            has_leash=not self.has_freezer,
            counts_sockets=self.counts_sockets,
            shows_sockets=self.shows_sockets,
        )

    @property
    def has_watch(self) -> bool:
        """Whether the warden does what there are no control groups for."""
        return not (self.has_memory_group and self.has_freezer)

    @property
    def counts_sockets(self) -> bool:
        """Whether it counts what is in the buffers of cells' networks."""
        return self.has_network and not self.has_memory_group

    @property
    def shows_sockets(self) -> bool:
        """Whether the launcher looks at how many there are, as groups do not count all
        that is behind them."""
        return self.has_network and self.has_memory_group

    @property
    def kept_by_warden(self) -> frozenset[int]:
        """What making cells takes: mounts and namespaces, a loopback; and, to look
        into processes, which may have capabilities of their own, that of tracing."""
        return frozenset(
            (
                linux.CAP_SYS_ADMIN,
                *((linux.CAP_NET_ADMIN,) if self.has_network else ()),
                *((linux.CAP_SYS_PTRACE,) if self.has_watch else ()),
            )
        )

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the warden keeps of the launcher's."""
        leash = () if self.leash is None else (self.leash,)
        return (*self.of_the_zygote, *leash, *self.root.descriptors)

    @property
    def of_the_zygote(self) -> tuple[int, ...]:
        """What the warden has no use for once there is a zygote."""
        return (self.channel, self.log, *self.joins, *self.packages)
