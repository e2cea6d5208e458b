"""Has packages unpacked and compiled, each in a jail of its own (`guest/builder.py`).

What runs in there has read a stranger's zip, so it is waited for with a deadline,
listened to once, and dead before anybody looks at the folder that it wrote to.
"""

import asyncio
import os
import re
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from sandlot_sandbox import frames
from sandlot_sandbox.errors import LauncherLost, StartFailed
from sandlot_sandbox.guest.archive import MAX_ENTRIES
from sandlot_sandbox.guest.image import MAX_UNPACKED
from sandlot_sandbox.guest.image_tree import MAX_ENTRIES as MAX_OF_IMAGE
from sandlot_sandbox.guest.unpacking import MAX_UNZIPPED
from sandlot_sandbox.host.log_pipe import LogPipe
from sandlot_sandbox.host.pairs import pair_with_jail
from sandlot_sandbox.spec import IMAGE, TASK

BUILD_S = 60.0
"""From the order to the note, which is the jail's last."""

IMAGE_S = 180.0
"""The same, of an image, which may be ten times as large."""

_OF_PACKAGES = (MAX_UNZIPPED, MAX_ENTRIES)
_HASH = re.compile("[0-9a-f]{64}")

_DYING_S = 1.0
"""For one that hung up: so that we learn how it ended, before we end it."""

_KILL_S = 10.0
"""A killed jail is dead within milliseconds; a machine that is swamped, later."""


