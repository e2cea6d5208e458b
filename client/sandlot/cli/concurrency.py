"""`concurrency`: what functions have of it, and what is started ahead."""

import sys
from typing import TYPE_CHECKING, Any

import click

from sandlot.cli.groups import Group
from sandlot.cli.options import Flags, named, shared, unqualified
from sandlot.cli.output import document, plain, show_list, show_one
from sandlot.cli.root import FUNCTION_FAILED
from sandlot.cli.text import one_line

if TYPE_CHECKING:
    from sandlot.results import Concurrency, ProvisionedConcurrency

_COUNT = click.IntRange(min=0, max=2**31 - 1)
"""As much as a message can hold; what is possible is the engine's to say."""


@click.group(cls=Group)
def concurrency() -> None:
    """Share out how much may run at once, and have instances started ahead."""


@concurrency.command()
@click.argument("function", type=unqualified, required=False)
@shared
def show(flags: Flags, *, function: str | None) -> None:
    """Show what the tenant has, and what of it is reserved and provisioned.

    With FUNCTION, what is reserved and provisioned for that.
    """
    with flags.client() as client:
        found = client.get_concurrency(function or "")
        if not function:
            show_one(flags, found)
            return
        provisioned = list(client.list_provisioned_concurrency(function))
    shown = _of_one(found, function)
    if flags.as_json:
        document({**shown, "provisioned": plain(provisioned)})
        return
    show_one(flags, shown)
    if provisioned:
        click.echo()
        show_list(
            flags,
            provisioned,
            [
                ("QUALIFIER", lambda one: one.qualifier),
                ("PROVISIONED", lambda one: one.requested),
                ("ALLOCATED", lambda one: one.allocated),
                ("AVAILABLE", lambda one: one.available),
                ("STATUS", lambda one: one.status),
                ("REASON", lambda one: one.reason or "-"),
            ],
        )


@concurrency.command()
@click.argument("function", type=unqualified)
@click.argument("count", type=_COUNT)
@shared
def reserve(flags: Flags, *, function: str, count: int) -> None:
    """Let FUNCTION run COUNT at once, whatever others do, and never more.

    With 0 nothing of it runs.
    """
    with flags.client() as client:
        found = client.put_reserved_concurrency(function, count)
    show_one(flags, _of_one(found, function))
    if not count:
        flags.say(f"{one_line(function)} is switched off: what calls it is refused")


@concurrency.command()
@click.argument("function", type=unqualified)
@shared
def unreserve(flags: Flags, *, function: str) -> None:
    """Let FUNCTION share in what all others have."""
    with flags.client() as client:
        found = client.delete_reserved_concurrency(function)
    show_one(flags, _of_one(found, function))


@concurrency.command()
@click.argument("function", metavar="NAME:QUALIFIER")
@click.argument("count", type=_COUNT)
@shared
def provision(flags: Flags, *, function: str, count: int) -> None:
    """Have COUNT instances of a version, or of what an alias leads to, started ahead.

    Waits until they are there. Exits with 1 where not all of them could be started.
    """
    name, qualifier = _qualified(function)
    with flags.client() as client:
        made = client.put_provisioned_concurrency(name, qualifier, count)
    show_one(flags, made)
    if made.status != "READY":
        _say_why_not(flags, made)
        sys.exit(FUNCTION_FAILED)


@concurrency.command()
@click.argument("function", metavar="NAME:QUALIFIER")
@shared
def unprovision(flags: Flags, *, function: str) -> None:
    """Have none started ahead any more. What is in use may finish."""
    name, qualifier = _qualified(function)
    with flags.client() as client:
        client.delete_provisioned_concurrency(name, qualifier)
    flags.say(f"nothing of {one_line(function)} is provisioned any more")


def _qualified(text: str) -> tuple[str, str]:
    function, qualifier = named(text)
    if not qualifier:
        raise click.UsageError(
            f"say which version or alias: {one_line(function)}:1, or "
            f"{one_line(function)}:live. `sandlot fn publish` makes a version of what "
            "is deployed"
        )
    return function, qualifier


def _of_one(found: "Concurrency", function: str) -> dict[str, Any]:
    return {
        "function": function,
        "reserved": found.reserved.get(function),
        "unreserved": found.unreserved,
        "limit": found.limit,
    }


def _say_why_not(flags: Flags, made: "ProvisionedConcurrency") -> None:
    flags.say(f"  {one_line(made.reason)}")
    where = f"{one_line(made.function)}:{one_line(made.qualifier)}"
    again = one_line(flags.again())
    flags.say(f"  next: see whether it starts: sandlot invoke {where} '{{}}'{again}")
