"""The policy's tables, and the programs made from them, run call by call."""

import errno
import itertools
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pyseccomp
import pytest

from sandlot_sandbox import policy
from sandlot_sandbox.launcher.filters import (
    Filters,
    compile_filters,
    compile_policy,
)
from tests.fakes import bpf

ARCHES = {"x86_64": bpf.ARCH_X86_64, "aarch64": bpf.ARCH_AARCH64}
ARCH = ARCHES[os.uname().machine]
ON_X86_64 = os.uname().machine == "x86_64"

NEWER_THAN_SOME_LIBSECCOMP = frozenset(
    (
        *("epoll_pwait2", "fchmodat2", "mseal"),
        *("futex_requeue", "futex_waitv", "futex_wait", "futex_wake"),
    )
)
"""Allowed where libseccomp knows them, else ENOSYS: the stricter answer."""

ONLY_ON_X86_64 = frozenset(
    policy.group(
        "aarch64 has newer calls in their stead",
        "open creat stat lstat access dup2 pipe poll select epoll_create epoll_wait"
        " eventfd signalfd getdents rename mkdir rmdir link unlink symlink"
        " readlink chmod chown lchown utime utimes futimesat fork vfork getpgrp pause"
        " alarm time arch_prctl mknod iopl ioperm modify_ldt lookup_dcookie",
    ).calls
)

REFUSED = bpf.ERRNO | errno.EPERM
UNSUITED = bpf.ERRNO | errno.EINVAL
MISSING = bpf.ERRNO | errno.ENOSYS
HIGH = 1 << 32
ALL_BITS = 2**64 - 1

LINGER = 13

NUMBERS = range(601)
"""More than any kernel has calls, on either machine."""

MOST_INSTRUCTIONS = 40
"""Of a search among some 330 numbers, with what a rule looks at behind it."""

TABLES = tuple(
    table for table in vars(policy).values() if isinstance(table, policy.Policy)
)
by_name = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name[:22])


@pytest.fixture(scope="module")
def filters() -> Filters:
    return compile_filters(has_memory_group=True)


@pytest.fixture(scope="module")
def program() -> Callable[[policy.Policy], bytes]:
    made = {table: compile_policy(table) for table in TABLES}
    return made.__getitem__


def _number(call: str) -> int:
    return int(pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, call))


def _allowed(table: policy.Policy) -> list[str]:
    return [call for group in table.allowed for call in group.calls]


def _refused(table: policy.Policy) -> list[str]:
    return [call for group in table.refused for call in group.calls]


def _unsuited(table: policy.Policy) -> list[str]:
    return [call for group in table.unsuited for call in group.calls]


def _zygote(filters: Filters, call: str, *arguments: int) -> int:
    return bpf.decide(filters.zygote, _number(call), arguments, arch=ARCH)


class _Reading:
    """A table, read as a reviewer reads it."""

    def __init__(self, table: policy.Policy) -> None:
        default = table.default
        self._otherwise = (
            bpf.ALLOW
            if default == "allow"
            else bpf.ERRNO | int(getattr(errno, default))
        )
        self._answers = {_number(call): bpf.ALLOW for call in _allowed(table)}
        self._answers |= {_number(call): REFUSED for call in _refused(table)}
        self._answers |= {_number(call): UNSUITED for call in _unsuited(table)}
        self._rules = {_number(rule.call): rule for rule in table.rules}
        self._pretended = {_number(rule.call): rule for rule in table.pretended}

    def answer(self, number: int, arguments: Sequence[int]) -> int:
        if (rule := self._pretended.get(number)) and _holds(rule, arguments):
            return bpf.ERRNO
        if (rule := self._rules.get(number)) is not None:
            return bpf.ALLOW if _holds(rule, arguments) else self._otherwise
        return self._answers.get(number, self._otherwise)


def _holds(rule: policy.Rule, arguments: Sequence[int]) -> bool:
    # Not with `any` and `all`, which take twice as long millions of times.
    for alternative in rule.alternatives:
        for a in alternative:
            if arguments[a.index] & a.mask != a.value:
                break
        else:
            return True
    return False


