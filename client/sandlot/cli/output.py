"""How data leaves: a table on a terminal, plain columns in a pipe, JSON when asked."""

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

import click

from sandlot.cli.options import Flags
from sandlot.cli.text import block, one_line, with_zone

T = TypeVar("T")

COMPUTED = ("cost", "compute_cost", "requests_cost", "gb_seconds", "import_error")
"""Properties that belong in JSON beside the fields."""


def show_list(
    flags: Flags,
    items: Iterable[T],
    columns: Sequence[tuple[str, Callable[[T], object]]],
) -> None:
    """Many things: one JSON document, or a table."""
    if flags.as_json:
        document([plain(item) for item in items])
        return
    rows = [[one_line(str(cell(item))) for _, cell in columns] for item in items]
    table([title for title, _ in columns], rows)


def show_one(flags: Flags, item: object) -> None:
    """One thing: one JSON document, or its fields, one on a line."""
    if flags.as_json:
        document(plain(item))
        return
    fields = plain(item, moment=with_zone)
    rows = [[name, one_line(_in_words(value))] for name, value in fields.items()]
    table(None, rows)


def document(value: object) -> None:
    """One JSON document."""
    click.echo(block(json.dumps(value, indent=2, allow_nan=False)))


def line(value: object) -> None:
    """One JSON object of a stream, on a line."""
    click.echo(one_line(json.dumps(value, allow_nan=False)))


def from_json(text: bytes | str) -> Any:
    """What a function answered, as `document` can hold it.

    Raises ValueError where it is no JSON: NaN is none, though Python reads it; and for
    a number that only fits into infinity.
    """
    return json.loads(text, parse_constant=no_constant, parse_float=_finite)


def no_constant(name: str) -> Any:
    """For `json.loads`: no NaN and no Infinity."""
    raise ValueError(f"JSON has no {name}")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits[:40]} is too large")
    return number


def table(titles: list[str] | None, rows: list[list[str]]) -> None:
    """Cells must be harmless already. Rich draws on a terminal; it sees no markup."""
    if sys.stdout.isatty():
        rich_table(titles, rows)
        return
    everything = ([titles] if titles else []) + rows
    widths = [max(map(len, column)) for column in zip(*everything, strict=True)]
    for row in everything:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


TEXT_WIDTH = 40
"""How narrow a text in a table's last column may become, for a terminal that is."""


def rich_table(titles: list[str] | None, rows: list[list[str]]) -> None:
    """For a terminal. Rich is imported here, since only a terminal needs it.

    What does not fit is left to the terminal to wrap: ids and addresses that are folded
    within their columns cannot be copied. Only a long text at the end is folded.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    heads = titles or [""] * (len(rows[0]) if rows else 0)

    def least(cell: str, *, is_last: bool) -> int:
        width = cell_len(cell)
        return min(width, TEXT_WIDTH) if is_last and " " in cell else width

    widths = [
        max(least(cell, is_last=number == len(heads)) for cell in column)
        for number, column in enumerate(zip(heads, *rows, strict=True), 1)
    ]
    # Titles are capitals, and need no bold: NO_COLOR leaves that, for Rich.
    drawn = Table(
        box=None, show_header=titles is not None, pad_edge=False, header_style=""
    )
    for title, width in zip(heads, widths, strict=True):
        drawn.add_column(title, overflow="fold", min_width=width)
    for row in rows:
        drawn.add_row(*map(Text, row))
    console = Console()
    width, height = console.size
    width = max(width, sum(widths) + 2 * (len(widths) - 1))
    # Height, too: or a terminal that is dumb (TERM) is 80 columns wide to Rich.
    console.width, console.height = width, height
    console.print(drawn)


def _in_utc(when: datetime) -> str:
    return when.isoformat().replace("+00:00", "Z")


def plain(value: Any, *, moment: Callable[[datetime], str] = _in_utc) -> Any:
    """A result as JSON can hold it; money as text, so that nothing rounds it.

    People get it with a `moment` of their own: `with_zone`.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        names += [name for name in COMPUTED if hasattr(value, name)]
        return {name: plain(getattr(value, name), moment=moment) for name in names}
    match value:
        case datetime():
            return moment(value)
        case Decimal():
            return f"{value:f}"
        case bytes():
            return value.decode("utf-8", "replace")
        case dict():
            return {key: plain(one, moment=moment) for key, one in value.items()}
        case list() | tuple():
            return [plain(one, moment=moment) for one in value]
        case _:
            return value


def _in_words(value: object) -> str:
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case dict():
            return ", ".join(f"{key}={one}" for key, one in value.items()) or "-"
        case list():
            return ", ".join(map(str, value)) or "-"
        case _:
            return str(value)
