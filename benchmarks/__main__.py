"""`python -m benchmarks SCENARIO`: measure, print a table, and keep it if asked to.

Without a scenario: what there is. `all` runs one after another; `peers` installs what
others are set beside ours, and with `--remove` deletes it.
"""

import argparse
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import uvloop
from rich.console import Console

from benchmarks import cache, machine, report
from benchmarks.scenarios import SCENARIOS, Plan
from benchmarks.scenarios.plan import Results, Scenario
from benchmarks.workloads import OUR_RUNTIME, WORKLOADS
from sandlot.errors import Refused

ALL, PEERS = "all", "peers"

EX_INTERRUPTED = 130


def main() -> int:
    options = _parse()
    code = 0
    came = []

    def interrupt(number: int, _: FrameType | None) -> NoReturn:
        came.append(number)
        raise KeyboardInterrupt

    # Whatever was started is ended on the way out. Not Python's own handler, which
    # asyncio replaces by one that waits for what does not wait for the loop.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        # All that is ever written is in there: an interrupt can come between the making
        # of a folder and its being known.
        with tempfile.TemporaryDirectory(prefix="sandlot-benchmark-") as folder:
            # The engine's own user has to get through.
            Path(folder).chmod(0o755)
            tempfile.tempdir = folder
            code = _main(options)
    except BaseException:
        # Ctrl-C reaches what we have started, too: what misses it says so.
        if not came:
            raise
    return EX_INTERRUPTED if came else code


def _main(options: argparse.Namespace) -> int:
    console = Console(stderr=True)
    if options.scenario is None:
        with _for_who_reads():
            _list()
        return 0
    if options.scenario == PEERS:
        return _peers(console, options.runtime, is_removal=options.remove)
    if options.scenario == ALL:
        return run_all(options, console)
    _run(options.scenario, SCENARIOS[options.scenario], options, console)
    return 0


def run_all(options: argparse.Namespace, console: Console) -> int:
    """What cannot be run here, or found something wrong, does not keep others back."""
    ended = {}
    for name, scenario in SCENARIOS.items():
        try:
            _run(name, scenario, options, console)
        except SystemExit as error:
            ended[name] = error.code
            console.print(f"{name}: {error.code}")
    if ended:
        console.print(f"not run to its end: {', '.join(ended)}")
    return 1 if ended else 0


def _run(
    name: str, scenario: Scenario, options: argparse.Namespace, console: Console
) -> None:
    plan = Plan(
        n=options.n or (scenario.quick_n if options.quick else scenario.usual_n),
        workloads=[WORKLOADS[name] for name in options.workload or WORKLOADS],
        runtime=options.runtime,
        console=console,
        is_quick=options.quick,
        trace=options.trace,
    )
    before = machine.look_before()
    try:
        results: Results = uvloop.run(scenario.run(plan))
    except Refused as refused:
        raise SystemExit(f"the engine refused: {refused}") from refused
    facts = machine.look(
        before=before,
        mode=results.mode,
        layers=results.layers,
        python=results.python,
    )
    as_json, as_markdown = options.json, options.markdown
    if options.save:
        as_json = options.save / f"{name}.json"
        as_markdown = options.save / f"{name}.md"
    if as_json:
        as_json.write_text(report.as_json(results, facts), "utf-8")
    if as_markdown:
        report.write_markdown(results, facts, as_markdown)
    # Last: Rich exits where nobody reads it any more.
    report.print_tables(results, facts)


@contextlib.contextmanager
def _for_who_reads() -> Iterator[None]:
    """Printing, which ends where whoever reads has enough, as `head` has."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _list() -> None:
    width = max(map(len, SCENARIOS))
    print("python -m benchmarks SCENARIO [--quick] [--save FOLDER]   (more: --help)\n")
    for name, scenario in SCENARIOS.items():
        print(f"  {name:<{width}}  {scenario.summary}")
    print(f"\n  {ALL:<{width}}  All of them, one after another.")
    print(f"  {PEERS:<{width}}  Install what is set beside ours, in {cache.root()}.")


def _peers(console: Console, runtime: str, *, is_removal: bool) -> int:
    if is_removal:
        cache.remove()
        console.print(f"removed {cache.root()}")
        return 0
    for peer in cache.PEERS:
        failure = peer.install()
        console.print(f"{peer.name}: {failure or peer.path} ({peer.what})")
    for name in cache.PACKAGES:
        failure = cache.install_packages(name, runtime)
        console.print(f"{name} for {runtime}: {failure or 'installed'}")
    for reason in cache.NOT_RUN:
        console.print(f"not run: {reason}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("scenario", nargs="?", choices=[*SCENARIOS, ALL, PEERS])
    parser.add_argument(
        *("--n", "--instances"), type=_count, help="samples of each kind we make"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small and short: does it run at all?"
    )
    parser.add_argument(
        "--workload", action="append", choices=list(WORKLOADS), help="repeatable"
    )
    parser.add_argument(
        "--runtime",
        default=OUR_RUNTIME,
        metavar="python3.N",
        help="that functions run on; with `peers`, that packages are for",
    )
    parser.add_argument(
        "--trace",
        type=Path,
        metavar="FOLDER",
        help="for `trace`: files of the Azure Functions trace of 2019",
    )
    parser.add_argument(
        "--json", type=new_file, metavar="FILE", help="every sample, too"
    )
    parser.add_argument(
        "--markdown", type=new_file, metavar="FILE", help="the tables; plots beside it"
    )
    parser.add_argument(
        "--save", type=_folder, metavar="FOLDER", help="both, named for the scenario"
    )
    parser.add_argument("--remove", action="store_true", help="with `peers`")
    options = parser.parse_args()
    if options.scenario == ALL and (options.json or options.markdown):
        parser.error("--json and --markdown are for one scenario; --save is for all")
    return options


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(text)


# Whether there is a place for what was measured is asked before, which may take hours.


def new_file(text: str) -> Path:
    file = Path(text)
    if file.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder; --save takes one")
    _folder(str(file.parent))
    return file


def _folder(text: str) -> Path:
    folder = Path(text)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(
            f"there can be no folder {text}: {error.strerror}"
        ) from error
    if not os.access(folder, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text} cannot be written to")
    return folder


if __name__ == "__main__":
    sys.exit(main())
