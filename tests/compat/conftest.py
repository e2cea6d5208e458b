"""One engine for all tests here, as root's where they run as root."""

import os
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from tests.compat.clients import Account, Cloud, Lambda, new_function, wait_active
from tests.e2e.engines import MODES, new_engine

Create = Callable[..., str]
"""`create(zip_bytes, **settings)`: a function of the shared account that is active."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[
    None, pytest.TestReport, pytest.TestReport
]:
    """On CI a client that nobody tried is as bad as one that does not work."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and "CI" in os.environ:
        report.outcome = "failed"
    return report


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    with new_engine(MODES[0]) as engine:
        engine.start()
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
        return name

    yield create
    for name in created:
        try:
            aws.delete_function(FunctionName=name)
        except aws.exceptions.ResourceNotFoundException:
            continue  # the test did it
