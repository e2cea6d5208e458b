"""The options that set a function, for `deploy` and `fn config` alike."""

from collections.abc import Callable
from typing import Any, cast

import click

from sandlot.cli.options import pair, seconds_within, words

NETWORKS = ("none", "egress", "host")
"""From the least to the most."""

MEMORY_MB, TIMEOUT_S, EPHEMERAL_STORAGE_MB = (128, 10_240), (1, 900), (512, 10_240)
"""AWS's bounds, and the engine's."""


def variable(text: str) -> tuple[str, str]:
    """The type of an option that is `KEY=VALUE`, or empty to say that there is none."""
    return pair(text) if text else ("", "")


# Typed here and not imported: `sandlot.calls` brings gRPC's messages along.
_OPTIONS = (
    click.option("--handler", metavar="MODULE.FUNCTION", help="What to call."),
    click.option("--runtime", metavar="NAME", help="The interpreter: python3.11."),
    click.option(
        "--memory", type=click.IntRange(*MEMORY_MB), metavar="MB", help="128 to 10240."
    ),
    click.option(
        "--timeout",
        type=seconds_within(*TIMEOUT_S),
        metavar="SECONDS",
        help="1 to 900.",
    ),
    click.option(
        "--env",
        type=variable,
        multiple=True,
        metavar="K=V",
        help="A variable of the environment, which is replaced whole; '' is none."
        " Repeatable.",
    ),
    click.option(
        "--ephemeral-storage",
        type=click.IntRange(*EPHEMERAL_STORAGE_MB),
        metavar="MB",
        help="Size of the private /tmp, 512 to 10240.",
    ),
    click.option(
        "--init",
        "init_mode",
        type=click.Choice(["auto", "per-instance"]),
        help="Fork instances from one import, or let each import by itself.",
    ),
    click.option(
        "--network",
        type=click.Choice(NETWORKS),
        help="No way out; out to public addresses; or the machine's own network.",
    ),
    click.option(
        "--layer",
        "layers",
        multiple=True,
        metavar="NAME:VERSION",
        help="What it has at /opt: a version of a layer, or its ARN. All are replaced;"
        " '' is none. Repeatable.",
    ),
    click.option(
        "--snap-start/--no-snap-start",
        default=None,
        help="AWS's SnapStart, of versions that are published.",
    ),
    click.option(
        "--entrypoint",
        "entry_point",
        type=words,
        metavar="'WORD …'",
        help="What is run of an image, in place of its own. As in a shell; '' is the"
        " image's own again.",
    ),
    click.option(
        "--command",
        type=words,
        metavar="'WORD …'",
        help="The same, of what follows the entry point: the image's CMD.",
    ),
    click.option(
        "--workdir",
        "working_directory",
        metavar="DIR",
        help="Where it is run, in place of the image's WORKDIR.",
    ),
    click.option("--description", metavar="TEXT", help="At most 256 characters."),
)

NAMES = (
    "handler",
    "runtime",
    "memory",
    "timeout",
    "env",
    "ephemeral_storage",
    "init_mode",
    "network",
    "layers",
    "snap_start",
    "entry_point",
    "command",
    "working_directory",
    "description",
)

OF_IMAGES = ("entry_point", "command", "working_directory")


def function_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that `chosen` reads."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def chosen(options: dict[str, Any]) -> Any:
    """What was given, as `FunctionOptions`; what was not stays as it is."""
    found = {name: options[name] for name in NAMES if options[name] not in (None, ())}
    if "env" in found:
        variables = dict(cast("tuple[tuple[str, str], ...]", found["env"]))
        found["env"] = {name: text for name, text in variables.items() if name}
    if "layers" in found:
        found["layers"] = [layer for layer in found["layers"] if layer]
    return found
