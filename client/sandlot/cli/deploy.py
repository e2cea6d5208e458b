"""`deploy`: a folder, a file or a zip becomes a function that serves."""

import time
from typing import Any

import click

from sandlot.cli.options import Flags, shared
from sandlot.cli.output import document, plain
from sandlot.cli.settings import chosen, function_settings
from sandlot.cli.text import one_line, size


@click.command()
@click.argument("source", metavar="[PATH|FILE.py:HANDLER]", default=".")
@click.option("--name", help="The function's name; by default the file's or folder's.")
@function_settings
@shared
def deploy(flags: Flags, *, source: str, name: str | None, **options: Any) -> None:
    """Create or update a function, and wait until it serves.

    PATH is a folder, a .py file or a .zip. What .sandlotignore lists is left out.
    """
    began = time.monotonic()
    with flags.client() as client:
        function = client.deploy(source, name=name, **chosen(options)).deployed
    if function is None:
        return
    if flags.as_json:
        document(plain(function))
        return
    flags.say(
        f"{one_line(function.name)}  {size(function.code_size)} · {function.runtime} · "
        f"{function.memory_mb} MB · {function.state} · {time.monotonic() - began:.2f} s"
    )
    if not function.fork_safe:
        flags.say(
            "  every instance imports by itself: "
            f"{one_line(function.fork_safety_reason)}"
        )
    flags.say(f"  invoke it: sandlot invoke {one_line(function.name)} '{{}}'")
    click.echo(one_line(function.arn))
