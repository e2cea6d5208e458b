"""Carries the attempts out, one after the other, and looks after each whether the other
tenant has noticed anything."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sandlot.errors import SandlotError
from sandlot.proof.attempts import ALWAYS, ATTEMPTS, Attempt, GotThrough, NotTried
from sandlot.proof.engine import NoEngine
from sandlot.proof.scene import Scene, scene

__all__ = ["ATTEMPTS", "Attempt", "Finding", "NoEngine", "Result", "prove", "scene"]

_ANOTHER = "another layer"


class Result(StrEnum):
    """How an attempt ended, for us."""

    STOPPED = "stopped"
    GOT_THROUGH = "got-through"
    NOT_TRIED = "not-tried"
    """It did not come to it, so nothing was proved."""

    DISTURBED = "disturbed"
    """It was stopped, but the other tenant noticed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of an attempt."""

    name: str
    tried: str
    result: Result
    layer: str
    """What stopped it, or should have."""

    is_given_up: bool
    """Whether that layer was given up."""

    happened: str
    elapsed_s: float

    @property
    def is_good(self) -> bool:
        return self.result is Result.STOPPED


def prove(stage: Scene, given_up: frozenset[str]) -> Iterator[Attempt | Finding]:
    """Each attempt when it begins, and what was found when it is over."""
    for attempt in ATTEMPTS:
        if attempt.needs_egress and not stage.has_egress:
            continue
        yield attempt
        finding = _carry_out(attempt, stage, given_up)
        stage.check()
        yield finding


def _carry_out(attempt: Attempt, stage: Scene, given_up: frozenset[str]) -> Finding:
    began = time.monotonic()
    try:
        happened = attempt.carry_out(stage)
        result = Result.STOPPED
    except GotThrough as through:
        happened, result = str(through), Result.GOT_THROUGH
    except (NotTried, SandlotError) as error:
        happened, result = f"{type(error).__name__}: {error}", Result.NOT_TRIED
    noticed = stage.other.disturbance()
    if noticed and result is Result.STOPPED:
        happened, result = f"the other tenant: {noticed}", Result.DISTURBED
    is_stopped = result is Result.STOPPED
    layer = (
        _stopped_by(attempt, stage.layers)
        if is_stopped
        else _not_stopped_by(attempt, given_up)
    )
    return Finding(
        name=attempt.name,
        tried=attempt.tried,
        result=result,
        layer=layer,
        is_given_up=layer in given_up,
        happened=happened,
        elapsed_s=round(time.monotonic() - began, 3),
    )


def _stopped_by(attempt: Attempt, in_force: frozenset[str]) -> str:
    found = (layer for layer in attempt.layers if layer in in_force | ALWAYS)
    return next(found, _ANOTHER)


def _not_stopped_by(attempt: Attempt, given_up: frozenset[str]) -> str:
    """The layer that is missing, or else the one that failed."""
    found = (layer for layer in attempt.layers if layer in given_up)
    return next(found, attempt.layers[0])
