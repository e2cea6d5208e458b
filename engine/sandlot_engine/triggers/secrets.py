"""The secrets of webhooks and the tokens of buckets: made, sealed, opened."""

import hashlib
import hmac
import secrets

from sandlot_engine.catalog.seal import Sealer
from sandlot_engine.errors import InvalidParameter
from sandlot_engine.triggers.signatures import SECRET_LENGTH


def new_secret() -> str:
    """256 random bits, as text that every sender's form takes."""
    return secrets.token_urlsafe(32)


def check_secret(secret: str) -> None:
    """Of one that is the sender's. Raises `InvalidParameter`."""
    size = len(secret.encode("utf-8", "replace"))
    if size not in SECRET_LENGTH or not secret.isascii() or not secret.isprintable():
        raise InvalidParameter(
            f"The secret must have {SECRET_LENGTH.start} to {SECRET_LENGTH.stop - 1} "
            f"printable ASCII characters; it has {len(secret)}.",
            field="secret",
        )


def seal(sealer: Sealer, trigger_id: str, secret: str) -> bytes:
    """Opens for that trigger alone."""
    return sealer.seal(secret, key_id=name_of(trigger_id))


def unseal(sealer: Sealer, trigger_id: str, sealed: bytes) -> bytes:
    """Raises `Internal` where it was sealed otherwise."""
    return sealer.unseal(sealed, key_id=name_of(trigger_id)).encode()


def hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def is_token(token: str, sha256: bytes) -> bool:
    return hmac.compare_digest(hashed(token), sha256)


def name_of(trigger_id: str) -> str:
    """What its secret is sealed for: no access key's id can be one."""
    return f"trigger/{trigger_id}"
