"""Reads one mapping's queue, and has its function run with what is there.

A message is deleted when the function has done with it. Until then it is its queue's:
if the function fails, or this engine dies, the queue gives it again when its visibility
timeout is over, and in the end to its own dead-letter queue.
"""

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

from sandlot_engine.clock import Clock
from sandlot_engine.errors import Conflict, SandlotError, Throttled, Unavailable
from sandlot_engine.events.lineage import MAX_ROUNDS, RECURSION, trace_id
from sandlot_engine.ids import new_request_id
from sandlot_engine.model.invocation import Invocation, Outcome, Status
from sandlot_engine.model.mapping import Mapping
from sandlot_engine.polling.answers import Verdict, judge
from sandlot_engine.polling.batches import Assembly
from sandlot_engine.polling.filters import Filters
from sandlot_engine.polling.pace import (
    EMPTY_S,
    MAX_WIDTH,
    Width,
    pause_after,
    poll_s,
)
from sandlot_engine.polling.ports import Asking, Invoking, Raw, Reserved, Sorted
from sandlot_engine.polling.queues import NoQueue, QueueTrouble
from sandlot_engine.polling.records import (
    Message,
    NoMessage,
    event_of,
    message_of,
    record_of,
)
from sandlot_engine.polling.settling import Settling
from sandlot_engine.polling.sources import Settings, Source, settings_of
from sandlot_engine.polling.turns import Turns

NOTHING_YET = "No records processed"
TURN_S = 60.0
"""The longest wait for a turn; then it is looked anew what is wanted."""

ASKED_ANEW_S = 60.0
"""How long a queue's visibility timeout is believed."""

_log = logging.getLogger(__name__)


