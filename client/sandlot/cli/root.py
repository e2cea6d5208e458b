"""The root of the commands: help in sections, and errors turned into exit codes."""

import errno
import json
import os
import re
import sys
import traceback
from typing import Any

import click

from sandlot import errors
from sandlot.cli.groups import told
from sandlot.cli.options import Declined, Flags
from sandlot.cli.text import message, one_line

FUNCTION_FAILED = 1
USAGE = 2
"""Click's own, too."""
REFUSED = 3
BROKEN = 4
TOO_LATE = 5
INTERRUPTED = 130
NOBODY_READS = 141
"""As a shell tells of a program that SIGPIPE ended."""

EXIT_CODES: tuple[tuple[type[errors.SandlotError], int], ...] = (
    (errors.UsageError, USAGE),
    (errors.FunctionError, FUNCTION_FAILED),
    (errors.Refused, REFUSED),
    (errors.DeadlineExceeded, TOO_LATE),
    (errors.Fault, BROKEN),
    (errors.ConnectionFailed, BROKEN),
)

_ARGUMENTS = "sandlot.arguments"
"""What was typed, among what a context keeps."""

_MISTAKE = errors.UsageError.__name__
"""What exits with 2 has one name: Click's own are others in other versions of it."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What only writing fails by; of stdout there is no name."""

_HELP = getattr(click.exceptions, "NoArgsIsHelpError", ())
"""A group of commands that is named alone shows them; Click before 8.2 has none."""

_YES = frozenset({"1", "true", "t", "yes", "y", "on"})
"""As Click reads a flag's environment variable."""

_FUNCTION = "{function}"
"""Where the function's name belongs in what to do next."""

_COMMAND = ": sandlot "
"""What follows can be copied and run."""

NEXT: tuple[tuple[type[errors.SandlotError], str], ...] = (
    (
        errors.Unauthenticated,
        (
            "name the engine's --data DIR, where operator.json has to be, or a key: "
            "--profile NAME, SANDLOT_ACCESS_KEY_ID"
        ),
    ),
    (
        errors.PermissionDenied,
        "use an operator's key: --data DIR of the engine has one",
    ),
    (errors.DeadlineExceeded, "wait longer with --deadline SECONDS"),
    (errors.DeployFailed, "mend the code or the settings, and deploy again"),
    (
        errors.TimedOut,
        f"raise the timeout: sandlot fn config {_FUNCTION} --timeout SECONDS",
    ),
    (
        errors.OutOfMemory,
        f"raise the memory: sandlot fn config {_FUNCTION} --memory MB",
    ),
    (errors.FunctionError, f"read its log: sandlot logs {_FUNCTION}"),
)
"""What to do where the message may not say so; the first that fits."""