class Launcher(Protocol):
    """What this needs of `host.launcher.Launcher`."""

    @property
    def is_lost(self) -> bool: ...

    def start_builder(
        self,
        runtime: str,
        *,
        place: str,
        channel: int,
        log: int,
        folder: int,
        packages: Sequence[int],
        on_death: Callable[[str], None],
    ) -> int: ...

    def kill_zygote(self, zygote: int, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Built:
    """What a builder says that it made."""

    unpacked_size: int
    """Bytes of all files; of an image's layers."""

    entries: int
    """Files and folders."""

    manifest: str = ""
    """SHA-256, of an image."""


class Refused(Exception):
    """The package is not one that we unpack; the message is for its tenant."""

    def __init__(self, text: str, *, too_large: bool = False) -> None:
        super().__init__(text)
        self.too_large = too_large
        """Whether it is the zip itself that has too many bytes."""


async def build_image(launcher: Launcher, archive: int, tag: str, folder: int) -> Built:
    """Have the image with that tag, or the only one, of an OCI archive made into a root
    file system in the empty `folder`. As `build`."""
    return await _built(*(launcher, IMAGE, [archive], folder, IMAGE), IMAGE_S, tag=tag)


async def build(
    launcher: Launcher,
    runtime: str,
    packages: Sequence[int],
    folder: int,
    *,
    place: str = TASK,
    deadline_s: float = BUILD_S,
) -> Built:
    """Have zips unpacked into the empty `folder`, for one runtime: 1 to `MAX_LAYERS`,
    a later one over those before it. `place` is where the folder will be mounted.

    All descriptors stay the caller's. Afterwards, however it ends, nobody writes into
    the folder any more; what is in there is to be taken for hostile. Raises `Refused`,
    also for what is not done within `deadline_s`; `StartFailed` where no jail came
    up or it died of something; `LauncherLost`.
    """
    return await _built(launcher, runtime, packages, folder, place, deadline_s)


async def _built(
    launcher: Launcher,
    runtime: str,
    packages: Sequence[int],
    folder: int,
    place: str,
    deadline_s: float,
    *,
    tag: str = "",
) -> Built:
    builder = _Builder(launcher, runtime, packages, folder, place)
    if place == IMAGE:
        builder.tell(f":{tag}".encode())
    try:
        async with asyncio.timeout(deadline_s):
            datagram = await builder.wait_word()
    except TimeoutError:
        raise Refused(
            f"The package could not be unpacked and compiled within {deadline_s:g} s. "
            "Make it smaller: leave out what the function does not need."
        ) from None
    finally:
        detail = await builder.end()
    if launcher.is_lost:
        raise LauncherLost("the launcher died while a package was unpacked")
    if not datagram:
        raise StartFailed(f"the builder said nothing: {detail}")
    return _believed(datagram, is_image=place == IMAGE)


class _Builder:
    """A jail at work. `end` has to be awaited."""

    def __init__(
        self,
        launcher: Launcher,
        runtime: str,
        packages: Sequence[int],
        folder: int,
        place: str,
    ) -> None:
        self._launcher = launcher
        self._loop = asyncio.get_running_loop()
        self._word: asyncio.Future[bytes] = self._loop.create_future()
        self._death: asyncio.Future[str] = self._loop.create_future()
        ours, read, theirs, write, folder, *copies = _opened(folder, *packages)
        try:
            self._number = launcher.start_builder(
                runtime,
                place=place,
                channel=theirs,
                log=write,
                folder=folder,
                packages=copies,
                on_death=self._note_death,
            )
        except BaseException:
            os.close(ours)
            os.close(read)
            raise
        self._log = LogPipe(read)
        self._channel = socket.socket(fileno=ours)
        self._channel.setblocking(False)
        self._loop.add_reader(self._channel, self._hear)

    def tell(self, word: bytes) -> None:
        """What it is to know beside what it is started with."""
        self._channel.send(word)

    async def wait_word(self) -> bytes:
        """The one datagram that it may send; empty if it ended without."""
        return await asyncio.shield(self._word)

    async def end(self) -> str:
        """Kill it, wait until it is dead, and say how it died and what it said last.

        Raises `StartFailed` where it would not die.
        """
        try:
            if self._word.done() and not self._word.result():
                await asyncio.wait({self._death}, timeout=_DYING_S)
            self._launcher.kill_zygote(self._number)
            async with asyncio.timeout(_KILL_S):
                detail = await asyncio.shield(self._death)
        except TimeoutError:
            raise StartFailed(f"a builder did not die within {_KILL_S:g} s") from None
        finally:
            self._loop.remove_reader(self._channel)
            self._channel.close()
            if not self._word.done():
                # Should it die later, that is no reason to read once more.
                self._word.set_result(b"")
            lines, _ = self._log.take()
            self._log.close()
        last = lines[-1][1].decode("utf-8", "replace") if lines else "no output"
        return f"{detail}: {frames.shown(last)}"

    def _hear(self) -> None:
        try:
            datagram = self._channel.recv(frames.MAX_NOTE)
        except BlockingIOError:
            return
        except OSError:
            datagram = b""
        # One note, ever: whatever follows is not read.
        self._loop.remove_reader(self._channel)
        self._word.set_result(datagram)

    def _note_death(self, detail: str) -> None:
        self._death.set_result(detail)
        if not self._word.done():
            self._hear()  # what it said before
        if not self._word.done():
            self._word.set_result(b"")


def _opened(*given: int) -> tuple[int, ...]:
    """Our ends of channel and log, theirs, and copies of what they are to work on."""
    try:
        with ExitStack() as undo:

            def own(descriptor: int) -> int:
                undo.callback(os.close, descriptor)
                return descriptor

            ours, theirs = (
                own(end.detach()) for end in pair_with_jail(socket.SOCK_SEQPACKET)
            )
            read, write = (own(end) for end in os.pipe2(os.O_CLOEXEC))
            copies = [own(os.dup(descriptor)) for descriptor in given]
            undo.pop_all()
    except OSError as error:
        raise StartFailed(f"no channel could be opened: {error}") from error
    return ours, read, theirs, write, *copies


def _believed(datagram: bytes, *, is_image: bool) -> Built:
    """What the note says, if it can be so. Raises `Refused`, `StartFailed`."""
    try:
        note = frames.decode_note(datagram, frames.BUILDER_NOTES)
    except frames.Violation as violation:
        raise StartFailed(f"the builder sent {violation}") from violation
    if note.kind == frames.REFUSED:
        raise Refused(note.text, too_large=note.status == 1)
    most_bytes, most = (MAX_UNPACKED, MAX_OF_IMAGE) if is_image else _OF_PACKAGES
    is_text_right = _HASH.fullmatch(note.text) if is_image else not note.text
    if not is_text_right or not (
        0 <= note.status <= most_bytes and 1 <= note.instance <= most
    ):
        raise StartFailed(
            f"the builder claims {note.status} bytes in {note.instance} entries"
        )
    return Built(unpacked_size=note.status, entries=note.instance, manifest=note.text)
