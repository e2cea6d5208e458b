"""Which system calls a jailed process may make, as a table that can be reviewed.

The program built from it (`launcher/filters.py`) answers ENOSYS for what is not
listed and for arguments that no rule allows, so that libc falls back as it would
on an older kernel; EPERM for calls that are well known to be refused; and kills
the process for a foreign instruction set, whose call numbers would mean something
else.

`ZYGOTE` is loaded before the interpreter is exec'd, and every instance inherits it.
None loads one of its own: what only a fork needs is of no use without the capabilities
that it gives up; and who may load one can use up memory that all users share
(`docs/decisions/0038`).
`WARDEN` is loaded by pid 1 of a jail once its zygote is there; the first processes of
cells have it from there, and load `REAPER` on top.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """Calls that stand or fall together, and the reason."""

    reason: str
    calls: tuple[str, ...]


def group(reason: str, calls: str) -> Group:
    return Group(reason, tuple(calls.split()))


@dataclass(frozen=True, slots=True)
class Argument:
    """A condition on argument number `index`: `argument & mask == value`. Of 32 bits,
    as the kernel reads an `int`; of all 64, where a pointer is to be none."""

    index: int
    value: int
    mask: int = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Rule:
    """A call that is allowed if every condition of any alternative holds."""

    call: str
    reason: str
    alternatives: tuple[tuple[Argument, ...], ...]


def only(call: str, index: int, values: tuple[int, ...], reason: str) -> Rule:
    """A call that is allowed for a few values of one argument."""
    alternatives = tuple((Argument(index, value),) for value in values)
    return Rule(call, reason, alternatives)


ALLOWED = (
    group(
        "reading and writing what is already open",
        "read write close readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2"
        " lseek dup dup2 dup3 pipe pipe2 copy_file_range sendfile splice tee"
        " close_range",
    ),
    group(
        "files: the mounts are read-only but for /tmp",
        "open openat openat2 creat stat fstat lstat newfstatat statx access faccessat"
        " faccessat2 truncate ftruncate fallocate readahead getdents getdents64 getcwd"
        " chdir fchdir rename renameat renameat2 mkdir mkdirat rmdir link linkat"
        " unlink unlinkat symlink symlinkat readlink readlinkat chmod fchmod fchmodat"
        " fchmodat2 chown fchown lchown fchownat umask utime utimes utimensat"
        " futimesat statfs fstatfs getxattr lgetxattr fgetxattr listxattr llistxattr"
        " flistxattr removexattr lremovexattr fremovexattr",
    ),
    group(
        "memory; PROT_EXEC stays, for libffi and compilers of numeric code",
        "mprotect munmap mremap brk madvise mincore mlock mlock2 munlock mlockall"
        " munlockall membarrier pkey_alloc pkey_free pkey_mprotect mseal",
    ),
    group(
        "processes and threads of one's own",
        "fork vfork execve execveat exit exit_group wait4 waitid set_tid_address"
        " set_robust_list get_robust_list futex futex_waitv futex_wake futex_wait"
        " futex_requeue rseq restart_syscall getpid getppid gettid getpgrp getpgid"
        " getsid getuid geteuid getgid getegid getresuid getresgid getgroups setpgid"
        " setsid pidfd_open pidfd_send_signal arch_prctl capget getrandom",
    ),
    group(
        "signals, which end at the pid namespace",
        "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait"
        " rt_sigqueueinfo rt_sigsuspend rt_tgsigqueueinfo sigaltstack kill tkill"
        " tgkill pause signalfd signalfd4",
    ),
    group(
        "time",
        "time gettimeofday clock_gettime clock_getres clock_nanosleep nanosleep alarm"
        " setitimer getitimer timer_create timer_settime timer_gettime"
        " timer_getoverrun timer_delete timerfd_create timerfd_settime"
        " timerfd_gettime times",
    ),
    group(
        "asking about oneself and the scheduler; limits can only be lowered",
        "sched_yield sched_getaffinity sched_getparam sched_getscheduler"
        " sched_get_priority_max sched_get_priority_min sched_rr_get_interval"
        " getpriority getcpu getrlimit getrusage sysinfo uname",
    ),
    group(
        "waiting for events",
        "poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait"
        " epoll_pwait epoll_pwait2 eventfd eventfd2",
    ),
    group(
        "sockets of the families that `socket` below allows",
        "bind listen accept accept4 connect getsockname getpeername sendto recvfrom"
        " sendmsg recvmsg sendmmsg recvmmsg getsockopt shutdown",
    ),
)

_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_SOCK_DIAG = 4
_TYPE_MASK = 0xF
"""SOCK_NONBLOCK and SOCK_CLOEXEC are bits above the type."""
_STREAM, _DGRAM = 1, 2
_NEW_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""

_CLONE_THREAD, _CLONE_FILES = 0x10000, 0x400
_SOL_SOCKET, _SO_SNDBUF, _SO_RCVBUF, _SO_LINGER = 1, 7, 8, 13
_IP, _TCP, _UDP, _IPV6 = 0, 6, 17, 41
_MULTICAST = (*range(32, 41), *range(42, 48))
"""Of IP: MULTICAST_IF, TTL, LOOP, memberships, by source and by group."""

_OPTIONS = {
    _IP: (
        *(1, 2, 6, 7, 8),  # TOS TTL RECVOPTS RETOPTS PKTINFO
        *(10, 12, 13, 20, 24),  # MTU_DISCOVER RECVTTL RECVTOS RECVORIGDSTADDR, ...
        *(*_MULTICAST, 49, 50, 51),  # MULTICAST_ALL UNICAST_IF LOCAL_PORT_RANGE
    ),
    _TCP: (
        *(1, 2, 3, 4, 5, 6, 8),  # NODELAY MAXSEG CORK KEEPIDLE KEEPINTVL, ...
        *(10, 12, 13, 16, 17, 18),  # WINDOW_CLAMP QUICKACK CONGESTION, ...
        *(25, 30, 36),  # NOTSENT_LOWAT FASTOPEN_CONNECT INQ
    ),
    _UDP: (1, 101, 102, 103, 104),  # CORK NO_CHECK6_TX NO_CHECK6_RX SEGMENT GRO
    _IPV6: (
        *(16, 17, 18, 19),  # UNICAST_HOPS MULTICAST_IF MULTICAST_HOPS MULTICAST_LOOP
        *(23, 24, 26),  # MTU_DISCOVER MTU V6ONLY
        *(49, 51, 60, 62, 66, 67),  # RECVPKTINFO RECVHOPLIMIT, ..., TCLASS
        *(70, 72, 76),  # AUTOFLOWLABEL ADDR_PREFERENCES UNICAST_IF
    ),
}
"""Of each level but SOL_SOCKET. Not among them are those by which an answer is lost or
not waited for (see `_HALF_OPEN`), and those of the kernel's less trodden parts: ULP,
MD5, AO, REPAIR, encapsulation, flow labels, headers of one's own, packet filters. Nor
are groups of IPv6, any number of them for each socket, which no group counts."""

_PRETENDED = (
    *((_TCP, 7), (_TCP, 9)),  # SYNCNT, DEFER_ACCEPT
    *((_IP, 11), (_IPV6, 25)),  # RECVERR
)

_SOCKET_OPTIONS = (
    *(1, 2, 3, 4, 5, 6),  # DEBUG REUSEADDR TYPE ERROR DONTROUTE BROADCAST
    *(9, 10, 11, 12, 14, 15),  # KEEPALIVE OOBINLINE NO_CHECK PRIORITY, ...
    *(16, 17, 20, 21),  # PASSCRED PEERCRED RCVTIMEO SNDTIMEO
    *(25, 29, 34, 35, 36),  # BINDTODEVICE TIMESTAMP PASSSEC TIMESTAMPNS MARK
    *(40, 42, 46, 66, 67),  # RXQ_OVFL PEEK_OFF BUSY_POLL RCVTIMEO SNDTIMEO
)
_OPTIONS_THAT_TAKE_ROOM = (
    *(_SO_SNDBUF, _SO_RCVBUF, 18, 19),  # RCVLOWAT SNDLOWAT
    *(41, 43, 45, 47, 49),  # WIFI_STATUS SELECT_ERR_QUEUE MAX_PACING_RATE, ...
    *(62, 63, 64),  # BINDTOIFINDEX TIMESTAMP_NEW TIMESTAMPNS_NEW
    *(69, 70, 74, 75, 76),  # PREFER_BUSY_POLL TXREHASH RCVMARK PASSPIDFD, ...
)
_MAP_HUGETLB, _MFD_HUGETLB = 0x40000, 0x4
_POINTER = 0xFFFF_FFFF_FFFF_FFFF
_CORE = 4
_LIMITS = tuple(each for each in range(16) if each != _CORE)
_MS_SYNC = 4
_LOCKS = (
    *(6, 7),  # F_SETLK, F_SETLKW
    *(37, 38),  # F_OFD_SETLK, F_OFD_SETLKW
)
_NO_HUGE_PAGES = "no huge pages, which an operator has reserved and no group counts"


def _internet(family: int, kind: int, protocol: int) -> tuple[Argument, ...]:
    return (
        Argument(0, family),
        Argument(1, kind, _TYPE_MASK),
        Argument(2, protocol),
    )


def _setsockopt(reason: str, options: tuple[int, ...]) -> Rule:
    known = {_SOL_SOCKET: options, **_OPTIONS}
    alternatives = (
        (Argument(1, level), Argument(2, option))
        for level in known
        for option in known[level]
    )
    return Rule("setsockopt", reason, tuple(alternatives))


def _always(call: str, reason: str) -> Rule:
    return Rule(call, reason, ((),))


def _pretended(reason: str, *options: int) -> Rule:
    of_sockets = ((Argument(1, _SOL_SOCKET), Argument(2, option)) for option in options)
    others = ((Argument(1, level), Argument(2, option)) for level, option in _PRETENDED)
    reason = f"{reason}; and {_HALF_OPEN}; and {_NO_ERRORS}"
    return Rule("setsockopt", reason, (*of_sockets, *others))


_HALF_OPEN = (
    "a connection that is half open is the kernel's, who counts it neither as memory"
    " nor as a socket: it lasts no longer than it does by itself, and nobody who"
    " connects has the answers lost"
)
_NO_ERRORS = (
    "what was sent and came back, or was noted with a time, waits with its sender as"
    " memory that no group counts; libc asks for the former where it looks up names"
)
_NOBODY_LINGERS = (
    "a socket that lingers is closed when its peer has taken all, and until then waits"
    " who had it last: that may be us, where it was sent to us, or a thread of the"
    " kernel's that closes for all of the machine"
)

_NO_LOCKS = (
    "a lock on a file is memory that no group counts, any number of them; and where it"
    " is a file that all jails share, whoever closes that file, on all of the machine,"
    " goes through all of its locks (`docs/decisions/0040`)"
)
_NOTHING_TO_SYNC = (
    "what can be written to is memory. Of the machine's files nothing is to be written"
    " back, but each time the disk is told to flush what it has of everybody"
)
_NO_NAMES = (
    "libc's names for its mappings: of each, and a process may have 65,530, the kernel"
    " remembers up to 80 bytes, which no group counts"
)
_PR_SET_VMA = 0x53564D41
_PRETENDED_OF_MEMORY = (only("prctl", 0, (_PR_SET_VMA,), _NO_NAMES),)
_PRETENDED_OF_FILES = (
    only("fcntl", 1, _LOCKS, _NO_LOCKS),
    _always("flock", _NO_LOCKS),
    *(
        _always(call, _NOTHING_TO_SYNC)
        for call in ("fsync", "fdatasync", "sync_file_range")
    ),
    Rule("msync", _NOTHING_TO_SYNC, ((Argument(2, _MS_SYNC, _MS_SYNC),),)),
    _always(
        "fadvise64",
        "advice; that a file is not needed, which anybody may say of what all jails"
        " share, has the others read it from the disk again",
    ),
)

RULES = (
    _setsockopt(
        "no programs that filter (SO_ATTACH_FILTER and its like): compiled, they are"
        " memory that no group counts, of which all users of a machine have so much"
        " together, and where it is used up nobody can load a filter of system calls",
        (*_SOCKET_OPTIONS, *_OPTIONS_THAT_TAKE_ROOM),
    ),
    Rule(
        "clone",
        "threads and children, but no new namespaces: they open the kernel's"
        " administrative surface to whoever makes them. And no thread with descriptors"
        " of its own, which nobody would see who looks at its process",
        (
            (Argument(0, 0, _NEW_NAMESPACES | _CLONE_THREAD),),
            (
                Argument(
                    0,
                    _CLONE_THREAD | _CLONE_FILES,
                    _NEW_NAMESPACES | _CLONE_THREAD | _CLONE_FILES,
                ),
            ),
        ),
    ),
    Rule(
        "socket",
        "unix, TCP and UDP. Closes netlink (nf_tables), packet, raw, vsock, alg, and"
        " every protocol that is loaded on demand",
        (
            (Argument(0, _AF_UNIX),),
            *(
                _internet(family, kind, protocol)
                for family in (_AF_INET, _AF_INET6)
                for kind, protocol in (
                    (_STREAM, 0),
                    (_STREAM, 6),
                    (_DGRAM, 0),
                    (_DGRAM, 17),
                )
            ),
        ),
    ),
    only("socketpair", 0, (_AF_UNIX,), "the only family that has pairs"),
    Rule("mmap", _NO_HUGE_PAGES, ((Argument(3, 0, _MAP_HUGETLB),),)),
    Rule(
        "msync",
        "libraries find out by it whether memory is mapped; to wait is pretended",
        ((Argument(2, 0, _MS_SYNC),),),
    ),
    Rule("memfd_create", _NO_HUGE_PAGES, ((Argument(1, 0, _MFD_HUGETLB),),)),
    only(
        "sched_setaffinity",
        0,
        (0,),
        "of oneself: pid 1 of a cell, and of a jail, are of the same user, and whoever"
        " slows them down puts off what they watch over",
    ),
    Rule(
        "prlimit64",
        "of oneself, likewise; and not for cores: who lowers that limit from 1 to 0 has"
        " the machine's own program, if there is one, given his cores",
        (
            (Argument(0, 0), Argument(2, 0, _POINTER)),  # asks, and sets nothing
            *((Argument(0, 0), Argument(1, each)) for each in _LIMITS),
        ),
    ),
    only("setrlimit", 0, _LIMITS, "not for cores, likewise"),
    Rule(
        "setpriority",
        "of oneself, likewise: neither of another process nor of a user",
        ((Argument(0, 0), Argument(1, 0)),),
    ),
    only(
        "ioctl",
        1,
        (
            0x5401,  # TCGETS, for isatty
            0x5413,  # TIOCGWINSZ
            0x540F,  # TIOCGPGRP
            0x541B,  # FIONREAD
            0x5421,  # FIONBIO
            0x5451,  # FIOCLEX
            0x5450,  # FIONCLEX
            0x5411,  # TIOCOUTQ
            0x8912,  # SIOCGIFCONF
        ),
        "what libraries ask of files and sockets; no TIOCSTI, no device or file-system"
        " ioctl",
    ),
    only(
        "prctl",
        0,
        (
            1,  # PR_SET_PDEATHSIG
            2,  # PR_GET_PDEATHSIG
            3,  # PR_GET_DUMPABLE
            15,  # PR_SET_NAME
            16,  # PR_GET_NAME
            21,  # PR_GET_SECCOMP
            23,  # PR_CAPBSET_READ
            29,  # PR_SET_TIMERSLACK
            30,  # PR_GET_TIMERSLACK
            36,  # PR_SET_CHILD_SUBREAPER
            37,  # PR_GET_CHILD_SUBREAPER
            38,  # PR_SET_NO_NEW_PRIVS
            39,  # PR_GET_NO_NEW_PRIVS
            41,  # PR_SET_THP_DISABLE
            42,  # PR_GET_THP_DISABLE
        ),
        "names, death signals, questions; nothing that changes what a process may do",
    ),
    only("personality", 0, (0xFFFFFFFF,), "to ask, not to change"),
    only(
        "fcntl",
        1,
        (
            0,  # F_DUPFD
            1,  # F_GETFD
            2,  # F_SETFD
            3,  # F_GETFL
            4,  # F_SETFL
            5,  # F_GETLK
            8,  # F_SETOWN
            9,  # F_GETOWN
            36,  # F_OFD_GETLK
            1025,  # F_GETLEASE
            1030,  # F_DUPFD_CLOEXEC
            1032,  # F_GETPIPE_SZ
            1033,  # F_ADD_SEALS
            1034,  # F_GET_SEALS
        ),
        "no leases and no notification, which reach other tenants through shared"
        " inodes; no larger pipes, which are kernel memory",
    ),
)

REFUSED = group(
    "known calls that no function needs: EPERM says so more plainly than ENOSYS; with"
    " inotify, which tells what others do with the files that all jails share; and with"
    " attributes of files, among which are lists of who may what: 64 KB of memory each,"
    " two for each folder, which neither a group nor the size of a /tmp counts",
    "setxattr lsetxattr fsetxattr"
    " inotify_init inotify_init1 inotify_add_watch inotify_rm_watch"
    " ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd process_madvise mount"
    " umount2 pivot_root chroot unshare open_tree move_mount fsopen fsconfig fsmount"
    " fspick mount_setattr bpf perf_event_open keyctl add_key request_key userfaultfd"
    " open_by_handle_at name_to_handle_at reboot kexec_load kexec_file_load init_module"
    " finit_module delete_module swapon swapoff acct quotactl syslog settimeofday"
    " clock_settime adjtimex clock_adjtime sethostname setdomainname iopl ioperm"
    " modify_ldt vhangup mknod mknodat setuid setgid setreuid setregid setresuid"
    " setresgid setfsuid setfsgid setgroups fanotify_init fanotify_mark mbind"
    " set_mempolicy get_mempolicy migrate_pages move_pages sched_setscheduler"
    " sched_setparam sched_setattr ioprio_set vmsplice lookup_dcookie seccomp",
)

FORKING = (
    group("an instance gives up its capabilities", "capset"),
    group("it binds itself to the ruleset of its cell", "landlock_restrict_self"),
)

_CLONE_NEWNS, _CLONE_NEWPID, _CLONE_NEWNET = 0x20000, 0x20000000, 0x40000000

FORKING_RULES = (
    only(
        "setns",
        1,
        (_CLONE_NEWNS, _CLONE_NEWPID, _CLONE_NEWNET),
        "a zygote's fork enters the cell that was made for it: of these kinds, each"
        " named, and of no other",
    ),
)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a filter is built from. `default` is an errno or `allow`; what is
    `pretended` succeeds, and does nothing; what is `unsuited` is answered EINVAL."""

    name: str
    default: str
    allowed: tuple[Group, ...] = ()
    rules: tuple[Rule, ...] = ()
    refused: tuple[Group, ...] = ()
    pretended: tuple[Rule, ...] = ()
    unsuited: tuple[Group, ...] = ()


