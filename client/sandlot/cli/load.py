"""`invoke -n N -c C`: many invocations over one stream, and how they went."""

import math
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from sandlot.cli.options import Flags
from sandlot.cli.output import document, from_json, line, plain
from sandlot.cli.root import exit_code
from sandlot.cli.text import block, one_line

if TYPE_CHECKING:
    from sandlot.client import Client
    from sandlot.results import MapResult


@dataclass(slots=True)
class Tally:
    """What is counted while results come in. Pure."""

    count: int
    """How many there are to be."""

    latencies_ms: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    statuses: set[int] = field(default_factory=set)
    """What single invocations with such errors exit with."""

    cold: int = 0

    def add(self, result: "MapResult") -> None:
        self.latencies_ms.append(result.elapsed_ms)
        if result.error is not None:
            self.errors[type(result.error).__name__] += 1
            self.statuses.add(exit_code(result.error))
        if result.reply and result.reply.report and result.reply.report.cold:
            self.cold += 1

    def summary(self, *, concurrency: int, elapsed_s: float) -> dict[str, Any]:
        done, failed = len(self.latencies_ms), self.errors.total()
        ordered = sorted(self.latencies_ms)
        return {
            "ok": done - failed,
            "errors": failed,
            "errors_by_type": dict(self.errors),
            "unanswered": self.count - done,
            "concurrency": concurrency,
            "per_second": round(done / elapsed_s, 1) if elapsed_s else 0.0,
            "p50_ms": percentile(ordered, 50),
            "p95_ms": percentile(ordered, 95),
            "p99_ms": percentile(ordered, 99),
            "cold": self.cold,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """So many invocations of one function with the same event."""

    name: str
    qualifier: str
    count: int
    concurrency: int

    def carry_out(
        self, flags: Flags, client: "Client", event: object, *, only_summary: bool
    ) -> int:
        """Print answers or a summary; the exit status. Of several errors' the lowest
        counts: that of the function's own is first.

        The summary comes also where it ends before its time: what was done was done.
        """
        tally, began = Tally(self.count), time.monotonic()
        results = client.map(
            self.name,
            (event for _ in range(self.count)),
            concurrency=self.concurrency,
            qualifier=self.qualifier,
        )
        try:
            for result in _with_progress(results, self.count, flags):
                tally.add(result)
                if not only_summary:
                    _show(flags, result)
        finally:
            summary = tally.summary(
                concurrency=self.concurrency, elapsed_s=time.monotonic() - began
            )
            _show_summary(flags, summary, is_data=only_summary)
        return min(tally.statuses, default=0)


def percentile(ordered: list[float], share: int) -> float:
    """The nearest rank: a latency that somebody really had."""
    if not ordered:
        return 0.0
    return round(ordered[math.ceil(len(ordered) * share / 100) - 1], 3)


def in_words(summary: dict[str, Any]) -> str:
    kinds = ", ".join(f"{n} {kind}" for kind, n in summary["errors_by_type"].items())
    unanswered = summary["unanswered"]
    return (
        f"{summary['ok']} ok · {summary['errors']} errors"
        f"{f' ({kinds})' if kinds else ''} · {summary['concurrency']} at once · "
        f"{summary['per_second']:g}/s · p50 {summary['p50_ms']:.1f} "
        f"p95 {summary['p95_ms']:.1f} p99 {summary['p99_ms']:.1f} ms · "
        f"cold {summary['cold']}"
        f"{f' · {unanswered} unanswered' if unanswered else ''}"
    )


def refuse_over_limit(payload: bytes) -> None:
    """Raises `PayloadTooLarge`, once and not for each of many."""
    from sandlot.calls import check_event_size

    check_event_size(payload)


def _show_summary(flags: Flags, summary: dict[str, Any], *, is_data: bool) -> None:
    if not is_data:
        flags.say(in_words(summary))
    elif flags.as_json:
        document(summary)
    else:
        click.echo(in_words(summary))


def _show(flags: Flags, result: "MapResult") -> None:
    payload = result.reply.payload.decode("utf-8", "replace") if result.reply else ""
    if flags.as_json:
        line(
            {
                "index": result.index,
                "value": _value(payload),
                "error": result.error.as_dict() if result.error else None,
                "report": plain(result.reply.report) if result.reply else None,
                "elapsed_ms": round(result.elapsed_ms, 3),
            }
        )
    elif result.reply is not None:
        click.echo(block(payload))
    elif result.error is not None:
        click.echo(
            f"{type(result.error).__name__}: {one_line(result.error.message)}", err=True
        )


def _value(payload: str) -> Any:
    """None where there is no answer, or one that is no JSON."""
    try:
        return from_json(payload) if payload else None
    except ValueError:
        return None


def _with_progress(
    results: Iterable["MapResult"], count: int, flags: Flags
) -> Iterator["MapResult"]:
    """A bar on stderr, if somebody is looking."""
    if flags.quiet or not sys.stderr.isatty():
        yield from results
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(
        results,
        total=count,
        description="invoking",
        console=Console(stderr=True),
        transient=True,
    )
