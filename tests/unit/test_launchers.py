"""The launcher that is there now: one that says nothing, lacks a layer, or dies."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from sandlot_engine.assembly import machine
from sandlot_engine.errors import Troubled, Unavailable
from sandlot_engine.node.launchers import Launchers
from sandlot_sandbox.spec import Hello, Layer, encode

WAIT_S = 5.0


class Supervisor:
    """Sends launchers, and plays them."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET
        )

    def start_launcher(self) -> socket.socket:
        engines, launchers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with engines:
            socket.send_fds(self.ours, [b"launcher"], [engines.fileno()])
        launchers.settimeout(WAIT_S)
        return launchers


def hello(
    *, limits: bool = True, given_up: bool = False, is_busy: bool = False
) -> bytes:
    layers = [
        Layer("mount", "reading files", True, ""),
        Layer("limits", "endless files", limits, "too few", given_up, is_busy=is_busy),
    ]
    return encode(Hello("root", layers))


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    made = Supervisor()
    with made.ours:
        yield made


@pytest.fixture
async def launchers(supervisor: Supervisor) -> AsyncIterator[Launchers]:
    made = Launchers()
    async with made.listening(supervisor.theirs):
        yield made


async def test_from_the_end_on_it_is_stopping(supervisor: Supervisor) -> None:
    launchers = Launchers()

    async with launchers.listening(supervisor.theirs):
        assert not launchers.is_stopping

    assert launchers.is_stopping


async def test_the_first_one_is_waited_for(
    supervisor: Supervisor, launchers: Launchers
) -> None:
    assert "no launcher has started" in launchers.trouble

    with supervisor.start_launcher() as launcher:
        launcher.send(hello())

        assert not (await launchers.current()).is_lost
        assert launchers.trouble == ""


async def test_one_that_died_is_replaced(
    supervisor: Supervisor, launchers: Launchers
) -> None:
    with supervisor.start_launcher() as launcher:
        launcher.send(hello())
        first = await launchers.current()
    await _until_trouble(launchers, "died")

    waiting = asyncio.get_running_loop().create_task(launchers.current())
    with supervisor.start_launcher() as launcher:
        launcher.send(hello())

        assert await waiting is not first
        assert launchers.trouble == ""


async def test_one_that_lacks_a_layer_is_not_used_and_callers_are_told_at_once(
    supervisor: Supervisor, launchers: Launchers
) -> None:
    with supervisor.start_launcher() as launcher:
        launcher.send(hello())
        await launchers.current()
    await _until_trouble(launchers, "died")

    with supervisor.start_launcher() as launcher:
        launcher.send(hello(limits=False))
        with pytest.raises(Unavailable, match="limits"):
            await launchers.current(wait_s=3_600)

        assert launcher.recv(1) == b"", "it was hung up on"
    assert "limits" in launchers.trouble


async def test_one_that_was_too_busy_to_find_out_is_not_the_last(
    supervisor: Supervisor, launchers: Launchers
) -> None:
    waiting = asyncio.get_running_loop().create_task(launchers.current())
    with supervisor.start_launcher() as launcher:
        launcher.send(hello(limits=False, is_busy=True))
        await _until_trouble(launchers, "too busy")
        assert launcher.recv(1) == b"", "it was hung up on"
    assert not waiting.done()

    with supervisor.start_launcher() as launcher:
        launcher.send(hello())

        assert not (await waiting).is_lost


async def test_a_start_on_a_machine_that_is_too_busy_may_be_tried_again(
    supervisor: Supervisor, launchers: Launchers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_FIRST_LAUNCHER_S", 0.05)
    with supervisor.start_launcher() as launcher:
        launcher.send(hello(limits=False, is_busy=True))
        await _until_trouble(launchers, "too busy")

        with pytest.raises(Troubled, match="limits: stops endless files"):
            await machine.first_hello(launchers)


async def test_one_that_lacks_what_was_given_up_is_used(
    supervisor: Supervisor, launchers: Launchers
) -> None:
    with supervisor.start_launcher() as launcher:
        launcher.send(hello(limits=False, given_up=True))

        assert not (await launchers.current()).is_lost


async def test_after_one_that_lacked_a_layer_a_better_one_is_used(
    supervisor: Supervisor, launchers: Launchers
) -> None:
    with supervisor.start_launcher() as launcher:
        launcher.send(hello(limits=False))
        await _until_trouble(launchers, "limits")

    with supervisor.start_launcher() as launcher:
        launcher.send(hello())
        await _until_trouble(launchers, "")

        assert not (await launchers.current()).is_lost


async def test_the_first_that_lacks_a_layer_ends_without_a_word_of_instances(
    supervisor: Supervisor, launchers: Launchers, caplog: pytest.LogCaptureFixture
) -> None:
    with supervisor.start_launcher() as launcher:
        launcher.send(hello(limits=False))
    await _until_trouble(launchers, "limits")

    assert "every instance" not in caplog.text
    assert launchers.lost == 1


async def test_one_that_says_nothing_is_given_up(
    supervisor: Supervisor, launchers: Launchers
) -> None:
    launchers._hello_s = 0.05  # noqa: SLF001 - others have time
    with supervisor.start_launcher() as silent:
        await _until_trouble(launchers, "said nothing for 0.05 s")

        assert silent.recv(1) == b"", "it was hung up on"
    launchers._hello_s = WAIT_S  # noqa: SLF001
    with supervisor.start_launcher() as launcher:
        launcher.send(hello())

        assert not (await launchers.current()).is_lost


async def test_one_that_never_comes_is_told(launchers: Launchers) -> None:
    with pytest.raises(Unavailable, match="no launcher has started"):
        await launchers.current(wait_s=0.01)


async def test_at_the_end_the_launcher_is_hung_up_on(supervisor: Supervisor) -> None:
    launchers = Launchers()
    async with launchers.listening(supervisor.theirs):
        launcher = supervisor.start_launcher()
        launcher.send(hello())
        await launchers.current()
        late = supervisor.start_launcher()

    with launcher, late:
        assert launcher.recv(1) == b""
        assert late.recv(1) == b""
    assert "stopping" in launchers.trouble


async def _until_trouble(launchers: Launchers, what: str) -> None:
    """Until that is the trouble; empty: until there is none."""
    async with asyncio.timeout(WAIT_S):
        while bool(what) != bool(launchers.trouble) or what not in launchers.trouble:  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0)
