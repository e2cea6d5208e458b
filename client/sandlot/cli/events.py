"""`event` and `dead-letter`: what has become of events."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from sandlot.cli.groups import Group
from sandlot.cli.options import Flags, named, seconds_within, shared, unqualified
from sandlot.cli.output import document, plain, show_list, show_one, table
from sandlot.cli.text import one_line, second, size, with_zone

if TYPE_CHECKING:
    from sandlot.client import Client
    from sandlot.results import Event

STATES = ("queued", "running", "delivering", "succeeded", "failed", "dead")
MAX_AGE_S = (60, 21_600)
"""AWS's bounds, and the engine's."""


@click.group(cls=Group)
def event() -> None:
    """Show and list events, invocations that nobody waited for; say how they are
    treated."""


@event.command()
@click.argument("request_id")
@click.option("--wait", is_flag=True, help="Wait until it is over.")
@click.option("--payload", is_flag=True, help="Print its payload instead, if kept.")
@shared
def show(flags: Flags, *, request_id: str, wait: bool, payload: bool) -> None:
    """Show one event: where it is, its attempts, and why it waits or failed."""
    with flags.client() as client:
        if payload:
            sys.stdout.buffer.write(client.event_payload(request_id))
            sys.stdout.buffer.flush()
            return
        found = client.wait_event(request_id) if wait else client.event(request_id)
    _show(flags, found)


@event.command("list")
@click.argument("name", type=unqualified, required=False, default="")
@click.option(
    "--state", "states", type=click.Choice(STATES), multiple=True, help="Repeatable."
)
@shared
def list_events(flags: Flags, *, name: str, states: tuple[str, ...]) -> None:
    """List events, newest first; of the function NAME, or of all."""
    with flags.client() as client:
        _list(flags, client, name, states)


@event.command()
@click.argument("function", metavar="NAME[:QUALIFIER]")
@click.option(
    "--retries",
    type=click.IntRange(0, 2),
    help="How often what has failed is tried again.",
)
@click.option(
    "--max-age",
    type=seconds_within(*MAX_AGE_S),
    metavar="SECONDS",
    help="How long an event may wait, 60 to 21600.",
)
@click.option(
    "--on-success",
    metavar="FUNCTION|ARN",
    help="Who is told of each that has succeeded; '' is nobody.",
)
@click.option(
    "--on-failure",
    metavar="FUNCTION|ARN",
    help="Who is told of each that cannot be run; '' is nobody.",
)
@click.option("--reset", is_flag=True, help="Make all of it the defaults again, first.")
@shared
def config(
    flags: Flags,
    *,
    function: str,
    retries: int | None,
    max_age: int | None,
    on_success: str | None,
    on_failure: str | None,
    reset: bool,
) -> None:
    """Change how the events of a function are treated, as far as given; show it.

    Versions and aliases have settings of their own, and inherit none. ARNs are those of
    functions of the same tenant, and of queues, topics and buses of SQS, SNS and
    EventBridge at endpoints that the operator has named.
    """
    name, qualifier = named(function)
    said = {
        "max_retries": retries,
        "max_age_s": max_age,
        "on_success": on_success,
        "on_failure": on_failure,
    }
    given: Any = {key: value for key, value in said.items() if value is not None}
    with flags.client() as client:
        if reset:
            client.delete_event_settings(name, qualifier=qualifier)
        if given:
            found = client.put_event_settings(name, qualifier=qualifier, **given)
        else:
            found = client.get_event_settings(name, qualifier=qualifier)
    show_one(flags, found)


@click.group("dead-letter", cls=Group)
def dead_letter() -> None:
    """List, show, run again and delete events that could not be run or told of."""


@dead_letter.command("list")
@click.argument("name", type=unqualified, required=False, default="")
@shared
def list_dead(flags: Flags, *, name: str) -> None:
    """List dead events, newest first; of the function NAME, or of all."""
    with flags.client() as client:
        _list(flags, client, name, ("dead",))


@dead_letter.command("show")
@click.argument("request_id")
@shared
def show_dead(flags: Flags, *, request_id: str) -> None:
    """Show one event."""
    with flags.client() as client:
        _show(flags, client.event(request_id))


def _which(command: Any) -> Any:
    """One, a function's, or all."""
    for option in (
        click.option("--all", "every", is_flag=True, help="All of them."),
        click.option(
            "--function",
            type=unqualified,
            default="",
            metavar="NAME",
            help="One function's.",
        ),
        click.argument("request_id", required=False, default=""),
    ):
        command = option(command)
    return command


def _check_which(request_id: str, function: str, *, every: bool) -> str:
    """What is meant, in words. Raises where that is not said, or twice."""
    if sum((bool(request_id), bool(function), every)) != 1:
        raise click.UsageError("give one of REQUEST_ID, --function NAME and --all")
    if request_id:
        return f"the event {one_line(request_id)}"
    return f"dead events of {one_line(function)}" if function else "all dead events"


@dead_letter.command()
@_which
@shared
def redrive(flags: Flags, *, request_id: str, function: str, every: bool) -> None:
    """Run dead events again, as if they came now."""
    _check_which(request_id, function, every=every)
    with flags.client() as client:
        count = client.redrive_events(function, request_id=request_id)
    _say_count(flags, count, "run again")


@dead_letter.command()
@_which
@shared
def purge(flags: Flags, *, request_id: str, function: str, every: bool) -> None:
    """Delete dead events."""
    what = _check_which(request_id, function, every=every)
    flags.confirm(f"Delete {what}?")
    with flags.client() as client:
        count = client.purge_events(function, request_id=request_id)
    _say_count(flags, count, "deleted")


def _say_count(flags: Flags, count: int, what: str) -> None:
    if flags.as_json:
        document({"count": count})
    else:
        click.echo(f"{count} {what}")


def _list(flags: Flags, client: "Client", name: str, states: tuple[str, ...]) -> None:
    columns: list[tuple[str, Callable[[Event], object]]] = [
        ("REQUEST", lambda e: e.request_id),
        ("FUNCTION", lambda e: e.function),
        ("STATE", lambda e: e.state),
        ("ACCEPTED", lambda e: second(e.accepted)),
        ("RUNS", lambda e: e.runs),
        ("SIZE", lambda e: size(e.size)),
        ("WHY", lambda e: e.undelivered or e.reason or e.condition),
    ]
    show_list(flags, client.events(name, states=states), columns)


def _show(flags: Flags, found: "Event") -> None:
    if flags.as_json:
        document(plain(found))
        return
    fields = plain(found, moment=with_zone)
    attempts = fields.pop("attempts")
    rows = [
        [name, one_line(str(value))]
        for name, value in fields.items()
        if value not in ("", None)
    ]
    for number, attempt in enumerate(attempts, start=1):
        what = f"{attempt['ended']}  {attempt['status']}"
        if attempt["error"]:
            what += f"  {attempt['error_type']}: {attempt['error']}"
        rows.append([f"attempt {number}", one_line(what)])
    table(None, rows)
