"""Secrets at rest: sealed under one master key that never leaves its file.

AES-GCM with the access key's id as associated data, so that a sealed secret
copied to another row of the database does not open there. The store's file alone
is worth nothing to whoever steals it.
"""

import contextlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sandlot_engine.catalog.packages import sync_folder
from sandlot_engine.errors import Internal, Refusal

MASTER_KEY = "master.key"
"""The file's name in the data folder."""

MASTER_KEY_BYTES = 32
SAMPLES = 8
"""Secrets that are tried with a key, so that one that is damaged proves nothing."""

_NONCE_BYTES = 12
_FORMAT = b"\x01"
"""The first byte of what is sealed, so that there can be another way one day."""


class Sealer:
    """Seals and opens; safe to use from any thread."""

    def __init__(self, master_key: bytes) -> None:
        self._cipher = AESGCM(master_key)

    @classmethod
    def open(cls, path: Path, *, sealed: Sequence[tuple[str, bytes]] = ()) -> "Sealer":
        """Read the master key, or make one where there is none. `sealed` are some of
        the secrets that it opens, with whose they are.

        Raises `Refusal` where others may read the file, or we may not, or it is no
        master key; and where it is gone, or another, and something is sealed.
        """
        _settle(path, sealed)
        if not path.exists():
            if sealed:
                raise Refusal(_gone(path))
            _make_key(path)
        sealer = cls._read(path)
        if sealed and not sealer.opens_any(sealed):
            raise Refusal(
                f"The master key {path} opens none of the secrets that were looked at: "
                "it is not the one that this database's were sealed with, as after one "
                "of the two was brought back from another backup. Bring back the other."
            )
        return sealer

    @classmethod
    def _read(cls, path: Path) -> "Sealer":
        if path.stat().st_mode & 0o077:
            raise Refusal(
                f"Others may read the master key {path}, and with it every tenant's "
                f"secret. Run: chmod 600 {path}"
            )
        try:
            master_key = path.read_bytes()
        except PermissionError as error:
            raise Refusal(_not_readable(path)) from error
        if len(master_key) != MASTER_KEY_BYTES:
            raise Refusal(
                f"The master key {path} has {len(master_key)} bytes instead of "
                f"{MASTER_KEY_BYTES}. Bring it back from a backup; where there is "
                "none, remove it: the next start says what to do then."
            )
        return cls(master_key)

    def opens_any(self, sealed: Sequence[tuple[str, bytes]]) -> bool:
        """Whether one at least of these was sealed with our key."""
        for key_id, secret in sealed:
            with contextlib.suppress(Internal):
                self.unseal(secret, key_id=key_id)
                return True
        return False

    def seal(self, secret: str, *, key_id: str) -> bytes:
        """What `unseal` opens, only with the same key id."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, secret.encode(), key_id.encode())
        return _FORMAT + nonce + sealed

    def unseal(self, sealed: bytes, *, key_id: str) -> str:
        """Raises `Internal` where it was sealed otherwise, or changed since."""
        body = sealed.removeprefix(_FORMAT)
        try:
            secret = self._cipher.decrypt(
                body[:_NONCE_BYTES], body[_NONCE_BYTES:], key_id.encode()
            )
        except (InvalidTag, ValueError) as error:
            raise Internal(
                f"The secret of access key {key_id} cannot be opened: the master key "
                "is not the one that sealed it, or the database was changed."
            ) from error
        return secret.decode()


def make_next(path: Path) -> Sealer:
    """Another key, on disk beside the one at `path`. Until `take_next`, either may be
    the one that secrets are sealed with: `Sealer.open` finds out."""
    _make_key(_next(path))
    return Sealer.open(_next(path))


def take_next(path: Path) -> None:
    """It is the one now; what was sealed with the older can be opened no more."""
    _next(path).rename(path)
    sync_folder(path.parent)


def _settle(path: Path, sealed: Sequence[tuple[str, bytes]]) -> None:
    """End what a crash has stopped between the two."""
    if not _next(path).exists():
        return
    if sealed and Sealer.open(_next(path)).opens_any(sealed):
        take_next(path)
    else:
        _next(path).unlink()


def _next(path: Path) -> Path:
    return path.with_name(f"{path.name}.next")


def _not_readable(path: Path) -> str:
    owner, ours = path.stat().st_uid, os.geteuid()
    if owner == ours:
        return f"The master key {path} cannot be read. Run: chmod 600 {path}"
    return (
        f"The master key {path} cannot be read: it belongs to user {owner}, and the "
        f"engine runs as {ours}, as after a backup was brought back by somebody else. "
        f"Run, with all other files of the folder that the engine made: chown {ours} "
        f"{path}"
    )


def _gone(path: Path) -> str:
    # Another one would open nothing, and hide for how long that has been so.
    forget = f'sqlite3 {path.with_name("sandlot.db")} "DELETE FROM keys"'  # noqa: S608 - told
    return (
        f"The master key {path} is gone, which all access keys here are sealed with. "
        "Bring it back from a backup. Where there is none, no key nor secret of a "
        "webhook can be opened again, and all have to be made anew: after this, the "
        f"operator's is made by the next start. {forget}"
    )


def _make_key(path: Path) -> None:
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(new, flags, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(MASTER_KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    # Whole or not at all: half a key would lock everybody out.
    new.rename(path)
    sync_folder(path.parent)