def _interesting(number: int) -> Iterator[tuple[int, ...]]:
    """Arguments to try with a call: for one that a rule looks at, whatever any table's
    rule mentions, what is next to it, single bits, and all with bits above the 32."""
    yield (0,) * 6
    yield (ALL_BITS,) * 6
    for rule in (rule for table in TABLES for rule in table.rules):
        if _number(rule.call) != number:
            continue
        conditions = [a for alternative in rule.alternatives for a in alternative]
        values = [
            _around({a.value for a in conditions if a.index == index})
            if any(a.index == index for a in conditions)
            else [0]
            for index in range(6)
        ]
        yield from itertools.product(*values)


def _around(values: set[int]) -> list[int]:
    near = {value + step & 0xFFFFFFFF for value in values for step in (-1, 0, 1)}
    # In a family or type of socket no more bits than these, or it takes a minute.
    bits = {1 << bit for bit in range(0, 32, 1 if len(values) < 2 else 5)}
    return [high | value for value in near | bits for high in (0, HIGH, ~0xFFFFFFFF)]


@by_name
def test_every_call_of_a_table_has_a_number(table: policy.Policy) -> None:
    listed = [*_allowed(table), *_refused(table), *_unsuited(table)]
    names = [*listed, *(rule.call for rule in table.rules)]
    unknown = {call for call in names if _number(call) < 0}

    assert unknown - NEWER_THAN_SOME_LIBSECCOMP <= (
        frozenset() if ON_X86_64 else ONLY_ON_X86_64
    )


@by_name
def test_a_call_stands_in_a_table_once(table: policy.Policy) -> None:
    listed = [*_allowed(table), *_refused(table), *_unsuited(table)]
    counts = Counter([*listed, *(rule.call for rule in table.rules)])

    assert [call for call, count in counts.items() if count > 1] == []


@by_name
def test_every_group_and_rule_gives_a_reason(table: policy.Policy) -> None:
    for group in (*table.allowed, *table.refused, *table.unsuited):
        assert group.reason.strip()
        assert group.calls
    for rule in table.rules:
        assert rule.reason.strip()
        assert all(rule.alternatives), "an alternative without a condition is no rule"


@by_name
def test_a_rule_s_condition_can_hold(table: policy.Policy) -> None:
    conditions = [
        condition
        for rule in table.rules
        for alternative in rule.alternatives
        for condition in alternative
    ]

    for condition in conditions:
        assert condition.value & condition.mask == condition.value, condition
        is_no_pointer = (condition.value, condition.mask) == (0, (1 << 64) - 1)
        assert condition.mask <= 0xFFFFFFFF or is_no_pointer, "what the kernel reads"


@by_name
@pytest.mark.timeout(300)  # a minute, where others want the processor as well
def test_a_program_is_its_table_for_every_number_and_argument(
    table: policy.Policy, program: Callable[[policy.Policy], bytes]
) -> None:
    reading, made = _Reading(table), program(table)

    for number in NUMBERS:
        for arguments in _interesting(number):
            got = bpf.decide(made, number, arguments, arch=ARCH)
            assert got == reading.answer(number, arguments), (number, arguments)


def test_nobody_in_a_jail_loads_a_filter() -> None:
    for table in (policy.ZYGOTE, policy.ZYGOTE_WITHOUT_GROUPS):
        assert "seccomp" in _refused(table)


