"""What the catalog asks of a builder, in its words: `catalog.building.Build`."""

import errno
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sandlot_engine.errors import (
    Internal,
    InvalidParameter,
    SandlotError,
    TooLarge,
    Unavailable,
)
from sandlot_engine.model.function import Unpacked
from sandlot_engine.node.launchers import Launchers
from sandlot_sandbox.errors import LauncherLost, SandboxError
from sandlot_sandbox.host import builder
from sandlot_sandbox.spec import OPT, TASK

log = logging.getLogger(__name__)

_NO_ROOM = re.compile(
    rf"[^:]*: [^:]*: OSError: \[Errno (?:{errno.ENOSPC}|{errno.EDQUOT})\]"
)
"""How a builder ends that was in want of room: its last words, which are begun before
any name in a package."""


async def build_package(
    launchers: Launchers,
    runtime: str,
    packages: Sequence[int],
    folder: int,
    *,
    is_opt: bool = False,
) -> Unpacked:
    """Have zips unpacked and compiled, in a jail.

    Raises `InvalidParameter` or `TooLarge` for a package that was refused,
    `Unavailable` where the launcher is lost, `OSError` where the disk is full,
    `Internal` for all else.
    """
    launcher = await launchers.current()
    with making():
        try:
            built = await builder.build(
                launcher, runtime, packages, folder, place=OPT if is_opt else TASK
            )
        except builder.Refused as error:
            raise refused(error, "zip") from error
    return unpacked_of(built)


def unpacked_of(built: builder.Built) -> Unpacked:
    return Unpacked(size=built.unpacked_size, entries=built.entries)


def refused(error: builder.Refused, field: str, before: str = "") -> SandlotError:
    """A builder's refusal as a tenant hears it."""
    kind = TooLarge if error.too_large else InvalidParameter
    return kind(f"{before}{error}", field=field)


@contextmanager
def making() -> Iterator[None]:
    """Has what goes wrong on our side said as such."""
    try:
        yield
    except LauncherLost as error:
        raise Unavailable(f"The package could not be unpacked: {error}.") from error
    except SandboxError as error:
        if _NO_ROOM.match(str(error)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        # Why is for the operator: it may be a disk that fails, or somebody's attack.
        log.error("a package could not be unpacked: %s", error)  # noqa: TRY400 - ours
        raise Internal(
            "The package could not be unpacked; the operator's log says why."
        ) from error
