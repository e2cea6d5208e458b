"""A disk too full for a package: refused each time, told to the operator once."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sandlot_engine.errors import Troubled

_log = logging.getLogger(__name__)


class NoRoom(Troubled):
    """Nothing of the package is kept."""

    def __init__(self) -> None:
        super().__init__(
            "The disk that the data directory is on is full, so no package can be kept."
            " Make room there, then try again."
        )


def is_for_want_of_room(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


class Room:
    """Whether the operator was told since the last package was kept."""

    def __init__(self) -> None:
        self._is_told = False

    @contextmanager
    def looked_after(self) -> Iterator[None]:
        """Around what may raise `NoRoom`, or a builder's `OSError` for it."""
        try:
            yield
        except OSError as error:
            if not is_for_want_of_room(error):
                raise
            self._tell()
            raise NoRoom from error
        except NoRoom:
            self._tell()
            raise

    def is_there(self) -> None:
        """A package was kept."""
        self._is_told = False

    def _tell(self) -> None:
        if not self._is_told:
            self._is_told = True
            _log.error("a package could not be kept: %s", NoRoom().message)