def test_where_nobody_counts_memory_only_what_nobody_sees_is_missing() -> None:
    taken = set(_allowed(policy.ZYGOTE)) - set(_allowed(policy.ZYGOTE_WITHOUT_GROUPS))
    more = set(policy.ZYGOTE_WITHOUT_GROUPS.rules) - set(policy.ZYGOTE.rules)
    less = set(policy.ZYGOTE.rules) - set(policy.ZYGOTE_WITHOUT_GROUPS.rules)
    in_part = {rule.call for rule in more}

    assert taken - in_part == {"sendfile", "splice", "tee"}
    assert {rule.call for rule in less} == {"memfd_create", "setsockopt"}
    assert in_part == {"setsockopt", "sendto", "sendmsg", "sendmmsg"}
    assert policy.ZYGOTE_WITHOUT_GROUPS.refused == policy.ZYGOTE.refused
    assert _unsuited(policy.ZYGOTE_WITHOUT_GROUPS) == ["sendfile"]


@by_name
@pytest.mark.parametrize(
    "arch", [bpf.ARCH_I386, bpf.ARCH_X86_64, bpf.ARCH_AARCH64, 0, 0xFFFFFFFF], ids=hex
)
def test_a_foreign_instruction_set_kills(
    table: policy.Policy, arch: int, program: Callable[[policy.Policy], bytes]
) -> None:
    if arch == ARCH:
        return
    for number in NUMBERS:
        for arguments in ((0,) * 6, (ALL_BITS,) * 6):
            got = bpf.decide(program(table), number, arguments, arch=arch)
            assert got == bpf.KILL_PROCESS, number


@pytest.mark.skipif(not ON_X86_64, reason="x32 is a part of x86-64")
@by_name
def test_x32_kills(
    table: policy.Policy, program: Callable[[policy.Policy], bytes]
) -> None:
    for number in (*NUMBERS, 0x3FFFFFFF):
        for arguments in ((0,) * 6, (ALL_BITS,) * 6):
            made = program(table)
            got = bpf.decide(made, number | bpf.X32, arguments, arch=ARCH)
            assert got == bpf.KILL_PROCESS, number


@by_name
def test_a_program_is_a_binary_search(
    table: policy.Policy, program: Callable[[policy.Policy], bytes]
) -> None:
    made = program(table)
    by_rule = {_number(rule.call) for rule in table.rules}
    plain = [number for number in NUMBERS if number not in by_rule]

    longest = max(bpf.run(made, number, arch=ARCH)[1] for number in plain)
    length = len(made) // 8

    assert longest <= MOST_INSTRUCTIONS
    # A list would take as many steps as it has lines.
    assert longest < length / 4 or length < MOST_INSTRUCTIONS


CLONE_THREAD = 0x3D0F00
CLONE_CHILD = 0x1200011


@pytest.mark.parametrize(
    ("flags", "is_allowed"),
    [
        (CLONE_THREAD, True),
        (CLONE_CHILD, True),
        (17, True),
        (0, True),
        *((1 << bit, False) for bit in (17, 25, 26, 27, 28, 29, 30)),
        (CLONE_THREAD | 0x10000000, False),
        (CLONE_THREAD & ~0x400, False),  # without CLONE_FILES
        (HIGH | 0x10000000, False),
        (HIGH | 17, True),
    ],
    ids=hex,
)
def test_clone_makes_no_namespace(
    filters: Filters, flags: int, is_allowed: bool
) -> None:
    assert _zygote(filters, "clone", flags) == (bpf.ALLOW if is_allowed else MISSING)


def test_filters_are_made_where_no_folder_can_be_written_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")

    assert compile_filters(has_memory_group=True).zygote


def test_clone3_is_missing_because_its_flags_cannot_be_seen(filters: Filters) -> None:
    assert _zygote(filters, "clone3", 0, 88) == MISSING


UNIX, INET, INET6, NETLINK, PACKET, VSOCK, ALG = 1, 2, 10, 16, 17, 40, 38
STREAM, DGRAM, RAW, SEQPACKET = 1, 2, 3, 5
NONBLOCK_CLOEXEC = 0o2004000


