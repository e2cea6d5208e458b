"""Signals to others, processes that hide or stay, and ends that nobody notices."""

import ctypes
import errno
import json
import os
import resource
import signal
import struct
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)


def attempt(step):
    try:
        step()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "ok"


def each(answers):
    return sorted(set(answers))


def wait_for_ever():
    while True:
        signal.pause()


def processes():
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def nothing(event):
    return "nothing"


# Signals.


def kill_process_1(event):
    """Every signal by every call to the cell's first process, which must not notice."""
    fd = os.pidfd_open(1) if hasattr(os, "pidfd_open") else None
    for number in range(1, 65):
        attempt(lambda: os.kill(1, number))
        libc.syscall(234, 1, 1, number)
        if fd is not None and hasattr(signal, "pidfd_send_signal"):
            attempt(lambda: signal.pidfd_send_signal(fd, number))
    return "still here"


def kill_everybody(event):
    """kill(-1): all that may be signalled, which is all of the cell and no more."""
    for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL):
        attempt(lambda: os.kill(-1, number))
    return processes() == [os.getpid()]


def kill_its_own_group(event):
    """kill(0, SIGKILL), which many programs do to clean up: a group may reach beyond the
    pid namespace, to the zygote and to the other instances."""
    os.kill(0, signal.SIGKILL)


def stop_its_own_group(event):
    """kill(0, SIGSTOP): whoever is in the group stops."""
    os.kill(0, signal.SIGSTOP)


def signal_its_parent(event):
    """getppid is 0: the zygote has no number in here."""
    numbers = [os.getppid(), *range(3, 4096)]
    hits = [pid for pid in numbers if pid and attempt(lambda: os.kill(pid, 0)) == "ok"]
    return [os.getppid(), hits]


def signal_by_lies(event):
    """rt_sigqueueinfo with an origin that only the kernel has."""
    info = struct.pack("<iii", signal.SIGTERM, 0, 128) + bytes(116)
    got = libc.syscall(129, 1, signal.SIGTERM, info)
    return "ok" if got == 0 else errno.errorcode[ctypes.get_errno()]


def change_the_limits_of_process_1(event):
    """prlimit(2) asks for equal users only: a limit of no processor time and no files.
    The cell's first process needs neither."""
    return [
        attempt(lambda: resource.prlimit(1, resource.RLIMIT_CPU, (1, 1))),
        attempt(lambda: resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0))),
        attempt(lambda: os.sched_setaffinity(1, {0})),
        attempt(lambda: os.setpriority(os.PRIO_PROCESS, 1, 19)),
    ]


def make_others_nicer(event):
    """setpriority by user: rootless, all tenants have the same one."""
    return [
        attempt(lambda: os.setpriority(os.PRIO_USER, os.getuid(), 19)),
        attempt(lambda: os.setpriority(os.PRIO_USER, 0, 19)),
        attempt(lambda: os.setpriority(os.PRIO_PGRP, 0, 19)),
    ]


def ask_for_cores(event):
    """A limit of 1 has the kernel give no cores to a program of the machine's own, and
    one of 0 does not."""
    answer = attempt(lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 1)))
    with open("/proc/self/limits") as file:
        limits = [line.split()[4:6] for line in file if "core file" in line]
    return [answer, *limits]


def make_itself_nicer(event):
    """What is left: of oneself."""
    return [
        attempt(lambda: os.setpriority(os.PRIO_PROCESS, 0, 5)),
        attempt(lambda: os.sched_setaffinity(0, os.sched_getaffinity(0))),
        attempt(lambda: resource.prlimit(0, resource.RLIMIT_CPU) and None),
    ]


def stop_itself(event):
    """SIGSTOP: no signal but SIGKILL is of use, and no answer comes."""
    os.kill(os.getpid(), signal.SIGSTOP)


