"""Answers in pieces, through a whole engine."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from sandlot import Client, FunctionHandle, Reply
from sandlot.errors import FunctionError
from tests.e2e.conftest import Deploy
from tests.e2e.engines import Engine
from tests.fakes.zips import zip_of

SOURCE = """
import time

def handler(event, context):
    yield "one "
    time.sleep(event.get("pause", 0))
    if event.get("fail"):
        raise ValueError("as asked")
    yield repr(time.time()) if event.get("tells") else "two"

def plain(event, context):
    return {"answer": 42}
"""


@pytest.fixture(scope="module")
def function(deploy_for_module: Deploy) -> FunctionHandle:
    return deploy_for_module({"app.py": SOURCE})


def test_a_generator_is_heard_before_it_ends(function: FunctionHandle) -> None:
    pieces = function.stream({"pause": 1.0, "tells": True})
    assert next(pieces) == b"one "
    heard = time.time()
    (later,) = pieces
    assert heard < float(later)


def test_how_it_ended_is_told_at_the_end(function: FunctionHandle) -> None:
    replies: list[Reply] = []
    assert b"".join(function.stream({}, ended=replies.append)) == b"one two"
    (reply,) = replies
    assert reply.report is not None
    assert (reply.payload, reply.executed_version) == (b"", "$LATEST")


def test_one_that_fails_later_raises_after_what_it_said(
    function: FunctionHandle,
) -> None:
    pieces = function.stream({"fail": True})
    assert next(pieces) == b"one "
    with pytest.raises(FunctionError) as caught:
        next(pieces)
    assert caught.value.type == "ValueError"


def test_a_plain_answer_comes_as_one_piece(deploy: Deploy) -> None:
    function = deploy({"app.py": SOURCE}, handler="app.plain")
    (piece,) = function.stream({})
    assert json.loads(piece) == {"answer": 42}


def test_who_asks_for_all_at_once_has_it_whole(function: FunctionHandle) -> None:
    assert function.invoke({}).payload == b"one two"


def test_who_leaves_early_ends_it_and_is_billed(
    client: Client, function: FunctionHandle
) -> None:
    pieces: Iterator[bytes] = function.stream({"pause": 30})
    assert next(pieces) == b"one "
    pieces.close()  # type: ignore[attr-defined]  # it is a generator
    until = time.monotonic() + 10
    while not any(run.error_type for run in client.runs(function.name)):
        assert time.monotonic() < until, "nothing was recorded of it"


def test_the_command_prints_what_comes(engine: Engine, operator: Client) -> None:
    function = operator.deploy(
        zip_of({"app.py": SOURCE}), name="streams-by-command", handler="app.handler"
    )
    done = subprocess.run(
        [sys.executable, "-m", "sandlot", "invoke", function.name, "--stream"],
        env={**os.environ, "SANDLOT_DATA": str(engine.data)},
        capture_output=True,
        timeout=60,
        check=True,
    )
    function.delete()
    assert done.stdout == b"one two"
    assert b"billed" in done.stderr
