"""`logs`: what a function printed, made harmless."""

import sys
from datetime import datetime
from typing import TYPE_CHECKING

import click

from sandlot.cli.options import Flags, local_when, shared, unqualified
from sandlot.cli.output import line, plain
from sandlot.cli.text import logged, minute, short

if TYPE_CHECKING:
    from sandlot.results import LogLine


@click.command()
@click.argument("name", type=unqualified)
@click.option(
    "--since",
    type=local_when,
    default="10m",
    show_default=True,
    metavar="WHEN",
    help="From 30s, 10m, 2h or 7d ago on, or from a time such as '2026-11-01 09:30', "
    "which is local, as those of the log are, unless it has a zone.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on as new lines come.")
@click.option("--raw", is_flag=True, help="Print the lines' bytes as they are.")
@shared
def logs(
    flags: Flags, *, name: str, since: datetime | None, follow: bool, raw: bool
) -> None:
    """Print a function's log. With --json, one object on a line."""
    is_empty = True
    with flags.client() as client:
        for entry in client.logs(name, since=since, follow=follow):
            is_empty = False
            _show(flags, entry, raw=raw)
    if is_empty and since is not None:
        flags.say(f"nothing since {minute(since)}: see --since WHEN")


def _show(flags: Flags, entry: "LogLine", *, raw: bool) -> None:
    if flags.as_json:
        fields = plain(entry)
        fields["text"] = fields.pop("data")
        line(fields)
    elif raw:
        sys.stdout.buffer.write(entry.data + b"\n")
        sys.stdout.buffer.flush()
    else:
        head = f"{_when(entry.time)} {short(entry.request_id):>9}  "
        # Indented, so that no function can begin a line as if it were another's.
        click.echo(head + logged(entry.text, indent=" " * len(head)))


def _when(time: datetime) -> str:
    """In local time, with the date where that is not today's."""
    local = time.astimezone()
    day = "" if local.date() == datetime.now().astimezone().date() else f"{local:%F} "
    return f"{day}{local:%H:%M:%S}.{local.microsecond // 1000:03}"
