"""Loading a handler and calling it: AWS's semantics, error texts and payloads."""

from __future__ import annotations

import decimal
import enum
import json
import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sandlot_sandbox import frames
from sandlot_sandbox.guest import context, failures, handler, marshalling
from tests.fakes.guest_interpreters import Guest, every_interpreter

LOAD = """
loaded = handler.load_handler({name!r})
if isinstance(loaded, failures.Failure):
    result = [loaded.error_type, loaded.message, loaded.stack_trace]
else:
    result = loaded({{}}, None)
"""


@pytest.fixture
def guest(python: str, tmp_path: Path) -> Guest:
    return Guest(python, tmp_path)


def load(guest: Guest, name: str) -> Any:
    return guest.result_of(LOAD.format(name=name))


def call(function: Any, event: bytes = b"{}") -> handler.Answer:
    return handler.invoke(function, event, a_context())


def a_context(request_id: str = "req-1") -> context.LambdaContext:
    return context.LambdaContext(request_id, None, None, 0)


def returning(value: object) -> Any:
    return lambda event, context: value


# Loading -----------------------------------------------------------------------


@every_interpreter
def test_a_handler_is_found_in_a_package_by_dots_or_slashes(guest: Guest) -> None:
    guest.write("pkg/__init__.py", "")
    guest.write("pkg/mod.py", "def run(event, context): return 'ran'")

    assert load(guest, "pkg.mod.run") == "ran"
    assert load(guest, "pkg/mod.run") == "ran"


@every_interpreter
def test_a_missing_module_is_an_import_module_error_without_a_trace(
    guest: Guest,
) -> None:
    assert load(guest, "gone.run") == [
        "Runtime.ImportModuleError",
        "Unable to import module 'gone': No module named 'gone'",
        [],
    ]


@every_interpreter
def test_a_missing_function_is_handler_not_found(guest: Guest) -> None:
    guest.write("mod.py", "")

    assert load(guest, "pkg/../mod.run")[0] != "Runtime.HandlerNotFound"
    assert load(guest, "mod.run") == [
        "Runtime.HandlerNotFound",
        "Handler 'run' missing on module 'mod'",
        [],
    ]


@every_interpreter
def test_a_handler_without_a_dot_is_malformed(guest: Guest) -> None:
    assert load(guest, "mod") == [
        "Runtime.MalformedHandlerName",
        "Bad handler 'mod': not enough values to unpack (expected 2, got 1)",
        [],
    ]


@every_interpreter
def test_a_syntax_error_names_its_file_line_and_text(guest: Guest) -> None:
    guest.write("mod.py", "def run(event, context)\n    return 1\n")

    error_type, message, trace = load(guest, "mod.run")

    assert error_type == "Runtime.UserCodeSyntaxError"
    assert message.startswith("Syntax error in module 'mod': ")
    assert trace == [
        f'  File "{guest.tenant}/mod.py" Line 1\n    def run(event, context)\n'
    ]


@every_interpreter
def test_a_built_in_module_cannot_be_the_handlers(guest: Guest) -> None:
    assert load(guest, "sys.exit") == [
        "Runtime.BuiltInModuleConflict",
        "Cannot use built-in module sys as a handler module",
        [],
    ]


@every_interpreter
def test_another_error_at_import_keeps_its_class_and_importlibs_frames(
    guest: Guest,
) -> None:
    guest.write("mod.py", "class Broken(Exception): pass\nraise Broken('no luck')\n")

    error_type, message, trace = load(guest, "mod.run")

    assert (error_type, message) == ("Broken", "no luck")
    assert "in import_module" in trace[0]
    assert trace[-1].startswith(f'  File "{guest.tenant}/mod.py", line 2, in <module>')


@every_interpreter
def test_an_attribute_error_at_import_is_not_a_missing_handler(guest: Guest) -> None:
    guest.write("mod.py", "None.nothing")

    assert load(guest, "mod.run")[0] == "AttributeError"


