"""All that triggers are made of, put together."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandlot_engine.catalog.functions import Functions
from sandlot_engine.catalog.kept import Kept
from sandlot_engine.catalog.seal import Sealer
from sandlot_engine.clock import Clock
from sandlot_engine.model.trigger import Progress, ScheduleGroup, Trigger
from sandlot_engine.store.ports import DocumentStore
from sandlot_engine.triggers.desk import Desk
from sandlot_engine.triggers.directories import Directories
from sandlot_engine.triggers.groups import Groups
from sandlot_engine.triggers.hooks import Hooks
from sandlot_engine.triggers.keeping import (
    Triggers,
    kept_groups,
    kept_progress,
    kept_triggers,
)
from sandlot_engine.triggers.ports import Events
from sandlot_engine.triggers.sending import Sender
from sandlot_engine.triggers.ticker import Ticker

Readings = Mapping[str, tuple[str, Callable[[], float]]]
"""As `Metrics.watch` takes them."""


@dataclass(frozen=True, slots=True)
class KeptTriggers:
    """What is kept of triggers; the catalog loads it and lets go of it."""

    triggers: Kept[Trigger]
    progress: Kept[Progress]
    groups: Kept[ScheduleGroup]

    @classmethod
    def over(cls, store: DocumentStore) -> "KeptTriggers":
        return cls(kept_triggers(store), kept_progress(store), kept_groups(store))

    @property
    def belongings(self) -> tuple[Kept[Any], ...]:
        """Of functions."""
        return self.triggers, self.progress

    @property
    def of_tenants(self) -> tuple[Kept[Any], ...]:
        return (self.groups,)


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerParts:
    """What gateways and `/metrics` are given of it."""

    triggers: Triggers
    groups: Groups
    desk: Desk
    hooks: Hooks
    ticker: Ticker
    directories: Directories

    @property
    def gauges(self) -> Readings:
        return {
            "schedule_events_pending": (
                "Schedules' events that nobody took yet.",
                lambda: self.ticker.pending,
            ),
        }

    @property
    def counters(self) -> Readings:
        return {
            "schedule_events": (
                "Events that schedules have sent.",
                lambda: self.ticker.fired,
            ),
            "schedule_events_given_up": (
                "Schedules' events that nobody took.",
                lambda: self.ticker.given_up,
            ),
            "schedule_times_missed": (
                "Due times that passed without an event.",
                lambda: self.ticker.missed,
            ),
            "hook_events": (
                "Posts that became events.",
                lambda: self.hooks.taken,
            ),
            "hooks_refused": (
                "Posts by who may not.",
                lambda: self.hooks.refused,
            ),
            "hooks_passed_over": (
                "Notifications that told nothing that was chosen.",
                lambda: self.hooks.passed_over,
            ),
            "directory_events": (
                "Files' events that were sent.",
                lambda: self.directories.sent,
            ),
            "directory_events_dropped": (
                "Files' events that came too fast, or that nobody took.",
                lambda: self.directories.dropped,
            ),
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load what there is, fire what is due, watch what is to be watched."""
        async with AsyncExitStack() as stack:
            await self.triggers.load()
            await stack.enter_async_context(self.ticker.running())
            await stack.enter_async_context(self.directories.running())
            yield


def made_of(
    kept: KeptTriggers,
    functions: Functions,
    events: Events,
    sealer: Sealer,
    *,
    clock: Clock,
    region: str,
    roots: tuple[Path, ...] = (),
) -> TriggerParts:
    """The parts, at rest."""
    triggers = Triggers(
        kept.triggers, kept.progress, kept.groups, functions, clock=clock
    )
    sender = Sender(events, clock)
    directories = Directories(triggers, sender, clock=clock, region=region, roots=roots)
    return TriggerParts(
        triggers=triggers,
        groups=Groups(kept.groups, triggers, functions, clock=clock),
        desk=Desk(triggers, directories, sender, sealer, clock=clock, region=region),
        hooks=Hooks(triggers, sender, sealer, clock=clock),
        ticker=Ticker(triggers, sender, clock=clock, region=region),
        directories=directories,
    )
