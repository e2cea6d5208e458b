"""The engine's hold on one instance: an event in, an answer out, and its death.

    STARTING → IDLE ⇄ BUSY → STOPPING → DEAD
                 ↖     ↓
                 SETTLING     answered, and its extensions work on

The event goes out at once, to a new instance before it has even been forked. What comes
back is parsed by a `Wire`; whatever is not exactly what was asked for kills the
instance.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Unpack

from sandlot_sandbox import frames
from sandlot_sandbox.errors import LauncherLost, StartFailed
from sandlot_sandbox.host.account import Account, How
from sandlot_sandbox.host.deadline import Deadline
from sandlot_sandbox.host.extensions_api import Shutdown
from sandlot_sandbox.host.farewell import Farewell
from sandlot_sandbox.host.footprint import Footprint
from sandlot_sandbox.host.hold import Hold
from sandlot_sandbox.host.idle import Idle
from sandlot_sandbox.host.invocation import Invocation
from sandlot_sandbox.host.log_pipe import Line
from sandlot_sandbox.host.minder import Minder
from sandlot_sandbox.host.sink import Sink
from sandlot_sandbox.host.stillborn import Credit
from sandlot_sandbox.host.wire import Wire
from sandlot_sandbox.outcome import Ended, Ending, Rest

UNASKED_S = 0.5
"""How long after an answer a program may end without having asked for its next event,
so that another gets that. It is spared from freezing for as long: who is about to exit
comes to that at once, and who takes longer has worked, which is not for nothing."""

_EXIT_NOTE_S = 0.25
"""How long we wait for the zygote to say how an instance ended."""

_KILL_S = 10.0
"""How long a kill may take before it is our failure."""

_TIMED_OUT = "Sandbox.Timedout"
_EXITED = "Runtime.ExitError"
_FOR_MEMORY = "memory"
_NOT_ASKED = "its program ended before it asked for the event"
_NOT_FORKED = "its zygote could not fork; the function's log says why"
_MIB = 1 << 20

log = logging.getLogger(__name__)


class State(Enum):
    """See the module's drawing."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    SETTLING = "settling"
    STOPPING = "stopping"
    DEAD = "dead"


