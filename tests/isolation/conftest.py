"""A launcher for each mode, shared by the tests that do not harm it; an internet."""

import gc
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol, runtime_checkable

import pytest
import pytest_asyncio
from xdist.scheduler import LoadFileScheduling

from sandlot_sandbox.host import reserve
from tests.isolation import steps
from tests.isolation.egress import Cell, World, what_internet_lacks
from tests.isolation.faults import Step
from tests.isolation.machine import (
    MODES,
    Guest,
    Sandbox,
    Store,
    started,
    temporary_store,
)
from tests.skips import pytest_runtest_makereport as pytest_runtest_makereport


def pytest_collection_finish() -> None:
    """What is there before the first test is no garbage of any: whoever collects it and
    counts what is left need not look through all of this each time."""
    gc.collect()
    gc.freeze()


class ByFileAndMode(LoadFileScheduling):  # type: ignore[misc]
    """Where two run at once, the tests of a file in one mode are a piece of work: who
    took the file would start a launcher of the other mode in the midst of each."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        mode = re.search(r"[\[-](root|rootless)\b", nodeid)
        return f"{file} {mode and mode[1]}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFileAndMode:
    return ByFileAndMode(config, log)


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """A step that a mode does not take cannot be made to fail in it."""
    left_out = [item for item in items if _is_of_a_step_not_taken(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def _is_of_a_step_not_taken(item: pytest.Item) -> bool:
    parameters = item.callspec.params if isinstance(item, WithParameters) else {}
    if "of_cell" in parameters:
        # Elsewhere its first process freezes the others, in Python.
        return str(parameters["machine"]) != "root"
    if (call := parameters.get("call")) is not None:
        return not steps.is_made(call, parameters["machine"])
    step = parameters.get("step")
    if not isinstance(step, Step):
        return False
    if (mode := parameters.get("world")) is not None:
        return not steps.is_of_a_way_out_reached(step, mode)
    mode = str(parameters.get("machine", parameters.get("mode")))
    return mode in MODES and not steps.is_reached(step, mode)


@runtime_checkable
class WithParameters(Protocol):
    """What pytest makes of a test with parameters."""

    callspec: Any


@pytest.fixture(scope="session", autouse=True)
def nobody_rests() -> Iterator[None]:
    """Jails that all tests share keep their cells: whoever counts what is there before
    and after would count those that were given up meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reserve, "REST_AFTER_S", 86_400.0)
        yield


@pytest.fixture(scope="session")
def store() -> Iterator[Store]:
    with temporary_store() as made:
        yield made


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=MODES)
async def sandbox(
    request: pytest.FixtureRequest, store: Store
) -> AsyncIterator[Sandbox]:
    """Shared: for tests after which it still has to be there."""
    async with started(request.param, store) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session", params=MODES)
async def own_sandbox(
    request: pytest.FixtureRequest, store: Store
) -> AsyncIterator[Sandbox]:
    """One that a test may break."""
    async with started(request.param, store) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def curious(sandbox: Sandbox) -> AsyncIterator[Guest]:
    """The guest that looks and tries; shared, as it leaves nothing behind."""
    async with sandbox.running("curious", environment={"MINE": "yes"}) as guest:
        yield guest


@pytest.fixture(scope="session")
def an_internet() -> None:
    """Skips, and says why, where a test can have none."""
    if lacks := what_internet_lacks():
        pytest.skip(lacks)


@pytest.fixture(scope="module", params=["root", "rootless"])
def world(request: pytest.FixtureRequest, an_internet: None) -> Iterator[World]:
    made = World(request.param)
    yield made
    made.close()


@pytest.fixture(scope="module")
def cell(world: World) -> Iterator[Cell]:
    """One that was allowed nothing; for tests that leave it as it is."""
    made = world.open()
    yield made
    made.order("end_cell")
