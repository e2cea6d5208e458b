"""`python -m sandlot_sandbox.launcher`: started by the supervisor, never by hand.

The only process that can build jails. It has one thread, no network, and sees no
tenant's data: code is a folder named by its hash, events and environments go past it.
"""

import argparse
import logging
import os
import resource
import signal
import socket
import sys
from pathlib import Path

from sandlot_sandbox import linux, probe
from sandlot_sandbox.launcher import filters, runtimes, users
from sandlot_sandbox.launcher.server import Server
from sandlot_sandbox.launcher.zygotes import Setting
from sandlot_sandbox.spec import Hello, encode


def main() -> int:
    arguments = _parse()
    logging.basicConfig(stream=sys.stderr, format="sandlot launcher: %(message)s")
    os.umask(0o077)
    # A terminal's Ctrl-C is for the supervisor, who ends us when the engine is done.
    os.setsid()
    # Python's handler would be the wardens' and the cells', too, and a handler is what
    # makes the first process of a namespace listen to those inside.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _take_descriptors()
    is_root = os.geteuid() == 0 and users.can_give_ids()
    engine = socket.socket(fileno=arguments.channel)
    engine.set_inheritable(False)
    given_up = frozenset(filter(None, arguments.given_up.split(",")))
    posture = probe.try_all(given_up=given_up)
    if is_root:
        # A jail cannot do it: its user namespace may not change groups.
        os.setgroups([])
    elif os.geteuid() != 0 and probe.can_make_user_namespaces(posture):
        users.become_root_of_own_namespace()
    # After the last change of credentials, which would clear both.
    linux.set_dumpable(dumpable=False)
    linux.set_death_signal(signal.SIGKILL)
    if os.getppid() != arguments.parent:
        return 1
    engine.send(encode(Hello("root" if is_root else "rootless", posture)))
    if not probe.is_enough(posture):
        return probe.EX_CONFIG
    setting = Setting(
        code=Path(arguments.code),
        runtimes={r.name: r for r in runtimes.from_json(arguments.runtimes)},
        filters=None if "seccomp" in given_up else filters.compile_filters(),
        has_network="network" not in given_up,
        last_capability=linux.last_capability(),
        users=users.UserIds(is_root=is_root),
    )
    Server(engine, setting).serve()
    return 0


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
    parser.add_argument("--given-up", default="")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
