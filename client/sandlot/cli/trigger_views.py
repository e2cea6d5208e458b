"""How `trigger` and `schedule` show what there is."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sandlot.cli.options import Flags
from sandlot.cli.output import document, plain, show_one
from sandlot.cli.text import second, with_zone

if TYPE_CHECKING:
    from sandlot.triggers import Schedule, Trigger


def group_and_name(text: str) -> tuple[str, str]:
    """The group, empty for the default one, and the name."""
    group, _, name = text.rpartition("/")
    return group, name


def full_name(one: "Trigger") -> str:
    return one.name if one.group == "default" else f"{one.group}/{one.name}"


def target(one: "Trigger") -> str:
    return f"{one.function}:{one.qualifier}" if one.qualifier else one.function


def when(one: "Trigger") -> str:
    if found := one.schedule:
        zone = "" if found.timezone == "UTC" else f" {found.timezone}"
        return f"{found.expression}{zone}"
    source: Any = one.source
    return one.path or source.path


def progress(one: "Trigger", name: str, default: Any = None) -> Any:
    found = one.schedule.progress if one.schedule else None
    return getattr(found, name) if found is not None else default


def moment(when: datetime | None) -> str:
    return second(when) if when else "-"


def due(
    schedule: "Schedule", *, now: datetime, moment: Callable[[datetime], str] = second
) -> str:
    """When it is due next, or why it will not be: a single time may be long past."""
    next_due = schedule.progress.next_due if schedule.progress else None
    if next_due is None:
        return "-"
    is_skipped = schedule.missed_runs == "skip"
    late_s = 60 if is_skipped else schedule.maximum_event_age_s
    is_single = schedule.expression.startswith("at(")
    if not is_single or now - next_due <= timedelta(seconds=late_s):
        return moment(next_due)
    why = "--missed skip" if is_skipped else "--max-age"
    return f"never: {moment(next_due)} is past, and not made up for ({why})"


def show_trigger(flags: Flags, one: "Trigger") -> None:
    if flags.as_json:
        document(flat(one))
        return
    fields = flat(one, moment=with_zone)
    fields |= fields.pop(one.kind)
    show_one(flags, fields | (fields.pop("progress", None) or {}))


def flat(one: "Trigger", **how: Callable[[datetime], str]) -> dict[str, Any]:
    """A trigger as JSON has it, or as `how` says: its source under its kind."""
    fields: dict[str, Any] = plain(one, **how)
    source = fields.pop("source")
    return {**fields, "kind": one.kind, one.kind: source}
