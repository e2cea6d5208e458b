"""What an import must not leave behind in a process that is going to be cloned."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.fakes.guest_interpreters import DEADLINE_S, Guest, every_interpreter

IN_A_JAILS_PROC = (
    "unshare --user --map-root-user --pid --fork --mount sh -c "
    "'mount -t proc -o hidepid=2,subset=pid proc /proc && exec \"$@\"' --"
)


@pytest.fixture
def guest(python: str, tmp_path: Path) -> Guest:
    return Guest(python, tmp_path)


def reasons_after(
    guest: Guest, source: str, *, wrapper: tuple[str, ...] = ()
) -> object:
    """What the inspection says when `source` is the tenant's module."""
    guest.write("mod.py", source)
    return guest.result_of(
        """
        before = fork_safety.take_snapshot()
        import mod
        result = fork_safety.inspect_process(before)
        """,
        wrapper=wrapper,
    )


@every_interpreter
def test_an_import_that_leaves_nothing_is_safe(guest: Guest) -> None:
    assert (
        reasons_after(
            guest,
            """
            import socket, ssl, json, tempfile, subprocess, sys, os
            from concurrent.futures import ThreadPoolExecutor
            subprocess.check_output([sys.executable, "-c", "pass"])
            with ThreadPoolExecutor() as pool:
                list(pool.map(str, range(20)))
            with socket.create_server(("127.0.0.1", 0)), tempfile.TemporaryFile():
                pass
            """,
        )
        == []
    )


@every_interpreter
def test_threads_that_were_joined_do_not_count(guest: Guest) -> None:
    assert (
        reasons_after(
            guest,
            """
            import threading
            for _ in range(300):
                threads = [threading.Thread(target=int) for _ in range(3)]
                for thread in threads: thread.start()
                for thread in threads: thread.join()
            """,
        )
        == []
    )


@every_interpreter
def test_harmless_descriptors_are_safe(guest: Guest) -> None:
    assert (
        reasons_after(
            guest,
            """
            import os
            null = open(os.devnull, "w")
            random = open("/dev/urandom", "rb")
            directory = os.open(".", os.O_RDONLY)
            source = open(__file__)
            memory = os.memfd_create("scratch")
            """,
        )
        == []
    )


@every_interpreter
def test_what_was_open_before_the_import_does_not_count(guest: Guest) -> None:
    assert (
        guest.result_of(
            """
            import socket, threading
            pair = socket.socketpair()
            wait = threading.Event()
            threading.Thread(target=wait.wait, daemon=True).start()
            before = fork_safety.take_snapshot()
            result = fork_safety.inspect_process(before)
            wait.set()
            """
        )
        == []
    )


SOCKETS = {
    "a listener": (
        """
        import socket
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        """,
        (
            "the import left a TCP socket listening on 127.0.0.1:{port} open: open it "
            "inside the handler, or in an after-restore hook"
        ),
    ),
    "a UDP socket": (
        """
        import socket
        it = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        it.bind(("127.0.0.1", 0))
        port = it.getsockname()[1]
        """,
        (
            "the import left a UDP socket bound to 127.0.0.1:{port} open: open it "
            "inside the handler, or in an after-restore hook"
        ),
    ),
    "a TCP socket that is not connected": (
        "import socket\nport = 0\nit = socket.socket()",
        (
            "the import left a TCP socket open: open it inside the handler, or in an "
            "after-restore hook"
        ),
    ),
    "a Unix socket pair": (
        "import socket\nport = 0\npair = socket.socketpair()",
        (
            "the import left a Unix socket pair open: open it inside the handler, "
            "or in an after-restore hook"
        ),
    ),
}


@every_interpreter
@pytest.mark.parametrize("name", SOCKETS)
def test_a_socket_is_told_by_what_it_is_connected_to(guest: Guest, name: str) -> None:
    source, sentence = SOCKETS[name]
    guest.write("mod.py", source)

    reasons, port = guest.result_of(
        """
        before = fork_safety.take_snapshot()
        import mod
        result = [fork_safety.inspect_process(before), mod.port]
        """
    )

    assert reasons == [sentence.format(port=port)]


@every_interpreter
def test_a_connection_is_told_by_its_peer(guest: Guest) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        reasons = reasons_after(
            guest,
            f"import socket\nit = socket.create_connection(('127.0.0.1', {port}))",
        )

    assert reasons == [
        (
            f"the import left a TCP connection to 127.0.0.1:{port} open: open it "
            "inside the handler, or in an after-restore hook"
        )
    ]


@every_interpreter
def test_looking_at_a_socket_leaves_it_as_it_was(guest: Guest) -> None:
    assert guest.result_of(
        """
        import socket
        before = fork_safety.take_snapshot()
        left, right = socket.socketpair()
        socket.setdefaulttimeout(5)
        fork_safety.inspect_process(before)
        left.sendall(b"still")
        result = [os.get_blocking(left.fileno()), right.recv(9).decode()]
        """
    ) == [True, "still"]


