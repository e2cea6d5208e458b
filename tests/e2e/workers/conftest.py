"""Engines with `--workers 2`: as one process, on more than one core."""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.e2e import processes
from tests.e2e.engines import Engine, Mode, new_engine
from tests.e2e.workers.callers import WORKERS, Tenant, new_tenant


@pytest.fixture(scope="session")
def with_workers() -> Iterator[Callable[[Mode], Engine]]:
    """Engines with workers, as `engines` has those without."""
    with ExitStack() as stack:
        yield functools.cache(lambda mode: stack.enter_context(_shared_engine(mode)))


@pytest.fixture(scope="session")
def engine(with_workers: Callable[[Mode], Engine], mode: Mode) -> Engine:
    """One with workers, for all tests that do it no harm."""
    return with_workers(mode)


@contextmanager
def _shared_engine(mode: Mode) -> Iterator[Engine]:
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
