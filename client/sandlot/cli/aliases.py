"""`alias`: names that lead to versions of functions."""

import math
from typing import TYPE_CHECKING

import click

from sandlot.cli.groups import Group
from sandlot.cli.options import Flags, named, pair, shared, unqualified
from sandlot.cli.output import show_list, show_one
from sandlot.cli.text import one_line

if TYPE_CHECKING:
    from sandlot.results import Alias


def share(text: str) -> tuple[str, float]:
    """The type of an option that is `VERSION=SHARE`."""
    version, given = pair(text)
    try:
        number = float(given)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise click.BadParameter(f"{given!r} is no share from 0 to 1: {version}=0.1")
    return version, number


@click.group(cls=Group)
def alias() -> None:
    """Have names lead to versions of functions, and list them."""


def apart(text: str) -> str:
    """The type of a function's name where that of an alias is another argument."""
    name, also = named(text)
    if also:
        raise click.BadParameter(
            f"function and alias are two words here: {name} {also}"
        )
    return name


@alias.command("set")
@click.argument("function", type=apart)
@click.argument("name", metavar="ALIAS")
@click.argument("version")
@click.option(
    "--weight",
    "weights",
    type=share,
    multiple=True,
    metavar="VERSION=SHARE",
    help="One other version, and its share of the invocations: 4=0.1 is a tenth.",
)
@click.option("--description", metavar="TEXT", help="What it is for; else it stays.")
@shared
def set_(
    flags: Flags,
    *,
    function: str,
    name: str,
    version: str,
    weights: tuple[tuple[str, float], ...],
    description: str | None,
) -> None:
    """Have ALIAS lead to VERSION of FUNCTION from now on; make it where there is none.

    Without --weight all invocations go to VERSION, whatever was so before.
    """
    if len(weights) > 1:
        raise click.UsageError(
            "an alias leads to two versions at most: VERSION, and that of one --weight"
        )
    with flags.client() as client:
        made = client.put_alias(
            function, name, version, weights=dict(weights), description=description
        )
    if flags.as_json:
        show_one(flags, made)
        return
    click.echo(one_line(made.arn))
    called = one_line(f"{function}:{name}")
    flags.say(f"{called} leads to {one_line(_where(made))}")
    flags.say(f"  invoke it: sandlot invoke {called} '{{}}'{one_line(flags.again())}")


@alias.command("list")
@click.argument("function", type=unqualified)
@click.option("--version", default="", help="Only those that lead to this version.")
@shared
def list_aliases(flags: Flags, *, function: str, version: str) -> None:
    """List the aliases of FUNCTION by name."""
    with flags.client() as client:
        show_list(
            flags,
            client.list_aliases(function, version=version),
            [
                ("ALIAS", lambda one: one.name),
                ("LEADS TO", _where),
                ("DESCRIPTION", lambda one: one.description or "-"),
            ],
        )


@alias.command()
@click.argument("function", type=apart)
@click.argument("name", metavar="ALIAS")
@shared
def delete(flags: Flags, *, function: str, name: str) -> None:
    """Delete an alias, with its URL, its policy and what is provisioned for it."""
    called = one_line(f"{function}:{name}")
    flags.confirm(f"Delete the alias {called}? Who calls it is refused.")
    with flags.client() as client:
        client.delete_alias(function, name)
    flags.say(f"deleted {called}")


def _where(one: "Alias") -> str:
    """`3`, or `3 (90 %), 4 (10 %)`."""
    if not one.weights:
        return one.version
    shares = {one.version: 1 - sum(one.weights.values()), **one.weights}
    return ", ".join(f"{each} ({part * 100:.4g} %)" for each, part in shares.items())
