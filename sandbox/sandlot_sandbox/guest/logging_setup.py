"""AWS's log format on the root logger, from the moment that `logging` is imported.

AWS's runtime imports `logging` itself. Here it is the tenant's import that counts: with
`logging` comes `threading`, and what those two do after a fork would cost every clone
of a function that uses neither a third of its start.

The standard library's module is found in any case, as it is on AWS, where a tenant's
own `logging.py` comes too late.
"""

from __future__ import annotations

import os
import sys
import time
from importlib import _bootstrap_external

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

TEXT_FORMAT = (
    "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
)
DATE_FORMAT = "%Y-%m-%dT%H:%M:%S"
JSON_DATE_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
FORMAT, LEVEL = "AWS_LAMBDA_LOG_FORMAT", "AWS_LAMBDA_LOG_LEVEL"
_OF_EVERY_RECORD = (
    "name msg args levelname levelno pathname filename module exc_info exc_text"
    " stack_info lineno funcName created msecs relativeCreated thread threadName"
    " processName process taskName aws_request_id tenant_id"
)
_NOT_EXTRA = frozenset(_OF_EVERY_RECORD.split())
"""What else a record has came as `extra`."""
_STANDARD_LIBRARY = [os.path.dirname(os.__file__)]


class _Ids:
    """Of the invocation that log records belong to."""

    __slots__ = ("request_id", "tenant_id")

    def __init__(self) -> None:
        self.request_id = ""
        self.tenant_id: str | None = None


_current = _Ids()
"""One at a time, so one is enough."""


class _Watch:
    """A finder that finds `logging`, once, and has it set up when it has run."""

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> ModuleSpec | None:
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        finder: Any = _bootstrap_external.PathFinder
        spec: ModuleSpec = finder.find_spec(name, _STANDARD_LIBRARY)
        spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
        return spec


class _Loader:
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        created: ModuleType | None = self._loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__.loader = module.__loader__ = self._loader  # type: ignore[union-attr]
        self._loader.exec_module(module)
        _set_up(module)


def install() -> None:
    """Set up `logging` now if it is imported, else when it is."""
    module = sys.modules.get("logging")
    if module is not None:
        _set_up(module)
    else:
        sys.meta_path.insert(0, _Watch())


def set_request_id(request_id: str, tenant_id: str | None = None) -> None:
    """Name the invocation that records belong to from now on."""
    _current.request_id = request_id
    _current.tenant_id = tenant_id


def _set_up(module: Any) -> None:
    # On the class, as AWS does it: formatters made by the tenant print UTC too.
    module.Formatter.converter = time.gmtime
    handler = _handler_class(module)()
    handler.addFilter(_add_ids)
    root = module.getLogger()
    root.addHandler(handler)
    if os.environ.get(FORMAT) == "JSON":
        handler.setFormatter(_json_formatter_class(module)(datefmt=JSON_DATE_FORMAT))
        level = os.environ.get(LEVEL, "INFO").upper()
        # Python's logging knows no level below this one.
        root.setLevel(module.getLevelName("DEBUG" if level == "TRACE" else level))
    else:
        handler.setFormatter(module.Formatter(TEXT_FORMAT, DATE_FORMAT))


def _add_ids(record: logging.LogRecord) -> bool:
    """A filter that lets every record pass, with the ids of the running invocation."""
    record.aws_request_id = _current.request_id
    record.tenant_id = _current.tenant_id
    return True


def _handler_class(module: Any) -> type[logging.Handler]:
    # Of AWS's name: functions look for the handler by it.
    class LambdaLoggerHandler(module.Handler):  # type: ignore[misc]
        """Writes to whatever `sys.stdout` is at that moment, as AWS's handler does."""

        def emit(self, record: logging.LogRecord) -> None:
            """Write one record. AWS keeps records apart whatever their format; the
            tenant's need not end the line."""
            try:
                text = self.format(record)
                sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
                sys.stdout.flush()
            except Exception:  # noqa: BLE001  (logging's rule: a bad record is no error)
                self.handleError(record)

    return LambdaLoggerHandler


def _json_formatter_class(module: Any) -> Any:
    import json
    import traceback

    class LambdaJsonFormatter(module.Formatter):  # type: ignore[misc]
        """A record as AWS's runtime writes it."""

        def format(self, record: logging.LogRecord) -> str:
            """One line."""
            kind, error, trace = record.exc_info or (None, None, None)
            is_plain = isinstance(record.msg, dict) and not record.args
            # A level of the tenant's own counts as the one below it.
            level = min(50, max(0, record.levelno)) // 10 * 10
            entry = {
                "timestamp": self.formatTime(record, self.datefmt),
                "level": module.getLevelName(level),
                "message": record.msg if is_plain else record.getMessage(),
                "logger": record.name,
                "stackTrace": traceback.format_tb(trace) if trace else None,
                "errorType": kind.__name__ if kind else None,
                "errorMessage": str(error) if error else None,
                "requestId": getattr(record, "aws_request_id", None) or None,
                "location": (
                    f"{record.pathname}:{record.funcName}:{record.lineno}"
                    if kind
                    else None
                ),
                "tenantId": getattr(record, "tenant_id", None),
            }
            for name, value in record.__dict__.items():
                if name not in _NOT_EXTRA:
                    entry.setdefault(name, value)
            shown = {k: v for k, v in entry.items() if v is not None}
            return json.dumps(shown, ensure_ascii=False, default=str) + "\n"

    return LambdaJsonFormatter
