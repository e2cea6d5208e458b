"""`bill`: exact sums, and what they would cost at AWS's prices."""

from dataclasses import replace
from datetime import datetime

import click

from sandlot.cli.options import Flags, shared, when
from sandlot.cli.output import document, plain, show_list
from sandlot.cli.text import dollars


@click.command()
@click.option(
    "--since",
    type=when,
    metavar="WHEN",
    help="From 7d ago on, or from a date, in UTC; by default from this month's first.",
)
@click.option(
    "--until", type=when, metavar="WHEN", help="Until then; by default until now."
)
@shared
def bill(flags: Flags, *, since: datetime | None, until: datetime | None) -> None:
    """Show what is owed, by function, and its exact total."""
    # Asked for and not spoken for, because bills outlive their tenants.
    with replace(flags, tenant=None).client() as client:
        owed = client.bill(since, until, tenant_id=flags.tenant or "")
    if flags.as_json:
        document(plain(owed))
        return
    show_list(
        flags,
        [*owed.lines, owed.total],
        [
            ("FUNCTION", lambda one: one.function or "total"),
            ("CALLS", lambda one: f"{one.invocations:,}"),
            ("BILLED", lambda one: f"{one.billed_ms:,} ms"),
            ("GB·S", lambda one: f"{one.gb_seconds:.6f}"),
            ("REQUESTS", lambda one: dollars(one.requests_cost)),
            ("COMPUTE", lambda one: dollars(one.compute_cost)),
            ("TOTAL", lambda one: dollars(one.cost)),
        ],
    )
