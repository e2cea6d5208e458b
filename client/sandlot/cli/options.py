"""The flags that commands share, and what follows: which client, how to talk."""

import functools
import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from sandlot.errors import UsageError
from sandlot.times import point_in_time

if TYPE_CHECKING:
    from click import Context, Parameter
    from click.shell_completion import CompletionItem

    from sandlot.client import Client


MAX_SECONDS = 1e8
"""Three years: what is longer is a slip, and more than gRPC can hold."""

_REGION = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The shared flags of one command."""

    data: str | None
    profile: str | None
    tenant: str | None
    endpoint: str | None
    as_json: bool
    quiet: bool
    verbose: bool
    deadline: float | None
    yes: bool
    function: str
    """The argument that is called so; empty where there is none."""

    def client(self) -> "Client":
        """A client for these flags. Import and connection happen here, not before."""
        from sandlot.client import Client

        return Client(
            self.endpoint,
            data=self.data,
            profile=self.profile,
            tenant=self.tenant,
            deadline=self.deadline,
        )

    def say(self, text: str) -> None:
        """Talk, on stderr, unless it was asked to be quiet."""
        if not self.quiet:
            click.echo(text, err=True)

    def again(self) -> str:
        """What was said of which engine and tenant, for a command that is to be
        copied: without it, that would be another's function of the same name.
        """
        given = {
            "--data": self.data,
            "--profile": self.profile,
            "--endpoint": self.endpoint,
            "--tenant": self.tenant,
        }
        if not any(given.values()):
            return ""
        import shlex  # a millisecond, of which few commands have need

        return "".join(f" {k} {shlex.quote(v)}" for k, v in given.items() if v)

    def confirm(self, question: str) -> None:
        """Ask before what cannot be undone. Raises `Declined` if the answer is no."""
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise click.UsageError(f"{question} There is nobody to ask: add --yes.")
        if not click.confirm(question, err=True):
            raise Declined


class Declined(click.Abort):
    """Somebody who was asked said no."""


def files(_: "Context", __: "Parameter", begun: str) -> "list[CompletionItem]":
    """For a shell that completes what was `begun`: the files and folders of here."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(begun, type="file")]


def folders(_: "Context", __: "Parameter", begun: str) -> "list[CompletionItem]":
    """The folders alone."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(begun, type="dir")]


def seconds(text: str) -> float:
    """The type of an option that is a span of time; also of its default."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= MAX_SECONDS:
        raise click.BadParameter(
            f"{str(text)!r} is no number of seconds above 0, up to {MAX_SECONDS:,.0f}"
        )
    return number


def region(text: str) -> str:
    """The type of an option that is a part of ARNs, and of host names."""
    if not _REGION.fullmatch(text):
        raise click.BadParameter(
            f"{text!r} is no region, which has small letters, digits and '-' in it, as"
            " eu-central-1 has"
        )
    return text