_ARN = r"arn:\S+:function:([\w-]+)"
SAID = (
    (
        rf"Function not found: {_ARN}:\d+$",
        r"see which versions there are: sandlot fn versions \1",
    ),
    (
        rf"(?:Function not found|Alias not found|Cannot find alias arn): {_ARN}:(?!\$)",
        r"see which aliases there are: sandlot alias list \1",
    ),
    (
        r"Layer version not found: arn:\S+:layer:([\w-]+)",
        r"see which versions there are: sandlot layer versions \1",
    ),
    (
        r"Layer not found|Layer version \S+ does not exist|'.*' is no layer version",
        "see which there are: sandlot layer list",
    ),
    (
        r"(?:Trigger|Schedule) \S+ does not exist",
        "see which there are: sandlot trigger list",
    ),
    (r"Function name ", "give it another: --name NAME"),
    (
        r"Function already exist: ",
        "somebody else has just made it: deploy again, and it is changed",
    ),
    (
        r"The operation cannot be performed at this time. An update is in progress",
        "another deployment of it is under way: try again when that is done",
    ),
    (
        r"The provided principal was invalid",
        "a tenant is its id, of twelve digits; * is every tenant",
    ),
    (r"There is no access key", "see which there are: sandlot key list"),
    (
        r"There is no event \S+ in the dead-letter store",
        "see which there are: sandlot dead-letter list",
    ),
    (r"There is no event ", "see which there are: sandlot event list"),
    (
        r"Schedule (\S+) already exists",
        r"change it: sandlot schedule config \1 --expression EXPRESSION",
    ),
    (
        r"(?:Webhook|Bucket|Directory) (\S+) already exists",
        r"give another name, or delete it first: sandlot trigger rm \1",
    ),
    (
        r"No policy|Statement \S+ is not found",
        f"see which there are: sandlot permission list {_FUNCTION}",
    ),
    (
        r"The resource you requested does not exist",
        f"see what there is: sandlot url show {_FUNCTION}",
    ),
    (
        r"Function not found|The function doesn't exist|Function does not exist",
        "see which there are: sandlot fn list",
    ),
    (
        r"The destination ARN \S+ is invalid. This engine knows no endpoint",
        (
            "until then name another function: "
            f"sandlot event config {_FUNCTION} --on-failure OTHER"
        ),
    ),
    (
        r"The destination ARN ",
        "name another function of this tenant, or the ARN of a queue, topic or bus",
    ),
    (
        r"There is no tenant",
        "`sandlot tenant list` has the ids of those there are",
    ),
    (
        r"Tenant (\d+) is suspended",
        r"an operator takes that back with `sandlot tenant resume \1`",
    ),
    (
        r"Tenant (\d+) still has ",
        r"delete them along with it: sandlot tenant delete \1 --with-functions",
    ),
    (
        r"function '([\w-]+)' already has 0 invocations running of 0 reserved",
        r"it is switched off; let it run again: sandlot concurrency unreserve \1",
    ),
    (
        r"Unable to delete version because",
        "have them lead to another with `sandlot alias set`, or delete them",
    ),
    (
        r"Specified (Reserved)?ConcurrentExecutions for function ",
        "see what is taken, and what all have: sandlot concurrency show",
    ),
    (
        r"\s*ReservedConcurrentExecutions\s+\d+ should not be lower",
        f"see what is provisioned: sandlot concurrency show {_FUNCTION}",
    ),
    (
        r"Alias can't be used for Provisioned|Version is pointed by a Provisioned",
        f"see what is provisioned: sandlot concurrency show {_FUNCTION}",
    ),
    (
        r"Requested Provisioned Concurrency should not be greater",
        f"reserve more first: sandlot concurrency reserve {_FUNCTION} COUNT",
    ),
    (
        r"Alias with name \S+ points to the \$LATEST version, which cannot",
        f"publish a version, and have it lead there: sandlot fn publish {_FUNCTION}",
    ),
    (
        r"Provisioned Concurrency Configs cannot be applied to unpublished",
        f"publish a version: sandlot fn publish {_FUNCTION}",
    ),
)
"""The same by how the engine's message begins, where that is AWS's and says what and
why alone."""

FAILED = (
    (
        (
            r"name resolution|[Nn]ame or service not known|Network is unreachable"
            r"|EAI_AGAIN|ENETUNREACH|Could not connect to the endpoint URL"
            r"|nodename nor servname"
        ),
        (
            "it may have no network, as is so unless one is asked for: "
            f"sandlot fn config {_FUNCTION} --network egress"
        ),
    ),
    (
        r"Object of type coroutine is not JSON serializable",
        (
            "nobody awaits what an `async def` returns, on AWS neither: call"
            " asyncio.run(…) in a handler that is a plain `def`"
        ),
    ),
    (
        r"fork/exec /var/task/bootstrap: permission denied",
        "make it executable, and deploy it again: chmod +x bootstrap",
    ),
    (
        r"fork/exec /var/task/bootstrap: no such file or directory",
        (
            "who runs it is not here: its first line names a program that the machine"
            " has not, or has Windows' line ends (sed -i 's/\\r$//' bootstrap); or it"
            " wants another C library"
        ),
    ),
    (r"Read-only file system", "only /tmp can be written to"),
    (
        r"^TypeError: \w+\(\) takes \d+ positional arguments? but 2 were given",
        "it is called with two: def handler(event, context)",
    ),
    (
        r"^MemoryError\b",
        f"raise the memory: sandlot fn config {_FUNCTION} --memory MB",
    ),
    (
        (
            r"^Runtime\.HandlerNotFound\b"
            r"|import module '([\w./]+)': No module named '\1'"
            r"|Cannot find module '[^']+'\nRequire stack:\n- /var/runtime/"
        ),
        (
            "name another handler:"
            f" sandlot fn config {_FUNCTION} --handler MODULE.FUNCTION"
        ),
    ),
    (
        r"^Runtime\.ImportModuleError: .*No module named '",
        (
            "what it imports has to be in its folder, or in a layer:"
            " pip install --target FOLDER …"
        ),
    ),
    (
        r"\bCannot find (?:module|package) '[^./']",
        (
            "what it imports has to be in its folder, or in a layer:"
            " npm install --prefix FOLDER …"
        ),
    ),
    (
        r"Unable to stringify response body",
        (
            "an answer is what JSON has: objects, arrays, strings, numbers, true, false"
            " and null; nothing within itself, and no BigInt"
        ),
    ),
    (
        r"^Runtime\.MarshalError\b",
        (
            "an answer is what JSON has: dict, list, str, numbers, bool and None; make"
            " the rest one of these, as with str(…)"
        ),
    ),
    (
        r"^Function\.ResponseSizeTooLarge\b",
        (
            "answer less, or where it is kept; or in pieces, of a handler that yields"
            " them: sandlot invoke --stream"
        ),
    ),
    (
        # Not in /tmp, nor anywhere else of the machine's.
        r"No such file or directory: '(?!/(?!var/task/))",
        (
            "what it reads has to be in the folder or zip that is deployed; of a single"
            " file, that is all there is"
        ),
    ),
)
"""The same by what is in the error of a function that was run."""

