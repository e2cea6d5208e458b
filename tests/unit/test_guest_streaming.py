"""Answers in pieces, on the guest's side."""

import pytest

from sandlot_sandbox import frames
from sandlot_sandbox.guest import streaming
from sandlot_sandbox.guest.streaming import Pieces, ResponseStream


class Heard:
    """What was sent, in its order."""

    def __init__(self) -> None:
        self.all: list[tuple[str, bytes]] = []
        self.pieces = Pieces(
            lambda kind: self.all.append(("begin", kind)),
            lambda piece: self.all.append(("piece", piece)),
        )


def test_pieces_are_no_larger_than_a_frame_may_be() -> None:
    assert streaming.MAX_PIECE == frames.MAX_PIECE
    heard = Heard()
    heard.pieces.write(b"x" * (2 * streaming.MAX_PIECE + 1))
    sizes = [len(piece) for kind, piece in heard.all if kind == "piece"]
    assert sizes == [streaming.MAX_PIECE, streaming.MAX_PIECE, 1]


def test_text_and_bytes_of_every_kind_are_pieces() -> None:
    heard = Heard()
    for piece in ("é", b"b", bytearray(b"c"), memoryview(b"d")):
        heard.pieces.write(piece)
    assert heard.all == [
        ("begin", b"application/octet-stream"),
        ("piece", "é".encode()),
        ("piece", b"b"),
        ("piece", b"c"),
        ("piece", b"d"),
    ]


@pytest.mark.parametrize("piece", [1, None, {"a": 1}, ["a"]])
def test_nothing_else_is(piece: object) -> None:
    heard = Heard()
    with pytest.raises(TypeError, match="str and bytes, not of"):
        heard.pieces.write(piece)
    assert heard.all == []


def test_what_a_generator_yields_first_may_be_the_head() -> None:
    heard = Heard()

    def generator() -> object:
        yield {"statusCode": 204}
        yield "body"

    streaming.run(generator(), heard.pieces)  # type: ignore[arg-type]
    assert heard.all[0] == (
        "begin",
        b"application/vnd.awslambda.http-integration-response",
    )
    assert heard.all[1:] == [
        ("piece", b'{"statusCode": 204}' + bytes(8)),
        ("piece", b"body"),
    ]


def test_the_type_is_told_before_the_first_piece_or_not_at_all() -> None:
    heard = Heard()
    stream = ResponseStream(heard.pieces)
    stream.set_content_type("text/plain")
    stream.write("a")
    with pytest.raises(RuntimeError, match="its content type is sent"):
        stream.set_content_type("text/html")
    stream.close()
    with pytest.raises(ValueError, match="closed"):
        stream.write("b")
    assert heard.all == [("begin", b"text/plain"), ("piece", b"a")]
