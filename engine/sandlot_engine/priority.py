"""The engine goes before what it runs, and before who asks it: somebody who keeps all
processors busy must not keep it from answering others.

Everything else stays as it is. Functions share what is left among their owners, by
groups (`launcher/cgroups`).
"""

import contextlib
import os
from pathlib import Path

NICE = -10
"""Nine times the weight of a process that nobody favours."""

_AUTOGROUP = Path("/proc/self/autogroup")
"""Where the kernel shares processors out among sessions first, `NICE` has a meaning
within a session only, and this is the session's own."""


def take() -> None:
    """Have it, for this session and all that it starts. Root may; where even root may
    not, as in some containers, the engine has its share like everybody."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        _AUTOGROUP.write_text(str(NICE), "ascii")  # not every kernel has it
