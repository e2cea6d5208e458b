"""The engine's side of a builder: what it believes, how long it waits."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sandlot_engine.errors import Internal, InvalidParameter, TooLarge, Unavailable
from sandlot_engine.node import builder as engine_side
from sandlot_engine.node.launchers import Launchers
from sandlot_sandbox import frames
from sandlot_sandbox.errors import LauncherLost, StartFailed
from sandlot_sandbox.guest.archive import MAX_ENTRIES
from sandlot_sandbox.guest.unpacking import MAX_UNZIPPED
from sandlot_sandbox.host import builder
from sandlot_sandbox.host.builder import Built, Refused
from sandlot_sandbox.spec import OPT
from tests.descriptors import open_files

DEADLINE_S = 10.0
FULL = "[Errno 28] No space left on device"
DIED = "the builder said nothing: the zygote exited with status 1"
BUILT = frames.encode_note(frames.BUILT, instance=2, status=7)


class FakeLauncher:
    """Starts one builder at a time, that is what the test makes of it."""

    def __init__(self) -> None:
        self.is_lost = False
        self.killed: list[int] = []
        self.is_deaf = False
        """Whether a kill is not obeyed."""

        self.started = asyncio.Event()
        self.runtime = ""
        self.place = ""
        self.packages: Sequence[int] = ()
        self.folder = -1
        self.was_killed = asyncio.Event()
        self._channel = self._log = -1
        self._on_death: Callable[[str], None] = lambda _: None
        self._is_alive = False

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
    ) -> int:
        self.runtime, self.place = runtime, place
        self.packages, self.folder = packages, folder
        self._channel, self._log = channel, log
        self._on_death = on_death
        if self.is_lost:
            self._hang_up()
            raise LauncherLost("the launcher is gone")
        self._is_alive = True
        self.started.set()
        return 1

    def kill_zygote(self, zygote: int, /) -> None:
        self.killed.append(zygote)
        self.was_killed.set()
        if not self.is_deaf:
            asyncio.get_running_loop().call_soon(self.die, "killed")

    def say(self, datagram: bytes) -> None:
        os.write(self._channel, datagram)

    def print(self, text: str) -> None:
        os.write(self._log, text.encode())

    def die(self, detail: str, *, word: bytes = b"") -> None:
        """Perhaps with a last word, that nobody has read yet."""
        if self._is_alive:
            self._is_alive = False
            if word:
                self.say(word)
            self._hang_up()
            self._on_death(detail)

    def _hang_up(self) -> None:
        for fd in (self._channel, self._log, *self.packages, self.folder):
            os.close(fd)


@asynccontextmanager
async def building(
    launcher: FakeLauncher, tmp_path: Path, *, deadline_s: float = DEADLINE_S
) -> AsyncIterator["asyncio.Task[Built]"]:
    """A build that has begun; afterwards no descriptor is left of it."""
    before = open_files()
    (tmp_path / "zip").touch()
    (tmp_path / "folder").mkdir()
    package = os.open(tmp_path / "zip", os.O_RDONLY)
    folder = os.open(tmp_path / "folder", os.O_RDONLY)
    task = asyncio.create_task(
        builder.build(
            launcher,
            "python3.11",
            [package, package],
            folder,
            place=OPT,
            deadline_s=deadline_s,
        )
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            await launcher.started.wait()
            yield task
            await asyncio.wait({task})
    finally:
        os.close(package)
        os.close(folder)
        launcher.die("the test is over")
    assert open_files() == before


async def test_it_is_told_what_to_build(tmp_path: Path) -> None:
    launcher = FakeLauncher()
    async with building(launcher, tmp_path) as task:
        given = [os.fstat(fd).st_ino for fd in (*launcher.packages, launcher.folder)]
        launcher.say(BUILT)

        assert await task == Built(unpacked_size=7, entries=2)

    assert (launcher.runtime, launcher.place) == ("python3.11", OPT)
    names = ("zip", "zip", "folder")
    assert given == [(tmp_path / name).stat().st_ino for name in names]


async def test_it_is_dead_before_anybody_looks_at_what_it_built(
    tmp_path: Path,
) -> None:
    launcher = FakeLauncher()
    launcher.is_deaf = True
    async with building(launcher, tmp_path) as task:
        launcher.say(BUILT)
        await launcher.was_killed.wait()

        assert not task.done()

        launcher.die("killed")
        assert await task == Built(unpacked_size=7, entries=2)


async def test_one_that_died_with_its_word_unread_is_heard(tmp_path: Path) -> None:
    launcher = FakeLauncher()
    async with building(launcher, tmp_path) as task:
        launcher.die("the jail exited with status 0", word=BUILT)

        assert await task == Built(unpacked_size=7, entries=2)


@pytest.mark.parametrize("too_large", [False, True])
async def test_a_refusal_is_passed_on(tmp_path: Path, *, too_large: bool) -> None:
    launcher = FakeLauncher()
    async with building(launcher, tmp_path) as task:
        text = "Could not unzip uploaded file: 'é'"
        launcher.say(
            frames.encode_note(frames.REFUSED, status=int(too_large), text=text)
        )

        with pytest.raises(Refused, match=r"'é'$") as refused:
            await task
        assert refused.value.too_large is too_large


async def test_a_refusal_is_cut_and_has_nothing_that_a_terminal_obeys(
    tmp_path: Path,
) -> None:
    launcher = FakeLauncher()
    async with building(launcher, tmp_path) as task:
        text = "\x1b[2J\r\n\u202e\0" + "x" * 5_000
        launcher.say(frames.encode_note(frames.REFUSED, text=text))

        with pytest.raises(Refused) as refused:
            await task
    shown = str(refused.value)
    assert shown.startswith(r"\x1b[2J\r\n\u202e\x00xxx")
    assert len(shown) == frames.MAX_SHOWN


@pytest.mark.parametrize(
    "word",
    [
        frames.encode_note(frames.BUILT, instance=2, status=-1),
        frames.encode_note(frames.BUILT, instance=2, status=MAX_UNZIPPED + 1),
        frames.encode_note(frames.BUILT, instance=0, status=7),
        frames.encode_note(frames.BUILT, instance=MAX_ENTRIES + 1, status=7),
        frames.encode_note(frames.BUILT, instance=2, status=7, text="and more"),
        frames.encode_note(frames.ZYGOTE_READY),
        frames.encode_note(frames.INSTANCE_EXITED, instance=2, status=7),
        b"\x05",
        b"\x07" * 12,
        BUILT + b"x" * (frames.MAX_NOTE_TEXT + 1),
        b"x" * 100_000,
    ],
)
async def test_what_cannot_be_so_is_not_believed(tmp_path: Path, word: bytes) -> None:
    launcher = FakeLauncher()
    async with building(launcher, tmp_path) as task:
        launcher.say(word)

        with pytest.raises(StartFailed, match=r"^the builder"):
            await task

    assert launcher.killed == [1]


async def test_only_its_first_word_is_read(tmp_path: Path) -> None:
    launcher = FakeLauncher()
    async with building(launcher, tmp_path) as task:
        launcher.say(BUILT)
        launcher.say(frames.encode_note(frames.REFUSED, text="or not"))

        assert await task == Built(unpacked_size=7, entries=2)


async def test_one_that_says_nothing_is_killed_and_its_package_refused(
    tmp_path: Path,
) -> None:
    launcher = FakeLauncher()
    async with building(launcher, tmp_path, deadline_s=0.01) as task:
        with pytest.raises(Refused, match=r"within 0\.01 s\. Make it smaller"):
            await task

    assert launcher.killed == [1]


async def test_one_that_died_without_a_word_is_our_failure(tmp_path: Path) -> None:
    launcher = FakeLauncher()
    async with building(launcher, tmp_path) as task:
        launcher.print("Traceback\nOSError: \x1b[31mNo space left on device\n")
        launcher.die("the jail exited with status 1")

        with pytest.raises(
            StartFailed, match=r"status 1: OSError: \\x1b\[31mNo space left on device$"
        ):
            await task


async def test_one_that_only_hangs_up_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "_DYING_S", 0.01)
    launcher = FakeLauncher()
    async with building(launcher, tmp_path) as task:
        launcher.say(b"")

        with pytest.raises(StartFailed, match="said nothing: killed"):
            await task


async def test_one_that_will_not_die_is_our_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "_KILL_S", 0.01)
    launcher = FakeLauncher()
    launcher.is_deaf = True
    async with building(launcher, tmp_path) as task:
        launcher.say(BUILT)

        with pytest.raises(StartFailed, match=r"did not die within 0\.01 s"):
            await task


async def test_one_that_dies_when_nobody_waits_for_it_is_harmless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "_KILL_S", 0.01)
    launcher = FakeLauncher()
    launcher.is_deaf = True
    async with building(launcher, tmp_path, deadline_s=0.01) as task:
        with pytest.raises(StartFailed, match="did not die"):
            await task

        launcher.die("killed at last")


async def test_what_was_built_counts_for_nothing_once_the_launcher_is_lost(
    tmp_path: Path,
) -> None:
    launcher = FakeLauncher()
    async with building(launcher, tmp_path) as task:
        launcher.is_lost = True
        launcher.die("the launcher is gone", word=BUILT)

        with pytest.raises(LauncherLost):
            await task


async def test_a_launcher_that_was_lost_before_leaves_nothing(tmp_path: Path) -> None:
    launcher = FakeLauncher()
    launcher.is_lost = True
    before = open_files()
    folder = os.open(tmp_path, os.O_RDONLY)

    with pytest.raises(LauncherLost):
        await builder.build(launcher, "python3.11", [folder], folder)

    os.close(folder)
    assert open_files() == before


async def test_a_build_that_is_cancelled_is_killed(tmp_path: Path) -> None:
    launcher = FakeLauncher()
    async with building(launcher, tmp_path) as task:
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task

    assert launcher.killed == [1]


async def test_no_descriptors_left_is_our_failure_and_leaks_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> int:
        raise OSError(24, "Too many open files")

    folder = os.open(tmp_path, os.O_RDONLY)
    before = open_files()
    monkeypatch.setattr(os, "dup", fail)

    with pytest.raises(StartFailed, match="Too many open files"):
        await builder.build(FakeLauncher(), "python3.11", [folder], folder)

    assert open_files() == before
    os.close(folder)


@pytest.mark.parametrize(
    ("error", "face"),
    [
        (Refused("no", too_large=False), InvalidParameter),
        (Refused("no", too_large=True), TooLarge),
        (LauncherLost("gone"), Unavailable),
        (StartFailed("/a/secret/path: no space"), Internal),
        (StartFailed(f"{DIED}: OSError: [Errno 5] '{FULL}'"), Internal),
        (StartFailed(f"{DIED}: OSError: {FULL}"), OSError),
    ],
)
async def test_the_catalog_is_told_in_its_words(
    monkeypatch: pytest.MonkeyPatch, error: Exception, face: type[Exception]
) -> None:
    async def fail(*_: object, **__: object) -> Built:
        raise error

    async def current(_: Launchers) -> FakeLauncher:
        return FakeLauncher()

    monkeypatch.setattr(builder, "build", fail)
    monkeypatch.setattr(Launchers, "current", current)

    with pytest.raises(face) as told:
        await engine_side.build_package(Launchers(), "python3.11", [1], 2)

    assert type(told.value) is face
    assert "secret" not in str(told.value)
