"""Fixtures of the unit tests: a catalog, an engine in memory, and its clients."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sandlot import AsyncClient, Client, config
from sandlot.cli import main
from sandlot_sandbox.guest.image import Made, make_root
from sandlot_sandbox.launcher.cgroups import Tree, find
from tests.fakes.catalog import Bench, Node, opened
from tests.fakes.engine import OPERATOR, Engine
from tests.fakes.server import Server
from tests.fakes.stores import MemoryStore

Cli = Callable[..., Result]

Make = Callable[..., Made]
"""`make(archive, tag)`: an OCI archive becomes a root, in `place`."""


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A catalog that is empty."""
    async with opened(tmp_path, MemoryStore(), Node(), None) as made:
        yield made


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def engine(server: Server) -> Engine:
    """What the fake server holds."""
    return server.engine


@pytest.fixture
def nobodys_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment without settings, and an empty home; the home."""
    for name in [name for name in os.environ if name.startswith("SANDLOT_")]:
        monkeypatch.delenv(name)
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    # Or root would talk to an engine that this machine has.
    monkeypatch.setattr(config, "SYSTEM_DATA", tmp_path / "no-engine")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def client(server: Server, nobodys_environment: Path) -> Iterator[Client]:
    """The operator's blocking client."""
    with Client(
        server.address,
        access_key_id=OPERATOR[0],
        secret_access_key=OPERATOR[1],
        deadline=30,
    ) as open_client:
        yield open_client


@pytest.fixture
async def aclient(
    server: Server, nobodys_environment: Path
) -> AsyncIterator[AsyncClient]:
    """The operator's asynchronous client."""
    async with AsyncClient(
        server.address,
        access_key_id=OPERATOR[0],
        secret_access_key=OPERATOR[1],
        deadline=30,
    ) as open_client:
        yield open_client


@pytest.fixture
def cli(
    server: Server, nobodys_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> Cli:
    """Runs `sandlot ARGUMENTS…` in this process, as the operator of the fake engine."""
    monkeypatch.setenv("SANDLOT_ENDPOINT", server.address)
    monkeypatch.setenv("SANDLOT_ACCESS_KEY_ID", OPERATOR[0])
    monkeypatch.setenv("SANDLOT_SECRET_ACCESS_KEY", OPERATOR[1])
    runner = CliRunner()

    def run(*arguments: str, stdin: str | None = None) -> Result:
        return runner.invoke(main, arguments, input=stdin, prog_name="sandlot")

    return run


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    made.mkdir()
    return made


@pytest.fixture
def make(tmp_path: Path, place: Path) -> Make:
    """Has an archive made into `place`."""

    def make(archive: bytes, tag: str = "") -> Made:
        file = tmp_path / "archive.tar"
        file.write_bytes(archive)
        opened = os.open(file, os.O_RDONLY)
        into = os.open(place, os.O_RDONLY)
        try:
            return make_root(opened, tag, into)
        finally:
            os.close(opened)
            os.close(into)

    return make


@pytest.fixture(params=["v1", "v2"])
def tree(request: pytest.FixtureRequest) -> Iterator[Tree]:
    """Control groups of a launcher, of the machine's own kernel."""
    layout = find(only=request.param)
    if not layout.v1 and layout.v2 is None:
        pytest.skip(f"this kernel's groups are not {request.param}")
    made = Tree.plant(layout)
    try:
        yield made
    finally:
        made.prune()
        made.remove()
        assert not any(folder.exists() for folder in made.folders)
