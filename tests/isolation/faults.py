"""Steps that can be made to fail, found in the code itself; and what makes them fail.

A step is a statement that asks something of the kernel, in a function that sets a jail
up. It fails as the kernel would have it fail: instead of it there comes an `OSError`.
That is done by a trace function, so that no product code knows of it, and no list has
to be kept of what there is to fail: a new step is found, and tried, as the others are.

Standard library only: launchers, and interpreters in jails, install it as well.
"""

import ast
import errno
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

INJECTED = "injected by a test"
CALL = "call"
"""Begins an order that one in a table fails, and no statement."""

UNKNOWN = 4_095
"""No call's number."""

NO_ERRNO = 0
"""Of a step that fails as the kernel fails none, but what is wrong in the code does."""

_PACKAGE = "sandlot_sandbox/"
_ERRORS = (errno.ENOSYS, errno.EPERM, errno.ENOMEM)
_MODULES = frozenset(
    (
        *("linux", "os", "socket", "_socket", "resource", "signal", "_signal"),
        *("fcntl", "_python"),
    )
)
_METHODS = frozenset(
    (
        *("_call", "_write", "_open", "_lower", "_clone", "clone", "open", "mkdir"),
        *("open_file", "write_file"),
        *("write_text", "send", "recv", "_setns", "_capset", "_syscall", "fork"),
    )
)
"""Of whatever object: what is ours and does no more than to ask the kernel."""

_NO_STEPS = frozenset(
    (
        *("close", "_exit", "kill", "pidfd_send_signal", "waitpid", "WNOHANG"),
        *("getpid", "path", "fspath", "waitstatus_to_exitcode"),
        *("landlock_scopes", "landlock_file_rights"),  # arithmetic
        *("PyOS_BeforeFork", "PyOS_AfterFork_Child", "PyOS_AfterFork_Parent"),
    )
)
"""What gives something up, ends or asks nothing."""

_BLOCKS = (ast.If, ast.For, ast.While, ast.With, ast.Try)
_NOTHING_DONE = (ast.FunctionDef, ast.ClassDef, ast.Raise)


@dataclass(frozen=True)
class Step:
    """One statement of ours."""

    file: str
    """Below the package: `guest/enter.py`."""

    function: str
    line: int
    text: str
    """Its first line, as it is written."""

    error: int
    spared: int = 0
    """How often it goes well before it fails."""

    @property
    def name(self) -> str:
        """For a test's name; not unique."""
        module = self.file.rpartition("/")[2].removesuffix(".py")
        again = ", again" * self.spared
        return f"{module}.{self.function}: {self.text}{again}"

    @property
    def order(self) -> str:
        """For `install`."""
        return f"{self.file}:{self.line}:{self.error}:{self.spared}"


def find_steps(
    root: Path, file: str, *, without: str = "", only: str = "", again: str = ""
) -> list[Step]:
    """The steps of all functions of a file below `root`, but for those `without`; or
    of some `only`. What is in a loop, and in the functions `again`, fails at its second
    time, too."""
    text = (root / file).read_text("utf-8")
    lines = text.splitlines()
    functions = dict(_functions(ast.parse(text)))
    named = {*without.split(), *only.split(), *again.split()}
    assert named <= functions.keys(), f"{file} has no {named - functions.keys()}"
    wanted = only.split() or functions.keys() - set(without.split())
    steps: list[Step] = []
    for name in sorted(wanted, key=lambda name: int(functions[name].lineno)):
        for statement, is_repeated in _statements(functions[name].body):
            number = statement.lineno
            for spared in (0, 1) if is_repeated or name in again.split() else (0,):
                error = _ERRORS[len(steps) % len(_ERRORS)]
                shown = lines[number - 1].strip()
                steps.append(Step(file, name, number, shown, error, spared))
    return steps


def _functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for node in ast.iter_child_nodes(tree):
        below = prefix
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            below = f"{prefix}{node.name}."
        if isinstance(node, ast.FunctionDef):
            yield prefix + node.name, node
        yield from _functions(node, below)


def _statements(
    body: list[ast.stmt], *, is_repeated: bool = False
) -> Iterator[tuple[ast.stmt, bool]]:
    """Those that ask something of the kernel, and whether more than once. Not what
    cleans up after a failure."""
    for statement in body:
        if isinstance(statement, _BLOCKS):
            if any(map(_asks_the_kernel, _head(statement))):
                yield statement, is_repeated
            repeats = is_repeated or isinstance(statement, ast.For)
            for inner in (statement.body, getattr(statement, "orelse", [])):
                yield from _statements(inner, is_repeated=repeats)
        elif isinstance(statement, _NOTHING_DONE):
            continue
        elif _asks_the_kernel(statement):
            yield statement, is_repeated


def _head(statement: ast.stmt) -> list[ast.AST]:
    """Of a block, what is not inside of it."""
    match statement:
        case ast.If(test=test) | ast.While(test=test):
            return [test]
        case ast.For(iter=iterated):
            return [iterated]
        case ast.With(items=items):
            return list(items)
        case _:
            return []


def _asks_the_kernel(node: ast.AST) -> bool:
    return any(
        isinstance(inner, ast.Call) and _is_of_the_kernel(inner.func)
        for inner in ast.walk(node)
    )


def _is_of_the_kernel(function: ast.expr) -> bool:
    match function:
        case ast.Attribute(value=ast.Name(id=module), attr=name):
            return (module in _MODULES and name not in _NO_STEPS) or name in _METHODS
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name in _METHODS
        case _:
            return False


def make_unknown(calls: Any, wanted: str) -> None:
    """Of calls in a table, the one that is the how manieth of its name, `setns 1`."""
    name, _, index = wanted.partition(" ")
    found = [i for i, each in enumerate(calls.names) if each == name]
    if found[int(index or 0) :]:
        at = found[int(index or 0)]
        calls._rows[at] = (UNKNOWN, *calls._rows[at][1:])  # noqa: SLF001


def install(read_order: Callable[[], str], *, begun: "FrameType | None" = None) -> None:
    """From here on, have the step fail that is ordered at the moment; none for "". In
    functions that are called from now on, and in one that has `begun`."""
    met: dict[str, int] = {}

    def trace(frame: FrameType, _: str, __: object) -> Any:
        return trace_lines if _file(frame) and read_order() else None

    def trace_lines(frame: FrameType, event: str, _: object) -> Any:
        order = read_order()
        if event == "line" and order and not order.startswith(CALL):
            file, line, number, spared = order.rsplit(":", 3)
            if frame.f_lineno == int(line) and _file(frame) == file:
                met[order] = met.get(order, 0) + 1
                if met[order] > int(spared):
                    if int(number) == NO_ERRNO:
                        raise RuntimeError(INJECTED)
                    raise OSError(int(number), INJECTED)
        return trace_lines

    sys.settrace(trace)
    if begun is not None:
        begun.f_trace = trace_lines


def _file(frame: FrameType) -> str:
    """Below our package; empty for others."""
    return frame.f_code.co_filename.rpartition(_PACKAGE)[2] * (
        _PACKAGE in frame.f_code.co_filename
    )
