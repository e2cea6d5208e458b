"""Worlds in which the scheduler's tests take place."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandlot_engine.scheduler import ahead
from tests.fakes.scheduling import World, new_world


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    async with new_world() as made:
        yield made


@pytest_asyncio.fixture
async def impatient() -> AsyncIterator[World]:
    """The same, but nobody waits for a place."""
    async with new_world(place_s=0.01) as made:
        yield made


@pytest_asyncio.fixture
async def ready(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A world with places enough for standbys, which are there at once."""
    monkeypatch.setattr(ahead, "REFILL_S", 0.0)
    async with new_world(max_instances=16, max_standbys=2) as made:
        yield made
