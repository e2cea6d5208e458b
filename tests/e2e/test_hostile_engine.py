"""Hostile tenants of a real engine: what they print, deploy, send and ask for.

After each of them another tenant's function answers, and the engine's processes,
mounts and descriptors are no more than before, its memory hardly more.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from sandlot import Client, FunctionHandle, LogLine, Reply, errors
from sandlot.results import LogSource
from tests.e2e import processes
from tests.e2e.bills import bill_of
from tests.e2e.conftest import GUESTS, Tenant, client_of
from tests.e2e.engines import MODES, Engine
from tests.e2e.processes import Role
from tests.e2e.waiting import wait_until
from tests.fakes.zips import CENTRAL, LOCAL, patched, zip_of, zip_of_pairs

GROWTH_KB = {Role.ENGINE: 64 << 10, Role.LAUNCHER: 4 << 10}
"""What one program may leave a process of ours larger by."""

OTHERS_TENANT = "999900009999"
"""Whose functions nobody else may reach."""

SECRET = "the neighbour's own"


@dataclass(frozen=True)
class Host:
    """What an engine takes of its host, at one moment."""

    processes: int
    mounts: int
    engine_descriptors: int
    launcher_descriptors: int
    engine_kb: int
    launcher_kb: int

    @classmethod
    def now(cls, engine: Engine) -> "Host":
        family = processes.family_of(engine.pid)
        roles = [family.only(Role.ENGINE), family.only(Role.LAUNCHER)]
        held = [sum(processes.descriptors_of(role).values()) for role in roles]
        resident = [_resident_kb(role.pid) for role in roles]
        return cls(len(family.members), processes.mounts_of("self"), *held, *resident)

    def more_than(self, before: "Host") -> dict[str, tuple[int, int]]:
        """What there is more of, as (before, now)."""
        growth = {
            "engine_kb": GROWTH_KB[Role.ENGINE],
            "launcher_kb": GROWTH_KB[Role.LAUNCHER],
        }
        names = [field.name for field in fields(self)]
        pairs = {name: (getattr(before, name), getattr(self, name)) for name in names}
        return {
            name: (then, now)
            for name, (then, now) in pairs.items()
            if now - then > growth.get(name, 0)
        }


def _resident_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])


in_one_mode = pytest.mark.parametrize(
    "mode", MODES[:1], indirect=True, ids=str, scope="session"
)
"""For what the engine itself refuses or takes, which is the same in both."""


@pytest.fixture(scope="module")
def hostile(engine: Engine, operator: Client) -> Client:
    """The tenant that tries."""
    return client_of(engine, operator.create_tenant("hostile"))


@pytest.fixture(scope="module")
def neighbour(engine: Engine, operator: Client) -> Iterator[FunctionHandle]:
    """Another tenant's function, under a name that the hostile one knows."""
    owner = client_of(engine, operator.create_tenant("neighbour", id=OTHERS_TENANT))
    source = (
        "import os\ndef handler(event, context): return [os.environ['MINE'], event]\n"
    )
    function = owner.deploy(
        zip_of({"app.py": source}),
        name="neighbour",
        handler="app.handler",
        env={"MINE": SECRET},
    )
    function.invoke()
    yield function
    function.delete()


@pytest.fixture(autouse=True)
def unharmed(engine: Engine, neighbour: FunctionHandle) -> Iterator[None]:
    """The check after each test; see the top of the file."""
    before = _quiet_host(engine)
    yield
    number = uuid4().hex
    assert neighbour.invoke({"number": number}).value == [SECRET, {"number": number}]
    wait_until(
        lambda: not Host.now(engine).more_than(before),
        "nothing is left behind;",
        shown=lambda: Host.now(engine).more_than(before),
    )


def _quiet_host(engine: Engine) -> Host:
    """When the number of processes stays what it is: spare cells take a moment."""
    seen: list[int] = []

    def is_quiet() -> bool:
        seen.append(len(processes.family_of(engine.pid).members))
        # As after the test before: nothing has come since.
        return seen[-1] == _settled.get(engine.pid) or (
            len(seen) > _LOOKS and len(set(seen[-_LOOKS:])) == 1
        )

    wait_until(is_quiet, "no process comes or goes")
    _settled[engine.pid] = seen[-1]
    return Host.now(engine)


_settled: dict[int, int] = {}
"""Processes of an engine, by its supervisor's pid, when it was quiet the last time."""

_LOOKS = 5


@contextmanager
def deployed(
    client: Client, package: bytes, **options: Any
) -> Iterator[FunctionHandle]:
    """A function that is deleted again."""
    settings = {"handler": "app.handler", "timeout": 3, **options}
    function = client.deploy(package, name=f"hostile-{uuid4().hex[:8]}", **settings)
    try:
        yield function
    finally:
        function.delete()