@every_interpreter
def test_an_exit_at_import_passes_through(guest: Guest) -> None:
    guest.write("mod.py", "import sys; sys.exit(7)")

    assert guest.run(LOAD.format(name="mod.run")).status == 7


@every_interpreter
def test_tenant_modules_do_not_take_the_place_of_the_runtimes(guest: Guest) -> None:
    for name in ("json", "logging", "traceback", "tokenize", "linecache", "decimal"):
        guest.write(f"{name}.py", "raise RuntimeError('not you')")
    guest.write("mod.py", "def run(event, context):\n    raise ValueError(event)\n")

    payload = guest.result_of(
        """
        run = handler.load_handler("mod.run")
        made = context.LambdaContext("req", None, None, 0)
        result = handler.invoke(run, b'"x"', made).payload.decode()
        """
    )

    assert json.loads(payload) == {
        "errorMessage": "x",
        "errorType": "ValueError",
        "requestId": "req",
        "stackTrace": [
            (
                f'  File "{guest.tenant}/mod.py", line 2, in run\n'
                "    raise ValueError(event)\n"
            )
        ],
    }


class Point(NamedTuple):
    x: object
    y: object


class Colour(enum.IntEnum):
    RED = 1


# Answers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "payload"),
    [
        (None, b"null"),
        ({"a": [1, 2.5, True]}, b'{"a": [1, 2.5, true]}'),
        (math.nan, b"NaN"),
        (decimal.Decimal("1.10"), b"1.10"),
        ({"n": [decimal.Decimal("1E+30"), decimal.Decimal(7)]}, b'{"n": [1E+30, 7]}'),
        (decimal.Decimal("sNaN"), b"NaN"),
        (decimal.Decimal("-Infinity"), b"-Infinity"),
        ({"a": b"text"}, b'{"a": "text"}'),
        ({b"k": 1}, b'{"k": 1}'),
        (Colour.RED, b"1"),
        (Point(1, [2]), b'{"x": 1, "y": [2]}'),
        ([(1, Point(b"b", decimal.Decimal(2)))], b'[[1, {"x": "b", "y": 2}]]'),
        (b"\x00raw", b"\x00raw"),
        ("\ud800", b'"\\ud800"'),
        (
            ["\x7f\ud800é\U0001f600", decimal.Decimal(1)],
            rb'["\u007f\ud800\u00e9\ud83d\ude00", 1]',
        ),
    ],
)
def test_a_result_is_encoded_as_awss_runtime_encodes_it(
    result: object, payload: bytes
) -> None:
    answer = call(returning(result))

    assert answer.ok
    assert answer.payload == payload


@every_interpreter
def test_text_is_escaped_before_python_3_12_only(guest: Guest) -> None:
    escaped, is_old = guest.result_of(
        """
        made = context.LambdaContext("r", None, None, 0)
        answer = handler.invoke(lambda event, context: event, '"é"'.encode(), made)
        result = [answer.payload == b'"\\\\u00e9"', sys.version_info < (3, 12)]
        """
    )

    assert escaped is is_old


@every_interpreter
def test_a_result_is_encoded_once_whatever_is_in_it(guest: Guest) -> None:
    asked = guest.result_of(
        """
        import decimal
        class Row(dict):
            asked = 0
            def items(self):
                Row.asked += 1
                return super().items()
        made = context.LambdaContext("r", None, None, 0)
        result = []
        for last in (1, decimal.Decimal("1.10"), b"text", "\\ud800", object()):
            Row.asked = 0
            value = [Row(a=decimal.Decimal(2)), last]
            answer = handler.invoke(lambda event, context: value, b"{}", made)
            result.append([answer.payload.decode()[:18], Row.asked])
        """
    )

    assert asked == [
        ['[{"a": 2}, 1]', 1],
        ['[{"a": 2}, 1.10]', 1],
        ['[{"a": 2}, "text"]', 1],
        ['[{"a": 2}, "\\ud800', 1],
        ['{"errorMessage": "', 1],
    ]


