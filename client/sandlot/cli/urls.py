"""`url`: the addresses at which functions answer HTTP."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from sandlot.cli.groups import Group
from sandlot.cli.options import Flags, one_of, shared, unqualified
from sandlot.cli.output import show_list, show_one
from sandlot.cli.text import minute, one_line
from sandlot.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandlot.results import Cors, Url

_COLUMNS: tuple[tuple[str, "Callable[[Url], object]"], ...] = (
    ("ALIAS", lambda u: u.alias or "-"),
    ("URL", lambda u: u.url),
    ("AUTH", lambda u: u.auth),
    ("STREAM", lambda u: "yes" if u.stream else "-"),
    ("CORS", lambda u: " ".join(u.cors.origins) if u.cors else "-"),
    ("CREATED", lambda u: minute(u.created)),
)

METHODS = ("GET", "PUT", "HEAD", "POST", "PATCH", "DELETE", "*")

_alias = click.option(
    "--alias", default="", metavar="NAME", help="An alias of the function, as there."
)


@click.group(cls=Group)
def url() -> None:
    """Give functions addresses for HTTP, show them, take them away."""


@url.command()
@click.argument("function", metavar="FUNCTION[:ALIAS]")
@_alias
@click.option(
    "--auth",
    type=click.Choice(["none", "iam"]),
    help="Who may call: anybody who can reach the engine, which is so unless iam is"
    " said; or who signs with a key.",
)
@click.option(
    "--stream/--no-stream",
    default=None,
    help="Pass answers on while the function makes them.",
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
    "--cors-credentials/--no-cors-credentials",
    "credentials",
    default=None,
    help="They may send cookies.",
)
@click.option(
    "--no-cors", is_flag=True, help="Leave what pages of others may do to the function."
)
@shared
def add(
    flags: Flags,
    *,
    function: str,
    alias: str,
    auth: str | None,
    stream: bool | None,
    origins: tuple[str, ...],
    methods: tuple[str, ...],
    headers: tuple[str, ...],
    credentials: bool | None,
    no_cors: bool,
) -> None:
    """Give FUNCTION an address, or change how the one it has is used; print it.

    Of one that is there, what is not said stays as it is.
    """
    function, alias = one_of(function, alias)
    said: dict[str, Any] = {"origins": origins, "methods": methods, "headers": headers}
    said = {name: value for name, value in said.items() if value}
    if credentials is not None:
        said["credentials"] = credentials
    for origin in origins:
        _check_origin(origin)
    if alias.isdecimal():
        raise click.UsageError(
            "a version has no address: have an alias lead to it, `sandlot alias set"
            f" {function} ALIAS {alias}`, and give {function}:ALIAS one"
        )
    if no_cors and said:
        raise click.UsageError("--no-cors and other --cors-… options are opposites")
    with flags.client() as client:
        urls = client.list_urls(function)
        old = next((one for one in urls if one.alias == alias), None)
        if stream is None:
            stream = old is not None and old.stream
        try:
            made = client.put_url(
                function,
                auth=auth or (old.auth if old else "none"),
                alias=alias,
                cors=None if no_cors else _cors(old.cors if old else None, said),
                stream=stream,
            )
        except NotFound as error:
            if not alias:
                raise
            # That its function is there is known: its addresses were told.
            raise NotFound(
                f"{function} has no alias {alias}. Make it with"
                f" `sandlot alias set {function} {alias} VERSION`",
                request_id=error.request_id,
            ) from error
    if flags.as_json:
        show_one(flags, made)
        return
    click.echo(one_line(made.url))
    who = "anybody who can reach it" if made.auth == "none" else "who signs with a key"
    flags.say(f"{one_line(function)} answers there to {who}")
    if made.cors and made.cors.credentials and "*" in made.cors.origins:
        flags.say("  no cookies of other sites: with the origin * there are none")


def _check_origin(origin: str) -> None:
    """Browsers send an exact one, and what is none is never allowed."""
    if origin in ("*", "null"):  # that is what pages in files have
        return
    scheme, _, host = origin.partition("://")
    if not (scheme and host) or "/" in host or "*" in host:
        raise click.UsageError(
            f"{origin!r} is no origin that a browser sends: write * or all of one,"
            " without a path, as https://example.org or http://localhost:3000"
        )


def _cors(old: "Cors | None", said: dict[str, Any]) -> "Cors | None":
    """What was said, and the rest as it was."""
    from sandlot.results import Cors

    if not said:
        return old
    if old is not None:
        return replace(old, **said)
    if "origins" not in said:
        raise click.UsageError("say whose pages: --cors-origin ORIGIN")
    return Cors(**said)


@url.command("list")
@shared
def list_urls(flags: Flags) -> None:
    """List the addresses of all functions, by function and alias."""
    with flags.client() as client:
        show_list(
            flags,
            client.list_urls(),
            [("FUNCTION", lambda u: u.function), *_COLUMNS],
        )


@url.command()
@click.argument("function", type=unqualified)
@shared
def show(flags: Flags, *, function: str) -> None:
    """Show the addresses of FUNCTION and of its aliases."""
    with flags.client() as client:
        show_list(flags, client.list_urls(function), _COLUMNS)


@url.command()
@click.argument("function", metavar="FUNCTION[:ALIAS]")
@_alias
@shared
def rm(flags: Flags, *, function: str, alias: str) -> None:
    """Take an address of FUNCTION away. The next one is another."""
    function, alias = one_of(function, alias)
    flags.confirm(f"Delete the address of {one_line(function)} for good?")
    with flags.client() as client:
        client.delete_url(function, alias=alias)
    flags.say(f"{one_line(function)} has that address no longer")
