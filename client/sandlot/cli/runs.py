"""`runs`: invocations that are over."""

import itertools

import click

from sandlot.cli.groups import Group
from sandlot.cli.options import Flags, shared, unqualified
from sandlot.cli.output import show_list
from sandlot.cli.text import dollars, second


@click.group(cls=Group)
def runs() -> None:
    """Look at past invocations."""


@runs.command("list")
@click.argument("name", type=unqualified, required=False, default="")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="At most so many.",
)
@shared
def list_(flags: Flags, *, name: str, limit: int) -> None:
    """List invocations, newest first; of all functions if no NAME is given."""
    with flags.client() as client:
        show_list(
            flags,
            itertools.islice(client.runs(name), limit),
            [
                ("TIME", lambda r: second(r.time)),
                ("FUNCTION", lambda r: r.function),
                ("STATUS", lambda r: r.status or "-"),
                ("ERROR", lambda r: r.error_type or "-"),
                ("RUN", lambda r: f"{r.report.duration_ms:.1f} ms"),
                ("BILLED", lambda r: f"{r.report.billed_ms} ms"),
                ("MEMORY", lambda r: f"{r.report.max_memory_mb} MB"),
                ("START", lambda r: "cold" if r.report.cold else "warm"),
                ("COST", lambda r: dollars(r.report.cost)),
                ("REQUEST", lambda r: r.request_id),
            ],
        )