@pytest.mark.parametrize(
    ("arguments", "is_allowed"),
    [
        ((UNIX, STREAM, 0), True),
        ((UNIX, SEQPACKET | NONBLOCK_CLOEXEC, 0), True),
        *(((family, STREAM, 0), True) for family in (INET, INET6)),
        *(((family, STREAM, 6), True) for family in (INET, INET6)),
        *(((family, DGRAM | NONBLOCK_CLOEXEC, 17), True) for family in (INET, INET6)),
        ((INET, STREAM, 17), False),
        ((INET, STREAM, 132), False),
        ((INET, STREAM, 262), False),
        ((INET, DGRAM, 1), False),
        ((INET, DGRAM, 136), False),
        ((INET, RAW, 0), False),
        ((INET, RAW, 255), False),
        ((INET, SEQPACKET, 132), False),
        ((INET, STREAM, HIGH | 262), False),
        ((NETLINK, RAW, 0), False),
        ((NETLINK, DGRAM, 12), False),
        ((HIGH | NETLINK, RAW, 12), False),
        ((PACKET, RAW, 0), False),
        ((VSOCK, STREAM, 0), False),
        ((ALG, SEQPACKET, 0), False),
        *(((family, STREAM, 0), False) for family in range(3, 64) if family != INET6),
    ],
    ids=str,
)
def test_sockets_are_unix_tcp_and_udp(
    filters: Filters, arguments: Sequence[int], is_allowed: bool
) -> None:
    got = _zygote(filters, "socket", *arguments)

    assert got == (bpf.ALLOW if is_allowed else MISSING)


@pytest.mark.parametrize("option", [26, 50, 51, 52])
@pytest.mark.parametrize("level", [1, 1 | 1 << 32])
@pytest.mark.parametrize("table", [policy.ZYGOTE, policy.ZYGOTE_WITHOUT_GROUPS])
def test_no_socket_has_a_program_that_filters(
    table: policy.Policy,
    level: int,
    option: int,
    program: Callable[[policy.Policy], bytes],
) -> None:
    call = _number("setsockopt")
    got = bpf.decide(program(table), call, (3, level, option), arch=ARCH)

    assert got == MISSING


@pytest.mark.parametrize("level", [1, 1 | 1 << 32])
@pytest.mark.parametrize("table", [policy.ZYGOTE, policy.ZYGOTE_WITHOUT_GROUPS])
def test_no_socket_waits_when_it_is_closed(
    table: policy.Policy, level: int, program: Callable[[policy.Policy], bytes]
) -> None:
    call = _number("setsockopt")
    got = bpf.decide(program(table), call, (3, level, LINGER), arch=ARCH)

    assert got == bpf.ERRNO, "it succeeds, and does nothing"


LOST, NOT_WAITED_FOR = ((0, 4), (0, 15), (0, 21), (41, 73), (6, 14)), ((6, 7), (6, 9))
"""By level: IP_OPTIONS, FREEBIND, MINTTL, IPV6_MINHOPCOUNT, TCP_MD5SIG, by which an
answer does not arrive; TCP_SYNCNT, TCP_DEFER_ACCEPT."""


@pytest.mark.parametrize("table", [policy.ZYGOTE, policy.ZYGOTE_WITHOUT_GROUPS])
def test_no_connection_is_kept_half_open(
    table: policy.Policy, program: Callable[[policy.Policy], bytes]
) -> None:
    made, call = program(table), _number("setsockopt")

    for option in LOST:
        assert bpf.decide(made, call, (3, *option), arch=ARCH) == MISSING, option
    for option in NOT_WAITED_FOR:
        assert bpf.decide(made, call, (3, *option), arch=ARCH) == bpf.ERRNO, option


@pytest.mark.parametrize("table", [policy.ZYGOTE, policy.ZYGOTE_WITHOUT_GROUPS])
def test_no_socket_keeps_what_it_has_sent(
    table: policy.Policy, program: Callable[[policy.Policy], bytes]
) -> None:
    made, call = program(table), _number("setsockopt")

    for option in ((0, 11), (41, 25)):  # IP_RECVERR, IPV6_RECVERR
        assert bpf.decide(made, call, (3, *option), arch=ARCH) == bpf.ERRNO
    for option in ((1, 37), (1, 65), (1, 60), (1, 61)):
        # SO_TIMESTAMPING, of both kinds, ZEROCOPY, TXTIME
        assert bpf.decide(made, call, (3, *option), arch=ARCH) == MISSING


