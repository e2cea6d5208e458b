"""Results for a terminal, for a file that is committed, and for other programs."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table as Drawn

from benchmarks.machine import Facts
from benchmarks.scenarios.plan import Results
from benchmarks.stats import ENOUGH, Line, Series, Sheet, SideBySide, Table

_NOT_A_TERMINAL = 150
"""Columns of a table in a file or a pipe."""

_Grid = tuple[str, list[str], list[tuple[list[str], bool | None]], list[str]]
"""A title, the columns' titles, rows with whether they are as wanted, notes."""


def print_tables(results: Results, facts: Facts) -> None:
    """To stdout."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _NOT_A_TERMINAL
    console.print(f"{results.name}: {results.what}; times in ms\n", soft_wrap=True)
    for name, value in facts.rows():
        console.print(f"  {name:<13} {value}", soft_wrap=True, markup=False)
    for title, titles, rows, notes in _grids(results):
        drawn = Drawn(
            box=None, pad_edge=False, title_justify="left", title_style="bold"
        )
        drawn.title = f"\n{title}"
        for column in titles:
            drawn.add_column(column, justify="left" if not column else "right")
        for cells, is_met in rows:
            style = {True: "green", False: "red", None: ""}[is_met]
            drawn.add_row(*cells, style=style)
        console.print(drawn)
        for note in notes:
            console.print(f"  {note}", soft_wrap=True, markup=False)
    for name in results.not_run:
        console.print(f"\n  not run: {name}", soft_wrap=True, markup=False)


def as_markdown(results: Results, facts: Facts, *, plots: list[str]) -> str:
    """A summary for `benchmarks/results/`; `plots` are the files beside it."""
    lines = [f"# {results.name}", "", f"{results.what[0].upper()}{results.what[1:]}."]
    lines += ["Times in ms.", ""]
    lines += [f"- {name}: {value}" for name, value in facts.rows()]
    for plot, file in zip(results.plots, plots, strict=True):
        lines += ["", f"![{plot.title}]({file})"]
    for title, titles, rows, notes in _grids(results):
        lines += ["", f"## {title}", "", _row(titles)]
        lines.append(_row(["---"] + ["---:"] * (len(titles) - 1)))
        lines += [_row(cells) for cells, _ in rows]
        lines += [f"\n{note}" for note in notes]
    if results.not_run:
        lines += ["", "## Not run", ""]
        lines += [f"- {name}" for name in results.not_run]
    return "\n".join(lines) + "\n"


def write_markdown(results: Results, facts: Facts, file: Path) -> None:
    """The tables, and the plots beside them: `cold.md`, `cold-1.svg`, …"""
    names = [f"{file.stem}-{number}.svg" for number in range(1, len(results.plots) + 1)]
    for plot, name in zip(results.plots, names, strict=True):
        file.with_name(name).write_text(plot.as_svg(), "utf-8")
    file.write_text(as_markdown(results, facts, plots=names), "utf-8")


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
            "sheets": [
                {
                    "title": sheet.title,
                    "notes": sheet.notes,
                    "lines": [
                        {**asdict(line), "is_met": line.is_met} for line in sheet.lines
                    ],
                }
                for sheet in results.sheets
            ],
            "side_by_side": [asdict(each) for each in results.side_by_side],
            "plots": [asdict(plot) for plot in results.plots],
            "not_run": results.not_run,
        },
        indent=1,
    )


def _grids(results: Results) -> Iterator[_Grid]:
    for table in results.tables:
        rows = [(_cells(table, series), series.is_met) for series in table.series]
        yield table.title, _titles(table), rows, table.notes
    for sheet in results.sheets:
        yield _grid_of(sheet)
    for each in results.side_by_side:
        yield each.title, each.titles, _rows_of(each), each.notes


def _rows_of(each: SideBySide) -> list[tuple[list[str], bool | None]]:
    return [
        ([cell if isinstance(cell, str) else _number(cell) for cell in row], None)
        for row in each.rows
    ]


def _grid_of(sheet: Sheet) -> _Grid:
    titles = ["", "value", "unit", "wanted", "aim", "", "isolation", "note"]
    rows = [(_line_cells(line), line.is_met) for line in sheet.lines]
    used = [
        column
        for column in range(len(titles))
        if any(cells[column] for cells, _ in rows)
    ]
    return (
        sheet.title,
        [titles[column] for column in used],
        [([cells[column] for column in used], is_met) for cells, is_met in rows],
        sheet.notes,
    )


def _line_cells(line: Line) -> list[str]:
    than = "≥" if line.is_more_better else "≤"
    wanted, aim = (
        "" if limit is None else f"{than} {limit:,g}" for limit in (line.must, line.aim)
    )
    return [
        *(line.what, _number(line.value), line.unit, wanted, aim),
        *(_verdict(line.is_met, line.is_aim_met), line.isolation, line.note),
    ]


def _number(value: float) -> str:
    if value == int(value):
        return f"{value:,.0f}"
    return f"{value:,.3f}" if abs(value) < 10 else f"{value:,.1f}"


def _titles(table: Table) -> list[str]:
    titles = ["", "n", "p50", "p90", "p99"]
    if table.floor is None:
        return [*titles, "mean", "share", "page faults"]
    titles += [f"of {table.floor_name}", "p50 / p99 wanted", "aim", ""]
    return [*titles, *(["isolation"] if _has_isolation(table) else [])]


def _has_isolation(table: Table) -> bool:
    return any(series.isolation for series in table.series)


def _cells(table: Table, series: Series) -> list[str]:
    cells = [series.label, f"{len(series.samples_s):,}"]
    cells += [f"{series.ms(share):.3f}" for share in (50, 90, 99)]
    if table.floor is not None:
        return [
            *cells,
            f"{series.ms(50) / max(table.floor.ms(50), 1e-6):.2f} x",
            _limits(series.target_ms, series.target_p99_ms),
            _limits(series.aim_ms, series.aim_p99_ms),
            _verdict(series.is_met, series.is_aim_met, is_enough=series.is_enough),
            *([series.isolation] if _has_isolation(table) else []),
        ]
    whole = table.series[-1]
    return [
        *cells,
        f"{series.mean_ms:.3f}",
        f"{series.mean_ms / max(whole.mean_ms, 1e-6):.0%}",
        f"{series.page_faults / max(1, len(series.samples_s)):.0f}",
    ]


def _limits(p50_ms: float | None, p99_ms: float | None) -> str:
    if p50_ms is None:
        return ""
    return f"≤ {p50_ms:g}" + ("" if p99_ms is None else f" / {p99_ms:g}")


def _verdict(
    is_met: bool | None, is_aim_met: bool | None, *, is_enough: bool = True
) -> str:
    if is_met is None:
        return ""
    word = "MISSED" if not is_met else "aim met" if is_aim_met else "met"
    return word if is_enough else f"{word} (n < {ENOUGH:,})"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.strip() for cell in cells)} |"


def _as_object(series: Series) -> dict[str, object]:
    limits = {
        "target_us": series.target_ms,
        "target_p99_us": series.target_p99_ms,
        "aim_us": series.aim_ms,
        "aim_p99_us": series.aim_p99_ms,
    }
    return {
        "label": series.label.strip(),
        "isolation": series.isolation,
        "p50_us": round(series.ms(50) * 1e3),
        "p90_us": round(series.ms(90) * 1e3),
        "p99_us": round(series.ms(99) * 1e3),
        **{
            name: None if limit is None else round(limit * 1e3)
            for name, limit in limits.items()
        },
        "is_met": series.is_met,
        "page_faults": series.page_faults,
        "samples_us": [round(seconds * 1e6) for seconds in series.samples_s],
    }
