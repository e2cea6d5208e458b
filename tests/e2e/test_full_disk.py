"""What is run while records cannot be written: nothing that could not be billed."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandlot import errors
from tests.e2e.bills import bill_of
from tests.e2e.engines import USER, Engine, Mode, new_engine
from tests.e2e.test_trouble import health_of
from tests.e2e.waiting import wait_until
from tests.fakes.zips import zip_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a disk")


@contextmanager
def _with_disk_of(size: str, mode: Mode, more: str = "") -> Iterator[Engine]:
    """An engine whose data folder is a disk of its own, not started yet."""
    with new_engine(mode) as engine:
        owner = 0 if mode is Mode.ROOT else USER
        options = f"size={size},mode=0700,uid={owner},gid={owner}{more}"
        mount = ["mount", "-t", "tmpfs", "-o", options, "none", str(engine.data)]
        subprocess.run(mount, check=True)
        try:
            yield engine
            engine.stop_quietly()
        finally:
            unmount = ["umount", "--lazy", str(engine.data)]
            subprocess.run(unmount, check=True)


@pytest.fixture
def on_small_disk(mode: Mode) -> Iterator[Engine]:
    with _with_disk_of("48m", mode) as engine:
        engine.start()
        yield engine


def test_a_first_start_without_room_is_told_in_one_line_and_worth_another_try(
    mode: Mode,
) -> None:
    with _with_disk_of("64k", mode) as engine:
        status, said = engine.start_in_vain()

    assert status == os.EX_TEMPFAIL
    assert "No space left on device" in said
    assert "make room on that disk" in said
    assert said.count("\n") == 1
    assert len(said) < 1_000


def test_a_disk_that_runs_no_programs_is_told_when_the_engine_starts(
    mode: Mode,
) -> None:
    with _with_disk_of("48m", mode, ",noexec") as engine:
        engine.start()
        told = engine.said

    assert f"{engine.data} is mounted noexec: " in told


def test_a_later_start_without_room_is_worth_another_try(
    on_small_disk: Engine,
) -> None:
    engine = on_small_disk
    engine.stop()
    with _Filled(engine.data / "filler"):
        status, said = engine.start_in_vain()

    assert status == os.EX_TEMPFAIL
    assert "full" in said.splitlines()[-1]
    assert "Traceback" not in said
    engine.start()


@pytest.mark.parametrize("workers", [0, 2])
def test_while_the_disk_is_full_nothing_is_run_that_could_not_be_billed(
    on_small_disk: Engine, workers: int
) -> None:
    engine = on_small_disk
    if workers:
        engine.stop()
        engine.start("--workers", str(workers))
    code = zip_of({"app.py": "def handler(event, context): return event"})
    function = engine.client().deploy(code, name="echo", handler="app.handler")
    ran = 0

    def is_refused() -> bool:
        nonlocal ran
        try:
            function.invoke({})
        except errors.Unavailable as refusal:
            return "could not bill" in str(refusal)
        ran += 1
        return False

    assert not is_refused()
    with _Filled(engine.data / "filler"):
        wait_until(is_refused, "an invocation is refused")
        status, health = health_of(engine)
        assert status == 503
        assert "could not bill" in health["reason"]
    wait_until(lambda: not is_refused(), "there is room again")
    assert health_of(engine)[0] == 200
    # It is said once, and not of each call that is refused.
    assert engine.said.count("could not be written: ") == 1
    assert "Traceback" not in engine.said

    (line,) = bill_of(engine.client()).lines
    assert line.invocations == ran


@pytest.mark.parametrize("left", [0, 4096])
def test_deploys_that_a_full_disk_refuses_are_told_in_one_line(
    on_small_disk: Engine, left: int
) -> None:
    engine = on_small_disk
    code = zip_of({"app.py": "def handler(event, context): return event"})

    # With something left the package is there before its files have no room.
    with _Filled(engine.data / "filler", left=left):
        for _ in range(2):
            with pytest.raises(errors.Unavailable, match="no package can be kept"):
                engine.client().deploy(code, name="echo", handler="app.handler")

    assert engine.said.count("a package could not be kept: The disk") == 1
    assert "Traceback" not in engine.said
    engine.client().deploy(code, name="echo", handler="app.handler")


class _Filled:
    """As long as the block lasts, the disk of that file has `left` bytes of room."""

    def __init__(self, file: Path, *, left: int = 0) -> None:
        self._file = file
        self._left = left

    def __enter__(self) -> None:
        with self._file.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                file.truncate(file.tell() - self._left)

    def __exit__(self, *_: object) -> None:
        self._file.unlink()
