"""`tenant` and `key`: who may do what, for the operator."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from sandlot import errors
from sandlot.cli.engine import data_of, load_engine
from sandlot.cli.groups import Group
from sandlot.cli.options import Flags, shared
from sandlot.cli.output import document, show_list, show_one
from sandlot.cli.settings import NETWORKS
from sandlot.cli.text import minute, one_line

if TYPE_CHECKING:
    from sandlot.results import NewKey, Tenant

MAX_CONCURRENCY = 100_000
"""The engine's bound, too."""

_network = click.option(
    "--network",
    type=click.Choice(NETWORKS),
    help="The most that its functions may have: none, as a new tenant; a way out; or"
    " the machine's own network, for a tenant you trust.",
)
_allow_cidr = click.option(
    "--allow-cidr",
    multiple=True,
    metavar="CIDR",
    help="A network that its functions with egress may reach although it is not"
    " public: 10.1.0.0/16. Repeatable.",
)


@click.group(cls=Group)
def tenant() -> None:
    """Make, list, change and delete tenants."""


@tenant.command()
@click.argument("name")
@click.option(
    "--id", "tenant_id", default="", help="Twelve digits; one is chosen otherwise."
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, MAX_CONCURRENCY),
    help="How many invocations may run at once; 1000 unless given.",
)
@_network
@_allow_cidr
@shared
def create(
    flags: Flags,
    *,
    name: str,
    tenant_id: str,
    concurrency: int | None,
    network: str | None,
    allow_cidr: tuple[str, ...],
) -> None:
    """Make a tenant and its first key, whose secret is shown this once."""
    with flags.client() as client:
        made = client.create_tenant(
            name,
            id=tenant_id,
            concurrency=concurrency or 0,
            network=network or "none",
            network_allow=allow_cidr,
        )
    _show_once(flags, made)


@tenant.command("list")
@shared
def list_tenants(flags: Flags) -> None:
    """List tenants by id."""
    with flags.client() as client:
        show_list(
            flags,
            client.list_tenants(),
            [
                ("ID", lambda one: one.id),
                ("NAME", lambda one: one.name),
                ("CONCURRENCY", lambda one: one.concurrency),
                ("NETWORK", _network_of),
                ("STATE", lambda one: "suspended" if one.suspended else "active"),
                ("CREATED", lambda one: minute(one.created)),
            ],
        )


@tenant.command()
@click.argument("tenant_id", metavar="ID")
@click.option("--name", help="A new name.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, MAX_CONCURRENCY),
    help="How many invocations may run at once from now on.",
)
@_network
@_allow_cidr
@click.option(
    "--allow-no-cidr", is_flag=True, help="Take back what --allow-cidr allowed."
)
@shared
def update(
    flags: Flags,
    *,
    tenant_id: str,
    name: str | None,
    concurrency: int | None,
    network: str | None,
    allow_cidr: tuple[str, ...],
    allow_no_cidr: bool,
) -> None:
    """Change what is given, and only that; what --allow-cidr gave is replaced.

    Functions that have more than --network are refused from then on. What runs of
    them may finish.
    """
    if allow_cidr and allow_no_cidr:
        raise click.UsageError("give --allow-cidr or --allow-no-cidr, not both")
    allow = allow_cidr if allow_cidr or allow_no_cidr else None
    if name is None and concurrency is None and network is None and allow is None:
        raise click.UsageError(
            "nothing to change: give --name, --concurrency, --network or --allow-cidr"
        )
    with flags.client() as client:
        changed = client.update_tenant(
            tenant_id,
            name=name,
            concurrency=concurrency,
            network=network,
            network_allow=allow,
        )
        show_one(flags, changed)


@tenant.command()
@click.argument("tenant_id", metavar="ID")
@shared
def suspend(flags: Flags, *, tenant_id: str) -> None:
    """Refuse a tenant's keys and run nothing of it, until `resume`.

    What runs may finish. Its events and schedules wait until they are too old;
    messages of queues stay there; URLs and webhooks are refused.
    """
    with flags.client() as client:
        show_one(flags, client.update_tenant(tenant_id, suspended=True))