ZYGOTE = Policy(
    "zygote",
    "ENOSYS",
    allowed=(*ALLOWED, *FORKING),
    rules=(*RULES, *FORKING_RULES),
    refused=(REFUSED,),
    pretended=(
        _pretended(_NOBODY_LINGERS, _SO_LINGER),
        *_PRETENDED_OF_FILES,
        *_PRETENDED_OF_MEMORY,
    ),
)

_UNSEEN = group(
    "memory that no process maps: files without a name; and pages that are handed to"
    " sockets and pipes whole, and counted by the bytes of them that were sent",
    "memfd_create sendfile splice tee",
)
_UNSUITED = group(
    "of the same; but libuv, and with it Node's `fs.copyFile`, copies by itself only"
    " when it hears that these two files will not do",
    "sendfile",
)
_SEEN_IN_PART = group("see the rules", "setsockopt sendto sendmsg sendmmsg")

_MSG_EOR = 0x80

_WITHOUT_GROUPS_RULES = (
    _setsockopt(
        "buffers stay at the size that the watch counts them with, so no SO_RCVLOWAT,"
        " which makes them larger; no programs that filter, and no zero copies",
        _SOCKET_OPTIONS,
    ),
    *(
        Rule(
            call,
            "no MSG_EOR: it keeps short segments apart, and each takes a kilobyte",
            ((Argument(index, 0, _MSG_EOR),),),
        )
        for call, index in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3))
    ),
)

