"""Ways to other machines, to the host's servers, and to other instances."""

import ctypes
import errno
import os
import socket
import struct

libc = ctypes.CDLL(None, use_errno=True)
server = None


def attempt(step):
    try:
        step()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "ok"


def each(answers):
    return sorted(set(answers))


def connect(address, family=socket.AF_INET, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as mine:
        mine.settimeout(0.5)
        return attempt(lambda: mine.connect(address))


def nothing(event):
    return "nothing"


def reach_a_server_of_the_host(event):
    """By every name of loopback; the host's is another one."""
    port = event["tcp"]
    answers = [
        connect((host, port))
        for host in (
            "127.0.0.1",
            "127.0.0.2",
            "0.0.0.0",
            "localhost",
            "127.255.255.254",
        )
    ]
    answers += [
        connect((host, port), socket.AF_INET6) for host in ("::1", "::ffff:127.0.0.1")
    ]
    return each(answers)


def send_to_a_server_of_the_host(event):
    """UDP, which asks for no connection."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        mine.sendto(b"hello", ("127.0.0.1", event["udp"]))
        mine.connect(("127.0.0.1", event["udp"]))
        mine.settimeout(0.5)
        mine.send(b"hello")
        return attempt(lambda: mine.recv(10))


def reach_an_abstract_socket_of_the_host(event):
    """Abstract names belong to a network namespace, not to a file system."""
    name = "\0" + event["abstract"]
    return each(
        connect(name, socket.AF_UNIX, kind)
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)
    )


def take_an_abstract_name_of_the_host(event):
    """Free in here: whoever expects the host's service there is not answered by us."""
    global server
    server = socket.socket(socket.AF_UNIX)
    return attempt(lambda: server.bind("\0" + event["abstract"]))


def list_sockets_of_the_host(event):
    """/proc/self/net shows the sockets of a network namespace."""
    found = []
    for name in ("tcp", "tcp6", "udp", "udp6", "raw", "packet", "unix"):
        try:
            with open("/proc/self/net/" + name) as file:
                found += file.read().splitlines()[1:]
        except OSError:
            continue
    return found


def reach_path_sockets_of_the_host(event):
    """Docker, containerd, D-Bus, systemd: sockets with a name in the file system."""
    paths = "/var/run/docker.sock /run/containerd/containerd.sock /run/dbus/system_bus_socket"
    paths += " /run/systemd/notify /tmp/.X11-unix/X0 /run/user/0/bus /dev/log"
    return each(connect(path, socket.AF_UNIX) for path in paths.split())


def reach_metadata_services(event):
    """Link-local addresses, where clouds keep credentials."""
    answers = [connect((host, 80)) for host in ("169.254.169.254", "169.254.170.2")]
    answers += [connect(("fd00:ec2::254", 80), socket.AF_INET6)]
    answers += [connect(("fe80::1", 80, 0, 1), socket.AF_INET6)]
    return each(answers)


def reach_private_networks(event):
    """The operator's own machines."""
    hosts = "10.0.0.1 172.16.0.1 172.17.0.1 192.168.0.1 192.168.1.1 100.64.0.1"
    return each(connect((host, port)) for host in hosts.split() for port in (22, 80))


def reach_the_internet(event):
    """Test networks of RFC 5737 and 3849, which nobody has: no route is enough."""
    answers = [
        connect((host, 443)) for host in ("192.0.2.1", "198.51.100.1", "203.0.113.1")
    ]
    return each([*answers, connect(("2001:db8::1", 443), socket.AF_INET6)])


def reach_everybody(event):
    """Broadcast and multicast."""
    answers = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        for host in ("255.255.255.255", "224.0.0.1", "239.255.255.250"):
            answers.append(attempt(lambda: mine.sendto(b"hello", (host, 9))))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as mine:
        answers.append(attempt(lambda: mine.sendto(b"hello", ("ff02::1", 9, 0, 1))))
    return each(answers)


def ask_for_names(event):
    """There is no resolver to ask."""
    try:
        socket.getaddrinfo("localhost.example", 80)
    except socket.gaierror:
        return "no such name"
    return "resolved"


def open_other_families(event):
    """Netlink, packet, raw, vsock, crypto, bluetooth, CAN, TIPC, XDP, SMC, MPTCP …"""
    answers = []
    for family in range(3, 46):
        if family == socket.AF_INET6:
            continue
        for kind in (1, 2, 3, 5):
            answers.append(attempt(lambda: socket.socket(family, kind, 0).close()))
    for family in (socket.AF_INET, socket.AF_INET6):
        for kind, protocol in (
            (3, 1),
            (3, 255),
            (2, 1),
            (2, 136),
            (1, 262),
            (1, 132),
            (5, 132),
            (6, 33),
        ):
            answers.append(
                attempt(lambda: socket.socket(family, kind, protocol).close())
            )
    return each(answers)


def open_families_with_high_bits(event):
    """The kernel reads 32 bits of a family; a filter that reads 64 could be fooled."""
    answers = []
    for family in (16, 17, 38, 40):
        value = ctypes.c_long((1 << 32) | family)
        got = libc.syscall(ctypes.c_long(41), value, ctypes.c_long(3), ctypes.c_long(0))
        answers.append("ok" if got >= 0 else errno.errorcode[ctypes.get_errno()])
    return each(answers)


def open_pairs_of_other_families(event):
    """socketpair of TIPC and of the internet."""
    answers = []
    for family in (2, 10, 16, 30, 40):
        made = (ctypes.c_int * 2)()
        got = libc.socketpair(family, 1, 0, made)
        answers.append("ok" if got >= 0 else errno.errorcode[ctypes.get_errno()])
    return each(answers)


def configure_the_network(event):
    """Interfaces, routes, addresses, bridges, tunnels: by ioctl, as netlink is gone."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        request = struct.pack("16sh22x", b"lo", 0)
        answers = []
        for number in (
            0x8914,
            0x8916,
            0x890B,
            0x8924,
            0x89A0,
            0x8946,
            0x89F1,
            0x400454CA,
        ):
            got = libc.ioctl(mine.fileno(), ctypes.c_ulong(number), request)
            answers.append("ok" if got >= 0 else errno.errorcode[ctypes.get_errno()])
    return each(answers)


def use_the_packet_filter(event):
    """iptables and ebtables by setsockopt, with their many past bugs."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as mine:
        answers = [
            attempt(lambda: mine.setsockopt(0, option, bytes(128)))
            for option in (64, 65, 128)
        ]
        answers += [
            attempt(lambda: mine.getsockopt(0, option, 128)) for option in (64, 65)
        ]
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as mine:
        answers.append(attempt(lambda: mine.setsockopt(41, 64, bytes(128))))
    return each(answers)


def use_privileged_options(event):
    """Marks, transparent proxies, devices, queues, forced buffers."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as mine:
        return each(
            [
                attempt(lambda: mine.setsockopt(1, 36, 1)),
                attempt(lambda: mine.setsockopt(0, 19, 1)),
                attempt(lambda: mine.setsockopt(1, 33, 1 << 24)),
                attempt(lambda: mine.setsockopt(1, 32, 1 << 24)),
                attempt(lambda: mine.setsockopt(1, 1, 1)),
                attempt(lambda: mine.setsockopt(1, 12, 7)),
                attempt(lambda: mine.setsockopt(6, 19, 1)),
            ]
        )


def attach_programs_that_filter(event):
    """Compiled they are the kernel's memory, which no group counts."""
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = struct.pack("HxxxxxxQ", 1, ctypes.addressof(instruction))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        return each(
            [
                attempt(lambda: mine.setsockopt(1, option, value))
                for option, value in ((26, program), (50, 3), (51, program), (52, 3))
            ]
        )


def have_answers_lost(event):
    """Who connects and does not hear the answer leaves a connection that is half open,
    of which nothing counts as a socket or as memory: by IP_MINTTL and what is like it."""
    answers = []
    for family, level, option, value in (
        (socket.AF_INET, 0, 21, 255),  # IP_MINTTL
        (socket.AF_INET, 0, 4, b"\x01" * 4),  # IP_OPTIONS
        (socket.AF_INET, 0, 15, 1),  # IP_FREEBIND
        (socket.AF_INET6, 41, 73, 255),  # IPV6_MINHOPCOUNT
        (socket.AF_INET6, 41, 78, 1),  # IPV6_FREEBIND
    ):
        with socket.socket(family, socket.SOCK_STREAM) as mine:
            answers.append(attempt(lambda: mine.setsockopt(level, option, value)))  # noqa: B023
    return each(answers)


def join_groups_without_end(event):
    """Of IPv6: memory of the kernel's for each of a socket's groups."""
    joined = struct.pack("16sI", socket.inet_pton(socket.AF_INET6, "ff02::1:2"), 1)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as mine:
        return each(
            [
                attempt(lambda: mine.setsockopt(41, option, joined))  # noqa: B023
                for option in (20, 42)
            ]
        )


def keep_what_came_back(event):
    """By IP_RECVERR: a datagram that nobody takes waits with its sender, as an error."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        mine.setsockopt(0, 11, 1)
        mine.sendto(b"hello", ("127.0.0.1", 1))
        flags = socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT
        return attempt(lambda: mine.recvmsg(64, 512, flags))


def keep_what_is_half_open(event):
    """TCP_SYNCNT and TCP_DEFER_ACCEPT: whether any of it lasts longer than before."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as mine:
        before = [mine.getsockopt(6, option) for option in (7, 9)]
        mine.setsockopt(6, 7, 127)
        mine.setsockopt(6, 9, 3600)
        return [mine.getsockopt(6, option) for option in (7, 9)] != before


def load_protocols_on_demand(event):
    """Options that make the kernel look for a module: TLS, congestion control."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as mine:
        answers = [
            attempt(lambda: mine.setsockopt(6, 13, name)) for name in (b"vegas", b"nv")
        ]
        answers += [
            attempt(lambda: mine.setsockopt(6, 31, name)) for name in (b"smc", b"mptcp")
        ]
    return "ok" in answers


def ask_who_the_engine_is(event):
    """SO_PEERCRED of the channel: a pid and a user of the host's."""
    with socket.socket(fileno=os.dup(3)) as channel:
        pid, uid, gid = struct.unpack("3i", channel.getsockopt(1, 17, 12))
    return [pid, uid in (65534, 1000), gid in (65534, 1000)]


def signal_the_engine(event):
    """SO_PEERPIDFD: a handle on the process at the other end of the channel. Rootless
    it runs as the same user as we do."""
    import signal

    with socket.socket(fileno=os.dup(3)) as channel:
        try:
            raw = channel.getsockopt(1, 77, 4)
        except OSError as error:
            return [errno.errorcode[error.errno]]
    (fd,) = struct.unpack("i", raw)
    answers = []
    for number in (0, signal.SIGTERM, signal.SIGKILL):
        got = libc.syscall(424, fd, number, None, 0)
        answers.append("ok" if got >= 0 else errno.errorcode[ctypes.get_errno()])
    for call, arguments in {
        438: (fd, 0, 0),
        308: (fd, 0x40000000),
        440: (fd, 0, 0, 4, 0),
    }.items():
        got = libc.syscall(call, *arguments)
        answers.append("ok" if got >= 0 else errno.errorcode[ctypes.get_errno()])
    return each(answers)


def read_the_engine_s_handle(event):
    """What /proc tells of that handle: the process's number on the host."""
    with socket.socket(fileno=os.dup(3)) as channel:
        try:
            raw = channel.getsockopt(1, 77, 4)
        except OSError:
            return [0]
    (fd,) = struct.unpack("i", raw)
    with open("/proc/self/fdinfo/%d" % fd) as file:
        return [int(line.split()[1]) for line in file if line.startswith("Pid:")]


def ask_to_be_told_who_writes(event):
    """SO_PASSCRED and SO_PASSPIDFD: credentials and a handle with every event."""
    with socket.socket(fileno=os.dup(3)) as channel:
        channel.setsockopt(1, 16, 1)
        attempt(lambda: channel.setsockopt(1, 76, 1))
    return "asked"


def serve(event):
    """Bind a port, and say so; the instance stays."""
    global server
    server = socket.socket()
    server.setsockopt(1, 15, 1)
    server.bind(("127.0.0.1", 8080))
    server.listen()
    return "serving"


def reach_a_sibling_s_port(event):
    """Another instance of the same function serves there."""
    return connect(("127.0.0.1", 8080))


def handler(event, context):
    return globals()[event["do"]](event)