@pytest.mark.parametrize("table", [policy.ZYGOTE, policy.ZYGOTE_WITHOUT_GROUPS])
def test_no_socket_is_in_more_groups_than_a_few(
    table: policy.Policy, program: Callable[[policy.Policy], bytes]
) -> None:
    """Of IPv4 they are counted (`igmp_max_memberships`), of IPv6 they are not."""
    made, call = program(table), _number("setsockopt")

    for option in (20, 27, *range(42, 49)):
        assert bpf.decide(made, call, (3, 41, option), arch=ARCH) == MISSING, option


CORE, NOFILE, LOW = 4, 7, 1 << 32
"""Two limits, and a pointer whose low half is none."""


@pytest.mark.parametrize(
    ("call", "arguments", "is_allowed"),
    [
        ("prlimit64", (0, NOFILE, LOW, 0), True),
        ("prlimit64", (0, CORE, 0, LOW), True),
        ("prlimit64", (0, CORE, 1 << 32, LOW), False),
        ("prlimit64", (0, CORE, LOW, 0), False),
        ("prlimit64", (0, HIGH | CORE, LOW, 0), False),
        ("prlimit64", (1, NOFILE, 0, LOW), False),
        ("setrlimit", (NOFILE, LOW), True),
        ("setrlimit", (CORE, LOW), False),
        ("getrlimit", (CORE, LOW), True),
    ],
    ids=str,
)
def test_the_limit_of_cores_stays(
    filters: Filters, call: str, arguments: Sequence[int], is_allowed: bool
) -> None:
    wanted = bpf.ALLOW if is_allowed else MISSING

    assert _zygote(filters, call, *arguments) == wanted


def test_pairs_are_of_unix_sockets(filters: Filters) -> None:
    for family in range(64):
        got = _zygote(filters, "socketpair", family, STREAM, 0)
        assert got == (bpf.ALLOW if family == UNIX else MISSING)


TCGETS, TIOCSTI, TIOCLINUX, FIONREAD, SIOCGIFCONF = (
    0x5401,
    0x5412,
    0x541C,
    0x541B,
    0x8912,
)


@pytest.mark.parametrize("request_", [TCGETS, FIONREAD, SIOCGIFCONF], ids=hex)
def test_what_libraries_ask_of_descriptors_is_answered(
    filters: Filters, request_: int
) -> None:
    assert _zygote(filters, "ioctl", 0, request_) == bpf.ALLOW


@pytest.mark.parametrize(
    "request_",
    [TIOCSTI, TIOCLINUX, 0x8914, 0x89F0, 0x40086602, 0xC0185879, 0x4C00, 0xB701],
    ids=hex,
)
@pytest.mark.parametrize("high", [0, HIGH, 0xFFFFFFFF << 32], ids=hex)
def test_other_ioctls_are_missing_whatever_is_in_the_bits_above(
    filters: Filters, request_: int, high: int
) -> None:
    assert _zygote(filters, "ioctl", 0, high | request_) == MISSING