@tenant.command()
@click.argument("tenant_id", metavar="ID")
@shared
def resume(flags: Flags, *, tenant_id: str) -> None:
    """Take `suspend` back, at once."""
    with flags.client() as client:
        show_one(flags, client.update_tenant(tenant_id, suspended=False))


@tenant.command("delete")
@click.argument("tenant_id", metavar="ID")
@click.option(
    "--with-functions",
    is_flag=True,
    help="Delete its functions first, after suspending it.",
)
@shared
def delete_tenant(flags: Flags, *, tenant_id: str, with_functions: bool) -> None:
    """Delete a tenant that has no functions, with its keys, layers and logs.

    Its bill stays.
    """
    what = "its functions and all that is its" if with_functions else "its keys"
    flags.confirm(f"Delete the tenant {one_line(tenant_id)}, {what}, for good?")
    with flags.client() as client:
        if with_functions:
            # Else it could make others meanwhile.
            client.update_tenant(tenant_id, suspended=True)
            with replace(flags, tenant=tenant_id).client() as theirs:
                for each in list(theirs.functions()):
                    theirs.delete_function(each.name)
        client.delete_tenant(tenant_id)
    flags.say(f"deleted {one_line(tenant_id)}")


@click.group(cls=Group)
def key() -> None:
    """Make, import, list and revoke keys (of others with --tenant); rotate the master
    key."""


@key.command("create")
@click.option(
    "--operator", is_flag=True, help="One that may do everything, for every tenant."
)
@shared
def create_key(flags: Flags, *, operator: bool) -> None:
    """Make another key, whose secret is shown this once."""
    with flags.client() as client:
        made = client.create_key(operator=operator)
    _show_once(flags, made)


@key.command("import")
@click.argument("access_key_id")
@click.argument("secret", required=False)
@shared
def import_key(flags: Flags, *, access_key_id: str, secret: str | None) -> None:
    """Take over an existing key pair, for scripts with fixed credentials.

    Without SECRET it is asked for, or read from stdin: other users of a machine can
    read the arguments of commands.
    """
    if secret is None:
        secret = (
            click.prompt("secret access key", hide_input=True, err=True)
            if sys.stdin.isatty()
            else sys.stdin.readline().strip()
        )
    with flags.client() as client:
        show_one(flags, client.import_key(access_key_id, secret))


@key.command("list")
@shared
def list_keys(flags: Flags) -> None:
    """List keys, without secrets."""
    with flags.client() as client:
        show_list(
            flags,
            client.list_keys(),
            [
                ("ACCESS KEY ID", lambda one: one.access_key_id),
                ("TENANT", lambda one: one.tenant_id),
                ("OPERATOR", lambda one: "yes" if one.is_operator else "no"),
                ("CREATED", lambda one: minute(one.created)),
            ],
        )


@key.command()
@shared
def rotate_master(flags: Flags) -> None:
    """Replace master.key, and seal all secrets anew. The engine must be stopped.

    To be run on the engine's machine by whoever starts the engine. No access key
    changes. Backups of before need the master.key of before.
    """
    engine = load_engine()
    try:
        done = engine.rotate_master_key(data_of(flags, engine))
    except engine.Refused as refused:
        raise NotRotated(str(refused)) from refused
    if flags.as_json:
        document(done)
        return
    sealed = done["sealed"]
    what = "1 secret is" if sealed == 1 else f"{sealed} secrets are"
    click.echo(f"{what} sealed with another master.key")
    if done["left"]:
        flags.say(
            f"{done['left']} could not be opened with the one before, nor can now"
        )


class NotRotated(errors.Refused):
    """Nothing was changed."""


@key.command()
@click.argument("access_key_id")
@shared
def revoke(flags: Flags, *, access_key_id: str) -> None:
    """Take a key back, at once."""
    flags.confirm(f"Revoke {one_line(access_key_id)}? What uses it stops working.")
    with flags.client() as client:
        client.revoke_key(access_key_id)
    flags.say(f"revoked {one_line(access_key_id)}")


def _network_of(one: "Tenant") -> str:
    """`egress, 10.1.0.0/16`; what is allowed without a network does nothing."""
    if one.network == "none":
        return "-"
    return ", ".join([one.network, *one.network_allow])


def _show_once(flags: Flags, made: "NewKey") -> None:
    show_one(flags, made)
    flags.say("  the secret is shown this once: keep it now")
