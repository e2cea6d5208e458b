"""Real engines: one per mode for what does them no harm, fresh ones for what does."""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from sandlot import Client, FunctionHandle, NewKey
from sandlot.errors import NotFound
from tests.e2e import processes
from tests.e2e.engines import MODES, Engine, Mode, new_engine
from tests.fakes.zips import zip_of

GUESTS = Path(__file__).parent.parent / "guests"

Deploy = Callable[..., FunctionHandle]
"""`deploy(guest, **options)`: a file of tests/guests by its stem, or a zip's files."""

Tenant = Callable[..., Client]
"""`tenant(concurrency=…)`: a client of a tenant of its own."""


@pytest.fixture(scope="session", params=MODES, ids=str)
def mode(request: pytest.FixtureRequest) -> Mode:
    """Everything is tried with an engine of root's and with one of a user's."""
    chosen: Mode = request.param
    return chosen


@pytest.fixture(scope="session")
def engines() -> Iterator[Callable[[Mode], Engine]]:
    """The engines that ordinary tests share, started when they are first asked for.

    Not by `engine` itself: from file to file the mode changes, and with it that ends.
    """
    with ExitStack() as stack:
        yield functools.cache(lambda mode: stack.enter_context(_shared_engine(mode)))


@contextmanager
def _shared_engine(mode: Mode) -> Iterator[Engine]:
    """Ended as users do, it leaves nothing."""
    with new_engine(mode) as engine:
        engine.start()
        yield engine
        family = processes.family_of(engine.pid)
        assert engine.stop() == 0, engine.said
        processes.wait_gone(family.members.values())


@pytest.fixture(scope="session")
def engine(engines: Callable[[Mode], Engine], mode: Mode) -> Engine:
    """The engine that ordinary tests share."""
    return engines(mode)


@pytest.fixture
def unstarted_engine(mode: Mode) -> Iterator[Engine]:
    """An engine of the test's own, for it to start as it likes."""
    with new_engine(mode) as engine:
        yield engine


@pytest.fixture
def fresh_engine(unstarted_engine: Engine) -> Engine:
    """An engine of the test's own, started."""
    unstarted_engine.start()
    return unstarted_engine


@pytest.fixture(scope="session")
def operator(engine: Engine) -> Client:
    """The shared engine's operator."""
    return _operator_of(engine)


@pytest.fixture(scope="session")
def client(engine: Engine) -> Client:
    """A tenant of the shared engine: who ordinary tests are."""
    return _ordinary_of(engine)


@functools.cache
def _operator_of(engine: Engine) -> Client:
    return engine.client()


@functools.cache
def _ordinary_of(engine: Engine) -> Client:
    return client_of(engine, _operator_of(engine).create_tenant("ordinary"))


@pytest.fixture
def deploy(client: Client) -> Iterator[Deploy]:
    """Deploys for `client`; what was deployed is deleted after the test."""
    yield from _deployer(client)


@pytest.fixture(scope="module")
def deploy_for_module(client: Client) -> Iterator[Deploy]:
    """The same for functions that the tests of a file share."""
    yield from _deployer(client)


@pytest.fixture
def tenant(engine: Engine, operator: Client) -> Tenant:
    """Makes tenants of the shared engine."""

    def make(name: str = "other", *, concurrency: int = 0) -> Client:
        key = operator.create_tenant(name, concurrency=concurrency)
        return client_of(engine, key)

    return make


def client_of(engine: Engine, key: NewKey) -> Client:
    """A client with that key."""
    return engine.client(
        access_key_id=key.access_key_id, secret_access_key=key.secret_access_key
    )


def guest_zip(guest: str) -> bytes:
    """A package of one tenant program."""
    return zip_of({f"{guest}.py": (GUESTS / f"{guest}.py").read_text()})


def deploy_guest(client: Client, guest: str, **options: object) -> FunctionHandle:
    """Deploy a tenant program under a name of its own."""
    settings = {"handler": f"{guest}.handler", "timeout": 60, **options}
    name = f"{guest}-{uuid4().hex[:8]}"
    return client.deploy(guest_zip(guest), name=name, **settings)  # type: ignore[arg-type]


def _deployer(client: Client) -> Iterator[Deploy]:
    deployed: list[str] = []

    def deploy(guest: str | dict[str, str], **options: object) -> FunctionHandle:
        if isinstance(guest, str):
            handle = deploy_guest(client, guest, **options)
        else:
            handle = client.deploy(
                zip_of(guest),
                name=f"inline-{uuid4().hex[:8]}",
                **{"handler": "app.handler", "timeout": 60, **options},  # type: ignore[arg-type]
            )
        deployed.append(handle.name)
        return handle

    yield deploy
    for name in deployed:
        try:
            client.delete_function(name)
        except NotFound:
            continue  # the test did it
