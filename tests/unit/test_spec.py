"""Orders are read from a process that is trusted less; reports are not."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandlot_sandbox import spec

NUMBERS = st.integers(0, 2**53 - 1)
HASHES = st.text("0123456789abcdef", min_size=64, max_size=64)
ORDERS = st.one_of(
    st.builds(
        spec.StartZygote,
        as_program=st.sampled_from([0, 1]),
        zygote=NUMBERS,
        runtime=st.text(max_size=30),
        code=HASHES,
        opt=st.just("") | HASHES,
        memory_mb=NUMBERS,
        tmp_mb=NUMBERS,
        network=st.sampled_from(sorted(spec.NETWORKS)),
        allow=st.text(max_size=30),
    ),
    st.builds(
        spec.StartBuilder,
        zygote=NUMBERS,
        runtime=st.text(max_size=30),
        place=st.sampled_from(sorted(spec.PLACES)),
    ),
    st.builds(spec.MakeCell, zygote=NUMBERS, cell=NUMBERS),
    st.builds(spec.KillCell, zygote=NUMBERS, cell=NUMBERS),
    st.builds(spec.KillZygote, zygote=NUMBERS),
)
START: dict[str, Any] = {
    "is": "StartZygote",
    "zygote": 1,
    "runtime": "python3.11",
    "code": "a" * 64,
    "opt": "b" * 64,
    "memory_mb": 128,
    "tmp_mb": 512,
    "network": "egress",
    "allow": "10.1.0.0/16",
    "as_program": 0,
}


@given(ORDERS)
def test_an_order_arrives_as_it_was_sent(order: spec.Order) -> None:
    assert spec.decode_order(spec.encode(order)) == order


@pytest.mark.parametrize(
    "report",
    [
        spec.Hello("root", [spec.Layer("user", "x", holds=True, detail="ü")]),
        spec.ZygoteDied(1, "the jail was killed by signal 9", started=True),
        spec.ZygoteDied(2, "the zygote was killed", started=True, killed=True),
        spec.CellMade(1, 2, ["pid", "mnt", "net", "join", "join"]),
        spec.CellFailed(1, 2, "why"),
        spec.CellDied(1, 2, "memory"),
    ],
)
def test_a_report_arrives_as_it_was_sent(report: spec.Report) -> None:
    assert spec.decode_report(spec.encode(report)) == report


@given(st.binary(max_size=200))
@example(b"[" * spec.MAX_MESSAGE)
@example(b'{"is":' * 2000)
@example(b"\xff")
@example(b"1e999")
def test_any_other_datagram_is_refused(datagram: bytes) -> None:
    with pytest.raises(spec.BadMessage):
        spec.decode_order(datagram)


@pytest.mark.parametrize(
    "changed",
    [
        {"is": "Hello"},
        {"is": ["StartZygote"]},
        {"is": None},
        {"code": "../../etc"},
        {"code": "a" * 63},
        {"code": "a" * 64 + "\n"},
        {"code": "A" * 64},
        {"code": 1},
        {"code": ""},
        {"opt": "../../etc"},
        {"opt": "a" * 63},
        {"opt": "a" * 64 + "\n"},
        {"opt": "A" * 64},
        {"opt": 1},
        {"opt": None},
        {"zygote": -1},
        {"zygote": 2**53},
        {"zygote": True},
        {"zygote": 1.0},
        {"zygote": "1"},
        {"zygote": None},
        {"runtime": 3},
        {"runtime": ["python3.11"]},
        {"path": "/etc"},
        {"path": 1},
    ],
    ids=str,
)
def test_an_order_with_a_field_of_another_kind_is_refused(
    changed: dict[str, Any],
) -> None:
    with pytest.raises(spec.BadMessage):
        spec.decode_order(json.dumps({**START, **changed}).encode())


@pytest.mark.parametrize("missing", sorted(START))
def test_an_order_that_lacks_a_field_is_refused(missing: str) -> None:
    fields = {name: value for name, value in START.items() if name != missing}

    with pytest.raises(spec.BadMessage):
        spec.decode_order(json.dumps(fields).encode())


def test_an_unknown_kind_of_network_is_refused() -> None:
    with pytest.raises(spec.BadMessage):
        spec.decode_order(json.dumps({**START, "network": "all"}).encode())


def test_a_builder_works_for_a_known_place_alone() -> None:
    order = {"is": "StartBuilder", "zygote": 1, "runtime": "python3.11"}
    for place in ("/etc", "", "OPT"):
        with pytest.raises(spec.BadMessage):
            spec.decode_order(json.dumps({**order, "place": place}).encode())


def test_a_message_over_the_limit_is_not_sent() -> None:
    with pytest.raises(spec.BadMessage):
        spec.encode(spec.ZygoteDied(1, "x" * spec.MAX_MESSAGE, started=False))
