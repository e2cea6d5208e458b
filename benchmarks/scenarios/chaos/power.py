"""A power cut: the store on a disk of its own, of which a copy is made at the cut.

What was not flushed is in the memory of the kernel's file system, and not yet in the
image below it: a copy of the image has what a disk would have that lost its power. The
writer is stopped while it is copied, so nothing changes meanwhile. This takes root.
"""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

IMAGE_MB = 64
STOP_S = 20.0
"""For what it is writing to be on its disk."""

_WRITER = Path(__file__).with_name("power_writer.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What one cut did."""

    accepted: int
    """Events that somebody was told are kept, before the cut."""

    lost: int
    is_whole: bool
    """Whether the database could be read to its end."""


def is_possible() -> bool:
    return os.geteuid() == 0 and Path("/dev/loop-control").exists()


async def cut_power(folder: Path, *, after_s: float, has_fsync: bool = True) -> Cut:
    """Write, cut, and look what is there. Without fsync events are to be lost."""
    # New files each time: others on the machine who copied its mounts may hold on to
    # the disk of the last cut, and would write to this one.
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as name:
        here = Path(name)
        image, copy = here / "disk.img", here / "cut.img"
        await asyncio.to_thread(_make, image)
        with _mounted(image, here / "disk") as disk:
            writer = await _start_writer(disk, has_fsync=has_fsync)
            try:
                told = await _told(writer, seconds=after_s)
                await asyncio.to_thread(shutil.copyfile, image, copy)
            finally:
                writer.kill()
                await writer.wait()
        with _mounted(copy, here / "after") as disk:
            kept, is_whole = await asyncio.to_thread(_kept, disk / "sandlot.db")
    return Cut(accepted=len(told), lost=len(told - kept), is_whole=is_whole)


def _make(image: Path) -> None:
    with image.open("wb") as file:
        file.truncate(IMAGE_MB * 2**20)
    _run("mkfs.ext4", "-q", "-F", str(image))


@contextmanager
def _mounted(image: Path, at: Path) -> Iterator[Path]:
    at.mkdir(exist_ok=True)
    # The journal is written when it is asked for, and not every few seconds as well:
    # what survives is what the store had flushed, not what was old enough.
    _run("mount", "-o", "loop,commit=3600", str(image), str(at))
    try:
        yield at
    finally:
        _run("umount", "-l", str(at))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


async def _start_writer(disk: Path, *, has_fsync: bool) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, str(_WRITER), str(disk), str(int(has_fsync))),
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


async def _told(writer: asyncio.subprocess.Process, *, seconds: float) -> set[str]:
    """Ids that the writer has told until it is stopped."""
    told: set[str] = set()
    out = writer.stdout
    if out is None or not (await out.readline()):
        raise SystemExit("the writer did not start")
    await _read(out, told, seconds=seconds)
    writer.send_signal(signal.SIGSTOP)
    await asyncio.to_thread(_wait_stopped, writer.pid)
    # What it told and nobody has read yet was told before the cut.
    await _read(out, told, seconds=0.2)
    return told


def _wait_stopped(pid: int) -> None:
    """Until none of its threads is in the middle of a write any more."""
    until = time.monotonic() + STOP_S
    while any(_state_of(task) != "T" for task in Path(f"/proc/{pid}/task").iterdir()):
        if time.monotonic() > until:
            raise SystemExit("the writer did not stop")
        time.sleep(0.01)


def _state_of(task: Path) -> str:
    return (task / "stat").read_text().rpartition(")")[2].split()[0]


async def _read(out: asyncio.StreamReader, told: set[str], *, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while line := await out.readline():
                told.add(line.decode().strip())


def _kept(database: Path) -> tuple[set[str], bool]:
    try:
        with closing(sqlite3.connect(database)) as connection:
            [(check,)] = connection.execute("PRAGMA integrity_check")
            rows = connection.execute(
                "SELECT request_id FROM events JOIN event_payloads USING (position)"
            )
            return {request_id for (request_id,) in rows}, check == "ok"
    except sqlite3.Error:
        return set(), False