@every_interpreter
def test_what_could_not_be_encoded_leaves_nothing_to_the_next_result(
    guest: Guest,
) -> None:
    payloads = guest.result_of(
        """
        import decimal
        made = context.LambdaContext("r", None, None, 0)
        result = []
        for value in ([decimal.Decimal(1), object()], [decimal.Decimal(2), "é\\ud800"]):
            answer = handler.invoke(lambda event, context: value, b"{}", made)
            result.append(answer.payload.decode())
        """
    )

    assert payloads[1] == '[2, "\\u00e9\\ud800"]'


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({1, 2}, "Object of type set is not JSON serializable"),
        ({(1,): 2}, "keys must be str, int, float, bool or None, not tuple"),
        ([decimal.Decimal(1), object()], "Object of type object is not"),
        ({"a": b"\xff"}, "'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_a_result_that_is_not_json_is_a_marshal_error(
    result: object, reason: str
) -> None:
    answer = call(returning(result))

    error = json.loads(answer.payload)
    assert answer.error_type == error["errorType"] == "Runtime.MarshalError"
    assert error["errorMessage"].startswith(f"Unable to marshal response: {reason}")


def test_a_result_that_contains_itself_is_a_marshal_error() -> None:
    endless: list[object] = []
    endless.append(endless)

    answer = call(returning(endless))

    assert b"Circular reference detected" in answer.payload


def test_a_result_nested_too_deeply_is_a_marshal_error() -> None:
    deep: list[object] = []
    for _ in range(200_000):
        deep = [deep]

    assert call(returning(deep)).error_type == "Runtime.MarshalError"


@every_interpreter
def test_an_async_handlers_coroutine_is_a_marshal_error(guest: Guest) -> None:
    guest.write("mod.py", "async def run(event, context): return 1")

    result = guest.result_of(
        """
        run = handler.load_handler("mod.run")
        made = context.LambdaContext("req", None, None, 0)
        result = handler.invoke(run, b"{}", made).payload.decode()
        """
    )

    assert "Object of type coroutine is not JSON serializable" in result


@pytest.mark.parametrize("event", [b"{", b"", b"\xff", b"[" * 100_000])
def test_an_event_that_is_not_json_is_an_unmarshal_error(event: bytes) -> None:
    answer = call(returning(None), event)

    error = json.loads(answer.payload)
    assert error["errorType"] == "Runtime.UnmarshalError"
    assert error["errorMessage"].startswith("Unable to unmarshal input: ")


def test_an_answer_of_the_greatest_size_is_sent_and_one_byte_more_is_not() -> None:
    greatest = "x" * (marshalling.MAX_RESPONSE - 2)

    fits = call(returning(greatest))
    does_not = call(returning(greatest + "x"))

    assert fits.ok
    assert len(fits.payload) == frames.MAX_PAYLOAD
    assert not does_not.ok
    assert does_not.payload == (
        b'{"errorMessage":"Response payload size exceeded maximum allowed payload '
        b'size (6291556 bytes).","errorType":"Function.ResponseSizeTooLarge"}'
    )


def test_an_exit_in_the_handler_passes_through() -> None:
    with pytest.raises(SystemExit):
        call(lambda event, context: sys.exit(3))


# Failures ----------------------------------------------------------------------


def test_an_error_object_has_awss_keys_in_awss_order() -> None:
    def run(event: object, context: object) -> None:
        raise KeyError("gone")

    answer = call(run)

    error = json.loads(answer.payload)
    assert list(error) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert error["errorMessage"] == "'gone'"
    assert error["errorType"] == answer.error_type == "KeyError"
    assert error["requestId"] == "req-1"
    assert len(error["stackTrace"]) == 1
    assert error["stackTrace"][0].endswith('in run\n    raise KeyError("gone")\n')


