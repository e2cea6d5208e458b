"""Cells that are ready for a crowd which was there before, on a real engine."""

from collections.abc import Iterator

import pytest

from sandlot import FunctionHandle
from sandlot_sandbox.host.crowd import FEWEST
from tests.e2e.engines import Engine, Mode, new_engine
from tests.e2e.overlaps import invoke_at_once
from tests.e2e.waiting import wait_until
from tests.e2e.workers.callers import metric
from tests.fakes.zips import zip_of

_SOURCE = """
import time
def handler(event, context):
    began = time.time()
    time.sleep(max(0.0, event["until"] - began))
    return {"began": began, "by": BY}
"""


@pytest.fixture
def forgetful(mode: Mode) -> Iterator[Engine]:
    """An engine on which an instance that was not used for a moment goes."""
    with new_engine(mode) as engine:
        engine.start("--idle", "1", "--standbys", "0")
        yield engine


def test_after_a_crowd_has_gone_cells_are_ready_for_another_and_for_new_code(
    forgetful: Engine,
) -> None:
    _come(_deploy(forgetful, "the old"), by="the old")
    _wait_ready(forgetful)

    function = _deploy(forgetful, "the new")

    _wait_ready(forgetful)
    _come(function, by="the new")
    _wait_ready(forgetful)


def _deploy(engine: Engine, by: str) -> FunctionHandle:
    code = zip_of({"app.py": f"BY = {by!r}{_SOURCE}"})
    return engine.client().deploy(code, name="crowd", handler="app.handler")


def _come(function: FunctionHandle, *, by: str) -> None:
    assert {answer["by"] for answer in invoke_at_once(function, FEWEST)} == {by}


def _wait_ready(engine: Engine) -> None:
    """As many cells as there were instances, which are no more."""
    wait_until(lambda: metric(engine, "instances") == 0, "all instances have gone")
    wait_until(lambda: metric(engine, "cells_ready") == FEWEST, "cells are ready")
