"""The engine's hold on one instance, against a socket that says what a test likes."""

import asyncio
import contextlib
import os
import selectors
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytest_asyncio

from sandlot_sandbox import frames
from sandlot_sandbox.errors import LauncherLost, StartFailed
from sandlot_sandbox.host import deadline, instance, stillborn
from sandlot_sandbox.host.hold import Hold
from sandlot_sandbox.host.instance import Instance, State
from sandlot_sandbox.host.invocation import OUT_OF_MEMORY
from sandlot_sandbox.host.minder import Minder
from sandlot_sandbox.host.stillborn import Credit
from sandlot_sandbox.host.wire import FrameWire
from sandlot_sandbox.memory_group import MEMORY_V2
from sandlot_sandbox.outcome import Ended, Ending

WAIT_S = 5.0
SILENCE_S = 0.05
MEMORY_MB = 128


class Tenant:
    """The other end of an instance's channel and log, and its killer."""

    def __init__(self) -> None:
        ours, self.channel = socket.socketpair()
        self.channel.setblocking(False)
        read, self.log = os.pipe2(os.O_CLOEXEC)
        self.died = asyncio.Event()
        self.kills = 0
        self.may_die = asyncio.Event()
        self.may_die.set()
        self.verdict = ""
        self.brake, brake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._group = tempfile.TemporaryDirectory()
        self.group = Path(self._group.name)
        self._orders = brake
        parts = {
            "freeze": brake,
            "tmp": os.open("/", os.O_PATH),
            MEMORY_V2: os.open(self.group, os.O_PATH),
        }
        self.wire = FrameWire(ours)
        self.instance = Instance(
            self.wire,
            read,
            hold=Hold(parts),
            minder=Minder(),
            memory_mb=MEMORY_MB,
            kill=self._kill,
            on_thaw=lambda: None,
            on_death=lambda _: self.died.set(),
        )

    async def _kill(self) -> str:
        self.kills += 1
        await self.may_die.wait()
        return self.verdict

    async def next_order(self) -> bytes:
        """What is written to freeze or thaw it."""
        readable = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self.brake, readable.set)
        try:
            async with asyncio.timeout(WAIT_S):
                await readable.wait()
        finally:
            loop.remove_reader(self.brake)
        return os.read(self.brake, 1)

    def jam_brake(self) -> None:
        """Nobody reads any more what is written to freeze or thaw it."""
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self._orders, b"." * 4096)

    def say(self, kind: int, payload: bytes = b"") -> None:
        self.channel.send(frames.encode_answer(kind, payload, peak_memory_kb=7))

    async def be_ready(self) -> None:
        """Through one invocation, so that it is idle."""
        running = self.invoke()
        self.say(frames.READY)
        await self.hear()
        self.say(frames.ANSWER, b"{}")
        assert (await running).ended is Ended.ANSWERED

    async def hear(self) -> bytes:
        """The next event."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(WAIT_S):
            return await loop.sock_recv(self.channel, 1 << 16)

    def invoke(
        self,
        *,
        timeout_s: float = WAIT_S,
        init_counts: bool = False,
        tells_init: bool = False,
    ) -> asyncio.Task[Ending]:
        return asyncio.get_running_loop().create_task(
            self.instance.invoke(
                frames.EventHeader("r", 0, "arn"),
                b"{}",
                timeout_s=timeout_s,
                init_counts=init_counts,
                tells_init=tells_init,
            )
        )

    async def wait_death(self) -> None:
        async with asyncio.timeout(WAIT_S):
            await self.died.wait()

    def close(self) -> None:
        self.channel.close()
        self._group.cleanup()
        for fd in (self.log, self.brake):
            os.close(fd)


@contextlib.asynccontextmanager
async def a_tenant() -> AsyncIterator[Tenant]:
    made = Tenant()
    yield made
    await made.instance.destroy()
    made.close()


@pytest_asyncio.fixture
async def tenant() -> AsyncIterator[Tenant]:
    async with a_tenant() as made:
        yield made


async def test_an_answer_ends_the_invocation_and_leaves_it_idle(tenant: Tenant) -> None:
    running = tenant.invoke()
    await tenant.hear()
    tenant.say(frames.READY)
    tenant.say(frames.ANSWER, b"42")
    ending = await running

    assert (ending.ended, ending.payload) == (Ended.ANSWERED, b"42")
    assert ending.init_s is not None
    assert tenant.instance.is_usable


async def test_only_the_first_invocation_is_told_of_the_init(tenant: Tenant) -> None:
    await tenant.be_ready()
    running = tenant.invoke()
    await tenant.hear()
    tenant.say(frames.ANSWER, b"1")

    assert (await running).init_s is None


async def test_an_answer_before_the_event_is_none(tenant: Tenant) -> None:
    await tenant.be_ready()

    tenant.say(frames.ANSWER, b"42")

    with pytest.raises(StartFailed, match="while it was idle"):
        await tenant.invoke()
    await tenant.wait_death()


async def test_one_that_ended_while_it_was_idle_did_not_start(tenant: Tenant) -> None:
    await tenant.be_ready()

    tenant.channel.close()

    with pytest.raises(StartFailed, match="while it was idle"):
        await tenant.invoke()
    await tenant.wait_death()


async def test_part_of_an_answer_while_idle_is_a_violation(tenant: Tenant) -> None:
    await tenant.be_ready()

    tenant.channel.send(b"\x02")

    await tenant.wait_death()
    assert not tenant.instance.is_usable


async def test_silence_times_out_and_kills(tenant: Tenant) -> None:
    await tenant.be_ready()

    ending = await tenant.invoke(timeout_s=SILENCE_S)

    assert ending.ended is Ended.TIMED_OUT
    assert ending.duration_s >= SILENCE_S
    await tenant.wait_death()


class Stopped(selectors.EpollSelector):
    """As libuv's, where the process was stopped and continued in the midst of a wait:
    that ends, and has told nothing."""

    for_s = 0.0

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        if not self.for_s:
            return super().select(timeout)
        until, self.for_s = time.monotonic() + self.for_s, 0.0
        while time.monotonic() < until:
            pass
        return []


def test_an_answer_that_came_while_the_engine_was_stopped_is_no_timeout() -> None:
    selector = Stopped()

    async def invoked() -> Ending:
        async with a_tenant() as tenant:
            await tenant.be_ready()
            running = tenant.invoke()
            await tenant.hear()
            tenant.say(frames.ANSWER, b"{}")
            tenant.instance._deadline.set(SILENCE_S)  # noqa: SLF001 - so little is left
            selector.for_s = 2 * SILENCE_S
            return await running

    loop = partial(asyncio.SelectorEventLoop, selector)
    with asyncio.Runner(loop_factory=loop) as runner:
        ending = runner.run(invoked())

    assert (ending.ended, ending.payload) == (Ended.ANSWERED, b"{}")


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not is_so():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)


def pass_time(tenant: Tenant, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the timer that was set first rings."""
    later = SimpleNamespace(monotonic=lambda: time.monotonic() + seconds)
    monkeypatch.setattr(deadline, "time", later)
    tenant.instance._deadline._ring()  # noqa: SLF001


