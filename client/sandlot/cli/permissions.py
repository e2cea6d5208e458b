"""`permission`: who else may invoke functions."""

import re
from typing import TYPE_CHECKING

import click

from sandlot.cli.groups import Group
from sandlot.cli.options import Flags, named, shared
from sandlot.cli.output import show_list
from sandlot.cli.text import one_line

if TYPE_CHECKING:
    from sandlot.results import Permission

VIA_URL = "-via-url"
"""What the second statement of `--url` has behind its id."""

_function = click.argument("function", metavar="FUNCTION[:QUALIFIER]")


@click.group(cls=Group)
def permission() -> None:
    """Let other tenants invoke functions, show who may, and take it back.

    A version and an alias have permissions of their own: FUNCTION:live.
    """


@permission.command()
@_function
@click.argument("principal")
@click.option(
    "--id",
    "statement_id",
    metavar="ID",
    help="Names it, to take it back by. By default it is made of PRINCIPAL.",
)
@click.option(
    "--url",
    "for_url",
    is_flag=True,
    help="Let it call the function's URL instead, signed with its key: two permissions,"
    " the second ID" + VIA_URL + ".",
)
@click.option(
    "--action",
    default="",
    metavar="ACTION",
    help="By default lambda:InvokeFunction.",
)
@click.option(
    "--source-arn", default="", metavar="ARN", help="Only what comes of this."
)
@click.option(
    "--source-account", default="", metavar="ID", help="Only what comes of its things."
)
@shared
def add(
    flags: Flags,
    *,
    function: str,
    principal: str,
    statement_id: str | None,
    for_url: bool,
    action: str,
    source_arn: str,
    source_account: str,
) -> None:
    """Let PRINCIPAL invoke FUNCTION by its ARN: a tenant's id, or * for all of them."""
    if for_url and (action or source_arn or source_account):
        raise click.UsageError("--url says by itself what is allowed, and when")
    name, qualifier = named(function)
    statement_id = statement_id or _id_of(principal)
    with flags.client() as client:
        if for_url:
            made = [
                client.add_permission(
                    *(name, statement_id, principal),
                    qualifier=qualifier,
                    action="lambda:InvokeFunctionUrl",
                    url_auth="iam",
                ),
                client.add_permission(
                    *(name, statement_id + VIA_URL, principal),
                    qualifier=qualifier,
                    via_url=True,
                ),
            ]
        else:
            one = client.add_permission(
                *(name, statement_id, principal),
                qualifier=qualifier,
                action=action,
                source_arn=source_arn,
                source_account=source_account,
            )
            made = [one]
    if flags.as_json:
        show_list(flags, made, [])
        return
    for each in made:
        click.echo(one_line(each.id))
    who = "everybody who has a key" if principal == "*" else one_line(principal)
    what = "call the URL of" if for_url else "invoke"
    flags.say(f"{who} may {what} {one_line(function)}")
    ids = " ".join(one_line(each.id) for each in made)
    again = one_line(flags.again())
    flags.say(
        f"  take it back: sandlot permission remove {one_line(function)} {ids}{again}"
    )


@permission.command("list")
@_function
@shared
def list_permissions(flags: Flags, *, function: str) -> None:
    """List who else may invoke FUNCTION, in the order in which it was said."""
    name, qualifier = named(function)
    with flags.client() as client:
        show_list(
            flags,
            client.list_permissions(name, qualifier=qualifier),
            [
                ("ID", lambda p: p.id or "-"),
                ("WHO", lambda p: " ".join(p.principals)),
                ("MAY", _what),
                ("WHERE", _where),
            ],
        )


@permission.command()
@_function
@click.argument("ids", nargs=-1, required=True, metavar="ID…")
@shared
def remove(flags: Flags, *, function: str, ids: tuple[str, ...]) -> None:
    """Take permissions back, at once. What runs may end."""
    name, qualifier = named(function)
    with flags.client() as client:
        for each in ids:
            client.remove_permission(name, each, qualifier=qualifier)
            flags.say(f"{one_line(function)} has {one_line(each)} no longer")


def _id_of(principal: str) -> str:
    if principal == "*":
        return "everybody"
    return re.sub(r"[^A-Za-z0-9_-]+", "-", principal).strip("-")[:80]


def _what(one: "Permission") -> str:
    actions = " ".join(one.actions)
    return f"NOT {actions}" if one.is_denial else actions


def _where(one: "Permission") -> str:
    said = [f"{each.key}={'|'.join(each.values)}" for each in one.conditions]
    return " ".join(said) or "-"
