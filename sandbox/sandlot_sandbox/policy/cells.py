"""What our own processes in a jail may call: its pid 1, and the first of each cell."""

from sandlot_sandbox.policy.numbers import (
    AF_INET,
    AF_NETLINK,
    AF_UNIX,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    DGRAM,
    SOCK_DIAG,
    STREAM,
    TYPE_MASK,
)
from sandlot_sandbox.policy.terms import Argument, Policy, Rule, group, only

_SIGCHLD = 17
_OF_A_CELL = CLONE_NEWPID | CLONE_NEWNS | _SIGCHLD
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
            (_OF_A_CELL, _OF_A_CELL | CLONE_NEWNET),
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
        only("socketpair", 0, (AF_UNIX,), "to hear of a cell that is being made"),
        Rule(
            "socket",
            "a handle by which a cell's loopback is brought up; what programs in there"
            " find the Runtime API at; and where the kernel tells what sockets hold",
            (
                *(
                    (Argument(0, AF_INET), Argument(1, kind, TYPE_MASK))
                    for kind in (STREAM, DGRAM)
                ),
                (
                    Argument(0, AF_NETLINK),
                    Argument(1, DGRAM, TYPE_MASK),
                    Argument(2, SOCK_DIAG),
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
            " read poll kill write close",
        ),
        group(
            "the time, where the kernel does not write it to memory", "clock_gettime"
        ),
        group("with no memory of its own", "munmap"),
    ),
)