@pytest.mark.parametrize(
    ("call", "arguments", "is_allowed"),
    [
        ("prctl", (15,), True),  # PR_SET_NAME
        ("prctl", (4,), False),  # PR_SET_DUMPABLE
        ("prctl", (22, 2), False),  # PR_SET_SECCOMP
        ("prctl", (24,), False),  # PR_CAPBSET_DROP
        ("prctl", (35,), False),  # PR_SET_MM
        ("prctl", (47, 2), False),  # PR_CAP_AMBIENT
        ("prctl", (0x59616D61,), False),  # PR_SET_PTRACER
        ("personality", (0xFFFFFFFF,), True),
        ("personality", (0,), False),
        ("personality", (0x0040000,), False),  # ADDR_NO_RANDOMIZE
        ("fcntl", (0, 3), True),  # F_GETFL
        ("fcntl", (0, 1024), False),  # F_SETLEASE
        ("fcntl", (0, 1026), False),  # F_NOTIFY
        ("fcntl", (0, 1031), False),  # F_SETPIPE_SZ
        ("fcntl", (0, HIGH | 1031), False),
        ("fcntl", (0, 10), False),  # F_SETSIG
        ("setns", (3, 0x20000), True),
        ("setns", (3, 0), False),
        ("setns", (3, 0x10000000), False),  # CLONE_NEWUSER
        ("setns", (3, 0x60020000), False),
        ("unshare", (0x20000,), None),
        ("mount", (), None),
        ("ptrace", (16,), None),
        *((call, (), None) for call in ("setxattr", "lsetxattr", "fsetxattr")),
        ("io_uring_setup", (), False),
        ("memfd_secret", (), False),
    ],
    ids=str,
)
def test_what_a_zygote_may_do(
    filters: Filters, call: str, arguments: Sequence[int], is_allowed: bool | None
) -> None:
    """None: refused by name."""
    wanted = {True: bpf.ALLOW, False: MISSING, None: REFUSED}[is_allowed]

    assert _zygote(filters, call, *arguments) == wanted


NEW_CELL = 0x60020011


@pytest.mark.parametrize(
    ("call", "arguments", "is_allowed"),
    [
        ("clone", (NEW_CELL,), True),
        ("clone", (NEW_CELL & ~0x40000000,), True),  # where the network is shared
        ("clone", (17,), False),  # a fork
        ("clone", (NEW_CELL | 0x10000000,), False),  # CLONE_NEWUSER
        ("clone", (CLONE_THREAD,), False),
        ("clone3", (0, 88), False),
        ("execve", (), False),
        ("setns", (3, 0x20000), False),
        ("unshare", (0x20000,), False),
        ("ptrace", (16,), False),
        ("process_vm_readv", (), False),
        ("mount", (0, 0, 0, 6), True),  # MS_NOSUID, MS_NODEV
        ("mount", (0, 0, 0, 0x1000 | 6), False),  # MS_BIND
        ("mount", (0, 0, 0, 0x20 | 6), False),  # MS_REMOUNT
        ("umount2", (), False),
        ("pivot_root", (), False),
        ("open_tree", (0, 0, 0o2000001), True),  # OPEN_TREE_CLONE, _CLOEXEC
        ("open_tree", (0, 0, 0o2100001), False),  # AT_RECURSIVE, too
        ("move_mount", (3, 0, 0, 0, 4), True),  # MOVE_MOUNT_F_EMPTY_PATH
        ("move_mount", (3, 0, 0, 0, 0), False),
        ("mount_setattr", (), False),
        ("openat", (3, 0, 0o2000000), True),  # O_CLOEXEC
        ("openat", (3, 0, 1), False),
        ("openat", (3, 0, 2), False),
        ("openat", (3, 0, 0o100), False),  # O_CREAT
        ("socket", (INET, DGRAM, 0), True),
        ("socket", (INET, STREAM, 0), True),
        ("socket", (NETLINK, RAW, 0), False),
        ("bind", (3, 0, 16), True),
        ("listen", (3, 32), True),
        ("connect", (3, 0, 16), False),
        ("accept4", (3, 0, 0, 0), False),
        ("connect", (), False),
        ("prctl", (4, 1), False),  # PR_SET_DUMPABLE
        ("prctl", (47, 2), False),  # PR_CAP_AMBIENT, raise
        ("setresuid", (), False),
    ],
    ids=str,
)
def test_a_warden_makes_cells_and_nothing_else(
    filters: Filters, call: str, arguments: Sequence[int], is_allowed: bool
) -> None:
    got = bpf.decide(filters.warden, _number(call), arguments, arch=ARCH)

    assert got == (bpf.ALLOW if is_allowed else REFUSED)
