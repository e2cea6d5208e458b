"""A launcher for each mode, shared by the tests that do not harm it."""

import os
from collections.abc import AsyncIterator, Generator, Iterator

import pytest
import pytest_asyncio

from sandlot_sandbox.host import zygote
from tests.isolation.machine import (
    MODES,
    Guest,
    Sandbox,
    Store,
    started,
    temporary_store,
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[
    None, pytest.TestReport, pytest.TestReport
]:
    """On CI a wall that nobody looked at is as bad as one that has fallen."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and "CI" in os.environ:
        report.outcome = "failed"
    return report


@pytest.fixture(scope="session", autouse=True)
def nobody_rests() -> Iterator[None]:
    """Jails that all tests share keep their cells: whoever counts what is there before
    and after would count those that were given up meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zygote, "REST_AFTER_S", 86_400.0)
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
