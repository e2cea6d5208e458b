"""`invoke`: the answer on stdout, one line about it on stderr."""

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sandlot.cli import load
from sandlot.cli.options import Flags, named, shared
from sandlot.cli.output import document, from_json, no_constant, plain
from sandlot.cli.root import FUNCTION_FAILED, explain
from sandlot.cli.text import block, dollars, logged_block, one_line, short

if TYPE_CHECKING:
    from sandlot.client import Client, Ticket
    from sandlot.results import Reply, Report


@click.command()
@click.argument("name", metavar="NAME[:QUALIFIER]")
@click.argument("event", required=False)
@click.option(
    "-e",
    "--event-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read the event from a file.",
)
@click.option(
    "--type",
    "kind",
    type=click.Choice(["request", "event", "dry-run"]),
    default="request",
    show_default=True,
    help="Wait for the answer, queue it, or only check that it could be run.",
)
@click.option("--log", is_flag=True, help="Print the end of the log on stderr.")
@click.option("--raw", is_flag=True, help="Print the answer's bytes as they are.")
@click.option(
    "-n",
    "count",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Invoke it N times.",
)
@click.option(
    "-c",
    "concurrency",
    type=click.IntRange(min=1, max=10_000),
    default=1,
    metavar="C",
    help="So many at once.",
)
@click.option(
    "--idempotency-key",
    default="",
    metavar="KEY",
    help="Run it once, however often this is sent: repeats print the first answer.",
)
@click.option(
    "--stream",
    "streams",
    is_flag=True,
    help="Print the answer while it is made, as its bytes are.",
)
@click.option("--summary", is_flag=True, help="Print how it went instead of answers.")
@shared
def invoke(
    flags: Flags,
    *,
    name: str,
    event: str | None,
    event_file: Path | None,
    kind: str,
    log: bool,
    raw: bool,
    count: int,
    concurrency: int,
    idempotency_key: str,
    streams: bool,
    summary: bool,
) -> None:
    """Run a function with EVENT, which is JSON; `-` reads it from stdin.

    QUALIFIER is a version or an alias, as in hello:3 and hello:live; without one it is
    $LATEST.
    """
    name, qualifier = named(name)
    payload = _event(event, event_file)
    if idempotency_key and (count > 1 or summary or kind == "dry-run"):
        raise click.UsageError("--idempotency-key is for one request or event")
    if streams and (count > 1 or summary or flags.as_json or kind != "request"):
        raise click.UsageError("--stream is for one request, and prints no JSON")
    if kind != "request" and (count > 1 or summary):
        raise click.UsageError("-n and --summary are for requests, which are answered")
    if (log or raw) and (count > 1 or summary or kind != "request"):
        raise click.UsageError("--log and --raw are for one request")
    if concurrency > 1 and count == 1:
        raise click.UsageError("-c is how many of -n are at once: give -n N, too")
    with flags.client() as client:
        if streams:
            _stream(flags, client, (name, qualifier), payload, log=log)
        elif kind == "dry-run":
            client.dry_run(name, qualifier=qualifier)
            flags.say(f"{name} could be invoked")
        elif kind == "event":
            queued = client.enqueue(
                name,
                payload=payload,
                qualifier=qualifier,
                idempotency_key=idempotency_key,
            )
            _say_queued(flags, queued)
        elif count > 1 or summary:
            run = load.Run(
                name=name, qualifier=qualifier, count=count, concurrency=concurrency
            )
            load.refuse_over_limit(payload)
            sys.exit(
                run.carry_out(flags, client, json.loads(payload), only_summary=summary)
            )
        else:
            reply = client.invoke(
                name,
                payload=payload,
                tail_log=log,
                qualifier=qualifier,
                idempotency_key=idempotency_key,
                check=False,
            )
            _show(flags, reply, name=name, raw=raw)


_AS_ELSEWHERE = re.compile(r"(?:@|fileb?://|(?=\S+\.json$))(.*)")
"""How curl, AWS's command and others have a file named in the place of a text."""


