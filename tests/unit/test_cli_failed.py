"""What somebody is told to do next whose function has failed."""

import pytest

from tests.fakes.engine import Engine, Failure
from tests.unit.conftest import Cli

NO_MODULE = "Runtime.ImportModuleError: Error: Cannot find module"
NODE = "/var/runtime/node/handler.mjs"


def next_step(cli: Cli) -> str:
    (told,) = (
        line
        for line in cli("invoke", "hello").stderr.splitlines()
        if line.startswith("  next: ")
    )
    return told


@pytest.mark.parametrize(
    ("why", "what"),
    [
        ("Object of type coroutine is not JSON serializable", "asyncio.run(…)"),
        ("[Errno 30] Read-only file system: 'out.txt'", "only /tmp can be written to"),
        ("[Errno 2] No such file or directory: 'data.txt'", "that is deployed"),
        ("ENOENT: No such file or directory: '/var/task/a'", "that is deployed"),
        ("fork/exec /var/task/bootstrap: permission denied", "chmod +x bootstrap"),
        ("fork/exec /var/task/bootstrap: no such file or directory", "Windows' line"),
        ("[Errno 2] No such file or directory: '/tmp/a'", "sandlot logs hello"),
        ("list index out of range", "sandlot logs hello"),
    ],
)
def test_what_newcomers_most_often_do_wrong_is_said_when_it_fails(
    cli: Cli, engine: Engine, why: str, what: str
) -> None:
    def fail(_: object) -> None:
        raise Failure("Error", why)

    engine.add_function("hello", fail)

    assert what in next_step(cli)


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("TypeError: handler() takes 0 positional arguments but 2 were given", "two: "),
        ("MemoryError", "sandlot fn config hello --memory MB"),
        ("Runtime.MarshalError", "str(…)"),
        ("Function.ResponseSizeTooLarge", "sandlot invoke --stream"),
        ("MyMemoryError", "sandlot logs hello"),
        ("Runtime.HandlerNotFound: app.main is undefined", "--handler MODULE.FUNCTION"),
        (
            "Runtime.ImportModuleError: import module 'app': No module named 'app'",
            "sandlot fn config hello --handler MODULE.FUNCTION",
        ),
        (
            "Runtime.ImportModuleError: import module 'app': No module named 'http_'",
            "pip install --target",
        ),
        (
            f"{NO_MODULE} 'lodash'\nRequire stack:\n- /var/task/app.js\n- {NODE}",
            "npm install --prefix",
        ),
        (
            f"{NO_MODULE} 'app'\nRequire stack:\n- {NODE}",
            "--handler MODULE.FUNCTION",
        ),
        (
            "Runtime.ImportModuleError: Error: Cannot find module './mine'",
            "sandlot logs hello",
        ),
        (
            "Runtime.MarshalError: Unable to stringify response body as json",
            "no BigInt",
        ),
    ],
)
def test_so_is_what_an_error_is_by_its_kind(
    cli: Cli, engine: Engine, kind: str, what: str
) -> None:
    def fail(_: object) -> None:
        raise Failure(*kind.partition(": ")[::2])

    engine.add_function("hello", fail)

    assert what in next_step(cli)


def test_so_is_what_only_the_end_of_its_trace_tells(cli: Cli, engine: Engine) -> None:
    def fail(_: object) -> None:
        raise Failure(
            "FileNotFoundError",
            "[Errno 2] No such file or directory",
            stack_trace=(
                '  File "/var/task/app.py", line 3, in handler\n    Pool(2)\n',
                "    sl = self._semlock = _multiprocessing.SemLock(\n",
            ),
        )

    engine.add_function("hello", fail)

    assert "Process and Pipe" in next_step(cli)


def test_an_error_without_a_message_is_told_by_its_type_alone(
    cli: Cli, engine: Engine
) -> None:
    def fail(_: object) -> None:
        raise Failure("MemoryError", "")

    engine.add_function("hello", fail)

    assert "Unhandled: MemoryError\n" in cli("invoke", "hello").stderr
