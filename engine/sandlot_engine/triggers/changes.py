"""What becomes of a schedule's progress when the schedule is changed. Pure."""

from dataclasses import replace
from datetime import datetime

from sandlot_engine.model.trigger import Progress, Trigger
from sandlot_engine.triggers import plan


def changed_progress(
    old: Trigger, new: Trigger, progress: Progress, *, now: datetime
) -> Progress:
    """Where a schedule that is another now goes on from."""
    assert old.schedule is not None  # noqa: S101 - as for all that have progress
    assert new.schedule is not None  # noqa: S101
    if times(new) != times(old):
        begun = plan.begin(new.schedule)
        return replace(progress, through=begun.through, last_error="")
    if new.is_enabled and not old.is_enabled:
        return replace(progress, through=max(progress.through, now))
    return progress


def times(trigger: Trigger) -> tuple[object, ...]:
    """What says when it is due."""
    schedule = trigger.schedule
    assert schedule is not None  # noqa: S101
    return schedule.expression, schedule.zone, schedule.start
