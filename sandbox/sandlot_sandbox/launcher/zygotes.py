"""One jail: cloned into new namespaces, mapped, let go; and the link to its warden."""

import contextlib
import os
import signal
import socket
from dataclasses import dataclass, field
from pathlib import Path

from sandlot_sandbox import linux
from sandlot_sandbox.guest import warden
from sandlot_sandbox.launcher.filters import Filters
from sandlot_sandbox.launcher.rootfs import opened_root
from sandlot_sandbox.launcher.runtimes import Runtime
from sandlot_sandbox.launcher.users import UserIds, write_maps
from sandlot_sandbox.limits import Limits

_NAMESPACES = (
    linux.CLONE_NEWUSER
    | linux.CLONE_NEWNS
    | linux.CLONE_NEWPID
    | linux.CLONE_NEWIPC
    | linux.CLONE_NEWUTS
    | linux.CLONE_NEWCGROUP
)

_OOM_SCORE = 500

_BOOTSTRAP = "/var/runtime/sandlot_sandbox/guest/bootstrap.py"
_ENVIRONMENT = {
    "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
    "LD_LIBRARY_PATH": (
        "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task"
        ":/var/task/lib:/opt/lib"
    ),
    "LANG": "en_US.UTF-8",
    "LC_CTYPE": "C.UTF-8",
    "TZ": ":UTC",
    # All symbols at once, in the zygote: a clone that is the first to call a function
    # of a library would otherwise look it up, and write down where it is.
    "LD_BIND_NOW": "1",
}
"""What the interpreter itself reads at its start. The function's own environment
comes later, over the zygote's channel, and never through the launcher."""


@dataclass(slots=True)
class Zygote:
    """A live jail, as the launcher knows it."""

    number: int
    pid: int
    pidfd: int
    uid: int
    link: socket.socket
    cells: dict[int, int] = field(default_factory=dict)
    """A pidfd of each live cell's first process, by the cell's number."""

    is_ready: bool = False

    def make_cell(self, number: int) -> None:
        """Raises `OSError` if the warden is gone or does not take orders."""
        self.link.send(warden.encode_make_cell(number))

    def kill_cell(self, number: int) -> None:
        """What is in it dies; the warden reports when its first process is reaped."""
        if (pidfd := self.cells.get(number)) is not None:
            _kill(pidfd)

    def forget_cell(self, number: int) -> None:
        if (pidfd := self.cells.pop(number, None)) is not None:
            os.close(pidfd)

    def kill(self) -> None:
        """The warden is pid 1 of the jail: the kernel takes everything in it along."""
        _kill(self.pidfd)

    def bury(self, users: UserIds) -> str:
        """Reap it, give back what it held, and say how it ended."""
        _, status = os.waitpid(self.pid, 0)
        for number in list(self.cells):
            self.forget_cell(number)
        os.close(self.pidfd)
        self.link.close()
        users.give_back(self.uid)
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            return f"the jail was killed by signal {-code}"
        if code > 128:
            return f"the zygote was killed by signal {code - 128}"
        return f"the zygote exited with status {code}"


@dataclass(frozen=True, slots=True)
class Setting:
    """What all jails of a launcher have in common."""

    code: Path
    """Where unpacked packages lie, by their hashes."""

    runtimes: dict[str, Runtime]
    filters: Filters | None
    """None only where the operator gave that layer up."""

    has_network: bool
    last_capability: int
    users: UserIds


def start(
    setting: Setting,
    number: int,
    runtime: Runtime,
    limits: Limits,
    *,
    code: str,
    channel: int,
    log: int,
) -> Zygote:
    """Clone a jail and let it build itself. Raises `OSError`, leaving nothing behind.

    Returns before the jail is ready: the first message on its link says so, or why not.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    uid = setting.users.take()
    namespaces = _NAMESPACES | (linux.CLONE_NEWNET if setting.has_network else 0)
    try:
        with opened_root(runtime, setting.code / code) as root:
            plan = warden.Plan(
                root=root,
                limits=limits,
                last_capability=setting.last_capability,
                zygote_filter=setting.filters.zygote if setting.filters else None,
                reaper_filter=setting.filters.reaper if setting.filters else None,
                has_network=setting.has_network,
                argv=(
                    *(runtime.executable, "-I", "-S", "-B", _BOOTSTRAP),
                    setting.filters.instance.hex() if setting.filters else "no-seccomp",
                    "own-network" if setting.has_network else "no-network",
                ),
                environment=_ENVIRONMENT,
                channel=channel,
                log=log,
            )
            # The child's /proc files belong to us only while it may be looked at, and
            # without being the machine's root we could not write its maps. It hides
            # itself as its first step after that.
            linux.set_dumpable(dumpable=True)
            pid = linux.clone(namespaces)
            if pid == 0:
                ours.close()
                warden.run(plan, theirs)
    except BaseException:
        setting.users.give_back(uid)
        ours.close()
        theirs.close()
        raise
    finally:
        linux.set_dumpable(dumpable=False)
    theirs.close()
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        # It waits for a word from us, and takes our hanging up for its end.
        ours.close()
        os.waitpid(pid, 0)
        setting.users.give_back(uid)
        raise
    zygote = Zygote(number, pid, pidfd, uid, ours)
    try:
        write_maps(pid, uid, uid)
        prefer_as_victim(pid)
        ours.send(warden.GO)
        # A warden that does not read must not keep us from the others.
        ours.setblocking(False)
    except OSError:
        zygote.kill()
        zygote.bury(setting.users)
        raise
    return zygote


def prefer_as_victim(pid: int) -> None:
    """Where memory runs out, the kernel shall end jails and not the engine. What root
    writes, a jail cannot lower again."""
    with open(f"/proc/{pid}/oom_score_adj", "w", encoding="ascii") as file:
        file.write(str(_OOM_SCORE))


def _kill(pidfd: int) -> None:
    # Dead already is what was asked for.
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
