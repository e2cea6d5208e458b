"""A machine and an internet in network namespaces of their own: `egress_world PATH`.

    cell ── way out ── machine ════ veth ════ internet
                       192.168.50.2           192.168.50.1, PUBLIC, PRIVATE, METADATA

The process is the machine, and plays the launcher. `PATH` is how cells get out:
`user-mode` by the launcher's own code, `router` and `machine` by the prototype of
`egress_nat.py`. Orders come as lines of JSON, and so do answers. All of it ends with
the process, and nothing of the real machine's is changed.
"""

import json
import os
import pickle
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from benchmarks import egress_nat, egress_traffic
from sandlot_sandbox import linux
from sandlot_sandbox.launcher import network_link, networks

PATHS = ("user-mode", "router", "machine")
PUBLIC, PRIVATE, METADATA = "93.184.216.34", "10.9.0.1", "169.254.169.254"
INTERNET, MACHINE = "192.168.50.1", "192.168.50.2"
SECOND_OF_MACHINE = "93.184.216.99"
START_S = 20.0


def main() -> None:
    path, group = sys.argv[1:]
    linux.set_death_signal(signal.SIGKILL)
    if group:
        Path(group, "cgroup.procs").write_text("0")
    linux.unshare(linux.CLONE_NEWNET | linux.CLONE_NEWNS)
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    egress_nat.forget_closed_connections()
    linux.raise_loopback()
    _start_internet()
    egress_traffic.serve()
    world = World(path, group)
    _say("ready")
    for line in sys.stdin:
        order = json.loads(line)
        _say(getattr(world, order.pop("order"))(**order))


def _say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _start_internet() -> None:
    """And the cable to it. Its servers die with us."""
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    linux.unshare(linux.CLONE_NEWNET)
    there = os.open("/proc/self/ns/net", os.O_RDONLY)
    linux.raise_loopback()
    for address in (PUBLIC, PRIVATE, METADATA):
        _ip("address", "add", f"{address}/32", "dev", "lo")
    egress_traffic.serve()
    linux.setns(here, linux.CLONE_NEWNET)
    with egress_nat.rtnetlink() as netlink:
        egress_nat.add_pair(netlink, "m0", "i0", there)
    for address in (f"{MACHINE}/24", f"{SECOND_OF_MACHINE}/32"):
        _ip("address", "add", address, "dev", "m0")
    _ip("link", "set", "m0", "up")
    linux.setns(there, linux.CLONE_NEWNET)
    _ip("address", "add", f"{INTERNET}/24", "dev", "i0")
    _ip("link", "set", "i0", "up")
    linux.setns(here, linux.CLONE_NEWNET)
    _ip("route", "add", "default", "via", INTERNET)
    os.close(here)
    os.close(there)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)  # noqa: S607


class Cell:
    """A process without capabilities in a network namespace of its own."""

    def __init__(self) -> None:
        self._link, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            self._link.close()
            _live_in_cell(theirs)
        theirs.close()
        self._link.settimeout(egress_traffic.WAIT_S)
        if self._link.recv(1) != b"+":
            raise OSError("a cell did not start")
        self.pidfd = os.pidfd_open(self.pid)
        self.namespace = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)

    def ask(self, what: str, arguments: dict[str, Any]) -> Any:
        self._link.sendall(pickle.dumps((what, arguments)) + b".")
        answer = b""
        while not answer.endswith(b"\n"):
            answer += self._link.recv(1 << 16) or b'"the cell died"\n'
        return json.loads(answer)

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.pidfd)
        os.close(self.namespace)
        self._link.close()


def _live_in_cell(link: socket.socket) -> NoReturn:
    try:
        linux.set_death_signal(signal.SIGKILL)
        linux.unshare(linux.CLONE_NEWNET)
        egress_nat.forget_closed_connections()
        linux.raise_loopback()
        linux.drop_bounding_set(linux.last_capability())
        linux.set_capabilities(frozenset(), through_exec=False)
        linux.set_no_new_privileges()
        link.sendall(b"+")
        while order := link.recv(1 << 16):
            what, arguments = pickle.loads(order)  # noqa: S301 - the machine's, above
            link.sendall(json.dumps(_try(what, arguments)).encode() + b"\n")
    finally:
        os._exit(0)


def _try(what: str, arguments: dict[str, Any]) -> Any:
    try:
        return egress_traffic.ACTS[what](**arguments)
    except OSError as error:
        return f"{what}: {error}"


