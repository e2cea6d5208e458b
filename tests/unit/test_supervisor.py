"""What the supervisor does about children that end, with others in their place."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandlot_engine import supervisor as module
from sandlot_engine.options import UpOptions
from sandlot_engine.supervisor import _Restarts, _Supervisor
from sandlot_sandbox.probe import EX_CONFIG

Process = subprocess.Popen[bytes]


def test_a_launcher_that_was_killed_is_replaced_at_once() -> None:
    assert _Restarts().is_due(-signal.SIGKILL, now=100.0)


@pytest.mark.parametrize(
    ("status", "pause_s"), [(0, 2.0), (os.EX_TEMPFAIL, 2.0), (EX_CONFIG, 30.0)]
)
def test_one_that_ended_by_itself_is_replaced_if_the_engine_lives_on(
    status: int, pause_s: float
) -> None:
    restarts = _Restarts()

    assert not restarts.is_due(status, now=100.0)
    assert not restarts.is_due(status, now=100.0 + pause_s - 0.1)
    assert restarts.is_due(status, now=100.0 + pause_s)
    assert not restarts.is_due(status, now=100.0 + pause_s), "of the next one"


def test_after_five_in_thirty_seconds_the_next_waits_for_that_time_to_pass() -> None:
    restarts = _Restarts()

    assert all(restarts.is_due(1, now=100.0 + second) for second in range(5))
    assert not restarts.is_due(1, now=105.0)
    assert not restarts.is_due(1, now=129.9)
    assert restarts.is_due(1, now=130.0)


class Children(_Supervisor):
    """An engine that lives until a test, or its second launcher, ends it."""

    def __init__(self, data: Path, engine: str, launcher: str) -> None:
        super().__init__(UpOptions(), data, [], os.getuid(), os.getgid(), lock=-1)
        self._engine = engine
        self._launcher = launcher
        self.engine: Process | None = None
        self.launchers: list[Process] = []
        self.on_engine: Callable[[], None] = lambda: None
        self.problems: list[OSError] = []
        """That are in the way of another launcher, but not of the first."""

        self.another = launcher
        """What launchers after the first do."""

    def _start_engine(self) -> Process:
        self.engine = _shell(self._engine)
        self.on_engine()
        return self.engine

    def _start_launcher(self) -> Process:
        if self.launchers and self.problems:
            raise self.problems.pop()
        command = self.another if self.launchers else self._launcher
        self.launchers.append(_shell(command))
        if len(self.launchers) > 1:
            assert self.engine is not None
            assert self.engine.stdin is not None
            self.engine.stdin.close()
        return self.launchers[-1]

    def end(self) -> None:
        for process in filter(None, (self.engine, *self.launchers)):
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
        self._control.close()
        self._theirs.close()


def _shell(command: str) -> Process:
    return subprocess.Popen(["/bin/sh", "-c", command], stdin=subprocess.PIPE)


@pytest.fixture(autouse=True)
def _signals_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    numbers = (*module._STOPPING, signal.SIGCHLD)  # noqa: SLF001 - what it changes
    handlers = {number: signal.getsignal(number) for number in numbers}
    yield
    old = signal.set_wakeup_fd(-1)
    if old != -1:
        os.close(old)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_launcher_that_ended_with_0_while_the_engine_lives_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "_PAUSES_S", {0: 0.1})
    children = Children(tmp_path, engine="cat; exit 7", launcher="exit 0")

    status = children.run()

    children.end()
    assert status == 7, "the engine's own, after its second launcher"
    assert len(children.launchers) == 2
    assert (
        "the launcher ended with status 0; starting another" in capfd.readouterr().err
    )


def test_what_others_left_behind_is_buried(tmp_path: Path) -> None:
    orphan = os.posix_spawn("/bin/true", ["true"], {})
    until_gone = f"while kill -0 {orphan}; do sleep 0.01; done; exit 7"
    children = Children(tmp_path, engine=until_gone, launcher="exec cat")

    status = children.run()

    children.end()
    assert status == 7
    with pytest.raises(ChildProcessError):
        os.waitpid(orphan, os.WNOHANG)


def test_a_launcher_that_cannot_be_replaced_now_is_replaced_later(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    children = Children(tmp_path, engine="cat; exit 7", launcher="exit 1")
    children.problems = [OSError("no more processes")]
    children.another = "exec cat"

    status = children.run()

    children.end()
    assert status == 7, "the engine's own, after its second launcher"
    assert len(children.launchers) == 2
    assert "it could not be started: no more processes" in capfd.readouterr().err


@pytest.mark.parametrize("number", module._STOPPING)  # noqa: SLF001 - those there are
def test_an_engine_that_was_not_listening_yet_when_it_was_stopped_ends_cleanly(
    tmp_path: Path, number: int
) -> None:
    children = Children(tmp_path, engine="exec cat", launcher="exec cat")
    children.on_engine = lambda: os.kill(os.getpid(), number)

    status = children.run()

    children.end()
    assert status == 0
    assert [launcher.returncode for launcher in children.launchers] == [-9]


@pytest.mark.parametrize("number", module._STOPPING)  # noqa: SLF001 - those there are
def test_an_engine_that_ends_of_the_signal_that_was_for_us_was_stopped_too(
    tmp_path: Path, number: int, capfd: pytest.CaptureFixture[str]
) -> None:
    children = Children(tmp_path, engine=f"kill -{number} $$", launcher="exec cat")

    def both() -> None:
        assert children.engine is not None
        os.kill(os.getpid(), number)
        children.engine.wait()

    children.on_engine = both

    status = children.run()

    children.end()
    assert status == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("SEGV", "killed by signal 11 (Segmentation fault)"),
        ("KILL", "killed by signal 9 (Killed): by somebody, or by the kernel for want"),
    ],
)
def test_an_engine_that_is_killed_is_no_clean_end_and_is_told(
    tmp_path: Path, name: str, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    children = Children(tmp_path, engine=f"kill -{name} $$", launcher="exec cat")

    status = children.run()

    children.end()
    assert status == 1
    assert told in capfd.readouterr().err


@pytest.mark.parametrize("layer", ["mount", "no-such-layer"])
def test_what_cannot_be_given_up_is_refused_with_what_can(
    tmp_path: Path, layer: str, capfd: pytest.CaptureFixture[str]
) -> None:
    options = UpOptions(data=tmp_path, given_up=frozenset((layer, "seccomp")))

    assert module.up(options) == EX_CONFIG
    said = capfd.readouterr().err
    assert f"{layer!r} cannot be given up; these can: " in said
    assert "seccomp" in said


def test_a_stop_before_there_is_an_engine_ends_cleanly(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from sandlot_engine import supervisor\n"
        "def discover(*_, **__):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    raise AssertionError('it went on')\n"
        "supervisor.runtimes.discover = discover\n"
        "supervisor.up(supervisor.UpOptions(data=Path(sys.argv[1])))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "data")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
