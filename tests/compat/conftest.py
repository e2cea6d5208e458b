"""One engine for all tests here, as root's where they run as root."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compat.clients import (
    Account,
    Cloud,
    Lambda,
    new_function,
    wait_active,
    wait_published,
)
from tests.compat.commands import CLIENTS, PAYLOAD
from tests.e2e.conftest import GUESTS
from tests.e2e.engines import MODES, new_engine
from tests.fakes.zips import zip_of
from tests.skips import pytest_runtest_makereport as pytest_runtest_makereport

Create = Callable[..., str]
"""`create(zip_bytes, **settings)`: a function of the shared account that is active."""


Deploy = Callable[[str], str]
"""`deploy(guest)`: one of tests/guests/libraries, with a layer of all they need."""


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    with new_engine(MODES[0]) as engine:
        # Nothing is ever sent there; and there is none for SQS.
        engine.start("--destination", "sns=http://127.0.0.1:1")
        cloud = Cloud(engine)
        yield cloud
        cloud.close()


@pytest.fixture(scope="session")
def account(cloud: Cloud) -> Account:
    """Who ordinary tests are."""
    return cloud.account("ordinary")


@pytest.fixture(scope="session")
def aws(account: Account) -> Lambda:
    """The ordinary account's boto3 client."""
    return account.aws()


@pytest.fixture
def create(aws: Lambda) -> Iterator[Create]:
    """What was created is deleted after the test, if it is still there."""
    created: list[str] = []

    def create(zip_bytes: bytes, **settings: Any) -> str:
        made = aws.create_function(**new_function(zip_bytes, **settings))
        name: str = made["FunctionName"]
        created.append(name)
        wait_active(aws, name)
        if settings.get("Publish"):
            # A version has a state of its own, and AWS refuses to invoke a pending one.
            wait_published(aws, name, made["Version"])
        return name

    yield create
    for name in created:
        try:
            aws.delete_function(FunctionName=name)
        except aws.exceptions.ResourceNotFoundException:
            continue  # the test did it


# --- functions that bring libraries along --------------------------------------------


@pytest.fixture(scope="session")
def runtime() -> str:
    """The one that the compiled libraries were made for."""
    version = re.search(
        r"^version = (\d+\.\d+)", (CLIENTS / "pyvenv.cfg").read_text(), re.MULTILINE
    )
    assert version is not None
    return f"python{version[1]}"


@pytest.fixture(scope="session")
def libraries(aws: Lambda, runtime: str) -> Iterator[str]:
    """A layer with all of them, made once."""
    name = "libraries"
    made = aws.publish_layer_version(
        LayerName=name,
        CompatibleRuntimes=[runtime],
        Content={"ZipFile": zip_of({f"python/{p}": f for p, f in libraries_files()})},
    )
    yield made["LayerVersionArn"]
    aws.delete_layer_version(LayerName=name, VersionNumber=made["Version"])


def libraries_files() -> Iterator[tuple[str, bytes]]:
    for path in sorted(PAYLOAD.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield str(path.relative_to(PAYLOAD)), path.read_bytes()


@pytest.fixture
def deploy(create: Create, libraries: str, runtime: str) -> Deploy:
    """`deploy(guest)`: one of tests/guests/libraries, with the layer."""

    def deploy(guest: str) -> str:
        source = Path(GUESTS / "libraries" / f"{guest}.py").read_text()
        return create(
            zip_of({f"{guest}.py": source}),
            Handler=f"{guest}.handler",
            Runtime=runtime,
            Layers=[libraries],
            MemorySize=512,
            Timeout=30,
        )

    return deploy