ZYGOTE_WITHOUT_GROUPS = Policy(
    "zygote where no control group counts memory: without what nobody sees",
    "ENOSYS",
    allowed=tuple(
        Group(
            part.reason,
            tuple(
                call
                for call in part.calls
                if call not in (*_UNSEEN.calls, *_SEEN_IN_PART.calls)
            ),
        )
        for part in ZYGOTE.allowed
    ),
    rules=(
        *(
            rule
            for rule in ZYGOTE.rules
            if rule.call not in (*_UNSEEN.calls, *_SEEN_IN_PART.calls)
        ),
        *_WITHOUT_GROUPS_RULES,
    ),
    refused=ZYGOTE.refused,
    pretended=(
        _pretended(
            "sizes of buffers are a wish, and programs do not expect to hear of it; and"
            f" {_NOBODY_LINGERS}",
            *(_SO_SNDBUF, _SO_RCVBUF, _SO_LINGER),
        ),
        *_PRETENDED_OF_FILES,
        *_PRETENDED_OF_MEMORY,
    ),
    unsuited=(_UNSUITED,),
)

_SIGCHLD = 17
_OF_A_CELL = _CLONE_NEWPID | _CLONE_NEWNS | _SIGCHLD
_WRITING = 0x3 | 0o100 | 0o1000
"""O_ACCMODE, O_CREAT, O_TRUNC."""
_NOSUID_NODEV, _NOEXEC = 0x6, 0x8
_CLONE_OF_A_MOUNT = 0o2000001
_FROM_A_DESCRIPTOR = 0x4

