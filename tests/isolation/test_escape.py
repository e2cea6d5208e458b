"""System calls that have let others out of jails, made from inside of ours."""

import os
import signal
import socket
import time

import pytest

from tests.descriptors import open_files
from tests.isolation.machine import CONFINES_SIGNALS, Guest, Sandbox, ask, send

pytestmark = pytest.mark.asyncio(loop_scope="session")

needs_x86_64 = pytest.mark.skipif(
    os.uname().machine != "x86_64", reason="the numbers are those of x86-64"
)

WAITS_S = 20
"""How long a connection waits that a guest sends us."""

REFUSED = {
    "ptrace attach": (101, 16, 1, 0, 0),
    "process_vm_readv": (310, 1, 0, 0, 0, 0, 0),
    "process_vm_writev": (311, 1, 0, 0, 0, 0, 0),
    "kcmp": (312, 1, 2, 0, 0, 0),
    "pidfd_getfd": (438, 0, 0, 0),
    "mount": (165, 0, 0, 0, 0, 0),
    "umount2": (166, 0, 2),
    "pivot_root": (155, 0, 0),
    "chroot": (161, 0),
    "unshare user": (272, 0x10000000),
    "unshare mounts": (272, 0x00020000),
    "open_tree": (428, 0, 0, 0),
    "move_mount": (429, 0, 0, 0, 0, 0),
    "fsopen": (430, 0, 0),
    "fsmount": (432, 0, 0, 0),
    "mount_setattr": (442, 0, 0, 0, 0, 0),
    "bpf": (321, 0, 0, 0),
    "perf_event_open": (298, 0, 0, 0, 0, 0),
    "keyctl": (250, 0, 0, 0, 0, 0),
    "add_key": (248, 0, 0, 0, 0, 0),
    "request_key": (249, 0, 0, 0, 0),
    "userfaultfd": (323, 0),
    "open_by_handle_at": (304, 0, 0, 0),
    "name_to_handle_at": (303, 0, 0, 0, 0, 0),
    "init_module": (175, 0, 0, 0),
    "finit_module": (313, 0, 0, 0),
    "kexec_load": (246, 0, 0, 0, 0),
    "reboot": (169, 0, 0, 0, 0),
    "swapon": (167, 0, 0),
    "syslog": (103, 3, 0, 0),
    "sethostname": (170, 0, 0),
    "settimeofday": (164, 0, 0),
    "clock_settime": (227, 0, 0),
    "mknod": (133, 0, 0o20666, 0x103),
    "setuid": (105, 0),
    "setresuid": (117, 0, 0, 0),
    "setgroups": (116, 0, 0),
    "seccomp": (317, 1, 0, 0),
    "fanotify_init": (300, 0, 0),
    "quotactl": (179, 0, 0, 0, 0),
    "iopl": (172, 3),
    "modify_ldt": (154, 0, 0, 0),
    "vmsplice": (278, 0, 0, 0, 0),
}
"""By name: EPERM."""

UNKNOWN = {
    "setns of any kind": (308, 0, 0),
    "setns into a user namespace": (308, 0, 0x10000000),
    "clone into a user namespace": (56, 0x10000000, 0, 0, 0, 0),
    "clone into a network namespace": (56, 0x40000000, 0, 0, 0, 0),
    "clone3": (435, 0, 0),
    "io_uring_setup": (425, 1, 0),
    "io_setup": (206, 1, 0),
    "shmget": (29, 0, 4096, 0o1600),
    "msgget": (68, 0, 0o1600),
    "semget": (64, 0, 1, 0o1600),
    "mq_open": (240, 0, 0, 0, 0),
    "personality": (135, 0x0040000),
    "prctl PR_SET_SECCOMP": (157, 22, 2, 0, 0, 0),
    "prctl PR_SET_DUMPABLE": (157, 4, 0, 0, 0, 0),
    "prctl PR_CAP_AMBIENT": (157, 47, 2, 21, 0, 0),
    "prctl PR_SET_MM": (157, 35, 1, 0, 0, 0),
    "fcntl F_SETLEASE": (72, 0, 1024, 0),
    "fcntl F_NOTIFY": (72, 0, 1026, 0),
    "fcntl F_SETPIPE_SZ": (72, 1, 1031, 1 << 20),
    "ioctl TIOCSTI": (16, 0, 0x5412, 0),
    "ioctl TIOCSTI with a high bit": (16, 0, (1 << 32) | 0x5412, 0),
    "ioctl TIOCLINUX": (16, 0, 0x541C, 0),
    "ioctl FS_IOC_SETFLAGS": (16, 0, 0x40086602, 0),
    "landlock_create_ruleset": (444, 0, 0, 1),
    "memfd_secret": (447, 0),
    "process_mrelease": (448, 0, 0),
    "statmount": (457, 0, 0, 0, 0),
    "a number that no kernel has": (999,),
}
"""Not listed, or with an argument that no rule allows: ENOSYS."""


@needs_x86_64
async def test_what_lets_out_of_jails_is_refused(curious: Guest) -> None:
    answers = await curious.ask("syscalls", calls=REFUSED)

    assert answers == dict.fromkeys(REFUSED, "EPERM")


async def test_a_thread_may_ask_for_the_scheduling_that_it_has(curious: Guest) -> None:
    asked = await curious.ask("schedule")

    assert asked == {
        "in a thread": "ok",
        "for nobody": "ok",  # so it is not the kernel who answers
        **dict.fromkeys(("FIFO", "RR", "BATCH", "IDLE"), "ENOSYS"),
        "has": "OTHER",
    }


