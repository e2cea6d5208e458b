"""How much of a message is no package, told without parsing it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot.v1 import functions_pb2 as wire
from sandlot.v1 import invocations_pb2, layers_pb2
from sandlot_engine.gateway.rpc.beside import size_beside
from sandlot_engine.gateway.rpc.methods import PAYLOAD, UPLOADS

PACKAGE = wire.CreateFunctionRequest.DESCRIPTOR.fields_by_name["zip"].number
MOST = 1_000_000


@given(
    st.text(max_size=300),
    st.binary(max_size=100_000),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=5),
    st.integers(0, 2**31 - 1),
)
def test_all_but_the_package_s_content_counts(
    name: str, package: bytes, environment: dict[str, str], memory_mb: int
) -> None:
    config = wire.FunctionConfig(environment=environment, memory_mb=memory_mb)
    message = wire.CreateFunctionRequest(name=name, zip=package, config=config)

    beside = size_beside(message.SerializeToString(), PACKAGE, most=MOST)

    assert beside == message.ByteSize() - len(package)


@pytest.mark.parametrize(
    "unit",
    [
        b"\x12\x02\x2a\x00",  # a config with a variable
        b"\x1a\x00",  # a package without content
        b"\x20\x01",  # a field that there is not
        b"\xff",  # no field
        b"\x13",  # a group's begin
    ],
)
def test_a_message_of_very_many_small_fields_is_soon_seen_through(unit: bytes) -> None:
    began = time.process_time()

    beside = size_beside(unit * 5_000_000, PACKAGE, most=65_536)

    assert beside > 65_536
    assert time.process_time() - began < 1


@given(st.binary(max_size=200))
def test_any_bytes_are_measured(message: bytes) -> None:
    assert 0 <= size_beside(message, PACKAGE, most=MOST) <= len(message)


def test_what_does_not_end_counts_whole() -> None:
    cut = wire.CreateFunctionRequest(zip=b"x" * 100).SerializeToString()[:-1]

    assert size_beside(cut, PACKAGE, most=MOST) == len(cut)


def test_every_method_with_a_package_is_known_by_its_field() -> None:
    services = [
        *wire.DESCRIPTOR.services_by_name.values(),
        *layers_pb2.DESCRIPTOR.services_by_name.values(),
    ]

    packages = {
        f"/{service.full_name}/{method.name}": field.number
        for service in services
        for method in service.methods
        for field in method.input_type.fields
        if field.type == field.TYPE_BYTES and field.name == "zip"
    }

    assert packages == UPLOADS


def test_the_field_of_an_event_is_known() -> None:
    fields = invocations_pb2.InvokeRequest.DESCRIPTOR.fields_by_name

    assert fields["payload"].number == PAYLOAD