class Instance:
    """One instance. `on_death` is called once, when it can serve no more.

    There are thousands, most of them idle: so it has no dictionary, and nothing in it
    that only some of them need.
    """

    __slots__ = (
        "_account",
        "_deadline",
        "_exit_status",
        "_farewell",
        "_has_last_words",
        "_hold",
        "_init_is_over",
        "_invocation",
        "_is_being_destroyed",
        "_kill_cell",
        "_loop",
        "_on_death",
        "_ready",
        "_rest",
        "_verdict",
        "_was_at_work",
        "_wire",
        "idle",
        "last_words",
        "state",
    )

    def __init__(
        self,
        wire: Wire,
        log: int,
        *,
        extension_log: int | None = None,
        hold: Hold,
        minder: Minder,
        memory_mb: int,
        follows_reset: bool = False,
        sheds: bool = False,
        footprint: Footprint | None = None,
        kill: Callable[[], Awaitable[str]],
        terminate: Callable[[], None] = lambda: None,
        on_thaw: Callable[[], None],
        on_death: Callable[["Instance"], None],
    ) -> None:
        self.state = State.STARTING
        self._wire = wire
        self._farewell = Farewell(wire, terminate=terminate)
        self._rest: asyncio.Future[Rest] | None = None
        self._loop = asyncio.get_running_loop()
        self._account = Account(
            wire,
            log,
            extension_log=extension_log,
            hold=hold,
            memory_mb=memory_mb,
            follows_reset=follows_reset,
        )
        self.idle = Idle(
            self,
            wire,
            account=self._account,
            hold=hold,
            minder=minder,
            sheds=sheds,
            footprint=footprint,
            on_thaw=on_thaw,
        )
        self._is_being_destroyed = False
        self._hold = hold
        self.last_words: tuple[Line, ...] = ()
        """What was printed while its extensions were told of its end, or at its end
        between two events; once it is dead."""

        self._has_last_words = False
        self._verdict = ""
        self._was_at_work = False
        self._kill_cell = kill
        self._on_death = on_death
        self._init_is_over = False
        self._ready: asyncio.Future[None] | None = None
        """Where somebody waits for that."""

        self._deadline = Deadline(self._lapsed)
        """Until when it has to have answered, or to be initialised; or, where it has
        gone, how long we wait to be told how."""

        self._invocation: Invocation | None = None
        """The one that it is at, or waits for its init with."""

        self._exit_status: int | None = None
        wire.open(self)

    def __repr__(self) -> str:
        return f"<Instance {self.state.value}>"

    @property
    def was_heard(self) -> bool:
        """Whether it ever said that it is there."""
        return self._account.is_ready

    @property
    def is_usable(self) -> bool:
        return self.state is State.IDLE

    @property
    def is_frozen(self) -> bool:
        return self.idle.is_frozen

    @property
    def verdict(self) -> str:
        """What it was killed for, where that is known."""
        return self._verdict

    async def invoke(
        self,
        header: frames.EventHeader,
        payload: bytes,
        *,
        timeout_s: float,
        init_counts: bool = False,
        sink: Sink | None = None,
        tells_init: bool = False,
    ) -> Ending:
        """Send an event and wait for what comes of it; always ends.

        `timeout_s` counts from the event's arrival at an initialised instance. A new
        one has `invocation.INIT_S` for its init before that, unless `init_counts`:
        then `timeout_s` is for both. An answer in pieces goes to `sink`, if there is
        one. Unless the ending is reusable, the instance is stopping or dead afterwards;
        so it is when this is cancelled. The ending of one that was ready before its
        first event has its init if it `tells_init`. Raises
        `StartFailed` and `LauncherLost`, our own failures.
        """
        if self.state is State.IDLE:
            # What has come since the last answer, nobody asked for.
            self._wire.read()
        if self.state not in (State.STARTING, State.IDLE):
            raise StartFailed("the instance ended while it was idle")
        if self.state is State.IDLE:
            self.state = State.BUSY
        if header.tenant_id:
            self.idle.tell_nothing()
        self._rest = None
        self._invocation = invocation = Invocation(
            self._account, timeout_s=timeout_s, init_counts=init_counts, sink=sink
        )
        self._account.invoked(
            header.request_id,
            header.tenant_id,
            init_counts=init_counts,
            tells_init=tells_init,
        )
        self._deadline.set(invocation.limit_s)
        self._wire.send(header, payload)
        # After the event is there, so that it wakes to it.
        if not self.idle.wake():
            # It is dying. Whether it has seen the event, nobody knows.
            self.stop()
        try:
            return await invocation.ending
        except asyncio.CancelledError:
            self.stop(Shutdown.FAILURE)
            raise
        finally:
            # One that settles does so within the function's timeout as well.
            if self.state is State.IDLE:
                self._deadline.lift()
            self._invocation = None

    @property
    def has_farewell(self) -> bool:
        """Whether it takes its time to end: its extensions are told first."""
        return self._farewell.is_due

    @property
    def is_settling(self) -> bool:
        """Whether something went on after its last answer, or still does."""
        return self._rest is not None

    async def wait_settled(self) -> Rest:
        """What went on after the last answer, once that is over: within the function's
        timeout. To be asked where `is_settling`, by any number of callers."""
        assert self._rest is not None  # noqa: S101
        return await asyncio.shield(self._rest)

    async def wait_ready(self, limit_s: float) -> bool:
        """Whether it is initialised, once that is known: for one that nobody has sent
        an event yet. Raises `TimeoutError` after `limit_s`, and it is stopped then.
        """
        self._account.init_began()
        try:
            async with asyncio.timeout(limit_s):
                if not self._init_is_over:
                    self._ready = self._loop.create_future()
                    await self._ready
        except TimeoutError:
            self.stop(Shutdown.TIMEOUT)
            raise
        return self.state in (State.IDLE, State.BUSY)

    @property
    def leaves_tmp(self) -> bool:
        """Whether its /tmp may go to the next instance. Only where it ended at work,
        and was killed neither for want of memory, of which what lies there may be a
        part, nor for a violation, after which nothing of it is kept."""
        return self._was_at_work and not self._verdict

    def _leave(self) -> None:
        self._give_event_back()
        self._was_at_work |= self.state in (State.BUSY, State.SETTLING)
        self.state = State.STOPPING

    def _give_event_back(self) -> None:
        """A program that has answered may end of an error that it has told, or of what
        it has left undone: its next event was surely not begun."""
        if (
            self._invocation is not None
            and self._wire.holds_event
            and time.monotonic() - self.idle.answered_at < UNASKED_S
        ):
            self._invocation.fail(StartFailed(_NOT_ASKED))
            self._has_last_words = True

    async def destroy(self) -> None:
        """Kill it, with everything it started; return when all of it is dead."""
        if self.state is not State.DEAD:
            self._leave()
            self._take_stock()
            async with asyncio.timeout(_KILL_S):
                self._verdict = await self._kill_cell() or self._verdict
            self._bury()

    def end_if_greedy(self) -> None:
        """It may not use more than its function has."""
        if self._hold.uses_too_much(self._account.memory_mb * _MIB):
            self._end_for_memory()

    def _end_for_memory(self) -> None:
        self._verdict = _FOR_MEMORY
        self._finish_gone()
        self._farewell.cut_short()
        self.stop()

    def note_exit(self, status: int) -> None:
        """The zygote says that it ended with this wait status."""
        self._exit_status = status
        # What it sent before it went still counts.
        self._wire.read()
        self._farewell.cut_short()
        # How it ended is told when all of it is dead: then it is known what for.
        self.stop()

    def note_start_failed(self, said: str, credit: Credit) -> None:
        """The zygote, who has so much credit, says that there is no instance, and
        why."""
        # What is not forked is not heard; what has come is read before we judge.
        self._wire.read()
        if self._account.is_ready or not credit.covers(self._account.age_s):
            # A lie: it ran. "Surely not started" is free, and is sent again.
            self.note_exit(signal.SIGKILL)
            return
        if self._invocation is not None:
            # In our words: theirs could be the answer, for nothing.
            self._invocation.fail(StartFailed(_NOT_FORKED, said=said))
        self.stop()

    def note_zygote_lost(self, *, with_launcher: bool) -> None:
        """The jail is dead, and we with it."""
        if self.state is not State.DEAD:
            self._wire.read()
            if with_launcher and self._invocation is not None:
                self._invocation.fail(LauncherLost("the launcher is gone"))
            if self._exit_status is None:
                self._exit_status = signal.SIGKILL
            self._finish_gone()
            self._bury()

    # What the wire tells.

    @property
    def expects_answer(self) -> bool:
        return self.state is not State.IDLE or self.idle.is_to_tell

    def note_hung_up(self) -> None:
        self._gone()

    def note_crash(self, error_type: str, why: str = "") -> None:
        if self.state in (State.STOPPING, State.DEAD):
            return
        self._finish(Ended.EXITED, error_type=error_type, why=why, exit_code=1)
        self._end_rest(error_type)
        self.stop(Shutdown.FAILURE)

    def note_settled(self) -> None:
        if self.state is State.SETTLING and self._is_done:
            self._deadline.lift()
            self._end_rest()
            self._become_idle()

    def note_runtime_ended(self, status: int) -> None:
        self._farewell.note_runtime_ended()
        if self.state not in (State.STOPPING, State.DEAD):
            self._exit_status = status
            self._give_event_back()
            self._take_stock()
            self._finish_gone()
            self._end_rest(_EXITED)
            self.stop(Shutdown.FAILURE)

    def note_violation(self, violation: frames.Violation) -> None:
        oversize = isinstance(violation, frames.Oversize)
        self._finish(Ended.TOO_LARGE if oversize else Ended.VIOLATION)
        if not oversize:
            # Whatever it was at, it was not its work: nothing of it is kept.
            self.state = State.STOPPING
        self.stop(Shutdown.FAILURE)

    def hear(self, answer: frames.Answer) -> None:
        self._account.note_peak(answer.peak_memory_kb)
        starting = self.state is State.STARTING and not self._account.is_ready
        at_work = self._invocation if self.state is State.BUSY else None
        if starting and answer.kind == frames.READY:
            self._became_ready()
        elif starting and answer.kind == frames.INIT_ERROR:
            self._finish(Ended.INIT_FAILED, answer.payload, answer.error_type)
            self.stop(Shutdown.FAILURE)
        elif at_work is not None and answer.kind in frames.STREAM_KINDS:
            whole = at_work.take_piece(answer, self._wire)
            if whole is not None:
                self._answered(at_work, *whole)
        elif (
            at_work is not None
            and not at_work.is_in_pieces
            and answer.kind in (frames.ANSWER, frames.ERROR)
        ):
            is_error = answer.kind == frames.ERROR
            ended = Ended.FAILED if is_error else Ended.ANSWERED
            self._answered(at_work, ended, answer.payload, answer.error_type)
        elif not self.idle.hear(answer):
            raise frames.Violation(
                f"an answer of kind {answer.kind} while {self.state.value}"
            )

    def _became_ready(self) -> None:
        invocation = self._invocation
        self._end_init()
        self._account.became_ready(has_event=invocation is not None)
        if invocation is None:
            # Ahead of its first event, which has not waited for it.
            self._become_idle()
        else:
            self.state = State.BUSY
            if not invocation.init_counts:
                self._deadline.set(invocation.limit_s)

    def _end_init(self) -> None:
        """It is initialised, or never will be."""
        self._init_is_over = True
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)
        self._ready = None

    def _answered(
        self, invocation: Invocation, ended: Ended, payload: bytes, error_type: str
    ) -> None:
        if not self._wire.is_quiet:
            raise frames.Violation("more than one answer, or one before the event")
        # Once: the kernel adds it up for whoever asks.
        peak_kb = self._hold.peak_kb()
        if self._account.is_all(peak_kb) and self._hold.ran_out():
            # Some of it was killed. What is left has answered, but is no instance.
            self._end_for_memory()
            return
        self.idle.note_answer()
        if self._is_done:
            self._become_idle()
        else:
            self.state = State.SETTLING
            self._rest = self._loop.create_future()
            self._account.answered()
        goes_on = self._rest is not None
        invocation.end(ended, payload, error_type, peak_kb=peak_kb, goes_on=goes_on)

    @property
    def _is_done(self) -> bool:
        """With what it has answered."""
        may_be_idle = self._wire.is_waiting or not self.idle.works_on
        return self._wire.is_settled and may_be_idle

    def _become_idle(self) -> None:
        self.state = State.IDLE
        self.idle.begin()

    # Ending.

    def _end_rest(self, error_type: str = "") -> None:
        """What goes on after an answer is over."""
        if self._rest is None or self._rest.done():
            return
        self._rest.set_result(self._account.rest(error_type))

    def _finish(
        self,
        ended: Ended,
        payload: bytes = b"",
        error_type: str = "",
        **how: Unpack[How],
    ) -> None:
        """End the invocation, if there is one."""
        if self._invocation is not None:
            self._invocation.end(ended, payload, error_type, **how)

    def _lapsed(self) -> None:
        if self.state is State.STOPPING:
            # How it ended, nobody has said; or it is dying, and then it is told.
            self.stop()
        else:
            self._timed_out()

    def _timed_out(self) -> None:
        before = self.state
        # After a stop of the engine (SIGSTOP) the loop rings before it reads. What lies
        # here may have come in time, and nobody can tell; so it counts, and costs no
        # more than a timeout does.
        self._wire.read()
        if self.state is not before:
            return
        if self._invocation is not None:
            self._invocation.end_late()
        self._end_rest(_TIMED_OUT)
        self.stop(Shutdown.TIMEOUT)

    def _gone(self) -> None:
        """It closed its channel, or was reaped: tell how, as soon as that is known."""
        if self.state in (State.STOPPING, State.DEAD):
            return
        self._leave()
        self._deadline.set(_EXIT_NOTE_S)

    def _take_stock(self) -> None:
        """What its control group knows, as long as that is there."""
        if self._hold.ran_out():
            self._verdict = _FOR_MEMORY
        self._account.note_peak(self._hold.peak_kb())

    def _finish_gone(self) -> None:
        for_memory = self._verdict == _FOR_MEMORY
        if for_memory:
            self._account.took_all_memory()
        if self._invocation is not None:
            status = self._exit_status
            self._invocation.end_gone(
                signal.SIGKILL if status is None else status, for_memory=for_memory
            )

    def stop(self, reason: Shutdown = Shutdown.SPINDOWN) -> None:
        """Kill it in the background; `on_death` tells when there is nothing left. Its
        extensions, if it has any, are told why, and have AWS's time for it."""
        if self.state is not State.DEAD:
            self._leave()
            self._end_init()
            if not self._is_being_destroyed:
                self._is_being_destroyed = True
                _keep(self._loop.create_task(self._destroy_quietly(reason)))

    async def _destroy_quietly(self, reason: Shutdown) -> None:
        if self._farewell.is_due:
            self._deadline.lift()
            self._end_rest(_EXITED)
            # It may work now, and is minded while it does.
            if self.idle.wake():
                self._has_last_words = True
                await self._farewell.say(reason)
        # A launcher that does not kill is a launcher that is lost, and its loss
        # buries every instance; there is nobody here to tell.
        try:
            await self.destroy()
        except TimeoutError:
            log.error("an instance was not killed within %g s", _KILL_S)  # noqa: TRY400
            self._finish_gone()
            # However late: until then it has its place, and its files are open.
            self._verdict = await self._kill_cell() or self._verdict
            self._bury()

    def _bury(self) -> None:
        if self.state is State.DEAD:
            return
        self._finish_gone()
        self._end_rest(_EXITED)
        self._farewell.cut_short()
        self.state = State.DEAD
        self._end_init()
        self._deadline.close()
        self.idle.close()
        self._hold.close()
        self._wire.close()
        if self._has_last_words:
            self.last_words, _ = self._account.take_printed()
        self._account.close()
        self._on_death(self)


_stopping: set[asyncio.Task[None]] = set()
"""Tasks need an owner that outlives the instance they bury."""


def _keep(task: asyncio.Task[None]) -> None:
    _stopping.add(task)
    task.add_done_callback(_stopping.discard)
