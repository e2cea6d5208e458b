"""An engine that nobody hears, as where the disk of its log is full, goes on."""

import os
import signal

import pytest

from tests.e2e import processes
from tests.e2e.engines import Engine, Mode, new_engine
from tests.e2e.processes import Role
from tests.e2e.waiting import wait_until
from tests.fakes.zips import zip_of

CODE = zip_of({"app.py": "def handler(event, context): return event"})


@pytest.mark.parametrize("workers", [0, 2])
def test_a_launcher_is_replaced_though_nobody_can_be_told(
    mode: Mode, workers: int
) -> None:
    with new_engine(mode) as engine:
        engine.started_by = ("sh", "-c", 'exec "$@" 2> /dev/full', "sh")
        engine.start("--workers", str(workers))
        client = engine.client()
        function = client.deploy(CODE, name="echo", handler="app.handler")
        assert function.invoke({"n": 1}).value == {"n": 1}

        launcher = processes.family_of(engine.pid).only(Role.LAUNCHER)
        os.kill(launcher.pid, signal.SIGKILL)
        # That it is gone does not mean that the engine knows, which may send one more
        # event to what went with it. A new one is there only when it does.
        wait_until(
            lambda: set(_launchers_of(engine)) - {launcher.identity}, "it is replaced"
        )

        assert function.invoke({"n": 2}).value == {"n": 2}
        assert engine.stop() == 0


@pytest.mark.parametrize("streams", ["1> /dev/full", "0<&- 1>&- 2>&-"])
def test_an_engine_starts_though_its_standard_streams_take_nothing(
    mode: Mode, streams: str
) -> None:
    with new_engine(mode) as engine:
        engine.started_by = ("sh", "-c", f'exec "$@" {streams}', "sh")
        engine.begin()
        wait_until((engine.data / "engine.json").exists, "it serves")
        client = engine.client()
        function = client.deploy(CODE, name="echo", handler="app.handler")

        assert function.invoke({"n": 1}).value == {"n": 1}
        assert engine.stop() == 0


def _launchers_of(engine: Engine) -> list[tuple[int, int]]:
    family = processes.family_of(engine.pid)
    return [found.identity for found in family.of_role(Role.LAUNCHER)]
