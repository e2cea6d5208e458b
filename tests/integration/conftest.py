"""Fixtures of the integration tests: the HTTP port over fakes."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.http_port import Port, serving


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    async with serving() as made:
        yield made