RAISED_IN = (
    (
        r"_multiprocessing\.SemLock",
        (
            "multiprocessing's Pool, Queue and Lock have no /dev/shm here, as on AWS:"
            " take Process and Pipe, or threads"
        ),
    ),
)
"""The same by the last step of its trace, where the error says too little."""

TOLD_IN_FULL = frozenset({"NetworkNotAllowed"})
"""Reasons whose messages say what to do, though others of their class do not."""


class Root(click.Group):
    """A group whose help is in sections and whose errors are explained."""

    def __init__(
        self,
        *args: Any,
        sections: tuple[tuple[str, tuple[click.Command, ...]], ...],
        **more: Any,
    ) -> None:
        super().__init__(*args, **more)
        self.sections = sections
        for _, commands in sections:
            for command in commands:
                self.add_command(command)

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        for title, commands in self.sections:
            with formatter.section(title):
                formatter.write_dl([told(command) for command in commands])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_ARGUMENTS] = tuple(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            mistake = self._misplaced(ctx, error.option_name) or error
            if _wants_json(ctx):
                self._tell_as_json(ctx, mistake)
            raise mistake from None

    def invoke(self, ctx: click.Context) -> Any:
        if os.environ.get("NO_COLOR"):  # https://no-color.org; Click does not ask
            ctx.color = False
        try:
            return super().invoke(ctx)
        except errors.SandlotError as error:
            explain(error, ctx.obj, as_json=_wants_json(ctx))
            ctx.exit(exit_code(error))
        except click.ClickException as error:
            if not _wants_json(ctx) or isinstance(error, _HELP):
                raise
            self._tell_as_json(ctx, error)
        except (UnicodeError, ValueError, RecursionError, OverflowError) as error:
            # What no option's own check refused: it cannot be sent as it is.
            _tell(ctx, _MISTAKE, str(error), "mend the input; see --help")
            ctx.exit(USAGE)
        except BrokenPipeError:
            # Whoever read us has enough, as `head` has; that is no error of ours. What
            # is left in the buffer would be one, when Python flushes it at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(NOBODY_READS)
        except OSError as error:
            # Of this machine, as what an engine fails by has a name of ours: a file
            # that was given, or where the output goes.
            _tell(ctx, type(error).__name__, _of_whom(error))
            ctx.exit(USAGE)
        except (KeyboardInterrupt, click.Abort) as why:
            said = "nothing was done" if isinstance(why, Declined) else "interrupted"
            if _wants_json(ctx):
                _as_json("Interrupted", said)
            else:
                click.echo(said, err=True)
            ctx.exit(INTERRUPTED)

    def _misplaced(self, ctx: click.Context, name: str) -> click.UsageError | None:
        if not any(name in _options(one) for one in self.commands.values()):
            return None
        return click.UsageError(f"{name} goes behind the command.", ctx)

    def _tell_as_json(self, ctx: click.Context, error: click.ClickException) -> None:
        """And exit."""
        where = getattr(error, "ctx", None) or ctx
        advice = f"see {where.command_path} --help"
        _as_json(_MISTAKE, error.format_message(), advice)
        ctx.exit(error.exit_code)


def _options(command: click.Command) -> set[str]:
    """Their names, of a command and of those below it."""
    below = command.commands.values() if isinstance(command, click.Group) else ()
    own = {name for each in command.params for name in each.opts}
    return own.union(*map(_options, below))


def _wants_json(ctx: click.Context) -> bool:
    """Of the root's context; also where a command's own flags could not be read."""
    if ctx.obj is not None:
        return bool(ctx.obj.as_json)
    arguments = ctx.meta.get(_ARGUMENTS, ())
    if "--json" in arguments:
        return True
    # `up` does not ask it: what its Ready line is should be seen in its command.
    is_set = os.environ.get("SANDLOT_JSON", "").lower() in _YES
    return is_set and arguments[:1] != ("up",)


def _tell(ctx: click.Context, kind: str, text: str, advice: str = "") -> None:
    if _wants_json(ctx):
        _as_json(kind, text, advice)
        return
    click.echo(f"{kind}: {one_line(text)}", err=True)
    if advice:
        click.echo(f"  next: {advice}", err=True)


def _of_whom(error: OSError) -> str:
    """What went wrong, and with which file."""
    why = error.strerror or str(error)
    if error.filename is not None:
        return f"{error.filename}: {why}"
    return f"the output cannot be written: {why}" if error.errno in _FULL else why


def _as_json(kind: str, text: str, advice: str = "", **more: object) -> None:
    """On one line, which is the last: a tool reads it whatever was said before."""
    error = {"kind": kind, "message": text, "advice": advice, **more}
    click.echo(json.dumps({"error": error}), err=True)


def exit_code(error: errors.SandlotError) -> int:
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), BROKEN)


