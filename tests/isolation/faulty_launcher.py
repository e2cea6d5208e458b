"""The launcher, with a step that fails once it serves: `faulty_launcher.py ORDERS …`.

`ORDERS` is a file that the test writes to; see `faults.install`. What comes behind it
are the launcher's own arguments. Whatever the launcher makes inherits the fault.
"""

import inspect
import mmap
import sys
from collections.abc import Callable
from typing import Any

from sandlot_sandbox.guest.calls import Calls
from sandlot_sandbox.launcher import __main__ as launcher
from sandlot_sandbox.launcher import environment, jails
from sandlot_sandbox.launcher.server import Server
from sandlot_sandbox.launcher.zygotes import Zygote
from sandlot_sandbox.spec import Report
from tests.isolation import faults

_AFTER_THE_PROBE = "decode_report"
"""What the launcher's `main` calls then, and never again."""


def main() -> int:
    with open(sys.argv.pop(1), "rb") as file:  # noqa: PTH123 - as everywhere near jails
        orders = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)

    def read_order() -> str:
        return orders[:].rstrip(b"\0").decode()

    def armed(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            # An exception out of a trace function ends all tracing.
            faults.install(read_order)
            return original(*arguments)

        return call

    def decode_report(datagram: bytes) -> Report:
        # What the probe has found. Only from there on, because it takes the same steps.
        main_s = inspect.currentframe().f_back  # type: ignore[union-attr]
        faults.install(read_order, begun=main_s)
        report: Report = original(datagram)
        return report

    def start(*arguments: Any) -> Zygote:
        # Until it has settings an interpreter knows of no other; a builder has none.
        changed = {**plain, "FAULT": read_order()}
        setattr(environment, "_ENVIRONMENT", changed)  # noqa: B010 - not ours
        return started(*arguments)

    def laid_out(made: Calls, address: int) -> bytes:
        # One of a table becomes a call that the kernel does not know.
        word, _, wanted = read_order().partition(" ")
        if word == faults.CALL:
            faults.make_unknown(made, wanted)
        return lay_out(made, address)

    lay_out = Calls.laid_out
    setattr(Calls, "laid_out", laid_out)  # noqa: B010 - not ours
    plain, started = getattr(environment, "_ENVIRONMENT"), jails.start  # noqa: B009
    setattr(jails, "start", start)  # noqa: B010
    original = getattr(launcher, _AFTER_THE_PROBE)
    setattr(launcher, _AFTER_THE_PROBE, decode_report)
    for name in ("_hear_engine", "_hear_warden"):
        setattr(Server, name, armed(getattr(Server, name)))
    return launcher.main()


if __name__ == "__main__":
    sys.exit(main())