class World:
    """What the orders are."""

    def __init__(self, path: str, group: str) -> None:
        self._group = group
        self._maker: networks.Network | egress_nat.Nat
        if path == "user-mode":
            self._maker = networks.Network(is_root=True, has_seccomp=True)
        else:
            own = network_link.own_networks()
            self._maker = egress_nat.Nat(own, in_machine=path == "machine")
        self._cells: list[Cell] = []
        self._ways: list[networks.WayOut | int] = []

    def open(self) -> int:
        """A cell with a way out, which stays; its number."""
        cell = Cell()
        self._cells.append(cell)
        self._ways.append(self._give(cell, from_pool=False)[0])
        return len(self._cells) - 1

    def fill_pool(self) -> None:
        """By one pair. NAT's alone."""
        self._nat.fill_pool(1)

    @property
    def _nat(self) -> egress_nat.Nat:
        if not isinstance(self._maker, egress_nat.Nat):
            raise TypeError("there is no NAT on this path")
        return self._maker

    def make(self, *, from_pool: bool = False) -> dict[str, float]:
        """A way out that is made and ended, for a cell made before: in seconds, what
        the launcher cannot do anything else for, until it can be used, until it is
        gone, and the CPU of all processes for both."""
        cell = Cell()
        cpu = _cpu_s()
        began = time.perf_counter()
        way_out, launcher_s = self._give(cell, from_pool=from_pool)
        ready_s = time.perf_counter() - began
        began = time.perf_counter()
        self._end(way_out)
        end_s = time.perf_counter() - began
        cpu_s = _cpu_s() - cpu
        cell.end()
        return {
            "launcher": launcher_s,
            "ready": ready_s,
            "end": end_s,
            "cpu": cpu_s,
        }

    def memory(self, n: int) -> dict[str, float]:
        """Kilobytes that `n` ways out took, for each."""
        cells = [Cell() for _ in range(n)]
        before = self._used_kb()
        ways = [self._give(cell, from_pool=False)[0] for cell in cells]
        used = (self._used_kb() - before) / n
        resident: dict[str, float] = {"whole": used}
        if not isinstance(ways[0], int):
            resident |= _private_kb(ways[0].pid)
        for way_out, cell in zip(ways, cells, strict=True):
            self._end(way_out)
            cell.end()
        return resident

    def ask(self, cell: int | None, what: str, arguments: dict[str, Any]) -> Any:
        """What a process in the cell finds, or the machine itself."""
        if cell is None:
            return _try(what, arguments)
        return self._cells[cell].ask(what, arguments)

    def change(self, what: str) -> None:
        """What others may do to the machine."""
        changes: dict[str, Callable[[], None]] = {
            "add firewall": egress_nat.add_firewall,
            "remove firewall": egress_nat.remove_firewall,
            "forwarding off": lambda: egress_nat.set_forwarding(on=False),
            "forwarding on": lambda: egress_nat.set_forwarding(on=True),
        }
        changes[what]()

    def _give(
        self, cell: Cell, *, from_pool: bool
    ) -> tuple[networks.WayOut | int, float]:
        began = time.perf_counter()
        if isinstance(self._maker, egress_nat.Nat):
            number = self._maker.give(cell.namespace, from_pool=from_pool)
            return number, time.perf_counter() - began
        way_out = self._maker.start(cell.namespace, allow=(), cell=cell.pidfd)
        launcher_s = time.perf_counter() - began
        poll = select.poll()
        poll.register(way_out.ready_fd, select.POLLIN)
        if not poll.poll(START_S * 1000) or (trouble := way_out.outcome()):
            raise OSError(trouble or "a way out did not start")
        return way_out, launcher_s

    def _end(self, way_out: networks.WayOut | int) -> None:
        if isinstance(way_out, int):
            self._nat.take_back(way_out)
        else:
            way_out.kill()
            way_out.bury()

    def _used_kb(self) -> float:
        """Of the control group: what processes have, and what the kernel has for them;
        0 where there is none."""
        for name in ("memory.usage_in_bytes", "memory.current"):
            file = Path(self._group, name)
            if self._group and file.exists():
                return int(file.read_text()) / 1024
        return 0.0


def _cpu_s() -> float:
    """Ours, and of those whom we have buried, with theirs."""
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(who) for who in both]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _private_kb(relay: int) -> dict[str, float]:
    """Of the relay and of slirp4netns, what nobody shares."""
    children = Path(f"/proc/{relay}/task/{relay}/children").read_text().split()
    found = {}
    for name, pid in (("relay", str(relay)), ("slirp4netns", children[0])):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        private = [line.split()[1] for line in lines if line.startswith("Private_")]
        found[name] = float(sum(int(kb) for kb in private[:2]))
    return found


if __name__ == "__main__":
    main()
