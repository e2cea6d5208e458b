"""What is on disk is counted as it changes, and comes to what it would be anew."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.catalog.on_disk import OnDisk, of_function
from sandlot_engine.catalog.versions import Versions
from sandlot_engine.model.function import Function
from tests.fakes.things import function, revision

PACKAGES = [
    replace(revision(), code=replace(revision().code, sha256=sha256, size=size))
    for sha256, size in (("a", 1), ("b", 20), ("c", 300))
]


def version(number: str, package: int, pending: int | None) -> Function:
    return function(
        "resize",
        version=number,
        serving=PACKAGES[package],
        pending=None if pending is None else PACKAGES[pending],
    )


VERSIONS = st.builds(
    version,
    st.sampled_from(["$LATEST", "1", "2"]),
    st.integers(0, 2),
    st.none() | st.integers(0, 2),
)


@given(st.lists(st.tuples(VERSIONS, st.booleans())))
def test_it_comes_to_what_those_have_who_are_there(
    changes: list[tuple[Function, bool]],
) -> None:
    on_disk, there = OnDisk(), dict[str, Function]()
    versions = Versions("us-east-1", on_disk)

    for changed, is_kept in changes:
        if is_kept:
            there[changed.version] = changed
            versions.keep(changed)
        elif there.pop(changed.version, None) is not None:
            versions.forget(changed)

    files = [file for each in there.values() for file in of_function(each)]
    tenant_id = version("1", 0, None).tenant_id
    assert on_disk.total(tenant_id) == sum(dict(files).values())
    assert on_disk.missing(tenant_id, files) == 0
    assert versions.count_published(tenant_id) == len(there.keys() - {"$LATEST"})


def test_what_is_there_twice_is_missing_once() -> None:
    on_disk = OnDisk()
    on_disk.add("1", [(("a",), 10)])

    missing = on_disk.missing("1", [(("a",), 10), (("b",), 5), (("b",), 5)])

    assert missing == 5
    assert on_disk.missing("2", [(("a",), 10)]) == 10
