"""Where function URLs are: which one a request is for, and what it is called.

    http://HOST:PORT/url/ID/…                         by path; works everywhere
    http://ID.lambda-url.REGION.ANY:PORT/…            by host name, as AWS has it

A host name of that form is never anything else, whatever its path: AWS's API is not
served under it, so that no signature that a function was sent opens that.
"""

import re
from dataclasses import dataclass

PREFIX = b"/url/"

_BY_HOST = re.compile(rb"([^.]+)\.lambda-url\.[^.]+\.", re.IGNORECASE)
_PUBLIC = re.compile(r"https?://[A-Za-z0-9.*\[\]:_-]+(?:/[A-Za-z0-9._~/-]*)?")
_ANYBODYS = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "": "127.0.0.1"}  # noqa: S104 -- read, not bound


@dataclass(frozen=True, slots=True)
class Addressed:
    """What of a request is the function's to see."""

    url_id: str
    """As it was sent, in lower case; there need not be such a URL."""

    path: bytes
    """Percent-encoded as it was sent, with a slash at its beginning."""


def addressed(host: bytes, raw_path: bytes) -> Addressed | None:
    """Which function URL a request is for; None where it is for none."""
    # Nearly every request is an Invoke, and is not to be looked at for long.
    if b".lambda-url." in host.lower() and (found := _BY_HOST.match(host)):
        return Addressed(_text(found[1]), raw_path or b"/")
    if not raw_path.startswith(PREFIX):
        return None
    url_id, _, rest = raw_path[len(PREFIX) :].partition(b"/")
    return Addressed(_text(url_id), b"/" + rest)


def is_public_url(text: str) -> bool:
    """Whether it can be the `public_url` of `Addresses`."""
    return bool(_PUBLIC.fullmatch(text)) and text.count("*") <= 1


class Addresses:
    """What function URLs are called in what the engine tells of them.

    `public_url` is where others reach the HTTP port, for example through a proxy:
    `https://api.example.org`, or `https://*.example.org` where the host name shall say
    which function is meant. Empty: the port itself.
    """

    def __init__(self, public_url: str, *, region: str) -> None:
        self._public_url = public_url.rstrip("/")
        self._region = region
        self._served_at = ""

    def note_served_at(self, host: str, port: int) -> None:
        """To be called when the HTTP port is known."""
        self._served_at = f"http://{_ANYBODYS.get(host, host)}:{port}"

    def of(self, url_id: str, *, reached_at: str = "") -> str:
        """A URL's address, with a slash at its end; `reached_at` is where the caller
        found the port, `http://HOST:PORT`, and serves where nothing else was said."""
        if "*" in self._public_url:
            label = f"{url_id}.lambda-url.{self._region}"
            return self._public_url.replace("*", label) + "/"
        base = self._public_url or reached_at or self._served_at
        return f"{base}/url/{url_id}/"

    @property
    def scheme_and_port(self) -> tuple[str, int] | None:
        """How others reach it, if that was said."""
        scheme, found, rest = self._public_url.partition("://")
        if not found:
            return None
        port = re.search(r":(\d+)$", rest.partition("/")[0])
        return scheme, int(port[1]) if port else (443 if scheme == "https" else 80)


def _text(label: bytes) -> str:
    return label.decode("latin-1").lower()