# Logs and bills ------------------------------------------------------------------

_PRINTING = zip_of({"app.py": (GUESTS / "hostile" / "logs.py").read_text()})

PRINTING = {
    "forge_the_platforms_lines": "ok",
    "forge_on_stderr": "ok",
    "forge_with_returns": "ok",
    "forge_with_escapes": "ok",
    "forge_with_backspaces": "ok",
    "forge_by_logging": "ok",
    "forge_by_an_error": "error",
    "forge_dropped_bytes": "ok",
    "forge_at_the_very_end": "ok",
    "print_half_characters": "ok",
    "print_nul_bytes": "ok",
    "print_one_huge_line": "ok",
    "print_many_empty_lines": "ok",
    "print_after_the_answer": "ok",
    "print_from_a_daemon": "ok",
    "claim_much_memory": "ok",
    "stop_the_clock": "ok",
}


@pytest.mark.parametrize(("program", "status"), PRINTING.items())
def test_what_is_printed_is_the_functions_and_changes_no_bill(
    tenant: Tenant,
    neighbour: FunctionHandle,
    program: str,
    status: str,
) -> None:
    hostile = tenant("printing")
    with deployed(hostile, _PRINTING) as function:
        reply = function.invoke({"do": program}, check=False, tail_log=True)
        _expect_honest_report(function, reply)
        again = function.invoke({"do": "nothing"}, tail_log=True)
        _expect_honest_report(function, again)

        assert (reply.status, again.value) == (status, "nothing")
        bill = {line.function: line for line in bill_of(hostile).lines}[function.name]
        runs = list(function.runs())
        assert [bill.invocations, bill.billed_mb_ms] == [
            len(runs),
            sum(run.report.billed_mb_ms for run in runs),
        ]
    assert not any(b"forged" in line.data for line in neighbour.logs())


def _expect_honest_report(function: FunctionHandle, reply: Reply) -> None:
    """The platform's lines are its own three; the bill is of the engine's clock."""
    lines = _lines_of(function, reply.request_id)
    by_platform = [line.text for line in lines if line.source is LogSource.PLATFORM]
    start, *dropped, end, last = by_platform
    assert start == f"START RequestId: {reply.request_id} Version: $LATEST"
    assert end == f"END RequestId: {reply.request_id}"
    assert last.startswith(f"REPORT RequestId: {reply.request_id}\tDuration: ")
    assert all(re.fullmatch(r"\[… \d+ bytes dropped\]", line) for line in dropped)
    assert reply.log_tail.rstrip(b"\n").split(b"\n")[-1].decode() == last
    assert reply.report is not None
    assert f"\tBilled Duration: {reply.report.billed_ms} ms\t" in last
    assert reply.report.billed_ms >= reply.report.duration_ms > 0
    assert "forged" not in last


def _lines_of(function: FunctionHandle, request_id: str) -> list[LogLine]:
    def written() -> list[LogLine]:
        lines = [line for line in function.logs() if line.request_id == request_id]
        is_whole = lines and lines[-1].text.startswith("REPORT")
        is_whole = is_whole and lines[-1].source is LogSource.PLATFORM
        return lines if is_whole else []

    return wait_until(written, f"the log of {request_id} is written")


def test_a_clock_that_stands_still_is_billed_all_the_same(hostile: Client) -> None:
    with deployed(hostile, _PRINTING) as function:
        reply = function.invoke({"do": "stop_the_clock"})

    assert reply.report is not None
    assert reply.report.billed_ms >= 100


_UNBORN = zip_of({"app.py": (GUESTS / "hostile" / "unborn.py").read_text()})


def test_work_that_is_said_not_to_have_started_is_billed(hostile: Client) -> None:
    with deployed(hostile, _UNBORN, env={"WORK_S": "1.5"}) as function:
        reply = function.invoke({}, check=False)

        assert reply.status == "crashed"
        assert b"forged" not in reply.payload
        assert reply.report is not None
        assert reply.report.billed_ms >= 1_500


def test_work_in_pieces_that_is_said_not_to_have_started_is_billed(
    hostile: Client,
) -> None:
    """Each is short enough to be believed, were it the only one."""
    with deployed(hostile, _UNBORN, env={"WORK_S": "0.8"}) as function:
        replies: list[Reply] = []
        for _ in range(3):
            with suppress(errors.Unavailable):
                replies.append(function.invoke({}, check=False))

    assert replies, "what it did for nothing had no end"
    assert {reply.status for reply in replies} == {"crashed"}
    reports = [reply.report for reply in replies if reply.report is not None]
    assert all(report.billed_ms >= 800 for report in reports)


