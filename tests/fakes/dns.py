"""A nameserver that knows a few names, some of which lie about where they are."""

import socket
import struct
from ipaddress import ip_address

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, HTTPS = 1, 2, 5, 6, 12, 15, 16, 28, 33, 65
OPT, AXFR, ANY = 41, 252, 255
NO_SUCH_NAME = 3

Answers = dict[tuple[str, int], list[tuple[int, bytes]]]
"""By name and kind asked for: kinds and contents of the records."""


def name(text: str) -> bytes:
    """`a.b` as on the wire."""
    labels = [label.encode() for label in text.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def address(text: str) -> bytes:
    return ip_address(text).packed


def question(
    text: str, kind: int = A, *, number: int = 7, size: int | None = None
) -> bytes:
    """A query as a stub resolver writes it, with EDNS if it has a `size`."""
    header = struct.pack("!6H", number, 0x0100, 1, 0, 0, int(size is not None))
    extension = b""
    if size is not None:
        extension = b"\0" + struct.pack("!HHIH", OPT, size, 0, 0)
    return header + name(text) + struct.pack("!HH", kind, 1) + extension


def record(kind: int, content: bytes, *, owner: bytes = b"\xc0\x0c") -> bytes:
    """With the question's name, unless it has an owner of its own."""
    return owner + struct.pack("!HHIH", kind, 1, 60, len(content)) + content


def reply(
    query: bytes,
    records: list[bytes],
    *,
    status: int = 0,
    more: list[bytes] | None = None,
) -> bytes:
    """An answer to `query`; `more` is what stands in its authority section."""
    more = more or []
    end = query.index(b"\0", 12) + 5
    header = struct.pack(
        "!2s5H", query[:2], 0x8180 | status, 1, len(records), len(more), 0
    )
    return header + query[12:end] + b"".join(records + more)


def read(answer: bytes) -> tuple[int, list[tuple[int, bytes]]]:
    """Status, and kinds and contents of the records, names unread.

    Only for answers whose owners are the question's name, or written out.
    """
    _, flags, _, answers, authorities, _ = struct.unpack_from("!6H", answer)
    at = answer.index(b"\0", 12) + 5
    found = []
    for _ in range(answers + authorities):
        at = _after_name(answer, at)
        kind, _, _, length = struct.unpack_from("!HHIH", answer, at)
        found.append((kind, answer[at + 10 : at + 10 + length]))
        at += 10 + length
    return flags & 0xF, found


def _after_name(answer: bytes, at: int) -> int:
    # Label by label: a label may hold the byte that ends names.
    while (length := answer[at]) and length < 0xC0:
        at += 1 + length
    return at + (2 if length else 1)


def serve(listener: socket.socket, answers: Answers, *, mute: frozenset[str]) -> None:
    """For ever. Names in `mute` are not answered, unknown ones do not exist."""
    while True:
        query, asker = listener.recvfrom(4096)
        end = query.index(b"\0", 12)
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        asked = ".".join(labels)
        kind = int.from_bytes(query[end + 1 : end + 3], "big")
        if asked in mute:
            continue
        known = any(text == asked for text, _ in answers)
        records = [record(*one) for one in answers.get((asked, kind), [])]
        status = 0 if known else NO_SUCH_NAME
        listener.sendto(reply(query, records, status=status), asker)
