"""`make demo`: an engine of its own, a real function, and what both have to show.

Starts `sandlot up` on a temporary folder, deploys `functions/chart` with Pillow in
its package, calls it cold, warm and two hundred times at once, shows the bill, stops
the engine, and looks whether anything of it is left.
"""

import base64
import shutil
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sandlot import Client, FunctionHandle, MapResult, Reply
from sandlot.errors import SandlotError

sys.path.insert(0, str(Path(__file__).parents[2]))

from docs.demo.engine import DemoFailed, Engine
from docs.demo.package import cache_folder, pack_with_requirements

SOURCE = Path(__file__).parent / "functions" / "chart"
RUNTIME = f"python3.{sys.version_info.minor}"
"""The one whose pip is at hand, so that the packages it fetches fit."""

EVENT = {
    "title": "Cups of coffee, by weekday",
    "values": {"Mon": 9, "Tue": 7, "Wed": 6, "Thu": 7, "Fri": 4},
}
CALLS = 200
AT_ONCE = 200
MEMORY_MB = 256
TIMEOUT_S = 30
"""Two hundred at once share the cores, and each of them counts the time it waits."""
BILL_S = 10.0
"""How long the bill may lag behind the answers."""
INTERRUPTED = 130
"""As the command has it."""

console = Console(highlight=False)


def main() -> int:
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="sandlot-demo-"))
    try:
        show(folder)
    except (DemoFailed, SandlotError) as error:
        console.print(f"\n[bold red]The demo failed.[/] {type(error).__name__}:")
        console.print(str(error), markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print(
            "\nInterrupted: the engine is stopped, and nothing of it is left."
        )
        return INTERRUPTED
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    console.print(f"\n[green]Done[/] in {time.monotonic() - began:.1f} s.")
    return 0


def show(folder: Path) -> None:
    """The whole of it, in order. The engine is stopped whatever happens."""
    package = folder / "chart"
    chapter("A function with a dependency from PyPI")
    with console.status("fetching Pillow (a few seconds, the first time)"):
        fetched = pack_with_requirements(SOURCE, package)
    say(f"{SOURCE.name}/app.py and {fetched}")

    chapter("sandlot up")
    with Engine(folder / "data", folder / "engine.log") as engine:
        say(f"serving gRPC on {engine.address}, process {engine.pid}")
        with Client(data=engine.data) as client:
            use(client, package)
    chapter("Stopped with SIGTERM")
    say(f"{engine.watched} processes had been running; none is left")


def use(client: Client, package: Path) -> None:
    function = deploy(client, package)
    chapter("The first invocation: a cold start")
    reply = call(function)
    keep_picture(reply)
    chapter("The second: the same instance, warm")
    call(function)
    chapter(f"{CALLS} invocations, {AT_ONCE} at once")
    call_many(client, function.name)
    chapter("The bill")
    show_bill(client, expected=CALLS + 2)


def deploy(client: Client, package: Path) -> FunctionHandle:
    chapter("sandlot deploy")
    began = time.monotonic()
    with console.status("uploading, and importing it in its jail"):
        function = client.deploy(
            package, runtime=RUNTIME, memory=MEMORY_MB, timeout=TIMEOUT_S
        )
    described = client.get_function(function.name)
    how = (
        "imported once; instances are forked from that"
        if described.fork_safe
        else f"every instance imports for itself: {described.fork_safety_reason}"
    )
    say(
        f"{described.name}, {described.runtime}, {described.code_size / 1e6:.1f} MB"
        f" zipped: {described.state} after {time.monotonic() - began:.1f} s"
    )
    say(how)
    return function


def call(function: FunctionHandle) -> Reply:
    began = time.perf_counter()
    reply = function.invoke(EVENT, tail_log=True)
    took_ms = (time.perf_counter() - began) * 1000
    answer = reply.value
    say(
        f"a PNG of {answer['width']} x {answer['height']}, {answer['bytes']:,} bytes;"
        f" {took_ms:.1f} ms as the caller saw it"
    )
    show_log(reply.log_tail.decode("utf-8", "replace").splitlines())
    return reply


def keep_picture(reply: Reply) -> None:
    picture = cache_folder() / "chart.png"
    picture.write_bytes(base64.b64decode(reply.value["png"]))
    say(f"saved as {picture}")


def call_many(client: Client, name: str) -> None:
    events = (
        {"title": f"Number {n}", "values": {"n": n + 1, "all": CALLS}}
        for n in range(CALLS)
    )
    results: list[MapResult] = []
    began = time.monotonic()
    with console.status("") as status:
        for result in client.map(name, events, concurrency=AT_ONCE):
            if result.error is not None:
                raise result.error
            results.append(result)
            status.update(f"{len(results)} of {CALLS} answered")
    elapsed_s = time.monotonic() - began
    ordered = sorted(results, key=lambda result: result.elapsed_ms)
    p50, p95, p99 = (
        ordered[CALLS * share // 100 - 1].elapsed_ms for share in (50, 95, 99)
    )
    cold = sum(
        bool(r.reply and r.reply.report and r.reply.report.cold) for r in ordered
    )
    say(
        f"{CALLS} answered in {elapsed_s:.2f} s, {CALLS / elapsed_s:.0f} a second;"
        f" {cold} of them cold"
    )
    say(f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms, the queue included")
    say("REPORT lines of the quickest, the median and the slowest:")
    for result in (ordered[0], ordered[CALLS // 2], ordered[-1]):
        show_report(result)


def show_report(result: MapResult) -> None:
    """As the log has it; the stream brings the numbers, not the text."""
    assert result.reply is not None  # noqa: S101 - those with errors were raised
    report = result.reply.report
    assert report is not None  # noqa: S101 - only queued events have none
    parts = [
        f"REPORT RequestId: {report.request_id}",
        f"Duration: {report.duration_ms:.2f} ms",
        f"Billed Duration: {report.billed_ms} ms",
        f"Memory Size: {report.memory_mb} MB",
        f"Max Memory Used: {report.max_memory_mb} MB",
    ]
    if report.init_ms is not None:
        parts.append(f"Init Duration: {report.init_ms:.2f} ms")
    show_log(["\t".join(parts)])


def show_bill(client: Client, *, expected: int) -> None:
    """It is written behind the replies, so the last of them may take a moment."""
    deadline = time.monotonic() + BILL_S
    while (bill := client.bill()).total.invocations < expected:
        if time.monotonic() > deadline:
            raise DemoFailed(
                f"the bill has {bill.total.invocations} invocations of {expected}"
            )
        time.sleep(0.05)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in (
        "function",
        "calls",
        "billed ms",
        "GB·s",
        "requests",
        "compute",
        "sum",
    ):
        table.add_column(title, justify="left" if title == "function" else "right")
    for line in (*bill.lines, bill.total):
        table.add_row(
            line.function or "total",
            f"{line.invocations:,}",
            f"{line.billed_ms:,}",
            f"{line.gb_seconds:.6f}",
            f"${line.requests_cost:.9f}",
            f"${line.compute_cost:.9f}",
            f"${line.cost:.9f}",
        )
    console.print(table)
    say("at AWS's prices; yours is the electricity")


def chapter(title: str) -> None:
    console.print(f"\n[bold]{title}[/]")


def say(text: str) -> None:
    console.print(f"  {text}", markup=False, soft_wrap=True)


def show_log(lines: list[str]) -> None:
    for line in lines:
        tidy = "  ".join(part.strip() for part in line.split("\t") if part.strip())
        console.print(Text(f"  | {tidy}", style="cyan"), soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