async def test_an_event_has_a_timeout_of_its_own_and_not_what_the_last_one_left(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tenant.be_ready()
    running = tenant.invoke(timeout_s=10 * WAIT_S)
    await tenant.hear()

    pass_time(tenant, 2 * WAIT_S, monkeypatch)
    tenant.say(frames.ANSWER, b"{}")

    assert (await running).ended is Ended.ANSWERED


async def test_one_that_takes_long_to_die_has_ended_as_it_did(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tenant.be_ready()
    running = tenant.invoke()
    await tenant.hear()
    tenant.may_die.clear()
    tenant.channel.shutdown(socket.SHUT_RDWR)
    await until(lambda: tenant.instance.state is State.STOPPING)
    tenant.instance.note_exit(3 << 8)
    await until(lambda: tenant.kills > 0)

    pass_time(tenant, WAIT_S, monkeypatch)
    tenant.may_die.set()

    ending = await running
    assert (ending.ended, ending.exit_code) == (Ended.EXITED, 3)


async def test_one_that_dies_too_late_is_buried_all_the_same(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance, "_KILL_S", SILENCE_S)
    await tenant.be_ready()
    running = tenant.invoke()
    await tenant.hear()
    tenant.may_die.clear()
    tenant.instance.stop()

    assert (await running).ended is Ended.SIGNALED
    assert not tenant.died.is_set()
    tenant.may_die.set()

    await tenant.wait_death()
    assert tenant.instance.state is State.DEAD


async def test_an_idle_instance_outlives_the_timeout_of_its_last_event(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tenant.be_ready()

    pass_time(tenant, 2 * WAIT_S, monkeypatch)

    assert tenant.instance.is_usable


async def test_the_timeout_starts_when_the_init_is_over(tenant: Tenant) -> None:
    running = tenant.invoke(timeout_s=SILENCE_S)
    await asyncio.wait([running], timeout=3 * SILENCE_S)
    assert not running.done()

    tenant.say(frames.READY)

    assert (await running).ended is Ended.TIMED_OUT


async def test_an_init_that_was_over_before_the_first_event_is_not_told(
    tenant: Tenant,
) -> None:
    tenant.say(frames.READY)
    assert await tenant.instance.wait_ready(WAIT_S)

    running = tenant.invoke()
    await tenant.hear()
    tenant.say(frames.ANSWER, b"{}")

    ending = await running
    assert ending.ended is Ended.ANSWERED
    assert ending.init_s is None


async def test_a_standby_tells_its_init_with_its_first_event_and_never_again(
    tenant: Tenant,
) -> None:
    tenant.say(frames.READY)
    assert await tenant.instance.wait_ready(WAIT_S)

    endings = []
    for _ in range(2):
        running = tenant.invoke(tells_init=True)
        await tenant.hear()
        tenant.say(frames.ANSWER, b"{}")
        endings.append(await running)

    assert endings[0].init_s is not None
    assert endings[1].init_s is None


async def test_an_init_that_fails_before_the_first_event_is_known(
    tenant: Tenant,
) -> None:
    tenant.say(frames.INIT_ERROR, b"{}")

    assert not await tenant.instance.wait_ready(WAIT_S)
    await tenant.wait_death()


async def test_an_init_that_nobody_waits_for_has_a_limit_too(tenant: Tenant) -> None:
    with pytest.raises(TimeoutError):
        await tenant.instance.wait_ready(SILENCE_S)

    await tenant.wait_death()


async def test_with_an_init_that_counts_there_is_one_timeout(tenant: Tenant) -> None:
    ending = await tenant.invoke(timeout_s=SILENCE_S, init_counts=True)

    assert ending.ended is Ended.TIMED_OUT


async def test_a_cancelled_invocation_kills(tenant: Tenant) -> None:
    await tenant.be_ready()
    running = tenant.invoke()
    await tenant.hear()

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    await tenant.wait_death()


@pytest.mark.parametrize(
    ("status", "ended"),
    [(3 << 8, Ended.EXITED), (signal.SIGSEGV, Ended.SIGNALED), (-1, None)],
)
async def test_its_zygote_tells_how_it_ended(
    tenant: Tenant, status: int, ended: Ended | None
) -> None:
    await tenant.be_ready()
    running = tenant.invoke()
    await tenant.hear()

    tenant.channel.close()
    tenant.instance.note_exit(status)
    ending = await running

    assert ended is None or ending.ended is ended
    assert not ending.is_reusable


async def test_an_answer_before_the_end_still_counts(tenant: Tenant) -> None:
    await tenant.be_ready()
    running = tenant.invoke()
    await tenant.hear()

    tenant.say(frames.ANSWER, b"1")
    tenant.instance.note_exit(0)

    assert (await running).ended is Ended.ANSWERED
    await tenant.wait_death()


async def test_one_that_was_never_forked_surely_did_not_start(tenant: Tenant) -> None:
    running = tenant.invoke()
    await asyncio.sleep(0)

    tenant.instance.note_start_failed("out of processes", Credit())

    with pytest.raises(StartFailed, match="could not fork") as failure:
        await running
    assert failure.value.said == "out of processes"
    assert "out of" not in str(failure.value), "a text could be the answer, for nothing"


async def test_one_that_had_time_to_run_cannot_be_said_not_to_have_started(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its zygote may have read the event, and worked on it instead of forking.
    monkeypatch.setattr(stillborn, "STILLBORN_S", SILENCE_S)
    running = tenant.invoke()
    await asyncio.wait([running], timeout=2 * SILENCE_S)

    tenant.instance.note_start_failed("the answer is 42", Credit())

    ending = await running
    assert (ending.ended, ending.payload) == (Ended.SIGNALED, b"")
    assert ending.init_s is not None
    assert ending.init_s >= 2 * SILENCE_S, "which is billed"


async def test_what_it_said_before_it_was_said_not_to_have_started_counts(
    tenant: Tenant,
) -> None:
    running = tenant.invoke()
    await asyncio.sleep(0)
    tenant.say(frames.READY)

    tenant.instance.note_start_failed("never happened", Credit())

    assert (await running).ended is Ended.SIGNALED


async def test_one_that_ran_cannot_be_said_not_to_have_started(tenant: Tenant) -> None:
    # Or its zygote could have every invocation for nothing, at the very end of it.
    await tenant.be_ready()
    running = tenant.invoke()
    await tenant.hear()

    tenant.instance.note_start_failed("never happened", Credit())

    assert (await running).ended is Ended.SIGNALED


async def test_with_its_launcher_lost_it_may_have_done_its_work(
    tenant: Tenant,
) -> None:
    await tenant.be_ready()
    running = tenant.invoke()
    await tenant.hear()

    tenant.instance.note_zygote_lost(with_launcher=True)

    with pytest.raises(LauncherLost):
        await running
    assert tenant.instance.state is State.DEAD


async def test_with_its_zygote_lost_it_was_killed(tenant: Tenant) -> None:
    await tenant.be_ready()
    running = tenant.invoke()
    await tenant.hear()

    tenant.instance.note_zygote_lost(with_launcher=False)

    ending = await running
    assert (ending.ended, ending.signal) == (Ended.SIGNALED, signal.SIGKILL)


async def test_death_is_told_once(tenant: Tenant) -> None:
    await tenant.be_ready()
    tenant.instance.stop()
    tenant.instance.stop()
    await tenant.wait_death()

    assert tenant.instance.state is State.DEAD
    assert tenant.kills >= 1


async def test_what_comes_after_a_violation_is_not_kept(tenant: Tenant) -> None:
    running = tenant.invoke()
    await asyncio.sleep(0)
    tenant.channel.send(b"\xff" * 65_536)

    assert (await running).ended is Ended.VIOLATION
    assert tenant.wire.is_quiet


async def test_an_idle_instance_is_frozen_and_thawed_for_its_next_event(
    tenant: Tenant,
) -> None:
    await tenant.be_ready()

    assert await tenant.next_order() == b"1"
    running = tenant.invoke()
    assert await tenant.next_order() == b"0"
    await tenant.hear()
    tenant.say(frames.ANSWER, b"{}")

    assert (await running).ended is Ended.ANSWERED


async def test_an_idle_instance_that_cannot_be_frozen_is_ended(tenant: Tenant) -> None:
    tenant.jam_brake()
    await tenant.be_ready()

    await tenant.wait_death()

    assert tenant.kills == 1
    with pytest.raises(StartFailed):
        await tenant.invoke()


async def test_an_instance_that_cannot_be_thawed_is_ended_and_may_have_run(
    tenant: Tenant,
) -> None:
    await tenant.be_ready()
    assert await tenant.next_order() == b"1"
    tenant.jam_brake()

    ending = await tenant.invoke()

    assert (ending.ended, ending.signal) == (Ended.SIGNALED, signal.SIGKILL)


async def test_a_busy_instance_is_not_frozen(tenant: Tenant) -> None:
    await tenant.be_ready()
    running = tenant.invoke()

    await tenant.hear()
    with contextlib.suppress(BlockingIOError):
        os.read(tenant.brake, 2)  # it may have been frozen in between

    tenant.instance.idle.freeze_if_idle()

    with pytest.raises(BlockingIOError):
        os.read(tenant.brake, 1)
    tenant.say(frames.ANSWER, b"{}")
    await running


async def test_an_instance_that_uses_more_than_its_function_has_is_ended(
    tenant: Tenant,
) -> None:
    await tenant.be_ready()
    running = tenant.invoke()
    used = os.statvfs("/")
    in_tmp = (used.f_blocks - used.f_bfree) * used.f_frsize

    usage = in_tmp + (2 * MEMORY_MB << 20)
    (tenant.group / "memory.current").write_text(str(usage))
    (tenant.group / "memory.stat").write_text("active_file 0\ninactive_file 0\n")

    assert (await running).error_type == OUT_OF_MEMORY
    await tenant.wait_death()


async def test_what_the_kernel_killed_for_memory_is_told_as_that(
    tenant: Tenant,
) -> None:
    await tenant.be_ready()
    running = tenant.invoke()
    await tenant.hear()

    (tenant.group / "memory.events").write_text("oom 1\noom_kill 1\n")
    tenant.instance.note_exit(signal.SIGKILL)

    assert (await running).error_type == OUT_OF_MEMORY


async def test_what_its_jail_killed_for_memory_is_told_as_that(
    tenant: Tenant,
) -> None:
    await tenant.be_ready()
    running = tenant.invoke()
    await tenant.hear()

    tenant.verdict = "memory"
    tenant.instance.note_exit(signal.SIGKILL)

    assert (await running).error_type == OUT_OF_MEMORY


async def test_its_peak_is_the_kernel_s_and_never_more_than_it_has(
    tenant: Tenant,
) -> None:
    await tenant.be_ready()
    running = tenant.invoke()
    await tenant.hear()
    (tenant.group / "memory.peak").write_text(str(9 << 20))
    tenant.instance.note_exit(signal.SIGKILL)
    ending = await running

    assert ending.peak_memory_kb == 9 * 1024
