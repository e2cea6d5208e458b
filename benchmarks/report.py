"""Results for a terminal, for a file that is committed, and for other programs."""

import json
from dataclasses import asdict

from rich.console import Console
from rich.table import Table as Drawn

from benchmarks.machine import Facts
from benchmarks.scenarios.plan import Results
from benchmarks.stats import Series, Table

_NOT_A_TERMINAL = 110
"""Columns of a table in a file or a pipe."""


def print_tables(results: Results, facts: Facts) -> None:
    """To stdout."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _NOT_A_TERMINAL
    console.print(f"{results.name}: {results.what}; times in ms\n", soft_wrap=True)
    for name, value in facts.rows():
        console.print(f"  {name:<13} {value}", soft_wrap=True, markup=False)
    for table in results.tables:
        drawn = Drawn(
            box=None, pad_edge=False, title_justify="left", title_style="bold"
        )
        drawn.title = f"\n{table.title}"
        for title in _titles(table):
            drawn.add_column(title, justify="left" if not title else "right")
        for series in table.series:
            cells = _cells(table, series)
            style = {True: "green", False: "red", None: ""}[series.is_met]
            drawn.add_row(*cells, style=style)
        console.print(drawn)
        for note in table.notes:
            console.print(f"  {note}", soft_wrap=True, markup=False)


def as_markdown(results: Results, facts: Facts) -> str:
    """A summary for `benchmarks/results/`."""
    lines = [f"# {results.name}", "", f"{results.what[0].upper()}{results.what[1:]}."]
    lines += ["Times in ms.", ""]
    lines += [f"- {name}: {value}" for name, value in facts.rows()]
    for table in results.tables:
        titles = _titles(table)
        lines += ["", f"## {table.title}", "", _row(titles)]
        lines.append(_row(["---"] + ["---:"] * (len(titles) - 1)))
        lines += [_row(_cells(table, series)) for series in table.series]
        lines += [f"\n{note}" for note in table.notes]
    return "\n".join(lines) + "\n"


def as_json(results: Results, facts: Facts) -> str:
    """Everything, with every sample in µs."""
    return json.dumps(
        {
            "scenario": results.name,
            "what": results.what,
            "machine": asdict(facts),
            "tables": [
                {
                    "title": table.title,
                    "notes": table.notes,
                    "series": [_as_object(series) for series in table.series],
                }
                for table in results.tables
            ],
        },
        indent=1,
    )


def _titles(table: Table) -> list[str]:
    titles = ["", "n", "p50", "p90", "p99"]
    if table.floor is None:
        return [*titles, "mean", "share", "page faults"]
    return [*titles, f"of {table.floor_name}", "p50 wanted", ""]


def _cells(table: Table, series: Series) -> list[str]:
    cells = [series.label, f"{len(series.samples_s):,}"]
    cells += [f"{series.ms(share):.3f}" for share in (50, 90, 99)]
    if table.floor is not None:
        return [
            *cells,
            f"{series.ms(50) / max(table.floor.ms(50), 1e-6):.2f} x",
            "" if series.target_ms is None else f"≤ {series.target_ms:g}",
            {True: "met", False: "MISSED", None: ""}[series.is_met],
        ]
    whole = table.series[-1]
    return [
        *cells,
        f"{series.mean_ms:.3f}",
        f"{series.mean_ms / max(whole.mean_ms, 1e-6):.0%}",
        f"{series.page_faults / max(1, len(series.samples_s)):.0f}",
    ]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.strip() for cell in cells)} |"


def _as_object(series: Series) -> dict[str, object]:
    return {
        "label": series.label.strip(),
        "p50_us": round(series.ms(50) * 1e3),
        "p90_us": round(series.ms(90) * 1e3),
        "p99_us": round(series.ms(99) * 1e3),
        "target_us": None
        if series.target_ms is None
        else round(series.target_ms * 1e3),
        "is_met": series.is_met,
        "page_faults": series.page_faults,
        "samples_us": [round(seconds * 1e6) for seconds in series.samples_s],
    }
