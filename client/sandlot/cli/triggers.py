"""`trigger` and `schedule`: what makes functions run without a caller."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sandlot.cli.groups import Group
from sandlot.cli.options import Flags, folders, one_of, shared, unqualified
from sandlot.cli.output import document, show_list
from sandlot.cli.text import one_line, with_zone
from sandlot.cli.trigger_views import (
    due,
    flat,
    full_name,
    group_and_name,
    moment,
    progress,
    show_trigger,
    target,
    when,
)

if TYPE_CHECKING:
    from sandlot.triggers import NewTrigger, Schedule, Source

KINDS = ("schedule", "webhook", "bucket", "directory")
SCHEMES = ("generic", "github", "stripe", "slack")
MISSED = ("run-once", "skip")


@click.group(cls=Group)
def trigger() -> None:
    """Make, list, pause, try and delete triggers of all kinds."""


@click.group(cls=Group)
def schedule() -> None:
    """Make, list, pause, try and delete schedules. NAME may be GROUP/NAME."""


@trigger.group(cls=Group)
def add() -> None:
    """Make a trigger: a schedule, a webhook, a bucket or a directory."""


# --- made -----------------------------------------------------------------------

_COMMON = (
    click.argument("name"),
    click.argument("function", metavar="FUNCTION[:QUALIFIER]"),
    click.option("--qualifier", default="", help="A version or an alias, as there."),
    click.option("--description", default="", metavar="TEXT", help="What it is for."),
    click.option("--paused", is_flag=True, help="Begin paused."),
)
_FILTER = (
    click.option(
        "--event",
        "events",
        multiple=True,
        metavar="EVENT",
        help="Only these: 'ObjectCreated:*', ObjectRemoved:Delete. Repeatable.",
    ),
    click.option("--prefix", default="", help="Only keys that begin so."),
    click.option("--suffix", default="", help="Only keys that end so."),
)
_SCHEDULE = (
    click.option("--timezone", metavar="ZONE", help="Europe/Berlin; by default UTC."),
    click.option("--start", type=click.DateTime(), help="UTC. Nothing is due before."),
    click.option("--end", type=click.DateTime(), help="UTC. Nothing is due after."),
    click.option(
        "--window",
        "window_minutes",
        type=click.IntRange(0, 1_440),
        metavar="MINUTES",
        help="Spread events over so many minutes.",
    ),
    click.option(
        "--missed",
        "missed_runs",
        type=click.Choice(MISSED),
        help="What becomes of times that passed while the engine was down.",
    ),
    click.option(
        "--delete-after/--keep-after",
        "delete_after_completion",
        default=None,
        help="Delete it once nothing can be due any more.",
    ),
    click.option("--input", "input_", metavar="JSON", help="The event."),
    click.option(
        "--input-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="A file with the event.",
    ),
    click.option(
        "--max-age",
        "maximum_event_age_s",
        type=click.IntRange(60, 86_400),
        metavar="SECONDS",
        help="How long an event that nobody takes is offered again.",
    ),
    click.option(
        "--retries",
        "maximum_retry_attempts",
        type=click.IntRange(0, 185),
        metavar="N",
        help="How often it is.",
    ),
)

Command = Callable[..., None]


def _with(
    *options: tuple[Callable[[Command], Command], ...],
) -> Callable[[Command], Command]:
    """Give a command these options, in their order."""

    def give(command: Command) -> Command:
        for option in reversed([one for group in options for one in group]):
            command = option(command)
        return command

    return give


def _add_schedule(
    flags: Flags, *, name: str, function: str, expression: str, **options: Any
) -> None:
    """Run FUNCTION at times: 'rate(5 minutes)', 'cron(0 8 ? * MON-FRI *)' or
    'at(2026-12-24T18:00:00)', as EventBridge Scheduler has them."""
    from sandlot.triggers import Schedule

    common = _common(options)
    source = _changed(Schedule(expression=expression), options)
    _create(flags, name, function, source, **common)


_EXPRESSION = (click.argument("expression"),)

for _group, _name in ((add, "schedule"), (schedule, "add")):
    _group.command(_name)(_with(_COMMON, _EXPRESSION, _SCHEDULE)(shared(_add_schedule)))


@add.command("webhook")
@_with(_COMMON)
@click.option(
    "--scheme",
    type=click.Choice(SCHEMES),
    default="generic",
    show_default=True,
    help="How its sender signs.",
)
@click.option(
    "--secret-file",
    type=click.File(),
    help="The sender's own secret; - is stdin. By default one is made.",
)
@shared
def add_webhook(
    flags: Flags,
    *,
    name: str,
    function: str,
    scheme: str,
    secret_file: Any,
    **options: Any,
) -> None:
    """Run FUNCTION when somebody posts a signed request."""
    from sandlot.triggers import Webhook

    secret = secret_file.read().strip() if secret_file else ""
    source = Webhook(scheme=scheme)
    _create(flags, name, function, source, secret=secret, **_common(options))


@add.command("bucket")
@_with(_COMMON, _FILTER)
@click.option(
    "--bucket", "buckets", multiple=True, help="Only of this one. Repeatable."
)
@shared
def add_bucket(
    flags: Flags,
    *,
    name: str,
    function: str,
    events: tuple[str, ...],
    prefix: str,
    suffix: str,
    buckets: tuple[str, ...],
    **options: Any,
) -> None:
    """Run FUNCTION when an S3-compatible store tells of its objects."""
    from sandlot.triggers import Bucket

    source = Bucket(buckets=buckets, events=events, prefix=prefix, suffix=suffix)
    _create(flags, name, function, source, **_common(options))


@add.command("directory")
@_with(_COMMON, _FILTER)
@click.argument("path", shell_complete=folders)
@shared
def add_directory(
    flags: Flags,
    *,
    name: str,
    function: str,
    path: str,
    events: tuple[str, ...],
    prefix: str,
    suffix: str,
    **options: Any,
) -> None:
    """Run FUNCTION when a file in a folder of the engine's machine changes.

    For operators, and below what `sandlot up --watch-dir` named.
    """
    from sandlot.triggers import Directory

    source = Directory(path=path, events=events, prefix=prefix, suffix=suffix)
    _create(flags, name, function, source, **_common(options))


def _common(options: dict[str, Any]) -> dict[str, Any]:
    """Those of `_COMMON`, taken out."""
    return {name: options.pop(name) for name in _COMMON_NAMES}


_COMMON_NAMES = ("qualifier", "description", "paused")


def _changed(old: "Schedule", options: dict[str, Any]) -> "Schedule":
    """With the options of `_SCHEDULE` that were given."""
    inputs = options.pop("input_"), options.pop("input_file")
    given = {name: value for name, value in options.items() if value is not None}
    if all(one is not None for one in inputs):
        raise click.UsageError("give --input or --input-file, not both")
    if inputs[0] is not None:
        given["input"] = inputs[0]
    if inputs[1] is not None:
        given["input"] = inputs[1].read_text("utf-8")
    return replace(old, progress=None, **given)


def _create(
    flags: Flags, name: str, function: str, source: "Source", **more: Any
) -> None:
    group, name = group_and_name(name)
    function, more["qualifier"] = one_of(function, more["qualifier"])
    with flags.client() as client:
        made = client.create_trigger(name, function, source, group=group, **more)
    _show_new(flags, made)


_PROOFS = {
    "webhook": ", signed with the secret: what is not signed gets 404",
    "bucket": ", with `Authorization: Bearer` and the token: all else gets 404",
}
"""What else a post needs, by the kind of its trigger."""


def _show_new(flags: Flags, made: "NewTrigger") -> None:
    if flags.as_json:
        secret = {"secret": made.secret} if made.secret else {}
        document(flat(made.trigger) | secret)
        return
    fields = [flat(made.trigger)["name"], made.trigger.path, made.secret]
    click.echo("  ".join(one_line(field) for field in fields if field))
    if made.secret:
        flags.say("  the secret is shown this once: keep it now")
    if made.trigger.path:
        how = _PROOFS.get(made.trigger.kind, "")
        flags.say(f"  post to that path on the engine's HTTP port{how}")
    if (found := made.trigger.schedule) and found.progress:
        when = due(found, now=datetime.now(UTC), moment=with_zone)
        flags.say(f"  due: {when}")


# --- found, changed, deleted ------------------------------------------------------


@trigger.command("list")
@click.option(
    "--function",
    type=unqualified,
    default="",
    metavar="NAME",
    help="Of this one alone.",
)
@click.option("--kind", type=click.Choice(KINDS), help="Of this kind alone.")
@shared
def list_triggers(flags: Flags, *, function: str, kind: str | None) -> None:
    """List triggers by name."""
    _list(flags, function, kind or "")


@schedule.command("list")
@click.option(
    "--function",
    type=unqualified,
    default="",
    metavar="NAME",
    help="Of this one alone.",
)
@shared
def list_schedules(flags: Flags, *, function: str) -> None:
    """List schedules by name."""
    _list(flags, function, "schedule")


def _list(flags: Flags, function: str, kind: str) -> None:
    with flags.client() as client:
        found = client.list_triggers(function, kind=kind)
        if flags.as_json:
            document([flat(one) for one in found])
            return
        show_list(
            flags,
            found,
            [
                ("NAME", full_name),
                ("KIND", lambda one: one.kind),
                ("FUNCTION", target),
                ("STATE", lambda one: "enabled" if one.enabled else "paused"),
                ("WHEN", when),
                ("NEXT", lambda one: moment(progress(one, "next_due"))),
                ("FIRED", lambda one: progress(one, "fired", "-")),
                ("MISSED", lambda one: progress(one, "missed", "-")),
            ],
        )


def _show(flags: Flags, *, name: str) -> None:
    """Show one, with how far it has come."""
    group, name = group_and_name(name)
    with flags.client() as client:
        show_trigger(flags, client.get_trigger(name, group=group))


def _pause(flags: Flags, *, name: str) -> None:
    """Have it do nothing until it is resumed."""
    _set_enabled(flags, name, enabled=False)


def _resume(flags: Flags, *, name: str) -> None:
    """Have it go on. What was due meanwhile is not made up for."""
    _set_enabled(flags, name, enabled=True)


def _set_enabled(flags: Flags, name: str, *, enabled: bool) -> None:
    group, name = group_and_name(name)
    with flags.client() as client:
        changed = client.update_trigger(name, group=group, enabled=enabled)
    show_trigger(flags, changed)


def _test(flags: Flags, *, name: str) -> None:
    """Send an event as it would, now, also while it is paused."""
    group, name = group_and_name(name)
    with flags.client() as client:
        request_id = client.test_trigger(name, group=group)
    if flags.as_json:
        document({"request_id": request_id})
    else:
        click.echo(one_line(request_id))


def _delete(flags: Flags, *, name: str) -> None:
    """Delete it."""
    flags.confirm(f"Delete {one_line(name)}?")
    group, bare = group_and_name(name)
    with flags.client() as client:
        client.delete_trigger(bare, group=group)
    flags.say(f"deleted {one_line(name)}")


_NAME = (click.argument("name"),)
_OF_ALL: tuple[tuple[str, Command], ...] = (
    ("show", _show),
    ("pause", _pause),
    ("resume", _resume),
    ("test", _test),
    ("rm", _delete),
)

for _group in (trigger, schedule):
    for _name, _command in _OF_ALL:
        _group.command(_name)(_with(_NAME)(shared(_command)))


@schedule.command()
@click.argument("name")
@click.option("--expression", help="Other times.")
@_with(_SCHEDULE)
@shared
def config(flags: Flags, *, name: str, expression: str | None, **options: Any) -> None:
    """Change what is given, and only that."""
    group, name = group_and_name(name)
    with flags.client() as client:
        old = client.get_trigger(name, group=group).schedule
        if old is None:
            raise click.UsageError(f"{name} is no schedule")
        new = _changed(old, {"expression": expression, **options})
        show_trigger(flags, client.update_trigger(name, group=group, source=new))


@trigger.command("rotate-secret")
@click.argument("name")
@click.option(
    "--secret-file",
    type=click.File(),
    help="The sender's own secret; - is stdin. By default one is made.",
)
@shared
def rotate_secret(flags: Flags, *, name: str, secret_file: Any) -> None:
    """Replace a webhook's secret or a bucket's token, which is shown this once."""
    secret = secret_file.read().strip() if secret_file else ""
    with flags.client() as client:
        new = client.rotate_trigger_secret(name, secret)
    if flags.as_json:
        document({"secret": new})
    else:
        click.echo(one_line(new))
    flags.say("  the old one is refused from now on")
