"""`url`: the addresses at which functions answer HTTP."""

import click

from sandlot.cli.groups import Group
from sandlot.cli.options import Flags, shared
from sandlot.cli.output import show_list, show_one
from sandlot.cli.text import minute, one_line

METHODS = ("GET", "PUT", "HEAD", "POST", "PATCH", "DELETE", "*")

_alias = click.option(
    "--alias", default="", metavar="NAME", help="An alias of the function."
)


@click.group(cls=Group)
def url() -> None:
    """Give functions addresses for HTTP, show them, take them away."""


@url.command()
@click.argument("function")
@_alias
@click.option(
    "--auth",
    type=click.Choice(["none", "iam"]),
    default="none",
    show_default=True,
    help="Who may call: anybody who can reach the engine, or who signs with a key.",
)
@click.option(
    "--stream", is_flag=True, help="Pass answers on while the function makes them."
)
@click.option(
    "--cors-origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="A site whose pages may call: https://example.org, or *. Repeatable.",
)
@click.option(
    "--cors-method",
    "methods",
    type=click.Choice(METHODS),
    multiple=True,
    help="What they may ask with. Repeatable.",
)
@click.option(
    "--cors-header",
    "headers",
    multiple=True,
    metavar="NAME",
    help="A header that they may send. Repeatable.",
)
@click.option(
    "--cors-credentials", "credentials", is_flag=True, help="They may send cookies."
)
@shared
def add(
    flags: Flags,
    *,
    function: str,
    alias: str,
    auth: str,
    stream: bool,
    origins: tuple[str, ...],
    methods: tuple[str, ...],
    headers: tuple[str, ...],
    credentials: bool,
) -> None:
    """Give FUNCTION an address, or change how the one it has is used; print it."""
    from sandlot.results import Cors

    cors = None
    if origins:
        cors = Cors(
            origins=origins, methods=methods, headers=headers, credentials=credentials
        )
    elif methods or headers or credentials:
        raise click.UsageError("say whose pages: --cors-origin ORIGIN")
    with flags.client() as client:
        made = client.put_url(
            function, auth=auth, alias=alias, cors=cors, stream=stream
        )
    if flags.as_json:
        show_one(flags, made)
        return
    click.echo(one_line(made.url))
    who = "anybody who can reach it" if auth == "none" else "who signs with a key"
    flags.say(f"{one_line(function)} answers there to {who}")


@url.command()
@click.argument("function")
@shared
def show(flags: Flags, *, function: str) -> None:
    """Show the addresses of FUNCTION and of its aliases."""
    with flags.client() as client:
        show_list(
            flags,
            client.list_urls(function),
            [
                ("ALIAS", lambda u: u.alias or "-"),
                ("URL", lambda u: u.url),
                ("AUTH", lambda u: u.auth),
                ("STREAM", lambda u: "yes" if u.stream else "-"),
                ("CORS", lambda u: " ".join(u.cors.origins) if u.cors else "-"),
                ("CREATED", lambda u: minute(u.created)),
            ],
        )


@url.command()
@click.argument("function")
@_alias
@shared
def rm(flags: Flags, *, function: str, alias: str) -> None:
    """Take an address of FUNCTION away. The next one is another."""
    flags.confirm(f"Delete the address of {one_line(function)} for good?")
    with flags.client() as client:
        client.delete_url(function, alias=alias)
    flags.say(f"{one_line(function)} has that address no longer")
