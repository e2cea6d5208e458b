"""What browsers of other origins are told, by a URL's CORS settings. Pure.

Where a URL has such settings they are all that counts: preflights do not reach the
function, and its own `access-control-*` headers are left out. A `*` for origins stays a
`*`, which browsers do not take together with credentials: to answer every origin by its
name would let any page act as whoever looks at it.
"""

from collections.abc import Mapping

from sandlot_engine.gateway.urls.answers import Response, WireHeaders
from sandlot_engine.model.url import Cors

ANY = "*"
_ACCESS = b"access-control-"

Headers = Mapping[bytes, bytes]


def is_preflight(method: str, headers: Headers) -> bool:
    """Whether a browser asks whether it may ask."""
    return (
        method == "OPTIONS"
        and b"origin" in headers
        and b"access-control-request-method" in headers
    )


def preflight(cors: Cors, headers: Headers) -> Response:
    """The answer to that. One without the headers for it means no."""
    answer = Response(200, [])
    origin = _allowed_origin(cors, headers)
    wanted = headers[b"access-control-request-method"].decode("latin-1")
    methods = cors.allow_methods or ()
    if origin and (not methods or ANY in methods or wanted in methods):
        answer.headers += _who(cors, origin)
        # By name and not as a star, which with credentials is a method's name.
        if methods:
            told = (wanted,) if ANY in methods else methods
            answer.headers.append(_list(b"allow-methods", told))
        asked = headers.get(b"access-control-request-headers", b"")
        if ANY in (cors.allow_headers or ()) and asked:
            answer.headers.append((b"access-control-allow-headers", asked))
        elif cors.allow_headers:
            answer.headers.append(_list(b"allow-headers", cors.allow_headers))
        if cors.max_age_s is not None:
            answer.headers.append((_ACCESS + b"max-age", b"%d" % cors.max_age_s))
    answer.headers += _vary(cors)
    return answer


def apply(cors: Cors | None, headers: Headers, answer: WireHeaders) -> WireHeaders:
    """The headers of an answer to a request with such headers."""
    if cors is None:
        return answer
    kept = [each for each in answer if not each[0].startswith(_ACCESS)]
    if origin := _allowed_origin(cors, headers):
        kept += _who(cors, origin)
        if cors.expose_headers:
            kept.append(_list(b"expose-headers", cors.expose_headers))
    return kept + _vary(cors)


def _allowed_origin(cors: Cors, headers: Headers) -> str:
    """As it is to be named; empty for one that may not."""
    origin = headers.get(b"origin", b"").decode("latin-1")
    allowed = cors.allow_origins or ()
    if origin and origin in allowed:
        return origin
    return ANY if origin and ANY in allowed else ""


def _who(cors: Cors, origin: str) -> WireHeaders:
    told = [(_ACCESS + b"allow-origin", _bytes(origin))]
    if cors.allow_credentials and origin != ANY:
        told.append((_ACCESS + b"allow-credentials", b"true"))
    return told


def _vary(cors: Cors) -> WireHeaders:
    """Caches must not give one origin's answer to another."""
    return [] if cors.allow_origins == (ANY,) else [(b"vary", b"Origin")]


def _list(name: bytes, items: tuple[str, ...]) -> tuple[bytes, bytes]:
    return _ACCESS + name, b",".join(map(_bytes, items))


def _bytes(text: str) -> bytes:
    return text.encode("latin-1", "replace")
