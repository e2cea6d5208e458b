"""Another master key, and all secrets sealed anew under it.

Beside the engine and not through it, as it takes whoever may start one. It is done in
three steps, so that a crash between any two leaves secrets that can be opened:

    1  the new key is on disk beside the old one, under another name
    2  all secrets are sealed with it, in one transaction
    3  it takes the old one's name

What a crash leaves is ended by the next start, which sees what the secrets open with.
"""

import asyncio
import os
import stat
from dataclasses import replace
from pathlib import Path

import msgspec

from sandlot_engine import disk
from sandlot_engine.assembly.ownership import check_ours
from sandlot_engine.catalog import seal
from sandlot_engine.catalog.seal import Sealer
from sandlot_engine.errors import SandlotError
from sandlot_engine.model.trigger import Trigger
from sandlot_engine.reach import make_reachable, own_code
from sandlot_engine.store.sqlite import SqliteStore
from sandlot_engine.supervisor import Refused, locked
from sandlot_engine.triggers import secrets


def rotate_master_key(data: Path) -> dict[str, int]:
    """How many secrets are `sealed` under the new one, and how many are `left`, which
    the old one did not open. Raises `Refused`, and nothing is changed then."""
    if not (data / "sandlot.db").is_file():
        raise Refused(f"{data} has no engine yet: there is nothing to rotate")
    try:
        with locked(data):
            _become_owner(data)
            check_ours(data, uid=os.geteuid())
            return asyncio.run(_rotate(data))
    except SandlotError as refusal:
        raise Refused(str(refusal)) from refusal
    except OSError as error:
        raise Refused(disk.told(error, data)) from error


def _become_owner(data: Path) -> None:
    """Or what root makes here, the engine could not open."""
    if os.geteuid() != 0:
        return
    found = (data / "sandlot.db").lstat()
    if not stat.S_ISREG(found.st_mode):
        raise Refused(f"{data / 'sandlot.db'} is no file")
    make_reachable([data, *own_code()], uid=found.st_uid)
    os.setgroups([])
    os.setresgid(found.st_gid, found.st_gid, found.st_gid)
    os.setresuid(found.st_uid, found.st_uid, found.st_uid)


async def _rotate(data: Path) -> dict[str, int]:
    path = data / seal.MASTER_KEY
    async with SqliteStore.open(data / "sandlot.db") as store:
        old = Sealer.open(path, sealed=await store.sealed_secrets(limit=seal.SAMPLES))
        resealing = _Resealing(old, seal.make_next(path))
        await store.reseal(
            key=resealing.key, kind="trigger", document=resealing.trigger
        )
    seal.take_next(path)
    return {"sealed": len(resealing.sealed), "left": len(resealing.left)}


class _Resealing:
    def __init__(self, old: Sealer, new: Sealer) -> None:
        self._old = old
        self._new = new
        self.sealed: set[str] = set()
        self.left: set[str] = set()

    def key(self, key_id: str, sealed: bytes) -> bytes:
        try:
            secret = self._old.unseal(sealed, key_id=key_id)
        except SandlotError:
            self.left.add(key_id)
            return sealed
        self.sealed.add(key_id)
        return self._new.seal(secret, key_id=key_id)

    def trigger(self, key: str, body: bytes) -> bytes:
        try:
            trigger = msgspec.json.decode(body, type=Trigger)
        except (msgspec.MsgspecError, ValueError, TypeError):
            return body  # a row that cannot be read stays as it is
        if trigger.webhook is None:
            return body
        sealed = self.key(secrets.name_of(trigger.id), trigger.webhook.sealed_secret)
        webhook = replace(trigger.webhook, sealed_secret=sealed)
        return msgspec.json.encode(replace(trigger, webhook=webhook))