def test_why_a_fork_failed_is_told_in_our_words_and_logged_as_the_functions(
    hostile: Client, engine: Engine
) -> None:
    with deployed(hostile, _UNBORN, env={"WORK_S": "0"}) as function:
        with pytest.raises(errors.Unavailable, match="could not fork") as caught:
            function.invoke({})

        said = wait_until(lambda: list(function.logs()), "the log is written")
    assert "forged" not in str(caught.value)
    assert {line.source for line in said} == {LogSource.FUNCTION}
    assert all(line.text.isprintable() and "forged" in line.text for line in said)
    assert "forged" not in engine.said


# Packages ------------------------------------------------------------------------

SOURCE = "def handler(event, context): return 'ours'\n"
MAX_UNPACKED = 262_144_000


def _with(name: str, content: bytes | str = "x", mode: int = 0o100644) -> bytes:
    return zip_of({"app.py": SOURCE, name: content}, modes={name: mode})


def _pair(first: str, second: str) -> bytes:
    return zip_of_pairs([("app.py", SOURCE), (first, "1"), (second, "2")])


def _quine() -> bytes:
    """An archive whose second file is said to lie where the first does."""
    package = zip_of({"app.py": SOURCE, "b.py": SOURCE})
    second = package.rindex(CENTRAL)
    changed = bytearray(package)
    changed[second + 42 : second + 46] = (0).to_bytes(4, "little")
    return bytes(changed)


REFUSED: dict[str, Callable[[], bytes]] = {
    "a path upwards": lambda: _with("../../outside.py"),
    "a path upwards inside": lambda: _with("a/../../outside.py"),
    "an absolute path": lambda: _with("/etc/cron.d/job"),
    "a path of another system": lambda: _with("..\\..\\outside.py"),
    "a drive": lambda: _with("C:\\outside.py"),
    "a control character": lambda: _with("a\x1b[2J.py"),
    "a line end": lambda: _with("a\nb.py"),
    "a name of 300 bytes": lambda: _with("n" * 300),
    "a path of 100 folders": lambda: _with("d/" * 100 + "x"),
    "a symbolic link": lambda: _with("link", "/etc/shadow", stat.S_IFLNK | 0o777),
    "a link and a file below it": lambda: zip_of(
        {"app.py": SOURCE, "a": "/tmp", "a/b": "x"}, modes={"a": stat.S_IFLNK | 0o777}
    ),
    "a device": lambda: _with("null", "", stat.S_IFCHR | 0o666),
    "a named pipe": lambda: _with("pipe", "", stat.S_IFIFO | 0o666),
    "a socket": lambda: _with("sock", "", stat.S_IFSOCK | 0o666),
    "a name that comes twice": lambda: _pair("x.py", "x.py"),
    "a file that is a folder, too": lambda: _pair("x", "x/y"),
    "two files in one place": _quine,
    "a bomb": lambda: _with("zeros", bytes(MAX_UNPACKED + 1)),
    "a size that is a lie": lambda: patched(_with("b"), CENTRAL, 24, "<L", 1 << 20),
    "a checksum that is a lie": lambda: patched(_with("b"), LOCAL, 14, "<L", 1),
    "an encrypted file": lambda: patched(_with("b"), CENTRAL, 8, "<H", 1),
    "a method nobody has": lambda: patched(_with("b"), CENTRAL, 10, "<H", 99),
    "no archive": lambda: b"\x7fELF" + bytes(1000),
    "nothing": lambda: b"",
    "the end alone": lambda: b"PK\x05\x06" + bytes(18),
    "a thousand archives in a row": lambda: _with("b")[:-1] * 50,
}

HARMLESS: dict[str, dict[str, bytes | str]] = {
    "our own package": {"sandlot_sandbox/__init__.py": "raise SystemExit(1)"},
    "a module of the standard library": {"json.py": "raise SystemExit(2)"},
    "what is imported late": {"tokenize.py": "raise SystemExit(3)"},
    "site hooks": {"sitecustomize.py": "raise SystemExit(4)", "x.pth": "import os"},
    "user hooks": {"usercustomize.py": "raise SystemExit(5)"},
    "codecs": {"encodings/__init__.py": "raise SystemExit(6)"},
    "a library's name": {"libc.so.6": b"\x7fELF" + bytes(64)},
    "an extension's name": {"_socket.so": b"\x7fELF" + bytes(64)},
    "bytecode": {"__pycache__/app.cpython-311.pyc": b"\0" * 64},
    "options in names": {"-rf": "x", "--help": "x", "$(id)": "x", "`id`": "x"},
    "names in other scripts": {"имя/名前.txt": "x", "a b'c\"d": "x"},
    "set-user-id": {"tool": "#!/bin/sh\nid -u\n"},
}


