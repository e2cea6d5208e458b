"""What an operator is told of a disk, and whether a start is to be tried again."""

import errno
import os
from pathlib import Path

import pytest

from sandlot_engine import disk

DATA = Path("/data")


@pytest.mark.parametrize(
    ("number", "mend", "status"),
    [
        (errno.ENOSPC, "make room", os.EX_TEMPFAIL),
        (errno.EDQUOT, "quota", os.EX_TEMPFAIL),
        (errno.EROFS, "read-only", os.EX_CONFIG),
        (errno.EIO, "kernel's log", os.EX_CONFIG),
        (errno.EFBIG, "ulimit -H -f", os.EX_CONFIG),
        (errno.EISDIR, "move it away", os.EX_CONFIG),
        (errno.EACCES, "/data yours", os.EX_CONFIG),
        (errno.EBUSY, "is there room", os.EX_CONFIG),
    ],
)
def test_a_disk_that_does_not_take_it_is_told_with_what_to_do(
    number: int, mend: str, status: int
) -> None:
    error = OSError(number, os.strerror(number), "/data/lock")

    assert disk.told(error, DATA).startswith(str(error))
    assert mend in disk.told(error, DATA)
    assert disk.status_of(error) == status
    assert disk.is_of_data(error, DATA)


def test_what_names_no_file_is_of_the_folder() -> None:
    error = OSError(errno.EROFS, os.strerror(errno.EROFS))

    assert disk.told(error, DATA).startswith(f"{error}: '/data'; ")


def test_what_has_nothing_to_do_with_the_disk_is_our_own_mistake() -> None:
    assert not disk.is_of_data(OSError(errno.EBADF, "bad"), DATA)
    assert not disk.is_of_data(OSError(errno.ENOENT, "gone", "/other/x"), DATA)