KINDS = {
    "an epoll handle": "import select\nit = select.epoll()",
    "a pipe": "import os\nit = os.pipe()",
    "a Unix socket pair": "import asyncio\nit = asyncio.new_event_loop()",
    "an inotify handle": "import ctypes\nit = ctypes.CDLL(None).inotify_init()",
    "an eventfd": "import ctypes\nit = ctypes.CDLL(None).eventfd(0, 0)",
    "a timerfd": "import ctypes\nit = ctypes.CDLL(None).timerfd_create(0, 0)",
    "a handle on a process": "import os\nit = os.pidfd_open(os.getpid())",
    "open for writing": "it = open('written', 'w')",
    "a lock on the file": (
        "import fcntl\nit = open(__file__)\nfcntl.flock(it, fcntl.LOCK_SH)"
    ),
    "a shared writable mapping": "import mmap\nit = mmap.mmap(-1, 4096)",
    "the device '/dev/ptmx'": "import os\nit = os.open('/dev/ptmx', os.O_RDWR)",
}


@every_interpreter
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_thing_that_clones_would_share_is_named(
    guest: Guest, kind: str
) -> None:
    reasons = reasons_after(guest, KINDS[kind])

    assert isinstance(reasons, list)
    assert any(kind in reason for reason in reasons), reasons


@every_interpreter
def test_a_thread_is_told_by_its_name(guest: Guest) -> None:
    assert reasons_after(
        guest,
        """
        import threading
        stop = threading.Event()
        threading.Thread(target=stop.wait, name="poll\\n", daemon=True).start()
        """,
    ) == [
        (
            "the import started a thread 'poll\\n': threads are not cloned, so start "
            "it inside the handler, or in an after-restore hook"
        )
    ]


CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
"""


@every_interpreter
def test_a_child_process_is_told_by_its_name(guest: Guest) -> None:
    reasons = reasons_after(guest, CHILD)

    assert isinstance(reasons, list)
    assert "the import left a child process 'python" in reasons[0]


@every_interpreter
def test_a_child_that_nobody_waited_for_is_told(guest: Guest) -> None:
    reasons = reasons_after(
        guest,
        """
        import os
        pid = os.spawnlp(os.P_NOWAIT, "true", "true")
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        """,
    )

    assert reasons == [
        (
            "the import started a child process 'true' that has ended, and did not "
            "wait for it: wait for it during the import"
        )
    ]


@every_interpreter
def test_the_list_of_reasons_is_bounded(guest: Guest) -> None:
    reasons = reasons_after(guest, "it = [open(f'f{n}', 'w') for n in range(100)]")

    assert isinstance(reasons, list)
    assert len(reasons) == 20
    assert reasons[-1] == "and 81 more things of these kinds"


@every_interpreter
def test_everything_is_found_in_a_pid_namespace_with_a_minimal_proc(
    guest: Guest,
) -> None:
    wrapper = ("sh", "-c", f'exec {IN_A_JAILS_PROC} "$@"', "sh")
    _require(wrapper)

    reasons = reasons_after(
        guest,
        CHILD + "import threading, socket, fcntl\n"
        "stop = threading.Event()\n"
        "threading.Thread(target=stop.wait, name='poll', daemon=True).start()\n"
        "pair = socket.socketpair()\n"
        "source = open(__file__)\n"
        "fcntl.flock(source, fcntl.LOCK_SH)\n",
        wrapper=wrapper,
    )

    assert isinstance(reasons, list)
    found = [
        any(part in reason for reason in reasons)
        for part in ("thread 'poll'", "child process 'py", "socket pair", "a lock on")
    ]
    assert found == [True] * 4, reasons


def _require(wrapper: tuple[str, ...]) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("util-linux's unshare is not installed")
    done = subprocess.run(
        [*wrapper, "true"], capture_output=True, timeout=DEADLINE_S, check=False
    )
    if done.returncode:
        pytest.skip(f"no user namespaces here: {done.stderr.decode()}")


@every_interpreter
def test_a_clone_reads_a_file_at_a_position_of_its_own(guest: Guest) -> None:
    guest.write("data.txt", "0123456789")

    first, second = guest.result_of(
        """
        before = fork_safety.take_snapshot()
        fd = os.open("data.txt", os.O_RDONLY)
        os.read(fd, 2)
        files = fork_safety.files_to_reopen(before)
        assert files == [(fd, 2)], files
        def read():
            return [os.read(fd, 3).decode(), os.get_inheritable(fd)]
        def clone():
            # As the zygote does: before each fork, when the last clone may have read.
            fork_safety.reopen(files)
            return in_a_clone(read)
        result = [clone(), clone()]
        """
    )

    assert first == second == ["234", False]