def words(text: str) -> list[str]:
    """The type of an option that is a command, in words as a shell has them. None of
    them is a list, too: that is not the same as no option."""
    import shlex  # a millisecond, of which few commands have need

    try:
        return shlex.split(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {error}") from None


MAX_DELAY_S = 3_600.0
"""How long an operator may let an event wait for its next try."""


def delays(text: str) -> tuple[float, ...]:
    """The type of an option that is some spans of time, 0 included."""
    try:
        numbers = tuple(float(each) for each in text.split(","))
    except ValueError:
        numbers = (math.nan,)
    if not all(0 <= number <= MAX_DELAY_S for number in numbers):
        raise click.BadParameter(
            f"{text!r} is no list of seconds from 0 to {MAX_DELAY_S:,.0f}: 60,120"
        )
    return numbers


def whole_seconds(text: str) -> int:
    """The same, where fractions are not possible."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 0 < number <= MAX_SECONDS:
        raise click.BadParameter(
            f"{str(text)!r} is no whole number of seconds from 1 on"
        )
    return number


def seconds_within(least: int, most: int) -> Callable[[str], int]:
    """The same, where there are bounds."""

    def read(text: str) -> int:
        number = whole_seconds(text)
        if not least <= number <= most:
            raise click.BadParameter(
                f"{number} is not within {least} to {most:,} seconds"
            )
        return number

    # What a value is called where it is none.
    read.__name__ = "seconds"
    return read


json_flag = click.option(
    "--json",
    "as_json",
    is_flag=True,
    envvar="SANDLOT_JSON",
    show_envvar=True,
    help="Print JSON.",
)

# The settings below that name an engine take their environment variables in
# `sandlot.config`, not through Click: there a flag outranks every variable, while
# Click would let SANDLOT_ENDPOINT outrank --data.
_SHARED = (
    click.option(
        "--data",
        metavar="DIR",
        shell_complete=folders,
        help="Talk to the engine that runs on this directory.  [env var: SANDLOT_DATA]",
    ),
    click.option(
        "--profile",
        metavar="NAME",
        help="Table of the profile file to use.  [env var: SANDLOT_PROFILE]",
    ),
    click.option(
        "--tenant",
        metavar="ID",
        help="Act for this tenant, with an operator's key.  [env var: SANDLOT_TENANT]",
    ),
    click.option(
        "--endpoint",
        metavar="HOST:PORT",
        help="Where the engine's gRPC port is; grpcs://HOST:PORT for TLS."
        "  [env var: SANDLOT_ENDPOINT]",
    ),
    click.option(
        "--deadline",
        type=seconds,
        metavar="SECONDS",
        envvar="SANDLOT_DEADLINE",
        show_envvar=True,
        help="Give up after this long.",
    ),
    json_flag,
    click.option(
        "-q",
        "--quiet",
        is_flag=True,
        envvar="SANDLOT_QUIET",
        show_envvar=True,
        help="Print data and errors only.",
    ),
    click.option(
        "-v",
        "--verbose",
        is_flag=True,
        envvar="SANDLOT_VERBOSE",
        show_envvar=True,
        help="Show where errors come from.",
    ),
    click.option(
        "--yes",
        is_flag=True,
        envvar="SANDLOT_YES",
        show_envvar=True,
        help="Do not ask before what cannot be undone.",
    ),
)


def shared(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the shared flags, as its first argument."""

    @functools.wraps(command)
    @click.pass_context
    def with_flags(ctx: click.Context, /, **arguments: Any) -> None:
        # `hello:live` is of `hello`, too.
        function = (arguments.get("function") or "").partition(":")[0]
        names = Flags.__dataclass_fields__.keys() - {"function"}
        given = {name: arguments.pop(name) for name in names}
        flags = Flags(**given, function=function)
        ctx.find_root().obj = flags
        command(flags, **arguments)

    decorated: Callable[..., None] = with_flags
    for option in reversed(_SHARED):
        decorated = option(decorated)
    return decorated


def when(text: str) -> datetime | None:
    """The type of an option that is a point in time: `10m` ago, or a date of UTC."""
    return _when(text, is_local=False)


def local_when(text: str) -> datetime | None:
    """The same, where people write what they read: times that are shown are local."""
    return _when(text, is_local=True)


def _when(text: str, *, is_local: bool) -> datetime | None:
    try:
        return point_in_time(text, now=datetime.now(UTC), is_local=is_local)
    except UsageError as error:
        raise click.BadParameter(error.message) from error


def pair(text: str) -> tuple[str, str]:
    """The type of an option that is `KEY=VALUE`."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise click.BadParameter(f"{text!r} is not KEY=VALUE")
    return key, value


def unqualified(text: str) -> str:
    """The type of an argument that is a whole function: its name alone."""
    name, qualifier = named(text)
    if qualifier:
        raise click.BadParameter(
            f"{text!r} is a version or an alias, and this is of the whole function: "
            f"{name}"
        )
    return name


def named(text: str) -> tuple[str, str]:
    """A function's name and its qualifier, which may be missing: `hello:live`."""
    if text.startswith("arn:"):
        # It says whose function it is, too, which the call would not heed.
        raise click.UsageError(
            "give the function's name, not its ARN; whose it is, say --tenant ID"
        )
    name, _, qualifier = text.partition(":")
    return name, qualifier


def one_of(text: str, qualifier: str) -> tuple[str, str]:
    """The same, where the qualifier has an option, too."""
    name, also = named(text)
    if also and qualifier and also != qualifier:
        raise click.UsageError(f"{text!r} is not {name}:{qualifier}: say one of them")
    return name, also or qualifier
