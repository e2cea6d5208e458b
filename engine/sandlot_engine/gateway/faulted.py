"""Calls that failed because our side broke: logged, and counted for an alarm."""

import logging
from collections.abc import Callable

from sandlot_engine.errors import CutShort, Fault, SandlotError, Stopping

_log = logging.getLogger(__name__)


class Tally:
    """Of this process, since its start; whoever sets `tell` is told of each."""

    def __init__(self) -> None:
        self.count = 0
        self.tell: Callable[[], object] = lambda: None

    def note(self) -> None:
        self.count += 1
        self.tell()


tally = Tally()


def note(error: Exception, request_id: str) -> None:
    """What a call ends with; a refusal is nobody's fault."""
    if not isinstance(error, SandlotError):
        _log.error("unforeseen", exc_info=error, extra={"request_id": request_id})
    elif not isinstance(error, Fault) or isinstance(error, Stopping | CutShort):
        return
    elif error.is_logged:
        _log.warning("fault", exc_info=error, extra={"request_id": request_id})
    tally.note()