def test_the_log_line_keeps_a_traceback_in_one_entry(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(event: object, context: object) -> None:
        raise ValueError("bad")

    call(run)

    out = capsys.readouterr().out
    lines = out.split("\r")
    assert out.count("\n") == 1
    assert lines[:2] == [
        "[ERROR] ValueError: bad",
        "Traceback (most recent call last):",
    ]
    assert lines[2].startswith('\u00a0\u00a0File "')
    assert lines[3] == '\u00a0\u00a0\u00a0\u00a0raise ValueError("bad")\n'


def test_an_endless_recursion_is_folded() -> None:
    def run(event: object, context: object) -> None:
        run(event, context)

    error = json.loads(call(run).payload)

    assert error["errorType"] == "RecursionError"
    assert len(error["stackTrace"]) < 10
    assert any("Previous line repeated" in entry for entry in error["stackTrace"])


class Mute(Exception):
    def __str__(self) -> str:
        raise OSError("not telling")


class Wordless(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]


class Sly(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise OSError("not telling")


class Nameless(Exception, metaclass=Sly):
    pass


class Slippery(str):
    __slots__ = ()

    def __getitem__(self, key: object) -> str:
        raise OSError("cannot be cut")

    def __len__(self) -> int:
        return 0


HOSTILE = {
    "Mute": Mute(),
    "Wordless": Wordless(),
    "Nameless": Nameless("n"),
    "KeyError": KeyError("\ud800"),
    "ValueError": ValueError("x" * 50_000_000),
    "TypeError": TypeError(Slippery("s" * 9_000_000)),
    "Ünï": type("Ünï", (Exception,), {})("é"),
    "N" * 256: type("N" * 5_000, (Exception,), {})(),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_any_exception_has_a_payload_that_fits(name: str) -> None:
    def run(event: object, context: object) -> None:
        raise HOSTILE[name]

    answer = call(run)

    error = json.loads(answer.payload)
    assert error["errorType"] == name
    assert len(answer.payload) <= frames.MAX_PAYLOAD
    assert len(answer.error_type.encode()) <= frames.MAX_ERROR_TYPE


def test_the_widest_failure_fits_into_an_answer() -> None:
    wide = "\U0001f600" * 300_000
    failure = failures.Failure("E", wide, [wide] * failures.MAX_ENTRIES)
    escaped = json.dumps([failure.message, failure.stack_trace])

    assert len(escaped) <= frames.MAX_PAYLOAD


def test_a_trace_of_many_different_frames_is_cut_in_the_middle() -> None:
    scope: dict[str, Any] = {}
    names = [f"f{n}" for n in range(400)]
    exec(  # noqa: S102
        "\n".join(f"def f{n}(e, c): f{n + 1}(e, c)" for n in range(400))
        + "\ndef f400(e, c): raise ValueError",
        scope,
    )

    trace = json.loads(call(scope[names[0]]).payload)["stackTrace"]

    assert len(trace) == failures.MAX_ENTRIES + 1
    assert "in f0\n" in trace[0]
    assert trace[failures.MAX_ENTRIES // 2] == "  [201 entries left out]\n"
    assert "in f400\n" in trace[-1]


@every_interpreter
def test_a_failure_is_logged_when_the_tenant_broke_stdout(guest: Guest) -> None:
    done = guest.run(
        """
        sys.stdout = None
        failures.print_failure(failures.Failure("E", "told \\ud800 anyway"))
        """
    )

    assert done.stdout.startswith("[ERROR] E: told \\ud800 anyway\r")


@every_interpreter
def test_a_failed_init_is_logged_with_a_warning_first(guest: Guest) -> None:
    done = guest.run(
        """
        logging_setup.install()
        handler.print_init_failure(failures.Failure("E", "why"))
        """
    )

    warning, error, _ = done.stdout.split("\n")
    assert warning.startswith("[WARNING]\t")
    assert "LAMBDA_WARNING: Unhandled exception. The most likely cause" in warning
    assert error == "[ERROR] E: why\rTraceback (most recent call last):"
