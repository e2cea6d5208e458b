"""A disk too full for a package: refused each time, told to the operator once."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sandlot_engine.errors import Troubled
from sandlot_engine.troubles import LastingTrouble

_log = logging.getLogger(__name__)


def is_full(error: OSError) -> bool:
    """Whether it is for want of room."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


class Room:
    """What is told of it, until a package is kept again."""

    def __init__(self) -> None:
        self._trouble = LastingTrouble(_log.error)

    def is_there(self) -> None:
        """A package was kept."""
        self._trouble.ended()

    def is_full(self) -> Troubled:
        """One could not be; what its tenant is told."""
        trouble = Troubled(
            "The disk that the data directory is on is full, so no package can be kept."
            " Make room there, then try again."
        )
        self._trouble.tell("a package could not be kept: %s", trouble.message)
        return trouble

    @contextmanager
    def looked_after(self) -> Iterator[None]:
        """Around a builder, whose `OSError` for want of room this raises as ours."""
        try:
            yield
        except OSError as error:
            if not is_full(error):
                raise
            raise self.is_full() from error
