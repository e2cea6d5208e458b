"""A launcher of which a cell can be stopped while it is made: `STALLS` in its
environment names a file, and as long as that begins with `1`, no first process comes to
anything. Its arguments are the launcher's own."""

import mmap
import os
import signal
import sys
from typing import Any

from sandlot_sandbox.guest import cell
from sandlot_sandbox.guest.calls import Calls
from sandlot_sandbox.guest.holder import Holder
from sandlot_sandbox.launcher import __main__ as launcher

MAKE_S = 1.5
_PPOLL = 271
"""On x86-64, which alone has machine code of ours."""


def main() -> int:
    with open(os.environ["STALLS"], "rb") as file:  # noqa: PTH123 - as everywhere near jails
        stalls = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)

    def is_stalling() -> bool:
        return stalls[:1] == b"1"

    def make(*arguments: Any, **others: Any) -> Any:
        # Before there is a child, which the test may see before that asks.
        stalled[:] = [is_stalling()]
        return soundly(*arguments, **others)

    def hold(*arguments: Any) -> None:
        while stalled == [True]:
            signal.pause()
        in_python(*arguments)

    def table(holder: Holder, *arguments: Any) -> Calls:
        made: Calls = of_calls(holder, *arguments)
        if is_stalling():
            # Waits for nothing, without end.
            made = Calls()
            made._rows.append((_PPOLL, (0, 0, 0, 0), False))  # noqa: SLF001
            made._names.append("ppoll")  # noqa: SLF001
        return made

    def clone(holder: Holder, *arguments: Any) -> int:
        # None of those before: whether it stalls is asked each time.
        setattr(holder, "_laid_out", None)  # noqa: B010 - not ours
        return with_table(holder, *arguments)

    stalled: list[bool] = []
    in_python, soundly = getattr(cell, "_hold"), cell.make  # noqa: B009 - not ours
    setattr(cell, "make", make)  # noqa: B010
    of_calls, with_table = getattr(Holder, "_calls"), Holder.clone  # noqa: B009
    setattr(cell, "_hold", hold)  # noqa: B010
    setattr(Holder, "_calls", table)  # noqa: B010
    setattr(Holder, "clone", clone)  # noqa: B010
    setattr(cell, "MAKE_S", MAKE_S)  # noqa: B010
    return launcher.main()


if __name__ == "__main__":
    sys.exit(main())
