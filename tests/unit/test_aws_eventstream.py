"""A streamed answer's frames, read by botocore's own parser."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.eventstream import EventStream, EventStreamBuffer
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import EventStreamJSONParser

from sandlot_engine.gateway.aws.eventstream import (
    MAX_PAYLOAD,
    event,
    frame,
)
from sandlot_engine.gateway.aws.service import Service, Shape

NAME = "InvokeWithResponseStream"


def stream_shape() -> Shape:
    output = Service.load().operation(NAME).output
    assert output
    return output.members["EventStream"].shape


class Raw:
    """A response's body, that comes in pieces."""

    def __init__(self, body: bytes, piece: int) -> None:
        self._body, self._piece = body, piece

    def stream(self) -> Iterator[bytes]:
        for start in range(0, len(self._body), self._piece):
            yield self._body[start : start + self._piece]


def events_of(body: bytes, piece: int = 7) -> list[Any]:
    model = ServiceModel(Loader().load_service_model("lambda", "service-2"))
    shape: Any = model.operation_model(NAME).output_shape
    raw: Any = Raw(body, piece)
    parser = EventStreamJSONParser()
    return list(EventStream(raw, shape.members["EventStream"], parser, NAME))


def test_botocore_reads_what_is_written() -> None:
    body = event(stream_shape(), "PayloadChunk", {"Payload": b"\x00\xff"})
    body += event(stream_shape(), "PayloadChunk", {"Payload": b""})
    body += event(
        stream_shape(), "InvokeComplete", {"LogResult": "é", "ErrorCode": None}
    )

    assert events_of(body) == [
        {"PayloadChunk": {"Payload": b"\x00\xff"}},
        {"PayloadChunk": {"Payload": b""}},
        {"InvokeComplete": {"LogResult": "é"}},
    ]


def test_the_payload_may_be_as_large_as_said_and_no_larger() -> None:
    buffer = EventStreamBuffer()

    buffer.add_data(frame([], bytes(MAX_PAYLOAD)))

    assert len(next(buffer).payload) == MAX_PAYLOAD
    with pytest.raises(ValueError, match="bytes in a frame"):
        frame([], bytes(MAX_PAYLOAD + 1))


@pytest.mark.parametrize(
    ("name", "members"), [("NoSuch", {}), ("PayloadChunk", {"Speed": 1})]
)
def test_what_the_model_does_not_have_is_a_mistake_of_ours(
    name: str, members: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="has no"):
        event(stream_shape(), name, members)
