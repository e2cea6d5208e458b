"""A launcher for each mode, shared by the tests that do not harm it."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.isolation.machine import (
    MODES,
    Guest,
    Sandbox,
    Store,
    started,
    temporary_store,
)


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
