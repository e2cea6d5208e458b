"""Engines with `--workers 2`: as one process, on more than one core."""

from collections.abc import Iterator

import pytest

from tests.e2e import processes
from tests.e2e.engines import Engine, Mode, new_engine
from tests.e2e.workers.callers import WORKERS, Tenant, new_tenant


@pytest.fixture(scope="module")
def engine(mode: Mode) -> Iterator[Engine]:
    """One with workers, for all tests that do it no harm."""
    with new_engine(mode) as engine:
        engine.start("--workers", str(WORKERS))
        yield engine
        family = processes.family_of(engine.pid)
        assert engine.stop() == 0, engine.said
        processes.wait_gone(family.members.values())


@pytest.fixture
def fresh(mode: Mode) -> Iterator[Engine]:
    """One of the test's own."""
    with new_engine(mode) as engine:
        engine.start("--workers", str(WORKERS))
        yield engine


@pytest.fixture
def tenant(engine: Engine) -> Tenant:
    return new_tenant(engine)
