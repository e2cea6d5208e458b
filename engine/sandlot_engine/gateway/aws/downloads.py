"""Links to packages, as `GetFunction` gives them: who has one may read, for a while.

A link names the package by its hash and is signed under a key that this process made
at its start: it opens nothing else, and nothing after a restart.
"""

import hashlib
import hmac
import re
import secrets
from urllib.parse import parse_qs, urlencode

from sandlot_engine.clock import Clock

VALID_S = 600
"""How long a link can be used. AWS's ten minutes."""

MAX_FIELDS = 8
"""Parameters of a link that are looked at; ours have two."""

PREFIX = "/code/"

_PATH = re.compile(r"/code/([0-9a-f]{64})\.zip")


class Downloads:
    """Makes links, and tells which one a request was sent to."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)

    def url(self, base_url: str, sha256: str) -> str:
        """A link to a package, valid from now on."""
        expires = int(self._clock.now().timestamp()) + VALID_S
        query = {"Expires": expires, "Signature": self._signature(sha256, expires)}
        return f"{base_url}{PREFIX}{sha256}.zip?{urlencode(query)}"

    def granted(self, path: str, query: str) -> str:
        """The hash of the package that a link opens; empty where it opens none."""
        found = _PATH.fullmatch(path)
        try:
            values = parse_qs(query, max_num_fields=MAX_FIELDS)
        except ValueError:
            return ""  # of none of ours
        expires = values.get("Expires", [""])[0]
        signature = values.get("Signature", [""])[0]
        if not found or not re.fullmatch(r"[0-9]{1,12}", expires, re.ASCII):
            return ""
        expected = self._signature(found[1], int(expires))
        if not hmac.compare_digest(signature.encode(), expected.encode()):
            return ""
        is_over = int(expires) < self._clock.now().timestamp()
        return "" if is_over else found[1]

    def _signature(self, sha256: str, expires: int) -> str:
        said = f"{sha256}\n{expires}".encode()
        return hmac.new(self._key, said, hashlib.sha256).hexdigest()
