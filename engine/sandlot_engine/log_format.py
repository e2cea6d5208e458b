"""How the engine's log is written for its operator: what is in it may be a tenant's."""

import logging
import sys
from collections.abc import Callable

BESIDE = "  | "
"""Stands before every line of a traceback, so that none can pass for a message."""


def log_to_operator(stamp: Callable[[float], str]) -> None:
    """On stderr; `stamp` makes of a time what a line begins with."""
    to_operator = logging.StreamHandler(sys.stderr)
    to_operator.setFormatter(Plain(stamp))
    logging.basicConfig(level=logging.INFO, handlers=[to_operator])
    # Its warnings are of what strangers send, as often as they like.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)


class Plain(logging.Formatter):
    """A message is one line, and no character of it is one that a terminal obeys.

    A traceback keeps its lines. An exception's text may have some of its own, so all
    of them are set off.
    """

    def __init__(self, stamp: Callable[[float], str]) -> None:
        super().__init__("sandlot: %(levelname)s %(name)s: %(message)s")
        self._stamp = stamp

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - its name
        return self._stamp(record.created) + _plain(super().formatMessage(record))

    def formatException(self, ei: "logging._SysExcInfoType") -> str:  # noqa: N802
        return _set_off(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        return _set_off(super().formatStack(stack_info))


def _set_off(text: str) -> str:
    return "\n".join(BESIDE + _plain(line) for line in text.split("\n"))


def _plain(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )
