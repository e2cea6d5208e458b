"""Libraries that change AWS's runtime to see every invocation see it here."""

import pytest

from sandlot import FunctionHandle
from sandlot.errors import InitFailed, Unhandled
from tests.e2e.conftest import Deploy
from tests.e2e.waiting import wait_until

_FAILS = """
import atexit, sys

def post_init_error(client, error):
    print("seen", error["errorType"] + ":", error["errorMessage"])

client = sys.modules["__main__"].awslambdaricmain.bootstrap.LambdaRuntimeClient
client.post_init_error = post_init_error
atexit.register(print, "seen at exit")
raise ValueError("on purpose")
"""


@pytest.mark.parametrize("init_mode", ["auto", "per-instance"])
def test_who_changes_the_runtime_to_watch_sees_every_invocation(
    deploy: Deploy, init_mode: str
) -> None:
    function = deploy("traced", init_mode=init_mode)

    with pytest.raises(Unhandled) as failed:
        function.invoke({"fail": True})
    seen = function.invoke().value

    assert "on purpose" in str(failed.value)
    assert seen == ["began", "on purpose", "post_invocation_error", "began"]
    assert function.invoke().value[-2:] == ["post_invocation_result", "began"]


def test_who_watches_is_told_of_an_import_that_failed(deploy: Deploy) -> None:
    function = deploy({"app.py": _FAILS})

    with pytest.raises(InitFailed, match="on purpose"):
        function.invoke()

    lines = wait_until(lambda: _seen(function), "the log is written")
    assert lines[:2] == ["seen ValueError: on purpose", "seen at exit"]


def _seen(function: FunctionHandle) -> list[str]:
    lines = (line.text.rstrip() for line in function.logs())
    return [line for line in lines if line.startswith("seen ")]
