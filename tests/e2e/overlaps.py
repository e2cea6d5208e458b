"""Invocations that surely run at the same time."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sandlot import FunctionHandle

_TRIES_S = (0.3, 1.0, 3.0, 9.0, 27.0)
"""How long the invocations last: longer, if the machine was too busy for less."""


def invoke_at_once(function: FunctionHandle, count: int) -> list[dict[str, Any]]:
    """The answers of `count` invocations, of which each began before any ended.

    The handler has to stay until `event["until"]` and to answer with the time at
    which it `began`.
    """
    for last_s in _TRIES_S:
        until = time.time() + last_s
        with ThreadPoolExecutor(count) as pool:
            pending = [
                pool.submit(function.invoke, {"until": until}) for _ in range(count)
            ]
            answers = [reply.result().value for reply in pending]
        if all(answer["began"] < until for answer in answers):
            return answers
    pytest.fail(f"{count} invocations never overlapped, not even of {_TRIES_S[-1]} s")