@needs_x86_64
async def test_what_is_not_listed_does_not_exist(curious: Guest) -> None:
    answers = await curious.ask("syscalls", calls=UNKNOWN)

    assert answers == dict.fromkeys(UNKNOWN, "ENOSYS")


@needs_x86_64
@pytest.mark.parametrize("machine", ["i386", "x32"])
async def test_another_instruction_set_s_calls_kill(
    curious: Guest, machine: str
) -> None:
    instance = await curious.fork()
    ours = await ask(instance, "foreign_instructions", machine="x86_64")
    theirs = await ask(instance, "foreign_instructions", machine=machine)
    await instance.destroy()

    assert ours == 0
    assert theirs == -signal.SIGSYS


async def test_sockets_are_unix_tcp_and_udp(curious: Guest) -> None:
    allowed = {
        "unix": (1, 1, 0),
        "unix pairs of datagrams": (1, 2, 0),
        "tcp": (2, 1, 0),
        "tcp by number": (2, 1, 6),
        "udp": (2, 2, 17),
        "tcp over v6": (10, 1, 0),
        "udp over v6, non-blocking": (10, 2 | socket.SOCK_NONBLOCK, 0),
    }
    refused = {
        "netlink route": (16, 3, 0),
        "netlink netfilter": (16, 3, 12),
        "packet": (17, 3, 0),
        "raw": (2, 3, 1),
        "ping": (2, 2, 1),
        "udp-lite": (2, 2, 136),
        "mptcp": (2, 1, 262),
        "sctp": (2, 1, 132),
        "vsock": (40, 1, 0),
        "alg": (38, 5, 0),
        "key": (15, 3, 2),
        "can": (29, 3, 1),
        "bluetooth": (31, 5, 0),
        "tipc": (30, 5, 0),
        "xdp": (44, 3, 0),
        "smc": (43, 1, 0),
        "rds": (21, 5, 0),
    }

    answers = await curious.ask("sockets", kinds={**allowed, **refused})

    assert {name: answers[name] for name in allowed} == dict.fromkeys(allowed, "ok")
    assert {name: answers[name] for name in refused} == dict.fromkeys(refused, "ENOSYS")


async def test_it_can_signal_nothing_beyond_itself(
    curious: Guest,
) -> None:
    sibling = await curious.fork()
    await ask(sibling, "tmp")
    instance = await curious.fork()

    # Its cell's first process, which no signal of its own namespace ends.
    reached = "EPERM" if CONFINES_SIGNALS else "ok"

    for number in (0, signal.SIGINT, signal.SIGSTOP, signal.SIGKILL):
        hit = await ask(instance, "signal_all", signal=number, up_to=400)
        assert hit == [[1, reached]]

    assert await ask(instance, "tmp") == []
    assert await ask(sibling, "tmp") == []
    await instance.destroy()
    await sibling.destroy()


async def test_it_can_read_nothing_of_its_cell_s_first_process(
    curious: Guest,
) -> None:
    found = await curious.ask("read_memory", pid=1)

    assert set(found.values()) <= {"ENOENT", "EACCES", "EPERM"}


async def test_the_network_has_a_loopback_and_no_way_out(curious: Guest) -> None:
    devices = await curious.ask("interfaces")
    away = await curious.ask("connect", host="192.0.2.1", port=80)

    assert [line.split(":")[0].strip() for line in devices.splitlines()[2:]] == ["lo"]
    assert away == "ENETUNREACH"


async def test_a_server_of_the_host_s_cannot_be_reached(curious: Guest) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answer = await curious.ask(
            "connect", host="127.0.0.1", port=server.getsockname()[1]
        )

    assert answer == "ECONNREFUSED"


async def test_an_abstract_socket_of_the_host_s_cannot_be_reached(
    curious: Guest,
) -> None:
    name = f"sandlot-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0" + name)
        server.listen()
        answer = await curious.ask("bind_abstract", name=name)

    assert answer == "ok", "its namespace has that name free"


async def test_two_instances_serve_on_the_same_port(curious: Guest) -> None:
    one, other = await curious.fork(), await curious.fork()

    assert await ask(one, "bind", host="127.0.0.1", port=8080) == "ok"
    assert await ask(other, "bind", host="127.0.0.1", port=8080) == "ok"
    await one.destroy()
    await other.destroy()


async def test_descriptors_sent_up_the_channel_do_not_arrive(
    own_sandbox: Sandbox,
) -> None:
    before = open_files()
    async with own_sandbox.running("curious") as guest:
        instance = await guest.fork()
        ending = await send(instance, "push_descriptors", timeout_s=1)
        await instance.destroy()

    is_refused = ending.payload == b'"EPERM"'
    assert is_refused or not ending.is_reusable
    assert open_files() == before


async def test_nobody_waits_for_what_was_sent_up_the_channel(
    own_sandbox: Sandbox,
) -> None:
    async with own_sandbox.running("curious") as guest:
        instance = await guest.fork()
        began = time.monotonic()
        await send(instance, "push_what_waits", timeout_s=1, seconds=WAITS_S)
        await instance.destroy()
        took_s = time.monotonic() - began

    assert took_s < WAITS_S / 2, "our loop stood still"
