"""How a jail begins: cloned into new namespaces, mapped, let go."""

import contextlib
import os
import socket
from dataclasses import dataclass

from sandlot_sandbox import linux
from sandlot_sandbox.guest import datagrams, warden
from sandlot_sandbox.guest.enter import Root
from sandlot_sandbox.guest.plan import Plan
from sandlot_sandbox.launcher.cgroups import Janitor, Tree
from sandlot_sandbox.launcher.environment import environment_of
from sandlot_sandbox.launcher.filters import Filters
from sandlot_sandbox.launcher.networks import Network
from sandlot_sandbox.launcher.registry import Registry
from sandlot_sandbox.launcher.rootfs import opened_root
from sandlot_sandbox.launcher.runtime import Runtime
from sandlot_sandbox.launcher.users import UserIds, write_maps
from sandlot_sandbox.launcher.zygotes import Zygote, close_all, expect_room_for_files
from sandlot_sandbox.limits import COUNTED_PROCESSES, ZYGOTE_PROCESSES, Limits
from sandlot_sandbox.spec import EGRESS, HOST, IMAGE, OPT, TASK, StartZygote

_NAMESPACES = (
    linux.CLONE_NEWUSER
    | linux.CLONE_NEWNS
    | linux.CLONE_NEWPID
    | linux.CLONE_NEWIPC
    | linux.CLONE_NEWUTS
)
"""And a cgroup namespace of its own, when it is in its group: see `guest/warden.py`."""

_OOM_SCORE = 500

BUILDER_LIMITS = Limits(memory_mb=512, tmp_mb=256)
"""For unpacking a package: no file in it is larger than what AWS allows them all."""

_PYTHON = ("-I", "-S", "-B")
_GUEST = "/var/runtime/sandlot_sandbox/guest"
_PLACES = {TASK: "/var/task", OPT: "/opt", IMAGE: IMAGE}


