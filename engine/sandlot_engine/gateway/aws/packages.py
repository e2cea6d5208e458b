"""A package out of the JSON around it, a piece at a time.

Of a request of 70 MB all but one text is small. To parse it as one takes half a second,
in which the engine does nothing else, in a thread too: the parser lets nobody in. So
the text is taken out and decoded first, and a name stands in its place.
"""

import asyncio
import base64
import json
import secrets
from io import BytesIO

from sandlot_engine.gateway.aws.faults import AwsError

PIECE = 256 * 1024
"""Characters that are decoded at once: about a millisecond."""

_LONGEST_ESCAPE = 6
"""Characters: `\\u002f`."""


async def taken_out(body: bytes, *, most: int) -> tuple[bytes, dict[str, bytes]] | None:
    """A document without its long text, and what that was in base64, by the text that
    is there instead. None where there would be more than `most` bytes left: `body` must
    have more than twice as many.

    Raises `AwsError` `SerializationException` for what is no base64.
    """
    # Whatever leaves so little has the middle in it.
    middle = len(body) // 2
    begin, end = body.rfind(b'"', 0, middle) + 1, body.find(b'"', middle)
    if not begin or end < 0 or len(body) - (end - begin) > most:
        return None
    try:
        blob = await _decoded(memoryview(body)[begin:end])
    except ValueError as error:
        raise AwsError(
            "SerializationException", "STRING_VALUE can not be decoded as base64"
        ) from error
    name = secrets.token_hex()
    return body[:begin] + name.encode() + body[end:], {name: blob}


async def _decoded(text: memoryview) -> bytes:
    """Raises `ValueError`. Between pieces, everybody else has a turn."""
    decoded, at, rest = BytesIO(), 0, b""
    while at < len(text):
        piece = bytes(text[at : at + PIECE])
        is_last = at + len(piece) == len(text)
        if not is_last and (cut := piece.rfind(b"\\", -_LONGEST_ESCAPE)) > 0:
            piece = piece[:cut]
        at += len(piece)
        if b"\\" in piece:  # PHP writes every slash so
            piece = json.loads(b'"%b"' % piece).encode("ascii")
        piece = rest + piece
        whole = len(piece) - (0 if is_last else len(piece) % 4)
        rest = piece[whole:]
        if b"=" in piece[:whole] and not is_last:
            raise ValueError("it goes on after its end")
        decoded.write(base64.b64decode(piece[:whole], validate=True))
        await asyncio.sleep(0)
    return decoded.getvalue()
