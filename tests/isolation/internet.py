"""An internet of its own, in network namespaces: `internet.py MODE`, as root.

    cell ─ way out ─ machine ════ veth ════ internet
                     192.168.50.2           192.168.50.1, and PUBLIC, PRIVATE, …

The process is the machine. It takes orders as lines of JSON, makes cells and ways out
for them, has cells and itself try things, and prints what came of it, a line each.
Nothing of the real machine's is changed: all of it ends with the process.
"""

import contextlib
import encodings.idna  # noqa: F401 - what getaddrinfo would import too late
import errno
import json
import os
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sandlot_sandbox import linux
from sandlot_sandbox.launcher import networks, users
from tests.descriptors import open_files
from tests.fakes import dns
from tests.isolation import faults
from tests.isolation.machine import ORDINARY_UID

PUBLIC = "93.184.216.34"
PRIVATE = "10.9.0.1"
METADATA = "169.254.169.254"
SHARED = "100.64.7.7"
NAMESERVER = "10.9.0.53"
ROUTER = "192.168.50.1"
MACHINE = "192.168.50.2"
SECOND_OF_MACHINE = "93.184.216.99"
GATEWAY = "198.19.255.2"
MULTICAST = "239.1.2.3"
PORT = 7777
WAIT_S = 10.0
"""For what surely comes."""

UNHEARD_S = 0.15
"""For what surely does not."""

ANSWERS: dns.Answers = {
    ("public.test", dns.A): [(dns.A, dns.address(PUBLIC))],
    ("rebind.test", dns.A): [(dns.A, dns.address(PRIVATE))],
    ("loop.test", dns.A): [(dns.A, dns.address("127.0.0.1"))],
    ("metadata.test", dns.A): [(dns.A, dns.address(METADATA))],
    ("machine.test", dns.A): [(dns.A, dns.address(SECOND_OF_MACHINE))],
    ("mixed.test", dns.A): [
        (dns.A, dns.address(PRIVATE)),
        (dns.A, dns.address(PUBLIC)),
        (dns.A, dns.address(MACHINE)),
    ],
    ("six.test", dns.AAAA): [(dns.AAAA, dns.address("2001:db8::1"))],
    ("text.test", dns.TXT): [(dns.TXT, b"\x05hello")],
}
MUTE = frozenset(("mute.test",))


def main() -> None:
    mode = sys.argv[1]
    linux.set_death_signal(signal.SIGKILL)
    linux.unshare(linux.CLONE_NEWNET | linux.CLONE_NEWNS)
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    linux.raise_loopback()
    _make_own_files(mode)
    _connect_to(_start_internet())
    _in_process(_serve_echo)
    # All that has to be imported is, before the interpreter may be out of reach.
    network = networks.Network(is_root=mode == "root", has_seccomp=True)
    if mode == "rootless":
        os.setgroups([])
        os.setresgid(ORDINARY_UID, ORDINARY_UID, ORDINARY_UID)
        os.setresuid(ORDINARY_UID, ORDINARY_UID, ORDINARY_UID)
        linux.set_death_signal(signal.SIGKILL)
        linux.set_dumpable(dumpable=True)
        users.become_root_of_own_namespace()
    machine = Machine(network)
    _say("ready")
    for line in sys.stdin:
        order = json.loads(line)
        _say(getattr(machine, order.pop("order"))(**order))


def _say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _make_own_files(mode: str) -> None:
    """A resolv.conf of our own, and a tun device that everybody may open."""
    _mount_resolv_conf(f"nameserver {NAMESERVER}\n")
    if mode == "rootless":
        linux.mount("dev", "/dev/net", "tmpfs", 0, "size=64k,mode=755")
        os.mknod("/dev/net/tun", 0o666 | stat.S_IFCHR, os.makedev(10, 200))
        Path("/dev/net/tun").chmod(0o666)


def _mount_resolv_conf(text: str) -> None:
    """For those in our mount namespace; it needs no cleaning up."""
    linux.mount("files", "/mnt", "tmpfs", 0, "size=64k,mode=755")
    file = Path("/mnt/resolv.conf")
    file.write_text(text)
    file.chmod(0o644)
    linux.mount(str(file), "/etc/resolv.conf", None, linux.MS_BIND)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)  # noqa: S607 - wherever it is


_life_read, _life_write = os.pipe()
"""No death signal: those of an ordinary user's processes do not end root's."""


def _in_process(act: Callable[[], None]) -> int:
    """The pid of a process that has done `act`, and goes on with its threads."""
    done, says_done = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(_life_write)
            act()
            os.write(says_done, b"+")
            os.read(_life_read, 1)
        finally:
            os._exit(1)
    os.close(says_done)
    assert os.read(done, 1)
    os.close(done)
    return pid


