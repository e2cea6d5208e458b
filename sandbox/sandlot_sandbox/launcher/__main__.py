"""`python -m sandlot_sandbox.launcher`: started by the supervisor, never by hand.

The only process that can build jails. It has one thread, no network, and sees no
tenant's data: code is a folder named by its hash, events and environments go past it.
"""

import argparse
import os
import resource
import signal
import socket
import sys
from pathlib import Path

from sandlot_sandbox import linux, probe
from sandlot_sandbox.launcher import cgroups, child, filters, networks, users
from sandlot_sandbox.launcher.jails import Setting
from sandlot_sandbox.launcher.registry import Registry
from sandlot_sandbox.launcher.runtime import parse_runtimes
from sandlot_sandbox.launcher.server import Server, say
from sandlot_sandbox.spec import Hello, decode_report, encode


def main() -> int:
    try:
        return _main()
    except (OSError, child.ChildFailed, filters.FiltersUnavailable) as error:
        if error.errno not in probe.PASSING:
            raise
        say(f"too few processes, files or memory are left for us: {error}")
        return os.EX_TEMPFAIL


def _main() -> int:
    arguments = _parse()
    os.umask(0o077)
    # A terminal's Ctrl-C is for the supervisor, who ends us when the engine is done.
    os.setsid()
    # Python's handler would be the wardens' and the cells', too, and a handler is what
    # makes the first process of a namespace listen to those inside.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _take_descriptors()
    is_root = users.is_root_of_many()
    engine = socket.socket(fileno=arguments.channel)
    engine.set_inheritable(False)
    given_up = frozenset(filter(None, arguments.given_up.split(",")))
    # Once: a child would not know who started us, nor that our group was made for us.
    groups = cgroups.find(only=arguments.cgroups)
    hello = child.run(lambda: _try_all(groups, given_up, arguments.cgroups, is_root))
    said = decode_report(hello)
    assert isinstance(said, Hello)  # noqa: S101 - we have just said it
    if is_root:
        # A jail cannot do it: its user namespace may not change groups.
        os.setgroups([])
    elif os.geteuid() != 0 and probe.can_make_user_namespaces(said.layers):
        users.become_root_of_own_namespace()
    # After the last change of credentials, which would clear both.
    linux.set_dumpable(dumpable=False)
    linux.set_death_signal(signal.SIGKILL)
    linux.restore_default_signals()
    if os.getppid() != arguments.parent:
        return 1
    try:
        engine.send(hello)
    except ConnectionError:
        return 1  # it has refused to start, and says why itself
    if not probe.is_enough(said.layers):
        is_busy = probe.is_too_busy(said.layers)
        return os.EX_TEMPFAIL if is_busy else probe.EX_CONFIG
    held = {layer.name for layer in said.layers if layer.holds}
    tree = _plant(groups, given_up, must="cgroup" in held)
    janitor = cgroups.Janitor(tree) if tree is not None else None
    has_memory_group = tree is not None and "memory" in tree.controls
    setting = Setting(
        code=os.open(arguments.code, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW),
        runtimes=Registry(
            parse_runtimes(arguments.runtimes),
            Path(arguments.registered) if arguments.registered else None,
        ),
        filters=None
        if "seccomp" in given_up
        else filters.compile_filters(has_memory_group=has_memory_group),
        has_network="network" not in given_up,
        landlock=_landlock(given_up, must="landlock" in held),
        tree=tree,
        janitor=janitor,
        last_capability=linux.last_capability(),
        users=users.UserIds(is_root=is_root),
        egress=_egress(is_root=is_root, has_seccomp="seccomp" not in given_up),
    )
    Server(engine, setting).serve()
    if janitor is not None:
        janitor.dismiss()
    return 0


def _try_all(
    groups: cgroups.Layout, given_up: frozenset[str], only: str, is_root: bool
) -> bytes:
    """The first report, encoded."""
    layers = probe.try_all(groups, given_up=given_up, must_control_all=not only)
    return encode(Hello("root" if is_root else "rootless", layers))


def _egress(*, is_root: bool, has_seccomp: bool) -> networks.Network | str:
    """What makes ways out, or why there are none: functions without need none."""
    try:
        return networks.Network(is_root=is_root, has_seccomp=has_seccomp)
    except networks.EgressUnavailable as error:
        return str(error)


def _landlock(given_up: frozenset[str], *, must: bool) -> int:
    version = 0 if "landlock" in given_up else linux.landlock_version()
    if must and not version and "landlock" not in given_up:
        raise OSError("Landlock was there a moment ago, and is not now")
    return version


def _plant(
    groups: cgroups.Layout, given_up: frozenset[str], *, must: bool
) -> cgroups.Tree | None:
    """The control groups, if we can have any; `must` we, where the posture says so."""
    if "cgroup" in given_up:
        return None
    try:
        return cgroups.Tree.plant(groups)
    except cgroups.CgroupsUnavailable:
        if must:
            raise
        return None


def _take_descriptors() -> None:
    """Every cell costs us one. And a process may put no more of them on their way than
    it may have open, counted for all of its user: see unix(7), ETOOMANYREFS."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sandlot-launcher")
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--code", required=True)
    parser.add_argument("--runtimes", required=True)
    parser.add_argument("--registered", default="")
    parser.add_argument("--given-up", default="")
    parser.add_argument("--cgroups", default="", choices=("", "v1", "v2", "none"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
