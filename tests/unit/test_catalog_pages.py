"""Pages of functions: what is before and behind them is not looked at."""

from collections.abc import Iterator

import pytest

from sandlot_engine.catalog.versions import Versions, name_in, page_of_versions
from sandlot_engine.model.function import Function
from sandlot_engine.model.network import Network
from tests.fakes.things import function


def _versions(*names: str) -> Versions:
    versions = Versions("us-east-1")
    for name in names:
        versions.keep(function(name))
    return versions


def test_no_more_is_looked_at_than_a_page_and_whether_there_is_another() -> None:
    looked_at: list[str] = []

    def each() -> Iterator[Function]:
        for name in "abcdefgh":
            looked_at.append(name)
            yield function(name)

    page, token = page_of_versions(each(), 2, "")

    assert [one.name for one in page] == ["a", "b"]
    assert name_in(token) == "b"
    assert looked_at == ["a", "b", "c"]


def test_what_is_before_a_name_is_passed_over() -> None:
    versions = _versions("a", "b", "b-c", "d")

    assert [one.name for one in versions.all("1", since="b")] == ["b", "b-c", "d"]
    assert [one.name for one in versions.all("1", since="bb")] == ["d"]
    assert list(versions.all("2")) == []


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_pages_come_to_all_of_them(size: int) -> None:
    versions = _versions("d", "a", "c", "b", "e")
    found: list[str] = []
    token = ""
    while True:
        since = name_in(token)
        page, token = page_of_versions(versions.all("1", since=since), size, token)
        found += [one.name for one in page]
        if not token:
            break

    assert found == ["a", "b", "c", "d", "e"]


def test_names_and_networks_are_those_there_are_now() -> None:
    versions = _versions("b", "a")
    before = versions.names("1"), versions.count_by_network(Network.NONE)

    versions.keep(function("c"))
    versions.forget(function("a"))

    assert before == (["a", "b"], {"1": 2})
    assert versions.names("1") == ["b", "c"]
    versions.forget(function("b"))
    assert versions.count_by_network(Network.NONE) == {"1": 1}
    versions.forget(function("c"))
    assert versions.names("1") == []
    assert versions.count_by_network(Network.NONE) == {}
