"""SnapStart: what a version's import must come to, and what is said where it does not.

The snapshot is the zygote after its import. A version that asked for one and whose
import fails is no version; one whose import may not be cloned is a version like any
other, and shows why (`OptimizationStatus: Off`).
"""

import time

from sandlot_engine.errors import Refusal
from sandlot_sandbox.host.recipe import Obstacle

AGAIN_S = 60.0
"""How long a snapshot that could not be taken again is not tried once more: until then
invocations are refused at once."""

INIT_FAILED = "FunctionError.RuntimeInitError"
"""AWS's code of a state; also where the import ended its process, whatever for."""

_CODES = {
    Obstacle.FAILED: INIT_FAILED,
    Obstacle.LATE: "FunctionError.InitTimeout",
}


class Snapshot:
    """The snapshot of one revision that has asked for it."""

    def __init__(self, *, was_taken: bool) -> None:
        self._was_taken = was_taken
        self._refusal: Refusal | None = None
        self._refused_at = 0.0

    def check(self) -> None:
        """Raise what the last try came to, where that was a moment ago."""
        if self._refusal is not None and time.monotonic() - self._refused_at < AGAIN_S:
            raise self._refusal

    def taken(self) -> None:
        """Or found to be one that cannot be: its instances import for themselves."""
        self._was_taken = True
        self._refusal = None

    def failure(self, why: str, code: str) -> Refusal:
        """Why there is none, in AWS's name for it."""
        if not self._was_taken:
            # What its state shows: nobody has been able to invoke it.
            return Refusal(f"The version could not be initialised: {why}", reason=code)
        self._refusal = Refusal(
            f"The snapshot of the version could not be taken again: {why}. It is tried"
            f" again after {AGAIN_S:.0f} s",
            reason="SnapStartRegenerationFailureException",
        )
        self._refused_at = time.monotonic()
        return self._refusal


def code_of(obstacle: Obstacle) -> str:
    """AWS's code of a state, for an import that failed; empty where it did not."""
    return _CODES.get(obstacle, "")
