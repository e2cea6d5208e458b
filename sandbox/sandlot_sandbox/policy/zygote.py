"""What functions may call: their zygote, and every instance of it."""

from sandlot_sandbox.policy.numbers import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    DGRAM,
    NEW_NAMESPACES,
    STREAM,
    TYPE_MASK,
)
from sandlot_sandbox.policy.sockets import (
    NOBODY_LINGERS,
    OPTIONS_THAT_TAKE_ROOM,
    SO_LINGER,
    SOCKET_OPTIONS,
    pretended_options,
    setsockopt,
)
from sandlot_sandbox.policy.terms import Argument, Policy, Rule, always, group, only

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


_CLONE_THREAD, _CLONE_FILES = 0x10000, 0x400
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
        Argument(1, kind, TYPE_MASK),
        Argument(2, protocol),
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
PRETENDED_OF_MEMORY = (only("prctl", 0, (_PR_SET_VMA,), _NO_NAMES),)
_SCHED_OTHER = 0
PRETENDED_OF_SCHEDULING = (
    only(
        "sched_setscheduler",
        1,
        (_SCHED_OTHER,),
        "the policy that everybody here has: libzmq asks for it in each of its threads,"
        " and ends the process where it is refused. Nothing is done, as it may be named"
        " of any process; other policies are not there",
    ),
)
PRETENDED_OF_FILES = (
    only("fcntl", 1, _LOCKS, _NO_LOCKS),
    always("flock", _NO_LOCKS),
    *(
        always(call, _NOTHING_TO_SYNC)
        for call in ("fsync", "fdatasync", "sync_file_range")
    ),
    Rule("msync", _NOTHING_TO_SYNC, ((Argument(2, _MS_SYNC, _MS_SYNC),),)),
    always(
        "fadvise64",
        "advice; that a file is not needed, which anybody may say of what all jails"
        " share, has the others read it from the disk again",
    ),
)


RULES = (
    setsockopt(
        "no programs that filter (SO_ATTACH_FILTER and its like): compiled, they are"
        " memory that no group counts, of which all users of a machine have so much"
        " together, and where it is used up nobody can load a filter of system calls",
        (*SOCKET_OPTIONS, *OPTIONS_THAT_TAKE_ROOM),
    ),
    Rule(
        "clone",
        "threads and children, but no new namespaces: they open the kernel's"
        " administrative surface to whoever makes them. And no thread with descriptors"
        " of its own, which nobody would see who looks at its process",
        (
            (Argument(0, 0, NEW_NAMESPACES | _CLONE_THREAD),),
            (
                Argument(
                    0,
                    _CLONE_THREAD | _CLONE_FILES,
                    NEW_NAMESPACES | _CLONE_THREAD | _CLONE_FILES,
                ),
            ),
        ),
    ),
    Rule(
        "socket",
        "unix, TCP and UDP. Closes netlink (nf_tables), packet, raw, vsock, alg, and"
        " every protocol that is loaded on demand",
        (
            (Argument(0, AF_UNIX),),
            *(
                _internet(family, kind, protocol)
                for family in (AF_INET, AF_INET6)
                for kind, protocol in (
                    (STREAM, 0),
                    (STREAM, 6),
                    (DGRAM, 0),
                    (DGRAM, 17),
                )
            ),
        ),
    ),
    only("socketpair", 0, (AF_UNIX,), "the only family that has pairs"),
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
    " set_mempolicy get_mempolicy migrate_pages move_pages sched_setparam"
    " sched_setattr ioprio_set vmsplice lookup_dcookie seccomp",
)

FORKING = (
    group("an instance gives up its capabilities", "capset"),
    group("it binds itself to the ruleset of its cell", "landlock_restrict_self"),
)

FORKING_RULES = (
    only(
        "setns",
        1,
        (CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET),
        "a zygote's fork enters the cell that was made for it: of these kinds, each"
        " named, and of no other",
    ),
)


ZYGOTE = Policy(
    "zygote",
    "ENOSYS",
    allowed=(*ALLOWED, *FORKING),
    rules=(*RULES, *FORKING_RULES),
    refused=(REFUSED,),
    pretended=(
        pretended_options(NOBODY_LINGERS, SO_LINGER),
        *PRETENDED_OF_FILES,
        *PRETENDED_OF_MEMORY,
        *PRETENDED_OF_SCHEDULING,
    ),
)