class Reader:
    """`run` reads until `stop`, or until `mapping` says that nobody wants it any more.
    What was begun then is brought to its end."""

    def __init__(
        self,
        source: Source,
        *,
        mapping: Callable[[], Mapping | None],
        readers: Callable[[], int],
        queues: Asking,
        turns: Turns,
        invoker: Invoking,
        reserved: Reserved,
        clock: Clock,
        counts: Counter[str],
    ) -> None:
        """`mapping` is as it is now, None where it is not to be read; `readers` is how
        many there are."""
        self._source = source
        self._mapping = mapping
        self._readers = readers
        self._queues = queues
        self._turns = turns
        self._invoker = invoker
        self._reserved = reserved
        self._clock = clock
        self._counts = counts
        self._assembly = Assembly()
        self._width = Width()
        self._patterns: tuple[str, ...] = ()
        self._filters = Filters(())
        self._visibility_s, self._visibility_until = 0.0, -math.inf
        self._failures = 0
        """In a row, to ask the endpoint or to find the function."""

        self._was_empty = True
        self._waits_for_turn: asyncio.Timeout | None = None
        self._stop = asyncio.Event()
        self._settling = Settling(source, queues, counts, pause=self.pause)
        self._stirred = asyncio.Event()
        self.running = 0
        """Batches that their function has, or will have when there is room."""

        self._parked = 0
        """Of those, the ones for which there was no room."""

        self.result = NOTHING_YET
        """`LastProcessingResult`"""

    def __repr__(self) -> str:
        return f"<Reader {self._source.arn} {self.running} batches>"

    def stop(self) -> None:
        """Begin nothing new."""
        self._stop.set()
        self._stirred.set()
        if (patience := self._waits_for_turn) is not None and not patience.expired():
            patience.reschedule(asyncio.get_running_loop().time())

    def stir(self) -> None:
        """The mapping may be another."""
        self._stirred.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as batches:
            while not self._stop.is_set() and (mapping := self._mapping()) is not None:
                await self._try_step(mapping, batches)
            await self._give_back(self._assembly.clear())

    async def _try_step(self, mapping: Mapping, batches: asyncio.TaskGroup) -> None:
        settings = settings_of(mapping)
        try:
            await self._step(mapping, settings, batches)
        except NoQueue as error:
            why = f"the queue is not there. {error}"
        except (QueueTrouble, NoMessage) as error:
            why = f"the queue could not be read. {error}"
        except SandlotError as error:
            why = error.message
        except Exception as error:  # noqa: BLE001 - it is tried again, whatever it is
            _log.exception("a queue could not be read for an unforeseen reason")
            why = type(error).__name__
        else:
            return
        self._counts["problems"] += 1
        self._failures += 1
        self.result = f"PROBLEM: {why}"[:1_000]
        await self.pause(self._pause_s(settings))

    def _pause_s(self, settings: Settings) -> float:
        """After a failure; no longer than a batch that is here may wait."""
        pause_s = pause_after(self._failures)
        closes_at = self._assembly.closes_at(settings.window_s)
        if closes_at is None:
            return pause_s
        return min(pause_s, max(0.0, closes_at - self._clock.monotonic()))

    # --- reading ----------------------------------------------------------------------

    async def _step(
        self, mapping: Mapping, settings: Settings, batches: asyncio.TaskGroup
    ) -> None:
        now = self._clock.monotonic()
        # In order means one after another: groups of a queue wait for each other.
        at_most = 1 if self._source.is_fifo else settings.concurrency or MAX_WIDTH
        if not self._width.has_room(self.running, at_most=at_most, now=now):
            await self._rest(self._width.grows_at)
            return
        await self._let_expire(now)
        batch = self._assembly.take(settings.batch_size, settings.window_s, now=now)
        if batch:
            self.running += 1
            batches.create_task(self._deliver(mapping, settings, batch))
            return
        # What cannot be run is left in its queue, where it loses none of its tries.
        await self._check(mapping)
        await self._poll(mapping, settings)

    async def _check(self, mapping: Mapping) -> None:
        if self._reserved(mapping.tenant_id).get(mapping.function) == 0:
            raise Conflict(
                f"function {mapping.function!r} is switched off: its reserved "
                "concurrency is 0. Its queue is not read meanwhile."
            )
        await self._invoker.dry_run(self._invocation(mapping, b"{}"))

    async def _let_expire(self, now: float) -> None:
        """A batch may have had to wait for room for too long."""
        if late := self._assembly.expired(now):
            self._counts["left"] += len(late)
            self._turns.let_go(self._source.account, _size(late))
            if self._source.is_fifo:
                # What came after them may be of their groups.
                await self._give_back(self._assembly.clear())

    async def _poll(self, mapping: Mapping, settings: Settings) -> None:
        began = self._clock.monotonic()
        closes_at = self._assembly.closes_at(settings.window_s)
        wait_s = poll_s(self._readers(), self._turns.count)
        if closes_at is not None:
            wait_s = max(0, min(wait_s, int(closes_at - began)))
            if not wait_s and self._was_empty:
                await self._rest(closes_at)
                return
        filters = self._filters_of(settings)
        async with AsyncExitStack() as stack:
            patience_s = TURN_S if closes_at is None else max(0.0, closes_at - began)
            if not await self._has_turn(stack, patience_s):
                return
            visibility_s = await self._asked_visibility_s(began)
            chosen, others = await self._queues.receive(
                self._source,
                count=self._assembly.wanted(settings.batch_size),
                wait_s=wait_s,
                read=partial(self._sort, mapping.function, filters, visibility_s),
            )
            self._take(chosen)
        self._counts["polls"] += 1
        self._counts["filtered"] += len(others)
        self._note_answer(is_empty=not chosen and not others)
        await self._delete(others)
        if self._was_empty:
            await self._rest(min(began + EMPTY_S, closes_at or math.inf))

    async def _has_turn(self, stack: AsyncExitStack, patience_s: float) -> bool:
        if self._stop.is_set():
            return False
        try:
            async with asyncio.timeout(patience_s) as self._waits_for_turn:
                turn = self._turns.turn(self._source.account)
                await stack.enter_async_context(turn)
        except TimeoutError:
            return False
        finally:
            self._waits_for_turn = None
        return True

    def _take(self, chosen: Sequence[Message]) -> None:
        self._counts["received"] += len(chosen)
        self._assembly.add(chosen)
        self._turns.hold(self._source.account, _size(chosen))

    def _note_answer(self, *, is_empty: bool) -> None:
        self._was_empty = is_empty
        if self._failures:
            self._failures, self.result = 0, NOTHING_YET
        if is_empty and not self.running:
            self._width.note_idle()

    def _sort(
        self, function: str, filters: Filters, visibility_s: float, raw: Raw
    ) -> Sorted:
        """Beside the loop: patterns and messages are the tenant's, and may be large."""
        now = self._clock.monotonic()
        chosen, others = list[Message](), list[str]()
        for each in raw:
            record = record_of(each, self._source)
            if filters.choose(record):
                message = message_of(
                    record,
                    now=now,
                    visibility_s=visibility_s,
                    account=self._source.account,
                    function=function,
                )
                chosen.append(message)
            else:
                others.append(record["receiptHandle"])
        return chosen, others

    def _filters_of(self, settings: Settings) -> Filters:
        if self._patterns != settings.patterns:
            self._filters = Filters(settings.patterns)
            self._patterns = settings.patterns
        return self._filters

    async def _asked_visibility_s(self, now: float) -> float:
        if now >= self._visibility_until:
            self._visibility_s = await self._queues.visibility_s(self._source)
            self._visibility_until = now + ASKED_ANEW_S
        return self._visibility_s

    # --- a batch ----------------------------------------------------------------------

    async def _deliver(
        self, mapping: Mapping, settings: Settings, batch: Sequence[Message]
    ) -> None:
        self._counts["batches"] += 1
        try:
            verdict = await self._run(mapping, settings, batch)
            self.result = verdict.result
            self._counts["left"] += len(verdict.left)
            await self._delete([message.handle for message in verdict.done])
            if verdict.left and self._source.is_fifo:
                # What came after them may be of their groups.
                await self._give_back(self._assembly.clear())
        except Exception as error:  # noqa: BLE001 - the messages come again
            _log.exception("a batch failed for an unforeseen reason")
            self.result = f"PROBLEM: {type(error).__name__}"
        finally:
            self.running -= 1
            self._turns.let_go(self._source.account, _size(batch))
            self._stirred.set()

    async def _run(
        self, mapping: Mapping, settings: Settings, batch: Sequence[Message]
    ) -> Verdict:
        try:
            outcome = await self._invoke(mapping, batch)
        except SandlotError as error:
            why = f"PROBLEM: {error.message}"[:1_000]
            looped = tuple(each for each in batch if each.rounds >= MAX_ROUNDS)
            # Of a FIFO queue all or none is run: what comes after has to wait.
            if (
                error.reason == RECURSION
                and 0 < len(looped) < len(batch)
                and not self._source.is_fifo
            ):
                others = [each for each in batch if each.rounds < MAX_ROUNDS]
                verdict = await self._run(mapping, settings, others)
                return replace(verdict, left=(*verdict.left, *looped), result=why)
            if self._stop.is_set():
                await self._settling.release([message.handle for message in batch])
            return Verdict(left=tuple(batch), result=why)
        verdict = judge(
            batch,
            is_ok=outcome.status is Status.OK,
            payload=outcome.payload,
            reports_items=settings.reports_items,
        )
        self._counts["batches_failed"] += bool(verdict.left)
        return verdict

    async def _invoke(self, mapping: Mapping, batch: Sequence[Message]) -> Outcome:
        """Again and again while there is no room, as long as the messages are ours.
        Raises the refusal that it ends with."""
        payload = event_of(batch)
        visible = min(message.visible for message in batch)
        failures = 0
        while True:
            try:
                return await self._invoker.invoke(
                    self._invocation(mapping, payload, batch), None
                )
            except (Throttled, Unavailable, Conflict) as refusal:
                now = self._clock.monotonic()
                failures += 1
                self._counts["throttled"] += 1
                self._parked += 1
                self._width.note_throttled(self.running - self._parked, now=now)
                self.result = f"PROBLEM: {refusal.message}"[:1_000]
                pause_s = pause_after(failures)
                try:
                    if self._stop.is_set() or now + pause_s >= visible:
                        raise
                    await self.pause(pause_s)
                finally:
                    self._parked -= 1

    def _invocation(
        self, mapping: Mapping, payload: bytes, batch: Sequence[Message] = ()
    ) -> Invocation:
        """A consequence of the message that has been round most often."""
        worst = max(batch, key=_rounds, default=None)
        trace = worst.trace if worst is not None and len(batch) == 1 else ""
        led_here = worst.lineage if worst is not None else ""
        request_id = new_request_id()
        return Invocation(
            request_id=request_id,
            tenant_id=mapping.tenant_id,
            function=mapping.function,
            lineage=led_here,
            trace_id=trace_id(
                request_id, trace, led_here, mapping.tenant_id, mapping.function
            ),
            qualifier=mapping.qualifier,
            payload=payload,
            arrived=self._clock.monotonic(),
        )

    async def _delete(self, handles: Sequence[str]) -> None:
        if problem := await self._settling.delete(handles):
            self.result = problem

    async def _give_back(self, messages: Sequence[Message]) -> None:
        """What is in no batch yet is for whoever asks next."""
        self._turns.let_go(self._source.account, _size(messages))
        await self._settling.release([message.handle for message in messages])

    # --- waiting ----------------------------------------------------------------------

    async def _rest(self, until: float) -> None:
        """Until then, or until something is different."""
        await self._wait(self._stirred, until - self._clock.monotonic())
        self._stirred.clear()

    async def pause(self, seconds: float) -> None:
        """For so long, or until this is to stop."""
        await self._wait(self._stop, seconds)

    async def _wait(self, event: asyncio.Event, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await event.wait()
        except TimeoutError:
            pass  # the usual end of it


def _rounds(message: Message) -> tuple[int, bool]:
    return message.rounds, bool(message.lineage)


def _size(messages: Sequence[Message]) -> int:
    return sum(len(message.record) for message in messages)