@in_one_mode
@pytest.mark.parametrize("package", REFUSED)
def test_a_hostile_package_is_refused_and_nothing_is_deployed(
    hostile: Client, package: str
) -> None:
    name = f"refused-{uuid4().hex[:8]}"

    with pytest.raises((errors.InvalidParameter, errors.PayloadTooLarge)):
        hostile.deploy(REFUSED[package](), name=name, handler="app.handler")

    with pytest.raises(errors.NotFound):
        hostile.get_function(name)


@in_one_mode
@pytest.mark.parametrize("package", HARMLESS)
def test_a_package_that_looks_like_ours_is_the_tenants_alone(
    hostile: Client, package: str
) -> None:
    files = {"app.py": SOURCE, **HARMLESS[package]}
    modes = {"tool": stat.S_IFREG | 0o6755}

    with deployed(hostile, zip_of(files, modes=modes)) as function:
        assert function.invoke().value == "ours"


# The API -------------------------------------------------------------------------

NAMES = {
    "upwards": "../neighbour",
    "a path": "a/b",
    "nothing": "",
    "too long": "x" * 65,
    "a line end": "neighbour\n",
    "NUL": "neighbour\0",
    "escaped": "%2e%2e%2fneighbour",
    "another script": "n\u0435ighbour",
    "SQL": "x' OR '1'='1",
    "a pattern": "%",
    "another pattern": "*",
    "a shell": "$(id)",
    "a full ARN": f"arn:aws:lambda:us-east-1:{OTHERS_TENANT}:function:neighbour",
    "a partial ARN": f"{OTHERS_TENANT}:function:neighbour",
    "with a qualifier": "neighbour:$LATEST",
    "with a folder": "./neighbour",
}

REACHES: dict[str, Callable[[Client, str], object]] = {
    "get": lambda client, name: client.get_function(name),
    "invoke": lambda client, name: client.invoke(name),
    "enqueue": lambda client, name: client.enqueue(name),
    "dry run": lambda client, name: client.dry_run(name),
    "configure": lambda client, name: client.update_function(name, memory=256),
    "delete": lambda client, name: client.delete_function(name),
    "logs": lambda client, name: list(client.logs(name)),
}


@in_one_mode
@pytest.mark.parametrize("name", NAMES)
def test_no_name_leads_to_another_tenants_function(hostile: Client, name: str) -> None:
    for how, reach in REACHES.items():
        with pytest.raises((errors.NotFound, errors.InvalidParameter)):
            pytest.fail(f"{how}: {reach(hostile, NAMES[name])!r}")
    assert list(hostile.runs(NAMES[name] or "neighbour")) == []


@in_one_mode
@pytest.mark.parametrize("name", [name for name in NAMES if NAMES[name]])
def test_no_function_can_be_called_that(hostile: Client, name: str) -> None:
    with pytest.raises(errors.InvalidParameter):
        hostile.deploy(
            zip_of({"app.py": SOURCE}), name=NAMES[name], handler="app.handler"
        )


SETTINGS: dict[str, dict[str, Any]] = {
    "a handler with a space": {"handler": "app.handler --help"},
    "a handler with a line end": {"handler": "app\n.handler"},
    "a handler of 129 characters": {"handler": "a" * 129},
    "a runtime that is a path": {"runtime": "../../bin/sh"},
    "a runtime with options": {"runtime": "python3.11 -c x"},
    "less than no memory": {"memory": -1},
    "all memory": {"memory": 2**31 - 1},
    "less than no time": {"timeout": -5},
    "all time": {"timeout": 2**31 - 1},
    "too long a description": {"description": "d" * 300},
    "a variable with '='": {"env": {"A=B": "x"}},
    "a variable without a name": {"env": {"": "x"}},
    "a variable with a line end": {"env": {"A\nB": "x"}},
    "a variable with NUL": {"env": {"AB": "x\0y"}},
    "a variable of the platform's": {"env": {"_HANDLER": "x"}},
    "variables of 5 KB": {"env": {"AB": "x" * 5000}},
}


@in_one_mode
@pytest.mark.parametrize("settings", SETTINGS)
def test_settings_that_nobody_honest_has_are_refused(
    hostile: Client, settings: str
) -> None:
    options = {"handler": "app.handler", **SETTINGS[settings]}
    name = f"refused-{uuid4().hex[:8]}"

    with pytest.raises(errors.InvalidParameter):
        hostile.deploy(zip_of({"app.py": SOURCE}), name=name, **options)

    with pytest.raises(errors.NotFound):
        hostile.get_function(name)


