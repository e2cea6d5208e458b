"""What an extension asks of the Telemetry API, or of the older Logs API. Pure."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sandlot_sandbox.host.runtime_api import Reply, refusal

TELEMETRY, LOGS = "/2022-07-01/telemetry", "/2020-08-15/logs"
PATHS = (TELEMETRY, LOGS)
MAX_BODY = 16_384
"""Bytes that a subscription may have."""

KINDS = ("platform", "function", "extension")
_SCHEMAS = {
    TELEMETRY: ("2022-07-01", "2022-12-13", "2025-01-29"),
    LOGS: ("2020-08-15", "2021-03-18"),
}
_HOSTS = ("sandbox.localdomain", "sandbox", "127.0.0.1", "localhost")
_RESERVED_PORT = 9001
_MAX_PATH = 1_024
_BUFFERING = {
    "maxItems": (1_000, 10_000, 10_000),
    "maxBytes": (262_144, 1_048_576, 262_144),
    "timeoutMs": (25, 30_000, 1_000),
}
"""Least, most, and what it is where nobody says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A valid one."""

    kinds: tuple[str, ...]
    max_items: int
    max_bytes: int
    timeout_s: float
    is_tcp: bool
    port: int
    """On the instance's own loopback."""

    path: str = "/"
    method: str = "POST"
    takes_objects: bool = False
    """Whether lines of a log in JSON are to come as what they say, and not as texts."""

    @property
    def destination(self) -> str:
        """For the starter's order: protocol, port, method, path."""
        protocol = "TCP" if self.is_tcp else "HTTP"
        return f"{protocol} {self.port} {self.method} {self.path}"


class _Invalid(Exception):
    pass


def parse(path: str, body: bytes) -> Subscription | Reply:
    """The subscription, or the refusal."""
    try:
        given = json.loads(body)
        return _parse(path, _object(given, "the body"))
    except _Invalid as invalid:
        return refusal(400, "ValidationError", str(invalid))
    except (ValueError, RecursionError):
        return refusal(400, "ValidationError", "the body is not JSON")


def _parse(path: str, given: dict[str, Any]) -> Subscription:
    schema = given.get("schemaVersion", _SCHEMAS[path][0])
    if schema not in _SCHEMAS[path]:
        raise _Invalid(f"schemaVersion must be one of {', '.join(_SCHEMAS[path])}")
    kinds = given.get("types")
    if not isinstance(kinds, list) or not kinds:
        raise _Invalid("types must be a list of platform, function, extension")
    if any(kind not in KINDS for kind in kinds):
        raise _Invalid("types must be of platform, function, extension")
    buffering = _object(given.get("buffering", {}), "buffering")
    limits = {name: _limit(name, buffering) for name in _BUFFERING}
    where = _object(given.get("destination"), "destination")
    return Subscription(
        kinds=tuple(dict.fromkeys(kinds)),
        max_items=limits["maxItems"],
        max_bytes=limits["maxBytes"],
        timeout_s=limits["timeoutMs"] / 1_000,
        takes_objects=path == TELEMETRY and schema != _SCHEMAS[path][0],
        **_destination(where),
    )


def _limit(name: str, given: dict[str, Any]) -> int:
    least, most, usual = _BUFFERING[name]
    value = given.get(name, usual)
    if type(value) is not int or not least <= value <= most:
        raise _Invalid(f"buffering.{name} must be from {least} to {most}")
    return value


def _destination(where: dict[str, Any]) -> dict[str, Any]:
    protocol = where.get("protocol")
    if protocol == "TCP":
        return {"is_tcp": True, "port": _port(where.get("port"))}
    if protocol != "HTTP":
        raise _Invalid("destination.protocol must be HTTP or TCP")
    method = where.get("method", "POST")
    if method not in ("POST", "PUT"):
        raise _Invalid("destination.method must be POST or PUT")
    if where.get("encoding", "JSON") != "JSON":
        raise _Invalid("destination.encoding must be JSON")
    uri = where.get("URI")
    if not isinstance(uri, str) or not uri.isascii() or not uri.isprintable():
        raise _Invalid("destination.URI must be http://sandbox.localdomain:PORT/PATH")
    parts = urlsplit(uri)
    path = parts.path or "/"
    if parts.query:
        path += f"?{parts.query}"
    if parts.scheme != "http" or parts.hostname not in _HOSTS:
        raise _Invalid("destination.URI must be of http://sandbox.localdomain")
    if " " in path or len(path) > _MAX_PATH:
        raise _Invalid("destination.URI has no valid path")
    port = _port(80 if parts.port is None else parts.port)
    return {"is_tcp": False, "port": port, "path": path, "method": method}


def _port(value: object) -> int:
    if type(value) is not int or not 0 < value < 1 << 16 or value == _RESERVED_PORT:
        raise _Invalid("destination has no valid port, or port 9001, which is reserved")
    return value


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Invalid(f"{name} must be an object")
    return value