def _start_internet() -> int:
    """The pid of a process in another network namespace."""

    def start() -> None:
        linux.unshare(linux.CLONE_NEWNET)
        linux.raise_loopback()
        for address in (PUBLIC, PRIVATE, METADATA, SHARED, NAMESERVER):
            _ip("address", "add", f"{address}/32", "dev", "lo")
        _serve_echo()
        _serve_farewells()
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.bind((NAMESERVER, 53))
        _in_thread(lambda: dns.serve(listener, ANSWERS, mute=MUTE))

    return _in_process(start)


def _connect_to(internet: int) -> None:
    _ip(
        "link",
        "add",
        "m0",
        "type",
        "veth",
        "peer",
        "name",
        "i0",
        "netns",
        str(internet),
    )
    there = os.open(f"/proc/{internet}/ns/net", os.O_RDONLY)
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    linux.setns(there, linux.CLONE_NEWNET)
    _ip("address", "add", f"{ROUTER}/24", "dev", "i0")
    _ip("link", "set", "i0", "up")
    linux.setns(here, linux.CLONE_NEWNET)
    _ip("address", "add", f"{MACHINE}/24", "dev", "m0")
    _ip("address", "add", f"{SECOND_OF_MACHINE}/32", "dev", "m0")
    _ip("link", "set", "m0", "up")
    _ip("route", "add", "default", "via", ROUTER)
    os.close(there)
    os.close(here)


def _in_thread(act: Callable[[], None]) -> None:
    threading.Thread(target=act, daemon=True).start()


def _serve_echo() -> None:
    """TCP and UDP, at `PORT` of all addresses, in threads."""
    listener = socket.create_server(("", PORT))

    def echo(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(1 << 16):
                connection.sendall(data)

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            _in_thread(lambda taken=connection: echo(taken))  # type: ignore[misc]

    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("", PORT))

    def answer() -> None:
        while True:
            data, asker = datagrams.recvfrom(1 << 16)
            datagrams.sendto(data, asker)

    _in_thread(accept)
    _in_thread(answer)


def _serve_farewells() -> None:
    """TCP, at the port after `PORT`: one byte, and the connection is closed."""
    listener = socket.create_server(("", PORT + 1), backlog=128)

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.send(b"!")

    _in_thread(accept)