HANDLERS = {
    "os.abort": "error",
    "os._exit": "error",
    "builtins.exec": "init-failed",
    "sandlot_sandbox.guest.zygote.main": "error",
    "app.__dict__": "error",
    "app.__class__": "error",
    "..app.handler": "init-failed",
    "../app.handler": "init-failed",
    "app/../app.handler": "init-failed",
    "/etc/passwd.handler": "init-failed",
}
"""What they name is called, or is not there: in the jail, and nowhere else."""


@in_one_mode
@pytest.mark.parametrize(("handler", "status"), HANDLERS.items())
def test_a_handler_names_nothing_outside_its_jail(
    hostile: Client, handler: str, status: str
) -> None:
    with deployed(hostile, zip_of({"app.py": SOURCE}), handler=handler) as function:
        assert function.invoke({}, check=False).status == status


VARIABLES = {
    "LD_PRELOAD": "/tmp/evil.so",
    "LD_LIBRARY_PATH": "/tmp:/var/task",
    "LD_AUDIT": "/var/task/evil.so",
    "GLIBC_TUNABLES": "glibc.malloc.check=3",
    "PYTHONPATH": "/proc/1/root:/tmp",
    "PYTHONHOME": "/tmp",
    "PYTHONSTARTUP": "/var/task/app.py",
    "PYTHONINSPECT": "1",
    "PYTHONMALLOC": "debug",
    "TMPDIR": "/var/task",
    "PATH": "/tmp",
    "HOME": "/root",
    "SANDLOT_DATA": "/",
    "TZ": "/etc/shadow",
    "LC_ALL": "../../../../tmp",
}


def test_variables_that_steer_programs_steer_none_of_ours(hostile: Client) -> None:
    source = "import os\ndef handler(event, context): return os.environ['LD_PRELOAD']\n"

    with deployed(hostile, zip_of({"app.py": source}), env=VARIABLES) as function:
        assert function.invoke().value == VARIABLES["LD_PRELOAD"]


EVENTS = {
    "too deep": b"[" * 100_000 + b"]" * 100_000,
    "half a character": b'"\xe2\x82"',
    "a lone surrogate": b'"\\ud800"',
    "NUL": b'"a\\u0000b"',
    "a huge number": b"9" * 10_000,
    "a huge exponent": b"1e999999",
    "no number": b"NaN",
    "one key ten thousand times": b"{" + b'"a":1,' * 10_000 + b'"a":2}',
    "evil keys": b'{"__class__":"x","__proto__":{},"constructor":1}',
    "a mark before it": b"\xef\xbb\xbf{}",
    "two values": b"{}{}",
    "white space alone": b" \n\t ",
}


def test_whatever_is_sent_as_an_event_is_answered_or_refused(hostile: Client) -> None:
    source = "def handler(event, context): return 'ours'\n"
    with deployed(hostile, zip_of({"app.py": source})) as function:
        for event in EVENTS.values():
            try:
                reply = function.invoke(payload=event, check=False)
            except errors.InvalidParameter:
                continue
            assert reply.value == "ours" or (
                reply.value["errorType"] == "Runtime.UnmarshalError"
            )
        assert function.invoke({}).value == "ours"


@in_one_mode
@pytest.mark.parametrize(
    "context",
    [{"custom": "x" * 4000}, {"custom": [[[[[[]]]]]], "client": 5}, {"env": "\0\r\n"}],
    ids=["too large", "of other types", "with line ends"],
)
def test_a_hostile_client_context_is_answered_or_refused(
    hostile: Client, context: dict[str, Any]
) -> None:
    with deployed(hostile, zip_of({"app.py": SOURCE})) as function:
        try:
            reply = function.invoke({}, client_context=context, check=False)
        except (errors.InvalidParameter, errors.PayloadTooLarge):
            reply = function.invoke({})

        assert reply.value == "ours" or (
            reply.value["errorType"] == "Runtime.LambdaContextUnmarshalError"
        )


def test_a_tenant_finds_nothing_of_others_in_what_it_may_list(
    hostile: Client, neighbour: FunctionHandle
) -> None:
    seen = [
        *(function.name for function in hostile.functions()),
        *(run.function for run in hostile.runs()),
        *(line.function for line in bill_of(hostile).lines),
    ]

    assert neighbour.name not in seen
    assert SECRET not in repr(hostile.status())
    assert os.fspath(Path.cwd()) not in repr(hostile.status())