def _event(text: str | None, file: Path | None) -> bytes:
    """The event as JSON bytes, checked here so that a slip costs no invocation.

    It is UTF-8, whatever a file is: editors of Windows put a mark in front of that, or
    write UTF-16.
    """
    if text is not None and file is not None:
        raise click.UsageError("give EVENT or -e FILE, not both")
    if file is not None:
        content, where = file.read_bytes(), str(file)
    elif text == "-":
        content, where = sys.stdin.buffer.read(), "stdin"
    else:
        content, where = (text or "{}").encode(), "EVENT"
    if not content.strip():
        raise click.UsageError(f"{where} is empty: an event with nothing in it is {{}}")
    try:
        content = content.decode(json.detect_encoding(content)).encode()
        json.loads(content, parse_constant=no_constant)
    except ValueError as error:
        file_meant = _AS_ELSEWHERE.match(text or "")
        hint = f". A file is named by -e {file_meant[1]}" if file_meant else ""
        raise click.UsageError(f"{where} is not JSON: {error}{hint}") from error
    return content


def _say_queued(flags: Flags, ticket: "Ticket") -> None:
    again = f"{one_line(ticket.request_id)}{one_line(flags.again())}"
    flags.say(f"queued; see what becomes of it: sandlot event show {again}")
    if flags.as_json:
        document({"request_id": ticket.request_id})
    else:
        click.echo(ticket.request_id)


def _stream(
    flags: Flags,
    client: "Client",
    called: tuple[str, str],
    payload: bytes,
    *,
    log: bool,
) -> None:
    from sandlot.errors import FunctionError

    name, qualifier = called

    def ended(reply: "Reply") -> None:
        if reply.log_tail:
            tail = logged_block(reply.log_tail.decode("utf-8", "replace"))
            click.echo(tail, err=True, nl=False)
        if reply.report is not None:
            flags.say(one_line_about(reply.report))

    pieces = client.stream(
        name, payload=payload, tail_log=log, qualifier=qualifier, ended=ended
    )
    try:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
    except FunctionError as error:
        explain(error, flags, as_json=flags.as_json, function=name)
        sys.exit(FUNCTION_FAILED)


def _show(flags: Flags, reply: "Reply", *, name: str, raw: bool) -> None:
    if flags.as_json:
        document(as_json(reply))
    elif raw:
        sys.stdout.buffer.write(reply.payload)
        sys.stdout.buffer.flush()
    else:
        click.echo(block(reply.payload.decode("utf-8", "replace")))
    if reply.log_tail and not flags.as_json:
        tail = logged_block(reply.log_tail.decode("utf-8", "replace"))
        click.echo(tail, err=True, nl=False)
    if reply.report is not None and not (flags.as_json and reply.function_error):
        again = "  the first answer, again" if reply.replayed else ""
        flags.say(one_line_about(reply.report) + again)
    if reply.function_error:
        from sandlot import failures

        error = failures.from_reply(reply)
        explain(error, flags, as_json=flags.as_json, function=name)
        sys.exit(FUNCTION_FAILED)


def as_json(reply: "Reply") -> dict[str, Any]:
    """A reply with its answer as JSON within JSON, not as text."""
    fields: dict[str, Any] = plain(reply)
    del fields["payload"]
    try:
        value = from_json(reply.payload) if reply.payload else None
    except ValueError:
        return {"value": None, "payload": plain(reply.payload), **fields}
    return {"value": value, **fields}


def one_line_about(report: "Report") -> str:
    """`req 4f1c8a02…  cold  wait 0.2 · init 3.1 · run 0.8 ms   billed 4 ms   …`"""
    init = "" if report.init_ms is None else f"init {report.init_ms:.1f} · "
    return (
        f"  req {short(report.request_id)}  {'cold' if report.cold else 'warm'}  "
        f"wait {report.wait_ms:.1f} · {init}run {report.duration_ms:.1f} ms   "
        f"billed {report.billed_ms} ms   "
        f"mem {report.max_memory_mb}/{report.memory_mb} MB   {dollars(report.cost)}"
    )
