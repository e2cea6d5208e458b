"""What is no request keeps no connection to the HTTP port open."""

import asyncio

import pytest

from sandlot_engine.gateway import connections
from tests.integration.http_port import answer_from, serving

REQUEST = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"


async def test_blank_lines_after_an_answer_are_waited_on_no_longer_than_a_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "HEAD_DEADLINE_S", 0.2)
    async with serving() as port, port.connected() as (reader, writer):
        writer.write(REQUEST)
        answered, _, _ = await answer_from(reader)
        writer.write(b"\r\n")
        async with asyncio.timeout(20):
            rest = await reader.read()

    assert (answered, rest) == (200, b"")


async def test_blank_lines_before_a_request_are_none_of_it() -> None:
    async with serving() as port, port.connected() as (reader, writer):
        answers = []
        for sent in (REQUEST, b"\r\n" + REQUEST, b"\r\n", REQUEST):
            writer.write(sent)
            if REQUEST in sent:
                answers.append((await answer_from(reader))[0])

    assert answers == [200, 200, 200]