WARDEN = Policy(
    "warden",
    "EPERM",
    allowed=(
        group(
            "its link, and what it sees of its cells",
            "read write close lseek recvmsg sendmsg recvfrom sendto getsockname"
            " getsockopt getdents64 readlink readlinkat stat fstat lstat newfstatat"
            " statx",
        ),
        group("what a cell's first process hands out", "dup dup2 dup3 pipe2"),
        group("and closes, before it is nobody's but ours", "close_range"),
        group(
            "the interpreter",
            "brk mmap munmap mremap mprotect madvise futex sched_yield getpid gettid"
            " getuid getrandom clock_gettime gettimeofday restart_syscall"
            " rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack exit exit_group",
        ),
        group("waiting", "poll ppoll pause rt_sigsuspend wait4 waitid"),
        group("a cell's first process listens, and never accepts", "bind listen"),
        group("stopping and ending", "kill pidfd_open pidfd_send_signal"),
        group(
            "a cell's first process makes a ruleset for an instance",
            "landlock_create_ruleset landlock_add_rule",
        ),
        group("and gives up its capabilities", "capset"),
    ),
    rules=(
        only(
            "clone",
            0,
            (_OF_A_CELL, _OF_A_CELL | _CLONE_NEWNET),
            "cells, and nothing else: there is no other fork, and no exec",
        ),
        only(
            "mount",
            3,
            (_NOSUID_NODEV, _NOSUID_NODEV | _NOEXEC),
            "a new /tmp, a new /proc; no bind, no move and no remount",
        ),
        only(
            "open_tree",
            2,
            (_CLONE_OF_A_MOUNT,),
            "a copy of a cell's /tmp, which may outlive it; without what is below",
        ),
        only(
            "move_mount",
            4,
            (_FROM_A_DESCRIPTOR,),
            "such a copy to where the next cell has its /tmp",
        ),
        *(
            Rule(call, "to look, never to write", ((Argument(index, 0, _WRITING),),))
            for call, index in (("open", 1), ("openat", 2))
        ),
        only("socketpair", 0, (_AF_UNIX,), "to hear of a cell that is being made"),
        Rule(
            "socket",
            "a handle by which a cell's loopback is brought up; what programs in there"
            " find the Runtime API at; and where the kernel tells what sockets hold",
            (
                *(
                    (Argument(0, _AF_INET), Argument(1, kind, _TYPE_MASK))
                    for kind in (_STREAM, _DGRAM)
                ),
                (
                    Argument(0, _AF_NETLINK),
                    Argument(1, _DGRAM, _TYPE_MASK),
                    Argument(2, _SOCK_DIAG),
                ),
            ),
        ),
        only(
            "ioctl",
            1,
            (
                0x8913,  # SIOCGIFFLAGS
                0x8914,  # SIOCSIFFLAGS
                0x5421,  # FIONBIO
                0x5451,  # FIOCLEX
            ),
            "bringing it up; and what sockets and files are opened with",
        ),
        only(
            "fcntl",
            1,
            (
                1,  # F_GETFD
                2,  # F_SETFD
                3,  # F_GETFL
                4,  # F_SETFL
                1030,  # F_DUPFD_CLOEXEC
            ),
            "flags and copies of descriptors",
        ),
        Rule(
            "prctl",
            "a first process dies with the warden, and clears its ambient capabilities",
            (
                (Argument(0, 1),),  # PR_SET_PDEATHSIG
                (Argument(0, 47), Argument(1, 4)),  # PR_CAP_AMBIENT, clear all
            ),
        ),
        only(
            "rseq",
            2,
            (1,),  # RSEQ_FLAG_UNREGISTER
            "and has the kernel write nothing to its memory, which it gives up",
        ),
        Rule(
            "seccomp",
            "it loads its own filter; no listener, no questions",
            ((Argument(0, 1), Argument(1, 0)),),
        ),
    ),
)

REAPER = Policy(
    "reaper",
    "EPERM",
    allowed=(
        group(
            "a cell's first process only waits to be killed, or to stop the others",
            # ppoll is what pause(3) is made of where there is no pause(2): aarch64.
            "rt_sigsuspend rt_sigreturn pause ppoll exit_group restart_syscall wait4"
            " read kill write close",
        ),
        group("with no memory of its own", "munmap"),
    ),
)
