"""A disk that fills up: events are refused, and what was accepted runs. Root only, as
it mounts a small disk of its own."""

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scenarios.chaos.engine import Engine
from sandlot import EventState, errors

DISK_MB = 192
PAYLOAD_BYTES = 200_000
WAIT_S = 1.0
"""How long each takes, so that more are sent than can be run."""

MAX_SENT = 4_000
DEADLINE_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """What happened."""

    accepted: int
    refusals: frozenset[str]
    """Why events were refused while the disk was full."""

    lost: int
    """Accepted, and not succeeded after there was room again."""


async def fill_disk(folder: Path, function_zip: bytes, *, port: int) -> Fill:
    """Send events until none is taken, make room, and see all of them run."""
    with _small_disk(folder / "small") as disk:
        engine = Engine(disk / "data")
        await engine.start()
        try:
            return await _fill(engine, disk, function_zip, port=port)
        finally:
            if engine.is_up:
                await engine.stop()


async def _fill(engine: Engine, disk: Path, function_zip: bytes, *, port: int) -> Fill:
    async with engine.client(deadline=DEADLINE_S) as client:
        await client.deploy(
            function_zip,
            name="fills",
            handler="app.handler",
            timeout=60,
            network="host",
        )
        ballast = disk / "ballast"
        await asyncio.to_thread(_fill_up, ballast, disk, left=40 * 2**20)
        event = {"port": port, "wait_s": WAIT_S, "filler": "x" * PAYLOAD_BYTES}
        payload = json.dumps(event).encode()
        accepted, refusals = [], set()
        for _ in range(MAX_SENT):
            try:
                ticket = await client.enqueue("fills", payload=payload)
            except errors.SandlotError as error:
                refusals.add(type(error).__name__)
                if len(refusals) and _is_full(disk):
                    break
            else:
                accepted.append(ticket.request_id)
            if not refusals and _free(disk) < 8 * 2**20:
                await asyncio.to_thread(_fill_up, disk / "rest", disk, left=0)
        (disk / "rest").unlink(missing_ok=True)
        ballast.unlink()
        told = [await client.wait_event(each) for each in accepted]
    return Fill(
        accepted=len(accepted),
        refusals=frozenset(refusals),
        lost=sum(event.state is not EventState.SUCCEEDED for event in told),
    )


def _fill_up(file: Path, disk: Path, *, left: int) -> None:
    """Take all of the disk but so much."""
    chunk = bytes(2**16)
    with file.open("wb", buffering=0) as out:
        try:
            while _free(disk) > left:
                out.write(chunk)
        except OSError:
            return


def _free(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def _is_full(disk: Path) -> bool:
    return _free(disk) < PAYLOAD_BYTES


@contextmanager
def _small_disk(at: Path) -> Iterator[Path]:
    at.mkdir()
    size = f"size={DISK_MB}m,mode=755"
    _run("mount", "-t", "tmpfs", "-o", size, "tmpfs", str(at))
    try:
        yield at
    finally:
        _run("umount", "-l", str(at))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