def explain(
    error: errors.SandlotError,
    flags: Flags | None,
    *,
    as_json: bool,
    function: str = "",
) -> None:
    """Say what, why, what to do next, and how to ask about it, on stderr."""
    advice = _advice(error, flags, function)
    is_verbose = flags is not None and flags.verbose
    if as_json:
        trace = {"trace": one_line_each(error).splitlines()} if is_verbose else {}
        _as_json(
            type(error).__name__,
            str(error),
            advice,
            reason=error.reason,
            request_id=error.request_id,
            retry_after=error.retry_after,
            **trace,
        )
        return
    click.echo(f"{type(error).__name__}: {message(str(error))}", err=True)
    if error.retry_after is not None and not advice:
        click.echo(f"  try again in {error.retry_after:g} s", err=True)
    if advice:
        click.echo(f"  next: {advice}", err=True)
    if error.docs_url:
        click.echo(f"  see: {one_line(error.docs_url)}", err=True)
    if error.request_id:
        click.echo(f"  request id: {one_line(error.request_id)}", err=True)
    if is_verbose:
        click.echo(one_line_each(error), err=True)


def _advice(error: errors.SandlotError, flags: Flags | None, function: str) -> str:
    """What to do next, as it can be copied; empty where the message says it."""
    function = function or (flags.function if flags is not None else "") or "NAME"
    what = _advice_on(error).replace(_FUNCTION, one_line(function))
    if flags is not None and _COMMAND in what:
        what += one_line(flags.again())
    return what


def _advice_on(error: errors.SandlotError) -> str:
    if error.reason in TOLD_IN_FULL:
        return ""
    if isinstance(error, errors.Refused):
        for begin, what in SAID:
            if found := re.match(begin, str(error)):
                return found.expand(what)
    if isinstance(error, errors.Unhandled | errors.InitFailed):
        for within, what in FAILED:
            if re.search(within, str(error)):
                return what
        for within, what in RAISED_IN:
            if error.stack_trace and re.search(within, error.stack_trace[-1]):
                return what
    return next((what for kind, what in NEXT if isinstance(error, kind)), "")


def one_line_each(error: BaseException) -> str:
    """The traceback, each of its lines made harmless."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    return "\n".join(map(one_line, lines))