class Machine:
    """What the orders are."""

    def __init__(self, network: networks.Network) -> None:
        self._network = network
        self._cells: dict[int, tuple[Cell, networks.WayOut]] = {}

    def open(self, cell: int, allow: list[str]) -> dict[str, Any]:
        """A cell with its way out; how it went, and what it took."""
        made = Cell()
        began = time.perf_counter()
        way_out = self._network.start(made.namespace, allow=allow, cell=made.pidfd)
        started = time.perf_counter()
        _wait_readable(way_out.ready_fd)
        trouble = way_out.outcome()
        ready = time.perf_counter()
        self._cells[cell] = made, way_out
        return {
            "trouble": trouble,
            "fork_ms": (started - began) * 1000,
            "ready_ms": (ready - began) * 1000,
            "pid": way_out.pid,
            "cell": made.pid,
        }

    def fail(self, step: str) -> dict[str, Any]:
        """A way out of which a step fails: what is told, and what there is then."""
        before = (open_files(), children())
        made = Cell()
        try:
            faults.install(lambda: step)
            trouble = self._end_early(made)
            devices_left = made.ask("devices", {})
        finally:
            sys.settrace(None)
            made.kill()
        left = {"files": open_files() - before[0], "processes": children() - before[1]}
        return {"trouble": trouble, "devices": devices_left, "left": left}

    def _end_early(self, made: "Cell") -> str:
        try:
            # In the place of two control groups'.
            with open(os.devnull, "wb") as join:  # noqa: PTH123 - imports nothing
                way_out = self._network.start(
                    made.namespace, allow=[], cell=made.pidfd, joins=[join.fileno()] * 2
                )
        except OSError as error:
            return str(error)
        finally:
            sys.settrace(None)
        _wait_readable(way_out.ready_fd)
        trouble = way_out.outcome()
        if trouble:
            # It ends by itself, and takes with it what it has begun.
            _wait_readable(way_out.pidfd)
        way_out.kill()
        way_out.bury()
        return trouble

    def ask(self, cell: int, what: str, arguments: dict[str, Any]) -> Any:
        """What a process in the cell finds."""
        return self._cells[cell][0].ask(what, arguments)

    def try_here(self, what: str, arguments: dict[str, Any]) -> Any:
        """The same, from the machine itself."""
        return TRIES[what](**arguments)

    def hear_multicast(self, cell: int, sender: str) -> list[str]:
        """What a listener on the machine hears, when one sends by all its devices."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
            listener.settimeout(UNHEARD_S)
            listener.bind(("", PORT + 1))
            membership = socket.inet_aton(MULTICAST) + socket.inet_aton(MACHINE)
            listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            if sender == "machine":
                sent = say_to_many("m0")
            else:
                sent = self.ask(cell, "say_to_many", {"device": "eth0"})
            assert sent == "ok", sent
            try:
                return [listener.recv(64).decode()]
            except TimeoutError:
                return []

    def end_cell(self, cell: int) -> dict[str, Any]:
        """Kill its first process only; the way out has to see it."""
        made, way_out = self._cells.pop(cell)
        made.kill()
        _wait_readable(way_out.pidfd)
        way_out.bury()
        return {"live": self._network.live, "files": open_files()}

    def end_way_out(self, cell: int) -> dict[str, Any]:
        """The other way round."""
        made, way_out = self._cells.pop(cell)
        way_out.kill()
        way_out.bury()
        devices = made.ask("devices", {})
        made.kill()
        return {"live": self._network.live, "devices": devices}

    def wait_way_out(self, cell: int) -> str:
        """Until it ends by itself."""
        _wait_readable(self._cells[cell][1].pidfd)
        return "ended"

    def start_and_die(self, cell: int) -> None:
        """As a launcher that is killed in the middle of it."""
        made = Cell()
        self._network.start(made.namespace, allow=[], cell=made.pidfd)
        os.kill(os.getpid(), signal.SIGKILL)


def _wait_readable(fd: int) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if not poll.poll(WAIT_S * 1000):
        raise TimeoutError


class Cell:
    """A process in namespaces of its own that has no capability, as an instance."""

    def __init__(self) -> None:
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        linux.set_dumpable(dumpable=True)
        self.pid = linux.clone(
            linux.CLONE_NEWUSER | linux.CLONE_NEWNET | linux.CLONE_NEWNS
        )
        if self.pid == 0:
            _live_in_cell(theirs)
        theirs.close()
        self.pidfd = os.pidfd_open(self.pid)
        outer = os.geteuid()
        users.write_maps(self.pid, outer, outer)
        self._link.send(b"go")
        self._link.settimeout(WAIT_S)
        assert self._link.recv(1)
        self.namespace = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)

    def ask(self, what: str, arguments: dict[str, Any]) -> Any:
        self._link.send(json.dumps([what, arguments]).encode())
        return json.loads(self._link.recv(1 << 16))

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.pidfd)
        os.close(self.namespace)
        self._link.close()


def _live_in_cell(link: socket.socket) -> None:
    try:
        linux.set_death_signal(signal.SIGKILL)
        link.recv(2)
        linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
        linux.raise_loopback()
        _mount_resolv_conf(networks.RESOLV_CONF)
        linux.drop_bounding_set(linux.last_capability())
        linux.set_capabilities(frozenset(), through_exec=False)
        linux.set_no_new_privileges()
        link.send(b"+")
        while order := link.recv(1 << 16):
            what, arguments = json.loads(order)
            link.send(json.dumps(TRIES[what](**arguments)).encode())
    finally:
        os._exit(0)


def _outcome(act: Callable[[], object]) -> Any:
    try:
        return act()
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))


def _bind_to_device(handle: socket.socket, device: str) -> None:
    if device:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())


def tcp(address: str, device: str = "", size: int = 5, wait_s: float = WAIT_S) -> Any:
    """ "ok" if `size` bytes come back from an echo."""

    def act() -> str:
        with socket.socket() as handle:
            handle.settimeout(wait_s)
            _bind_to_device(handle, device)
            handle.connect((address, PORT))
            handle.settimeout(WAIT_S)
            thread = threading.Thread(target=handle.sendall, args=(bytes(size),))
            thread.start()
            left = size
            while left and (got := len(handle.recv(1 << 16))):
                left -= got
            thread.join()
            return "cut off" if left else "ok"

    return _outcome(act)


def farewells(address: str, count: int) -> Any:
    """ "ok" after so many connections that the other end closed first."""

    def act() -> str:
        for _ in range(count):
            with socket.create_connection((address, PORT + 1), WAIT_S) as handle:
                while handle.recv(64):
                    pass
        return "ok"

    return _outcome(act)


def udp(address: str, device: str = "", size: int = 5, wait_s: float = WAIT_S) -> Any:
    def act() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
            handle.settimeout(wait_s)
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            _bind_to_device(handle, device)
            handle.sendto(b"hello" * (size // 5), (address, PORT))
            return "ok" if len(handle.recv(1 << 16)) == size else "something else"

    return _outcome(act)


_IP_PKTINFO = 8


def udp_by_packet_info(address: str, wait_s: float = WAIT_S) -> Any:
    """The device is named with the packet, where no filter of calls can see it."""

    def act() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
            handle.settimeout(wait_s)
            info = struct.pack("=iII", socket.if_nametoindex("eth0"), 0, 0)
            ancillary = [(socket.IPPROTO_IP, _IP_PKTINFO, info)]
            handle.sendmsg([b"hello"], ancillary, 0, (address, PORT))
            return "ok" if handle.recv(64) == b"hello" else "something else"

    return _outcome(act)


def look_for_neighbours(count: int) -> Any:
    """So many addresses that are nobody's, each said to be on the cable; and who of
    them is looked for, as the kernel tells."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        _bind_to_device(handle, "eth0")
        for number in range(count):
            address = f"8.9.{number // 250}.{number % 250}"
            handle.sendto(b"hello", socket.MSG_DONTROUTE, (address, PORT))
    # Without the devices that have no need to look.
    return Path("/proc/thread-self/net/arp").read_text().splitlines()[1:]


