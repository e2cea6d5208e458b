"""The system calls of the two processes of an egress cell that see hostile bytes.

Both read what jailed processes and strangers send, with the machine's network around
them: that they can be made to do nothing but network is what keeps a bug in them from
being worse than that.
"""

from sandlot_sandbox.policy import Policy, group, only

_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_FORK = 0x01200011
"""The flags that libc's fork has."""

RELAY = Policy(
    "relay",
    "EPERM",
    allowed=(
        group("frames between tap and slirp4netns", "read write poll ppoll close"),
        group(
            "questions and answers",
            "connect sendto recvfrom getrandom epoll_ctl epoll_wait epoll_pwait",
        ),
        group(
            "the interpreter's memory and its lock",
            "brk mmap munmap mremap madvise futex clock_gettime",
        ),
        group("leaving", "exit exit_group rt_sigreturn restart_syscall"),
    ),
    rules=(only("socket", 0, (_AF_INET, _AF_INET6), "to ask nameservers"),),
)
"""Our own process, which has entered nothing and has no file system to speak of."""

SLIRP = Policy(
    "slirp4netns",
    "EPERM",
    allowed=(
        group(
            "starting: loader, libraries, a fork of its own that accepts us",
            "execve brk mmap mprotect munmap mremap madvise arch_prctl set_tid_address"
            " set_robust_list rseq prlimit64 access faccessat faccessat2 open openat"
            " stat fstat lstat newfstatat statx readlink readlinkat pread64 lseek fork"
            " wait4 socketpair unlink unlinkat bind listen accept accept4 sysinfo"
            " gettid sched_getaffinity",
        ),
        group(
            "connections",
            "connect sendto recvfrom sendmsg recvmsg getsockopt setsockopt getsockname"
            " getpeername shutdown",
        ),
        group("frames", "read write readv writev close poll ppoll"),
        group(
            "itself",
            "getpid getppid getuid geteuid getgid getegid futex getrandom clock_gettime"
            " gettimeofday time rt_sigaction rt_sigprocmask rt_sigreturn"
            " restart_syscall exit exit_group",
        ),
    ),
    rules=(
        only("clone", 0, (_FORK,), "its fork at the start"),
        only(
            "socket",
            0,
            (_AF_UNIX, _AF_INET),
            "where we connect to it, and what it connects to",
        ),
        only(
            "fcntl",
            1,
            (1, 2, 3, 4, 1030),  # F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC
            "flags of its sockets",
        ),
        only("ioctl", 1, (0x541B, 0x5421), "FIONREAD and FIONBIO of its sockets"),
    ),
)
"""slirp4netns, from before its first instruction on. Its own `--enable-seccomp` forbids
a list; this allows one."""
