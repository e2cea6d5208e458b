"""`fn`: the functions there are."""

from typing import Any

import click

from sandlot.cli.groups import Group
from sandlot.cli.options import Flags, shared
from sandlot.cli.output import show_list, show_one
from sandlot.cli.settings import chosen, function_settings
from sandlot.cli.text import minute, one_line, size


@click.group(cls=Group)
def fn() -> None:
    """List, show, change and delete functions."""


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
@click.argument("name")
@shared
def show(flags: Flags, *, name: str) -> None:
    """Show one function."""
    with flags.client() as client:
        show_one(flags, client.get_function(name))


@fn.command()
@click.argument("name")
@function_settings
@shared
def config(flags: Flags, *, name: str, **options: Any) -> None:
    """Change the settings that are given, and only those; show them all."""
    with flags.client() as client:
        if changes := chosen(options):
            client.update_function(name, **changes)
        show_one(flags, client.get_function(name))


@fn.command()
@click.argument("name")
@shared
def delete(flags: Flags, *, name: str) -> None:
    """Delete a function and its code. Its records and bills stay."""
    flags.confirm(f"Delete the function {one_line(name)} and its code?")
    with flags.client() as client:
        client.delete_function(name)
    flags.say(f"deleted {one_line(name)}")
