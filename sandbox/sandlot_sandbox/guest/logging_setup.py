"""AWS's log format on the root logger.

`logging` is imported in every zygote, used or not: it costs about 4 ms more than the
`traceback` module that is needed anyway, once per version and not per instance, and a
function that configures logging on its own (AWS's handler being there) relies on it.
An import later, on first use, could also find a tenant's own `logging.py`.
"""

from __future__ import annotations

import logging
import sys
import time

TEXT_FORMAT = (
    "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
)
DATE_FORMAT = "%Y-%m-%dT%H:%M:%S"


class _Current:
    """The invocation that log records belong to. One at a time, so one is enough."""

    request_id = ""
    tenant_id: str | None = None


class LambdaLogHandler(logging.Handler):
    """Writes to whatever `sys.stdout` is at that moment, as AWS's handler does."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; the format ends the line."""
        try:
            sys.stdout.write(self.format(record))
            sys.stdout.flush()
        except Exception:  # noqa: BLE001  (logging's rule: a bad record is no error)
            self.handleError(record)


class LambdaLogFilter(logging.Filter):
    """Gives each record the id of the running invocation; "" during init."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the ids and let the record pass."""
        record.aws_request_id = _Current.request_id
        record.tenant_id = _Current.tenant_id
        return True


def install(level: str = "") -> None:
    """Put AWS's handler on the root logger. The root's level stays unless given."""
    # On the class, as AWS does it: formatters made by the tenant print UTC too.
    logging.Formatter.converter = time.gmtime
    handler = LambdaLogHandler()
    handler.setFormatter(logging.Formatter(TEXT_FORMAT, DATE_FORMAT))
    handler.addFilter(LambdaLogFilter())
    root = logging.getLogger()
    root.addHandler(handler)
    if isinstance(logging.getLevelName(level), int):
        root.setLevel(level)


def set_request_id(request_id: str, tenant_id: str | None = None) -> None:
    """Name the invocation that records belong to from now on."""
    _Current.request_id = request_id
    _Current.tenant_id = tenant_id
