"""`layer`: packages that functions have at /opt."""

from typing import TYPE_CHECKING

import click

from sandlot.cli.groups import Group
from sandlot.cli.options import Flags, files, shared
from sandlot.cli.output import show_list, show_one
from sandlot.cli.text import minute, one_line, size

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandlot.results import LayerVersion

FOLDERS = ("python/", "nodejs/", "bin/", "lib/", "extensions/")
"""Those of /opt that anything looks into by itself."""


@click.group(cls=Group)
def layer() -> None:
    """Publish what several functions have in common, list it, delete it."""


@layer.command()
@click.argument("source", metavar="FOLDER|FILE.zip", shell_complete=files)
@click.option("--name", help="The layer's name; by default the folder's, or the zip's.")
@click.option("--description", default="", metavar="TEXT", help="What it is.")
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    metavar="NAME",
    help="What it says it is for: python3.11. Nobody is held to it. Repeatable.",
)
@shared
def publish(
    flags: Flags,
    *,
    source: str,
    name: str | None,
    description: str,
    runtimes: tuple[str, ...],
) -> None:
    """Make the next version of a layer, and print its ARN.

    Functions have what is in FOLDER at /opt. What Python is to import is in its folder
    `python`: pip install --target FOLDER/python …; for Node in `nodejs/node_modules`.
    """
    with flags.client() as client:
        made = client.publish_layer(
            source, name=name, description=description, runtimes=runtimes
        )
    if flags.as_json:
        show_one(flags, made)
        return
    called = one_line(f"{made.name}:{made.version}")
    flags.say(f"{called}  {size(made.code_size)}")
    if not _has_a_place(source):
        flags.say(
            "  nothing in it is where Python or Node look: that is python/ and"
            " nodejs/node_modules/, in the folder"
        )
    again = one_line(flags.again())
    flags.say(f"  use it: sandlot fn config FUNCTION --layer {called}{again}")
    click.echo(one_line(made.arn))


def _has_a_place(source: str) -> bool:
    from sandlot.packing import pack_layer

    return any(name.startswith(FOLDERS) for name in pack_layer(source).names)


@layer.command("list")
@shared
def list_layers(flags: Flags) -> None:
    """List layers by name, each by its latest version."""
    with flags.client() as client:
        show_list(flags, client.list_layers(), [("NAME", _name), *_COLUMNS])


@layer.command()
@click.argument("name")
@shared
def versions(flags: Flags, *, name: str) -> None:
    """List the versions of a layer, the newest first."""
    with flags.client() as client:
        show_list(flags, client.list_layer_versions(name), _COLUMNS)


@layer.command()
@click.argument("layer_version", metavar="NAME:VERSION")
@shared
def delete(flags: Flags, *, layer_version: str) -> None:
    """Delete a version of a layer. Functions that have it keep it."""
    name, _, number = layer_version.partition(":")
    if not (name and number.isdecimal() and len(number) < 19):
        raise click.UsageError(
            f"{layer_version!r} is no version of a layer, as deps:3 is. "
            "`sandlot layer versions` has their numbers"
        )
    called = one_line(layer_version)
    flags.confirm(f"Delete {called}? No function can have it any more that has it not.")
    with flags.client() as client:
        client.delete_layer_version(name, int(number))
    flags.say(f"deleted {called}")


def _name(one: "LayerVersion") -> str:
    return one.name


_COLUMNS: "list[tuple[str, Callable[[LayerVersion], object]]]" = [
    ("VERSION", lambda one: one.version),
    ("CODE", lambda one: size(one.code_size)),
    ("RUNTIMES", lambda one: " ".join(one.compatible_runtimes) or "-"),
    ("CREATED", lambda one: minute(one.created)),
    ("DESCRIPTION", lambda one: one.description or "-"),
]
