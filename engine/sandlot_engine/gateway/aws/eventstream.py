"""`application/vnd.amazon.eventstream`: the frames of a streamed answer.

    total length · headers' length · CRC of these two · headers · payload · CRC of all

All numbers are big-endian. Which members of an event are headers and which one is the
payload is the model's to say.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

from sandlot_engine.gateway.aws.service import Kind, Member, Shape
from sandlot_engine.gateway.aws.writing import dumped, header_text, json_of

MAX_PAYLOAD = 16 * 1024 * 1024
"""Bytes in one frame. AWS's clients take 24 MB; who has more cuts it."""

_STRING = 7
"""The type of a header whose value is text, as the protocol's own are."""


def event(stream: Shape, name: str, members: Mapping[str, Any]) -> bytes:
    """One event of `stream`, an output's event-stream shape, as a frame.

    `members` are the event's, under the model's names. Raises `ValueError` for what
    the model does not have: a mistake of ours.
    """
    if name not in stream.members:
        raise ValueError(f"{stream.name} has no event {name}")
    shape = stream.members[name].shape
    if strange := members.keys() - shape.members.keys():
        raise ValueError(f"{shape.name} has no member {', '.join(sorted(strange))}")
    content_type, payload = _payload(shape, members)
    return frame(
        [
            (":message-type", "event"),
            (":event-type", name),
            *([(":content-type", content_type)] if content_type else ()),
            *_event_headers(shape, members),
        ],
        payload,
    )


def frame(headers: Sequence[tuple[str, str]], payload: bytes) -> bytes:
    """One message. Raises `ValueError` over `MAX_PAYLOAD`."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"{len(payload)} bytes in a frame of {MAX_PAYLOAD} allowed")
    block = b"".join(_header(name, value) for name, value in headers)
    # 16 bytes are the lengths and the two checksums.
    lengths = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    prelude = lengths + struct.pack(">I", crc32(lengths))
    checksum = crc32(payload, crc32(block, crc32(prelude)))
    return b"".join((prelude, block, payload, struct.pack(">I", checksum)))


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return struct.pack(
        f">B{len(key)}sBH{len(text)}s", len(key), key, _STRING, len(text), text
    )


def _event_headers(shape: Shape, members: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (member.wire, header_text(member, members[member.name]))
        for member in shape.members.values()
        if member.is_event_header and members.get(member.name) is not None
    ]


def _payload(shape: Shape, members: Mapping[str, Any]) -> tuple[str, bytes]:
    for member in shape.members.values():
        if member.is_event_payload:
            return _whole_payload(member, members.get(member.name))
    document = {
        member.wire: json_of(member, member.shape, members[member.name])
        for member in shape.members.values()
        if not member.is_event_header and members.get(member.name) is not None
    }
    return "application/json", dumped(document)


def _whole_payload(member: Member, value: Any) -> tuple[str, bytes]:
    match member.shape.kind:
        case Kind.BLOB:
            return "application/octet-stream", bytes(value or b"")
        case Kind.STRING:
            return "text/plain", str(value or "").encode()
        case _:
            return "application/json", dumped(
                json_of(member, member.shape, value or {})
            )
