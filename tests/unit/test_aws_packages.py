"""Packages out of the JSON around them."""

import asyncio
import base64
import json
import os

import pytest

from sandlot_engine.gateway.aws.faults import AwsError
from sandlot_engine.gateway.aws.packages import PIECE, taken_out

MOST = 1_000
PACKAGE = os.urandom(3 * PIECE + 1)


def document(text: str) -> bytes:
    body = {"FunctionName": "echo", "Code": {"ZipFile": "HERE"}, "Timeout": 3}
    return json.dumps(body).replace("HERE", text).encode()


async def test_what_is_left_says_where_it_was() -> None:
    text = base64.b64encode(PACKAGE).decode()

    taken = await taken_out(document(text), most=MOST)

    assert taken is not None
    (name, package) = taken[1].popitem()
    assert package == PACKAGE
    assert json.loads(taken[0]) == json.loads(document(name))


@pytest.mark.parametrize("shift", range(7))
async def test_escapes_are_not_cut_in_two(shift: int) -> None:
    """Of slashes, as PHP writes them, and of what may be in HTML, as Gson does."""
    text = "A" * shift + "//++" * (PIECE // 4) + "A" * (7 - shift) + "A==="[shift % 4 :]
    text = text[: len(text) - len(text) % 4]
    escaped = text.replace("/", "\\/").replace("+", "\\u002b")

    taken = await taken_out(document(escaped), most=MOST)

    assert taken is not None
    assert list(taken[1].values()) == [base64.b64decode(text)]


@pytest.mark.parametrize(
    "text",
    [
        "A" * PIECE + "=",
        "A" * (PIECE - 2) + "==" + "A" * PIECE,
        "A" * PIECE + "\\n",
        "A" * PIECE + "\\",
        "A" * PIECE + "é",
        "A" * PIECE + " ",
        "A" * PIECE + "\\ud800",
    ],
)
async def test_what_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(AwsError, match="can not be decoded as base64"):
        await taken_out(document(text), most=MOST)


@pytest.mark.parametrize(
    "body",
    [
        b'"' * 5 * MOST,
        b"1," * 5 * MOST,
        b'{"a": "' + b"A" * 5 * MOST,
        b'{"a": "' + b"A" * 2 * MOST + b'", "b": "' + b"A" * 3 * MOST + b'"}',
        document("A" * 2 * MOST + "\\" + '"' + "A" * 2 * MOST),
    ],
)
async def test_only_one_text_may_be_long(body: bytes) -> None:
    assert await taken_out(body, most=MOST) is None


async def test_others_have_their_turns_meanwhile() -> None:
    text = base64.b64encode(PACKAGE).decode()
    taking = asyncio.create_task(taken_out(document(text), most=MOST))

    turns = 0
    while not taking.done():
        await asyncio.sleep(0)
        turns += 1

    assert turns > len(text) // PIECE