def ignore_every_signal(event):
    """Blocked and ignored, and then it goes on for ever."""
    for number in range(1, 65):
        attempt(lambda: signal.signal(number, signal.SIG_IGN))
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    while True:
        time.sleep(60)


def abort_process_1_by_a_fault(event):
    """A segmentation fault in ourselves."""
    ctypes.string_at(0)


# What stays.


def leave_a_child(event):
    """A child that goes on after the answer."""
    if os.fork() == 0:
        wait_for_ever()
    return "left"


def leave_a_daemon(event):
    """Forked twice, in a session of its own, deaf to every signal that can be."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in range(1, 65):
                attempt(lambda: signal.signal(number, signal.SIG_IGN))
            wait_for_ever()
        os._exit(0)
    os.wait()
    return "left"


def leave_a_stopped_child(event):
    """A stopped process acts on nothing but SIGKILL."""
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
        wait_for_ever()
    os.waitpid(pid, os.WUNTRACED)
    return "left"


def leave_a_child_of_the_zygote(event):
    """CLONE_PARENT: a sibling of ours, whose parent is beyond the cell."""
    pid = libc.syscall(56, 0x8000 | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        wait_for_ever()
    return "left" if pid > 0 else errno.errorcode[ctypes.get_errno()]


def leave_zombies(event):
    """Ended, and never waited for."""
    for _ in range(300):
        if os.fork() == 0:
            os._exit(0)
    return "left"


def leave_orphans(event):
    """Children of children that ended: all for process 1 to reap."""
    for _ in range(60):
        if os.fork() == 0:
            for _ in range(4):
                if os.fork() == 0:
                    os._exit(0)
            os._exit(0)
    return "left"


def leave_a_thread(event):
    """A thread that never ends and is no daemon."""
    threading.Thread(target=wait_for_ever, daemon=False).start()
    return "left"


def leave_a_subreaper(event):
    """Orphans go to the nearest subreaper instead of process 1."""
    if os.fork() == 0:
        libc.prctl(36, 1, 0, 0, 0)
        if os.fork() == 0:
            if os.fork() == 0:
                wait_for_ever()
            os._exit(0)
        wait_for_ever()
    return "left"


def leave_a_renamed_process(event):
    """Named like ours, in `comm` and in its arguments."""
    if os.fork() == 0:
        libc.prctl(15, b"sandlot", 0, 0, 0)
        os.execv(
            "/bin/sh", ["sandlot-launcher", "-c", "while :; do wait; sleep 9; done"]
        )
    return "left"


# Ends.


def end_while_a_child_holds_the_channel(event):
    """The channel and the log stay open in a child: nobody sees an end of file."""
    if os.fork() == 0:
        wait_for_ever()
    os._exit(7)


def answer_from_a_child(event):
    """A child writes to the channel after its parent has ended."""
    mine = os.getpid()
    if os.fork() == 0:
        while os.getppid() == mine:
            time.sleep(0.001)
        answer = json.dumps("from the child").encode()
        os.write(3, struct.pack("!BxHIQ", 2, 0, len(answer), 1) + answer)
        wait_for_ever()
    os._exit(7)


def both_answer(event):
    """A fork that returns twice: two answers to one event."""
    os.fork()
    return "which of the two?"


def end_the_first_thread(event):
    """The main thread ends, others go on: a process that is neither dead nor alive."""
    threading.Thread(target=time.sleep, args=(60,)).start()
    libc.syscall(60, 0)


def vanish_in_a_fork_chain(event):
    """Never the same process for long: a kill by number comes too late."""
    while True:
        if os.fork():
            os._exit(0)


def race_the_killer(event):
    """A storm of forks in every direction, while it is being killed. At most some
    hundred at a time: more would only prove how slow a machine can be."""
    resource.setrlimit(resource.RLIMIT_NPROC, (150, 150))
    while True:
        try:
            os.fork()
            if os.getpid() % 3:
                os.setsid()
        except OSError:
            pass


def handler(event, context):
    return globals()[event["do"]](event)
