"""`fn`: the functions there are."""

import sys
from typing import TYPE_CHECKING, Any

import click

from sandlot.cli.deploy import say_not_imported
from sandlot.cli.groups import Group
from sandlot.cli.options import Flags, named, pair, shared, unqualified
from sandlot.cli.output import document, plain, show_list, show_one
from sandlot.cli.root import FUNCTION_FAILED
from sandlot.cli.settings import chosen, function_settings
from sandlot.cli.text import message, minute, one_line, size

if TYPE_CHECKING:
    from sandlot.results import Function


@click.group(cls=Group)
def fn() -> None:
    """List, show, change, tag, publish and delete functions."""


@fn.command("list")
@shared
def list_(flags: Flags) -> None:
    """List functions by name."""
    with flags.client() as client:
        show_list(
            flags,
            client.functions(),
            [
                ("NAME", lambda f: f.name),
                ("RUNTIME", lambda f: f.runtime or "image"),
                ("MEMORY", lambda f: f"{f.memory_mb} MB"),
                ("TIMEOUT", lambda f: f"{f.timeout_s} s"),
                ("NETWORK", lambda f: "-" if f.network == "none" else f.network),
                ("CODE", lambda f: size(f.code_size)),
                ("STATE", lambda f: f.state),
                ("MODIFIED", lambda f: minute(f.last_modified)),
            ],
        )


@fn.command()
@click.argument("name", metavar="NAME[:QUALIFIER]")
@shared
def show(flags: Flags, *, name: str) -> None:
    """Show one function, or one of its versions, also by an alias."""
    name, qualifier = named(name)
    with flags.client() as client:
        show_one(flags, client.get_function(name, qualifier=qualifier))


@fn.command()
@click.argument("name", type=unqualified)
@function_settings
@shared
def config(flags: Flags, *, name: str, **options: Any) -> None:
    """Change the settings that are given, and only those; show them all.

    Exits with 1 where it is changed, but cannot be imported.
    """
    with flags.client() as client:
        if changes := chosen(options):
            client.update_function(name, **changes)
        function = client.get_function(name)
    show_one(flags, function)
    if changes and function.import_error:
        say_not_imported(flags, function)
        sys.exit(FUNCTION_FAILED)


@fn.command()
@click.argument("name", type=unqualified)
@click.option(
    "--description", metavar="TEXT", help="The version's, in place of the function's."
)
@shared
def publish(flags: Flags, *, name: str, description: str | None) -> None:
    """Make a version of what a function is now, wait until it serves, print its number.

    It stays as it is, whatever is deployed. Where nothing has changed since the last
    version, that is it. Exits with 1 where it cannot be imported.
    """
    with flags.client() as client:
        version = client.publish_version(name, description=description)
    if flags.as_json:
        document(plain(version))
    else:
        click.echo(one_line(version.version))
        _say_published(flags, version)
    if version.import_error:
        sys.exit(FUNCTION_FAILED)


def _say_published(flags: Flags, version: "Function") -> None:
    called = f"{one_line(version.name)}:{version.version}"
    if version.import_error:
        flags.say(f"  {called} cannot be imported: {message(version.import_error)}")
        flags.say("  next: mend it, deploy it, and publish again")
        return
    again = one_line(flags.again())
    flags.say(f"  invoke it: sandlot invoke {called} '{{}}'{again}")


@fn.command()
@click.argument("name", type=unqualified)
@shared
def versions(flags: Flags, *, name: str) -> None:
    """List the versions of a function: $LATEST, and then those published."""
    with flags.client() as client:
        show_list(
            flags,
            client.list_versions(name),
            [
                ("VERSION", lambda f: f.version),
                ("RUNTIME", lambda f: f.runtime or "image"),
                ("MEMORY", lambda f: f"{f.memory_mb} MB"),
                ("CODE", lambda f: size(f.code_size)),
                ("STATE", lambda f: f.state),
                ("MODIFIED", lambda f: minute(f.last_modified)),
                ("DESCRIPTION", lambda f: f.description or "-"),
            ],
        )


@fn.command()
@click.argument("name", type=unqualified)
@click.argument("tags", type=pair, nargs=-1, required=True, metavar="KEY=VALUE…")
@shared
def tag(flags: Flags, *, name: str, tags: tuple[tuple[str, str], ...]) -> None:
    """Add tags to a function, or give them other values; show all."""
    with flags.client() as client:
        show_one(flags, client.tag_function(name, dict(tags)))


@fn.command()
@click.argument("name", type=unqualified)
@click.argument("keys", nargs=-1, required=True, metavar="KEY…")
@shared
def untag(flags: Flags, *, name: str, keys: tuple[str, ...]) -> None:
    """Take tags away, whether they are there or not; show those that are left."""
    with flags.client() as client:
        show_one(flags, client.untag_function(name, keys))


@fn.command()
@click.argument("name", type=unqualified)
@click.option(
    "--version",
    metavar="NUMBER",
    help="Only this version, to which no alias may lead.",
)
@shared
def delete(flags: Flags, *, name: str, version: str | None) -> None:
    """Delete a function, with its versions, aliases, URLs and triggers.

    Its records and bills stay.
    """
    if version == "":
        # Or a script's empty variable would delete the function.
        raise click.UsageError("--version has no number: see `sandlot fn versions`")
    if version is None:
        flags.confirm(
            f"Delete the function {one_line(name)}, with its versions, aliases, URLs"
            " and triggers?"
        )
        with flags.client() as client:
            client.delete_function(name)
        flags.say(f"deleted {one_line(name)}")
        return
    called = one_line(f"version {version} of {name}")
    flags.confirm(f"Delete {called}? Its number is not used again.")
    with flags.client() as client:
        client.delete_version(name, version)
    flags.say(f"deleted {called}")
