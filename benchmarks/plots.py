"""Plots as SVG, by hand: a few lines of text that any browser shows, and no dependency.

One kind is enough here: lines over two axes, each of them linear or logarithmic.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from benchmarks.stats import Series

WIDTH, HEIGHT = 820, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 230, 46, 58

COLOURS = (
    *("#1b6ca8", "#c4451c", "#2e8b57", "#7b4fa3", "#b8860b"),
    *("#4a4a4a", "#c2185b", "#00838f", "#6d4c41", "#9e9d24"),
)
_DASHES = ("", "7 3", "2 3")

MAX_POINTS = 400
"""Of a line: more are not to be seen, and make files that nobody wants to commit."""

_TICKS = 6
_TINY = 1e-9
"""Nothing that is measured is between this and nothing."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Points of one thing, in the order of x."""

    name: str
    points: list[Point]
    has_dots: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What is to be seen in it is said by its title."""

    title: str
    x: str
    y: str
    curves: list[Curve]
    is_log_x: bool = False
    is_log_y: bool = False
    marks: list[tuple[float, str]] = field(default_factory=list)
    """Vertical lines: what was wanted, say."""

    def as_svg(self) -> str:
        xs = [x for curve in self.curves for x, _ in curve.points]
        xs += [x for x, _ in self.marks]
        ys = [y for curve in self.curves for _, y in curve.points]
        across = _Axis.over(xs, _LEFT, WIDTH - _RIGHT, is_log=self.is_log_x)
        up = _Axis.over(ys, HEIGHT - _BOTTOM, _TOP, is_log=self.is_log_y)
        parts = [*self._frame(across, up), *self._marks(across)]
        for number, curve in enumerate(self.curves):
            parts += _drawn(curve, number, across, up)
        body = "\n".join(parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}"'
            f' viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">'
            f'\n<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
        )

    def _frame(self, across: "_Axis", up: "_Axis") -> list[str]:
        middle, low = (_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - _BOTTOM
        parts = [
            _text(_LEFT, 24, self.title, size=15, weight="bold"),
            _text(middle, HEIGHT - 14, self.x, anchor="middle"),
            f'<g transform="rotate(-90 18 {(low + _TOP) / 2})">'
            + _text(18, (low + _TOP) / 2, self.y, anchor="middle")
            + "</g>",
        ]
        for value in across.ticks():
            at = across.at(value)
            parts.append(_line(at, _TOP, at, low, "#e4e4e4"))
            parts.append(_text(at, low + 18, _label(value), anchor="middle"))
        for value in up.ticks():
            at = up.at(value)
            parts.append(_line(_LEFT, at, WIDTH - _RIGHT, at, "#e4e4e4"))
            parts.append(_text(_LEFT - 8, at + 4, _label(value), anchor="end"))
        parts.append(_line(_LEFT, low, WIDTH - _RIGHT, low, "#333"))
        parts.append(_line(_LEFT, _TOP, _LEFT, low, "#333"))
        return parts

    def _marks(self, across: "_Axis") -> list[str]:
        parts = []
        for number, (value, name) in enumerate(self.marks):
            at = across.at(value)
            parts.append(_line(at, _TOP, at, HEIGHT - _BOTTOM, "#888", dash="4 3"))
            parts.append(
                _text(at + 4, _TOP + 12 + 14 * (number % 3), name, fill="#555", size=11)
            )
        return parts


def distribution(title: str, series: Sequence[Series], *, x: str = "ms") -> Plot:
    """What share of each is done within so many ms, up to the p99.9."""
    curves = []
    for one in series:
        ordered = sorted(one.samples_s)
        if ordered:
            points = [(at * 1e3, 100 * share) for at, share in _shares(ordered)]
            curves.append(Curve(name=one.label.strip(), points=points))
    marks = [
        (limit, f"wanted {name} {limit:g}")
        for one in series[:1]
        for name, limit in (("p50", one.target_ms), ("p99", one.target_p99_ms))
        if limit is not None
    ]
    return Plot(
        title=title,
        x=f"{x} (logarithmic)",
        y="% done within",
        curves=curves,
        is_log_x=True,
        marks=marks,
    )


def thinned(points: list[Point]) -> list[Point]:
    """Not more than MAX_POINTS of them, the first and the last among those."""
    if len(points) <= MAX_POINTS:
        return points
    step = (len(points) - 1) / (MAX_POINTS - 1)
    return [points[round(number * step)] for number in range(MAX_POINTS)]


def _shares(ordered: list[float]) -> list[Point]:
    last = max(1, math.floor(len(ordered) * 0.999))
    whole = len(ordered)
    return thinned([(max(ordered[n], 1e-9), (n + 1) / whole) for n in range(last)])


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    begin: float
    end: float
    is_log: bool

    @classmethod
    def over(
        cls, values: list[float], begin: float, end: float, *, is_log: bool
    ) -> "_Axis":
        """Over all that is given, a logarithmic one over what is more than 0."""
        if is_log:
            values = [value for value in values if value > _TINY] or [1.0]
            low, high = min(values), max(values)
            return cls(low, max(high, low * 1.5), begin, end, is_log=True)
        low, high = min([0.0, *values]), max([0.0, *values])
        return cls(
            low, high if high - low > _TINY else low + 1, begin, end, is_log=False
        )

    def at(self, value: float) -> float:
        if self.is_log:
            value = max(value, self.low)
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.begin + share * (self.end - self.begin)

    def ticks(self) -> list[float]:
        return self._log_ticks() if self.is_log else self._even_ticks()

    def _log_ticks(self) -> list[float]:
        powers = range(
            math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1
        )
        tries = [
            [digit * 10.0**power for power in powers for digit in digits]
            for digits in (range(1, 10), (1, 2, 5), (1, 3), (1,))
        ]
        found = [
            [at for at in ticks if self.low * 0.999 <= at <= self.high * 1.001]
            for ticks in tries
        ]
        return next((ticks for ticks in found if len(ticks) <= 2 * _TICKS), found[-1])

    def _even_ticks(self) -> list[float]:
        rough = (self.high - self.low) / _TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(n * power for n in (1, 2, 5, 10) if n * power >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def _drawn(curve: Curve, number: int, across: _Axis, up: _Axis) -> list[str]:
    colour = COLOURS[number % len(COLOURS)]
    dash = _DASHES[number // len(COLOURS) % len(_DASHES)]
    places = [(across.at(x), up.at(y)) for x, y in thinned(curve.points)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    style = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"'
    parts = [f'<polyline {style} points="{path}"/>']
    if curve.has_dots or len(places) == 1:
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'
            for x, y in places
        ]
    left, top = WIDTH - _RIGHT + 14, _TOP + 10 + 20 * number
    parts.append(_line(left, top - 4, left + 20, top - 4, colour, dash=dash, width=3))
    parts.append(_text(left + 26, top, curve.name))
    return parts


def _line(
    x1: float,
    y1: float,
    x2: float,
    y2: float,
    colour: str,
    *,
    dash: str = "",
    width: float = 1,
) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        f' stroke="{colour}" stroke-width="{width:g}" stroke-dasharray="{dash}"/>'
    )


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 12,
    anchor: str = "start",
    weight: str = "normal",
    fill: str = "#222",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"'
        f' font-weight="{weight}" fill="{fill}">{escape(text)}</text>'
    )


def _label(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"
