"""What `sandlot doctor` shows: a row for each layer, and for each hostile attempt."""

import json
import shutil
import sys
import textwrap
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from sandlot.cli.output import document
from sandlot.cli.root import BROKEN
from sandlot.cli.text import block, one_line

if TYPE_CHECKING:
    from sandlot.proof.prove import Attempt, Finding

ENOUGH = 0
GOT_THROUGH = 1
NOT_ENOUGH = 78
"""EX_CONFIG of sysexits(3): this machine lacks a layer. `sandlot up` exits so, too."""

_MARK = 9
"""Columns of a mark, and the space behind it."""

_MIN_WIDTH = 60
_MAX_WIDTH = 100
_MAX_HAPPENED = 70
"""Characters of what happened; JSON has it whole."""

_COLOURS = {"ok": "green", "weaker": "yellow", "given up": "yellow", "none": "yellow"}

Layer = dict[str, Any]
"""As the engine's `doctor` has it."""


def show_layers(found: dict[str, Any]) -> None:
    """A row for each layer, the runtimes, and in one line what follows."""
    layers: list[Layer] = found["layers"]
    width = max(len("egress"), *(len(layer["name"]) for layer in layers))
    click.echo(f"{'':{_MARK}}{'LAYER':{width}}  STOPS A FUNCTION FROM")
    for layer in layers:
        text, below = layer["stops"], layer["detail"]
        if layer["holds"] and below:
            text, below = f"{text} · {below}", ""
        _row(_mark_of(layer), layer["name"], text, below, width)
    missing = found["egress"]["missing"]
    _row(
        "none" if missing else "ok",
        "egress",
        "reaching private networks, where it may reach public ones",
        missing and f"{missing}. Until then no function can have egress",
        width,
    )
    usable = [one for one in found["runtimes"] if "problem" not in one]
    names = (
        f"{one['name']} ({one['version']})" if one["version"] else one["name"]
        for one in usable
    )
    click.echo(f"runtimes: {', '.join(names) or 'none'}")
    for one in found["runtimes"]:
        if "problem" in one:
            click.echo(f"{one_line(one['name'])}: {one_line(one['problem'])}")
    click.echo(_conclusion(layers))


def show_proof(
    found: dict[str, Any], *, given_up: frozenset[str], as_json: bool
) -> int:
    """Run the attempts and show each as it ends; the exit status."""
    from sandlot.proof.prove import ATTEMPTS, Finding, NoEngine, prove, scene

    began = time.monotonic()
    findings: list[Finding] = []
    width = max(len(attempt.tried) for attempt in ATTEMPTS)
    try:
        has_egress = not found["egress"]["missing"] and "network" not in given_up
        with scene(given_up=given_up, has_egress=has_egress) as stage:
            mode = stage.mode
            if not as_json:
                click.echo(
                    f"\n{'':{_MARK}}{'TRIED TO':{width}}  STOPPED BY    WHAT HAPPENED"
                )
            for step in prove(stage, given_up):
                if isinstance(step, Finding):
                    findings.append(step)
                if not as_json:
                    _show_step(step, width)
    except NoEngine as missing:
        if as_json:
            error = {"kind": "NoEngine", "message": missing.message, "advice": ""}
            click.echo(json.dumps({"error": error}), err=True)
        else:
            click.echo(block(missing.message), err=True)
        return NOT_ENOUGH if missing.status == NOT_ENOUGH else BROKEN
    elapsed_s = round(time.monotonic() - began, 1)
    bad = [finding for finding in findings if not finding.is_good]
    if as_json:
        proof = {
            "mode": mode,
            "attempts": [asdict(finding) for finding in findings],
            "ok": not bad,
            "elapsed_s": elapsed_s,
        }
        document({**found, "proof": proof})
    else:
        _summarise(findings, bad, f"{mode} · {elapsed_s:.1f} s")
    return GOT_THROUGH if bad else ENOUGH


def _mark_of(layer: Layer) -> str:
    if layer["given_up"]:
        return "given up"
    if layer["holds"]:
        return "ok"
    return "MISSING" if layer["required"] else "weaker"


def _row(mark: str, name: str, text: str, below: str, width: int) -> None:
    indent = _MARK + width + 2
    click.echo(_styled(mark) + f"{name:{width}}  {text}")
    room = min(
        max(shutil.get_terminal_size((_MAX_WIDTH, 0)).columns, _MIN_WIDTH), _MAX_WIDTH
    )
    for line in textwrap.wrap(one_line(below), room - indent):
        click.echo(" " * indent + line)


def _styled(mark: str) -> str:
    colour = _COLOURS.get(mark, "red")
    return click.style(f"{mark:{_MARK}}", fg=colour, bold=colour == "red")


def _conclusion(layers: list[Layer]) -> str:
    by_mark: dict[str, list[str]] = {}
    for layer in layers:
        by_mark.setdefault(_mark_of(layer), []).append(layer["name"])
    if missing := by_mark.get("MISSING"):
        return click.style(
            f"sandlot up would refuse to start here, without {_and(missing)}.",
            fg="red",
            bold=True,
        )
    but = []
    if given_up := by_mark.get("given up"):
        but.append(f"WITHOUT {_and(given_up)}")
    if weaker := by_mark.get("weaker"):
        but.append(f"with {_and(weaker)} weaker")
    return f"sandlot up would start here, {', '.join(but) or 'with all layers'}."


def _and(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _show_step(step: "Attempt | Finding", width: int) -> None:
    from sandlot.proof.prove import Finding, Result

    is_terminal = sys.stdout.isatty()
    if not isinstance(step, Finding):
        if is_terminal:
            click.echo(f"{'…':{_MARK}}{step.tried}", nl=False)
        return
    if is_terminal:
        click.echo("\r\x1b[K", nl=False)
    layer = step.layer + (" (given up)" if step.is_given_up else "")
    happened = one_line(step.happened)
    if step.is_good and len(happened) > _MAX_HAPPENED:
        happened = f"{happened[:_MAX_HAPPENED]}…"
    if step.result is Result.GOT_THROUGH:
        happened = f"GOT THROUGH: {happened}"
    mark = _styled("ok" if step.is_good else "BROKEN")
    click.echo(f"{mark}{step.tried:{width}}  {layer:12}  {happened}")


def _summarise(findings: "list[Finding]", bad: "list[Finding]", how: str) -> None:
    if not bad:
        click.echo(
            f"{len(findings)} attempts, all stopped; the other tenant's function"
            f" answered after each · {how}"
        )
        return
    given_up = sorted({finding.layer for finding in bad if finding.is_given_up})
    why = f", without {_and(given_up)}" if given_up else ""
    told = f"BROKEN: {len(bad)} of {len(findings)} attempts were not stopped{why}"
    advice = "Do not run strangers' code like this."
    click.echo(click.style(f"{told} · {how}\n{advice}", fg="red", bold=True))