@dataclass(frozen=True, slots=True)
class Setting:
    """What all jails of a launcher have in common."""

    code: int
    """A descriptor of the folder in which unpacked packages lie, by their hashes."""

    runtimes: Registry
    filters: Filters | None
    """None only where the operator gave that layer up."""

    has_network: bool
    landlock: int
    tree: Tree | None
    """None where there are no control groups for us."""

    janitor: Janitor | None
    last_capability: int
    users: UserIds
    egress: Network | str
    """What makes ways out for cells, or why nothing does."""

    @property
    def controls(self) -> frozenset[str]:
        return self.tree.controls if self.tree is not None else frozenset()

    def limits_of(self, order: StartZygote) -> Limits:
        """Where nobody counts the processes of an instance, all instances of a function
        together have what one has elsewhere."""
        is_counted = "pids" in self.controls
        return Limits(
            memory_mb=order.memory_mb,
            tmp_mb=order.tmp_mb,
            processes=COUNTED_PROCESSES if is_counted else ZYGOTE_PROCESSES,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a jail is to run, and with what."""

    runtime: Runtime
    file: str
    """Below the guest's folder."""

    limits: Limits
    owner: int = 0
    network: str
    allow: tuple[str, ...] = ()
    code: int
    """A descriptor of what is mounted as /var/task."""

    opt: int | None = None
    """And of what is mounted as /opt, which is empty without."""

    image: int | None = None
    """And of what is the root of its instances; without, that is the jail's."""

    channel: int
    log: int
    packages: tuple[int, ...] = ()
    """A builder's, which may write to /var/task, and belongs to the folder's owner."""

    place: str = TASK
    """Where others will have what a builder builds."""

    @property
    def is_builder(self) -> bool:
        return bool(self.packages)

    def opened_root(self) -> contextlib.AbstractContextManager[Root]:
        return opened_root(
            self.runtime,
            self.code,
            opt=self.opt,
            image=self.image,
            network=self.network,
            is_writable=self.is_builder,
        )


def start(setting: Setting, number: int, program: Program) -> Zygote:
    """Clone a jail and let it build itself. Raises `OSError`, leaving nothing behind.

    Returns before the jail is ready: the first message on its link says so, or why not.
    """
    expect_room_for_files()
    if program.network == EGRESS and isinstance(setting.egress, str):
        raise OSError(f"there is no network egress here: {setting.egress}")
    with contextlib.ExitStack() as undo:
        if program.is_builder:
            (uid, gid), own = setting.users.of_owner(program.code), None
        else:
            uid = gid = own = setting.users.take()
            undo.callback(setting.users.give_back, own)
        family, group, joins = None, None, []
        files: dict[str, int] = {}
        undo.callback(lambda: close_all(list(files.values())))
        if setting.tree is not None:
            family = setting.tree.make(program.owner)
            undo.callback(setting.tree.give_up, family)
            group = family.add(program.limits.zygote_share())
            if setting.users.is_root:
                family.let_in(uid)
            # First of all: what cannot be frozen and counted must not run at all.
            files = group.open_files()
            joins = group.open_joins()
        leash = None
        # A builder is done before it could be idle.
        if "freezer" not in setting.controls and not program.is_builder:
            leash = os.pipe2(os.O_CLOEXEC)
            files["leash"] = leash[1]
        try:
            pid, pidfd, link = _clone(setting, program, joins, leash)
        finally:
            close_all(joins)
            if leash is not None:
                os.close(leash[0])
        zygote = Zygote(
            *(number, pid, pidfd, own, link, program.limits),
            *(setting.tree, family, group, files),
            allow=program.allow if program.network == EGRESS else None,
            owner=program.owner,
        )
        # From here on its burial gives everything back.
        undo.pop_all()
    try:
        write_maps(pid, uid, gid)
        prefer_as_victim(pid)
        link.send(datagrams.GO)
        # A warden that does not read must not keep us from the others.
        link.setblocking(False)
    except OSError:
        zygote.kill()
        zygote.bury(setting.users)
        raise
    return zygote


def _clone(
    setting: Setting,
    program: Program,
    joins: list[int],
    leash: tuple[int, int] | None,
) -> tuple[int, int, socket.socket]:
    """A warden that waits for its maps: its pid, a pidfd, and our end of its link."""
    has_network = setting.has_network and program.network != HOST
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with theirs, program.opened_root() as root:
            plan = _plan(
                setting,
                program,
                root,
                joins,
                has_network=has_network,
                leash=leash[0] if leash is not None else None,
            )
            # The child's /proc files belong to us only while it may be looked at, and
            # without being the machine's root we could not write its maps. It hides
            # itself as its first step after that.
            linux.set_dumpable(dumpable=True)
            flags = _NAMESPACES | (linux.CLONE_NEWNET if has_network else 0)
            pid = linux.clone(flags)
            if pid == 0:
                ours.close()
                warden.run(plan, theirs)
    except BaseException:
        ours.close()
        raise
    finally:
        linux.set_dumpable(dumpable=False)
    try:
        return pid, os.pidfd_open(pid), ours
    except OSError:
        # It waits for a word from us, and takes our hanging up for its end.
        ours.close()
        os.waitpid(pid, 0)
        raise


def _plan(
    setting: Setting,
    program: Program,
    root: Root,
    joins: list[int],
    *,
    has_network: bool,
    leash: int | None,
) -> Plan:
    filters = setting.filters
    has_bytecode = () if program.runtime.runs else ("compile",)
    packages = str(len(program.packages))
    of_a_builder = (_PLACES[program.place], packages, *has_bytecode)
    runtime = program.runtime
    layers = (
        "own-network" if has_network else "shared-network",
        "landlock" if setting.landlock else "no-landlock",
        str(len(joins)),
        *runtime.runs,
    )
    return Plan(
        root=root,
        limits=program.limits,
        last_capability=setting.last_capability,
        zygote_filter=filters.zygote if filters else None,
        warden_filter=filters.warden if filters else None,
        reaper_filter=filters.reaper if filters else None,
        has_network=has_network,
        landlock=setting.landlock,
        joins=tuple(joins),
        has_memory_group="memory" in setting.controls,
        has_freezer="freezer" in setting.controls,
        has_runtime_api=bool(runtime.runs) and not program.is_builder,
        has_image=program.image is not None,
        argv=(
            *(runtime.executable, *_PYTHON, f"{_GUEST}/{program.file}"),
            *(of_a_builder if program.is_builder else layers),
        ),
        environment=environment_of(runtime),
        channel=program.channel,
        log=program.log,
        packages=program.packages,
        leash=leash,
    )


def prefer_as_victim(pid: int) -> None:
    """Where memory runs out, the kernel shall end jails and not the engine. A jail can
    lower it again where we have no CAP_SYS_RESOURCE over the machine."""
    with open(f"/proc/{pid}/oom_score_adj", "w", encoding="utf-8") as file:
        file.write(str(_OOM_SCORE))
