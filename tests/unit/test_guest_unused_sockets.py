"""UDP sockets that an import opened and did not use are each clone's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.guest_interpreters import Guest, every_interpreter

OPENED = """
import socket
kept = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
kept.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
kept.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
kept.settimeout(5)
"""


@pytest.fixture
def guest(python: str, tmp_path: Path) -> Guest:
    return Guest(python, tmp_path)


@every_interpreter
def test_clones_have_another_socket_each_under_the_same_number(guest: Guest) -> None:
    guest.write("mod.py", OPENED)

    reasons, imported, one, other = guest.result_of(
        """
        import socket
        before = fork_safety.take_snapshot()
        import mod
        reasons = fork_safety.inspect_process(before)
        unused_sockets.keep(fork_safety.sockets_to_reopen(before))
        def looks():
            mine = mod.kept
            options = socket.SO_BROADCAST, socket.SO_RCVBUF
            return [
                *(mine.getsockopt(socket.SOL_SOCKET, option) for option in options),
                os.get_blocking(mine.fileno()), os.get_inheritable(mine.fileno()),
                mine.getsockname(),
            ]
        def heard():
            unused_sockets.reopen()
            at_first = looks()
            mod.kept.bind(("127.0.0.1", 0))
            mod.kept.sendto(b"mine", mod.kept.getsockname())
            inode = os.fstat(mod.kept.fileno()).st_ino
            return [at_first, mod.kept.recv(9).decode(), inode]
        result = [reasons, looks(), in_a_clone(heard), in_a_clone(heard)]
        assert mod.kept.getsockname()[1] == 0
        """
    )

    assert reasons == []
    assert one[:2] == other[:2] == [imported, "mine"]
    assert one[2] != other[2]


@every_interpreter
@pytest.mark.parametrize(
    "use",
    ["kept.bind(('127.0.0.1', 0))", "kept.connect(('127.0.0.1', 9))"],
    ids=["bound", "connected"],
)
def test_one_that_is_used_is_not_made_anew(guest: Guest, use: str) -> None:
    guest.write("mod.py", f"{OPENED}{use}\n")

    found = guest.result_of(
        """
        before = fork_safety.take_snapshot()
        import mod
        result = fork_safety.sockets_to_reopen(before)
        """
    )

    assert found == []
