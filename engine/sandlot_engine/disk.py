"""What the operator is told where the data folder does not take what it has to."""

import errno
import os
from pathlib import Path

_IN_THE_WAY = "something else stands there in its place: move it away"
_NOT_OURS = "is the folder {data} yours?"

_MENDS = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room there, or raise the quota of its user",
    errno.EFBIG: "raise the limit of file sizes (ulimit -H -f)",
    errno.EROFS: "it is mounted read-only; the kernel's log may say why",
    errno.EIO: "the disk fails; see the kernel's log",
    errno.EACCES: _NOT_OURS,
    errno.EPERM: _NOT_OURS,
    errno.EEXIST: _IN_THE_WAY,
    errno.EISDIR: _IN_THE_WAY,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.ELOOP: _IN_THE_WAY,
}

_PASSING = frozenset((errno.ENOSPC, errno.EDQUOT))
"""What somebody else may mend, so that a start that is tried again succeeds."""


def told(error: OSError, data: Path) -> str:
    """What failed, and what to do."""
    known = _MENDS.get(error.errno or 0)
    mend = known or "is the folder {data} yours, and is there room?"
    what = str(error) if error.filename else f"{error}: '{data}'"
    return f"{what}; {mend.format(data=data)}"


def status_of(error: OSError) -> int:
    """What a start that ends by it exits with."""
    return os.EX_TEMPFAIL if error.errno in _PASSING else os.EX_CONFIG


def is_of_data(error: OSError, data: Path) -> bool:
    """Whether that is about the folder, and no mistake of ours."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
        return True
    return error.filename is not None and data in Path(error.filename).parents
