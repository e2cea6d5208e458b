"""`python -m benchmarks SCENARIO`: measure, print a table, and keep it if asked to."""

import argparse
import sys
from pathlib import Path

import uvloop
from rich.console import Console

from benchmarks import machine, report
from benchmarks.scenarios import SCENARIOS, Plan
from benchmarks.workloads import WORKLOADS


def main() -> int:
    options = _parse()
    console = Console(stderr=True)
    scenario = SCENARIOS[options.scenario]
    plan = Plan(
        n=options.n or (scenario.quick_n if options.quick else scenario.usual_n),
        workloads=[WORKLOADS[name] for name in options.workload or WORKLOADS],
        runtime=options.runtime,
        console=console,
    )
    before = machine.load()
    results = uvloop.run(scenario.run(plan))
    facts = machine.look(
        load_before=before,
        mode=results.mode,
        layers=results.layers,
        python=results.python,
    )
    report.print_tables(results, facts)
    if options.json:
        options.json.write_text(report.as_json(results, facts), "utf-8")
    if options.markdown:
        options.markdown.write_text(report.as_markdown(results, facts), "utf-8")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("scenario", choices=list(SCENARIOS))
    parser.add_argument(
        *("--n", "--instances"), type=_count, help="samples of each kind we make"
    )
    parser.add_argument(
        "--quick", action="store_true", help="few samples: does it run at all?"
    )
    parser.add_argument(
        "--workload", action="append", choices=list(WORKLOADS), help="repeatable"
    )
    parser.add_argument(
        "--runtime", default=f"python3.{sys.version_info.minor}", metavar="python3.N"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="every sample, too")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the tables")
    return parser.parse_args()


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
