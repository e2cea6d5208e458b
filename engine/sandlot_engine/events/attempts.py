"""One attempt to run an event, from the claim to what has become of it."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sandlot_engine.clock import Clock
from sandlot_engine.errors import Conflict, SandlotError, Throttled, Unavailable
from sandlot_engine.events import verdicts
from sandlot_engine.events.lineage import trace_id
from sandlot_engine.events.pauses import FIRST_PAUSE_S, next_pause
from sandlot_engine.events.steady import SteadyTime
from sandlot_engine.events.verdicts import Settings
from sandlot_engine.model.event import Event
from sandlot_engine.model.invocation import (
    Invocation,
    InvocationType,
    Outcome,
    Record,
)
from sandlot_engine.store.event_ports import EventStore, Settled

MAX_KEPT_RESPONSE = 1_048_576
"""Bytes of a function's last answer that are kept for who is told of its event; larger
ones are null there."""

_log = logging.getLogger(__name__)

Attempt = Callable[[Invocation, Callable[[Record], None]], Awaitable[Outcome]]
"""Runs an event once. Raises `Throttled`, `Unavailable` or `Conflict` where there was
no room for it. The record of what ran is given to the callback, and to nobody else."""

SettingsOf = Callable[[Event], Settings]
"""How an event's function has its events treated now. From memory."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What has become of an event."""

    settled: Settled
    is_refused: bool = False
    """There was no room for it."""

    has_run: bool = False
    """There was."""


class Attempts:
    """Makes them, and keeps what comes of them."""

    def __init__(
        self,
        store: EventStore,
        attempt: Attempt,
        settings_of: SettingsOf,
        clock: Clock,
        time: SteadyTime,
        counts: Counter[str],
        *,
        delays_s: Sequence[float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._store = store
        self._attempt = attempt
        self._settings_of = settings_of
        self._clock = clock
        self._time = time
        self._counts = counts
        self._delays_s = delays_s
        self._sleep = sleep

    async def make(self, event: Event, payload: bytes) -> Verdict:
        settings, started = self._settings_of(event), self._time.now()
        if over := verdicts.judged_at_once(event, settings, now=started):
            return self._over(over, settings)
        records: list[Record] = []
        try:
            outcome = await self._attempt(
                self._invocation(event, payload), records.append
            )
        except (Throttled, Unavailable, Conflict) as refusal:
            now = self._time.now()
            waiting = verdicts.after_refusal(event, refusal, settings, now=now)
            return self._over(waiting, settings, is_refused=True)
        except asyncio.CancelledError:
            await self._note_interrupted(event, started, records)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the event goes on
            if not isinstance(error, SandlotError):
                _log.exception(
                    "event failed for an unforeseen reason", extra=ids_of(event)
                )
            now = self._time.now()
            again = verdicts.after_fault(
                event,
                error,
                settings,
                started=started,
                now=now,
                is_billed=bool(records),
            )
            return self._over(again, settings, records=records)
        now = self._time.now()
        after = verdicts.after_run(
            event, outcome, settings, started=started, now=now, delays_s=self._delays_s
        )
        return self._over(
            after, settings, records=records, response=outcome.payload, has_run=True
        )

    def _over(
        self,
        event: Event,
        settings: Settings,
        *,
        records: Sequence[Record] = (),
        response: bytes | None = None,
        is_refused: bool = False,
        has_run: bool = False,
    ) -> Verdict:
        deliveries = verdicts.deliveries_of(event, settings) if event.ended else ()
        if deliveries:
            event = verdicts.delivering(event)
        if response is not None and len(response) > MAX_KEPT_RESPONSE:
            response = b"null"
        settled = Settled(
            event=event,
            response=response,
            record=records[-1] if records else None,
            deliveries=deliveries,
        )
        return Verdict(settled, is_refused=is_refused, has_run=has_run)

    async def _note_interrupted(
        self, event: Event, started: datetime, records: Sequence[Record]
    ) -> None:
        """The engine stops, and was not given the time to see the end of it."""
        again = verdicts.after_interruption(
            event, started=started, now=self._time.now(), is_billed=bool(records)
        )
        self._counts["interrupted"] += 1
        await self._store.settle_event(
            Settled(event=again, record=records[-1] if records else None)
        )

    async def keep(self, settled: Settled) -> bool:
        """Until it is kept: the event has run, and only this says so, and what it cost.
        Where the engine stops meanwhile, it is said once more, at once; raises what the
        store raises then."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return await self._settle(settled)
            except SandlotError as error:
                _log.error(
                    "what became of an event could not be kept: %s",
                    error.message,
                    extra=ids_of(settled.event),
                )
            try:
                await self._sleep(pause_s)
            except asyncio.CancelledError:
                await self._settle(settled)
                raise
            pause_s = next_pause(pause_s)

    async def _settle(self, settled: Settled) -> bool:
        """Also who is cancelled sees the end of it: a write that was called off could
        not be told from one that was kept."""
        settling = asyncio.ensure_future(self._store.settle_event(settled))
        try:
            return await asyncio.shield(settling)
        except asyncio.CancelledError:
            await settling
            raise

    def _invocation(self, event: Event, payload: bytes) -> Invocation:
        return Invocation(
            request_id=event.request_id,
            tenant_id=event.tenant_id,
            function=event.function,
            qualifier=event.qualifier,
            invoked_arn=event.invoked_arn,
            isolation_key=event.isolation_key,
            client_context=event.client_context,
            lineage=event.lineage,
            trace_id=trace_id(
                event.request_id,
                event.trace,
                event.lineage,
                event.tenant_id,
                event.function,
            ),
            payload=payload,
            type=InvocationType.EVENT,
            arrived=self._clock.monotonic(),
        )


def ids_of(event: Event) -> dict[str, str]:
    """For the log."""
    return {
        "request_id": event.request_id,
        "tenant_id": event.tenant_id,
        "function": event.function,
    }