def from_many_ports(address: str, count: int) -> Any:
    """A datagram from each."""

    def act() -> str:
        for _ in range(count):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
                handle.sendto(b"hello", (address, PORT))
        return "ok"

    return _outcome(act)


def say_to_many(device: str) -> Any:
    """A datagram to `MULTICAST`, by way of a device."""

    def act() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
            info = struct.pack("=iII", socket.if_nametoindex(device), 0, 0)
            # With its default of 1, slirp4netns takes it to have been long on its way.
            handle.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 8)
            ancillary = [(socket.IPPROTO_IP, _IP_PKTINFO, info)]
            handle.sendmsg([b"hello"], ancillary, 0, (MULTICAST, PORT + 1))
            return "ok"

    return _outcome(act)


def tcp6(address: str) -> Any:
    def act() -> str:
        with socket.socket(socket.AF_INET6) as handle:
            handle.settimeout(WAIT_S)
            handle.connect((address, PORT))
            return "ok"

    return _outcome(act)


def look_up(name: str) -> Any:
    """As a program does it, by libc and resolv.conf."""
    try:
        found = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return f"EAI {error.errno}"
    return sorted({str(one[4][0]) for one in found})


def ask_dns(query: str, copies: int = 1, wait_s: float = WAIT_S) -> list[str]:
    """Raw: what comes back for `query`, which is sent `copies` times."""
    got: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        handle.settimeout(wait_s)
        for _ in range(copies):
            handle.sendto(bytes.fromhex(query), ("127.0.0.53", 53))
        with contextlib.suppress(TimeoutError):
            while len(got) < copies:
                got.append(handle.recv(1 << 16).hex())
    return got


def change_network() -> dict[str, Any]:
    """Every way to other routes, addresses or devices that needs no program."""
    lo = struct.pack("16sh22x", b"eth0", 0)

    def netlink(kind: int, body: bytes) -> Callable[[], object]:
        def act() -> str:
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as handle:
                handle.settimeout(WAIT_S)
                length = 16 + len(body)
                handle.send(struct.pack("=IHHII", length, kind, 5, 1, 0) + body)
                (error,) = struct.unpack_from("=i", handle.recv(4096), 16)
                if error:
                    raise OSError(-error, "refused")
                return "ok"

        return act

    def ioctl(number: int) -> Callable[[], object]:
        def act() -> str:
            import fcntl

            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
                fcntl.ioctl(handle, number, lo)
            return "ok"

        return act

    def raw(family: int) -> Callable[[], object]:
        return lambda: socket.socket(family, socket.SOCK_RAW, 3).close()

    route = struct.pack("=BBBBBBBBI", 2, 8, 0, 0, 254, 0, 0, 8, 0)
    route += struct.pack("=HH4s", 8, 1, socket.inet_aton("10.0.0.0"))
    acts = {
        "delete a route": netlink(25, route),
        "add a route": netlink(24, route),
        "take the device down": ioctl(0x8914),
        "set an address": ioctl(0x8916),
        "raw packets": raw(socket.AF_PACKET),
        "raw addresses": raw(socket.AF_INET),
        "make a neighbour": ioctl(0x8955),
    }
    return {name: _outcome(act) for name, act in acts.items()}


def devices() -> list[str]:
    return sorted(name for _, name in socket.if_nameindex())


def throughput(address: str, megabytes: int) -> float:
    """Megabytes in a second, one way and back."""
    began = time.perf_counter()
    assert tcp(address, size=megabytes << 20) == "ok"
    return megabytes / (time.perf_counter() - began)


def children() -> int:
    """How many processes we have, dead or alive."""
    me = os.getpid()
    return len(Path(f"/proc/{me}/task/{me}/children").read_text().split())


TRIES: dict[str, Callable[..., Any]] = {
    act.__name__: act
    for act in (
        *(tcp, udp, udp_by_packet_info, say_to_many, tcp6, look_up, ask_dns),
        *(change_network, devices, throughput, farewells, look_for_neighbours),
        from_many_ports,
    )
}

if __name__ == "__main__":
    main()
