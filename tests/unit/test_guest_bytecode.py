"""Bytecode that a builder leaves beside the sources, tried in every interpreter.

Each build is a child as in a jail: the zip on descriptor 4, the channel on 3, the
folder as its working directory. The jail itself is not needed for what is shown here.
"""

from __future__ import annotations

import importlib.util
import json
import os
import py_compile
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from sandlot_sandbox import frames
from sandlot_sandbox.guest import archive, bytecode, unpacking
from tests.fakes.guest_interpreters import (
    DEADLINE_S,
    SANDBOX,
    every_interpreter,
)
from tests.fakes.zips import zip_of

TAG = sys.implementation.cache_tag
LIBRARY = {
    "app.py": "import lib.tool\ndef handler(event, context): return lib.tool.ANSWER\n",
    "lib/__init__.py": "",
    "lib/tool.py": "ANSWER = frozenset({'a', 'b'})\n",
    "lib/data.txt": "ANSWER = 1\n",
}


def build(
    python: str,
    data: bytes,
    folder: Path,
    *,
    change: str = "",
    place: str = "/var/task",
) -> tuple[frames.Note, str]:
    """What a builder says, and prints; `change` is run in it first."""
    folder.mkdir(exist_ok=True)
    package = folder.with_name("package.zip")
    package.write_bytes(data)
    script = f"""
import fcntl, os, sys
above = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in sys.argv[1:]]
for source, target in zip(above, (3, 4)):
    os.dup2(source, target)
sys.path.insert(0, {str(SANDBOX)!r})
from sandlot_sandbox.guest import builder, bytecode
{textwrap.dedent(change)}
builder.main({place!r}, "1", "compile")
"""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, package.open("rb") as opened:
        given = (theirs.fileno(), opened.fileno())
        done = subprocess.run(
            [python, "-I", "-S", "-B", "-c", script, *map(str, given)],
            cwd=folder,
            pass_fds=given,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        theirs.close()
        datagram = ours.recv(frames.MAX_NOTE)
    assert datagram, done.stderr
    return frames.decode_note(datagram, frames.BUILDER_NOTES), done.stderr


def imported(python: str, folder: Path, names: list[str]) -> Any:
    """The sources that an import of these modules had to compile."""
    script = f"""
import importlib, importlib.machinery, json, os, sys
sys.path.insert(0, {str(folder)!r})
compiled = []
find = importlib.machinery.SourceFileLoader.source_to_code
def note(self, data, path, **options):
    compiled.append(os.path.relpath(path, {str(folder)!r}))
    return find(self, data, path, **options)
importlib.machinery.SourceFileLoader.source_to_code = note
for name in {names!r}:
    importlib.import_module(name)
print(json.dumps(compiled))
"""
    return json.loads(
        subprocess.check_output(
            [python, "-I", "-S", "-B", "-c", script], timeout=DEADLINE_S
        )
    )


@every_interpreter
def test_what_was_built_is_imported_without_being_compiled(
    python: str, tmp_path: Path
) -> None:
    note, printed = build(python, zip_of(LIBRARY), tmp_path / "code")

    assert (note.kind, note.instance) == (frames.BUILT, len(LIBRARY))
    assert note.status == sum(map(len, LIBRARY.values()))
    assert printed == ""
    assert imported(python, tmp_path / "code", ["app", "lib.tool"]) == []


@every_interpreter
def test_what_does_not_compile_is_left_to_whoever_imports_it(
    python: str, tmp_path: Path
) -> None:
    broken: dict[str, bytes | str] = {
        "brackets.py": "(" * 100_000,
        "minus.py": "-" * 100_000 + "1",
        "nul.py": "a = 1\0",
        "syntax.py": "def handler(:\n",
        "undecodable.py": b"# coding: no-such-thing\n",
        "utf8.py": b"a = '\xff'\n",
        "warned.py": r"a = '\d'" + "\n",
        "z.py": "a = 1\n",
    }

    note, printed = build(python, zip_of(broken), tmp_path / "code")

    assert (note.kind, note.instance) == (frames.BUILT, len(broken))
    assert _compiled(tmp_path / "code") == {"warned", "z"}
    assert "Warning" not in printed


@every_interpreter
def test_a_refusal_is_told_and_nothing_is_compiled(python: str, tmp_path: Path) -> None:
    data = zip_of({"app.py": "", "z/../../out.py": ""})

    note, _ = build(python, data, tmp_path / "code")

    assert (note.kind, note.status) == (frames.REFUSED, 0)
    assert note.text.startswith("Could not unzip uploaded file.")
    assert note.text.endswith("leads out of the package with '..'.")
    assert list((tmp_path / "code").iterdir()) == []


def test_a_zip_that_is_too_large_is_told_so(tmp_path: Path) -> None:
    change = "from sandlot_sandbox.guest import unpacking; unpacking.MAX_ZIPPED = 100"

    note, _ = build(sys.executable, bytes(101), tmp_path / "code", change=change)

    assert (note.kind, note.status) == (frames.REFUSED, 1)


def test_a_zip_of_nothing_is_refused(tmp_path: Path) -> None:
    note, _ = build(sys.executable, b"", tmp_path / "code")

    assert (note.kind, note.status) == (frames.REFUSED, 0)


def test_the_same_package_gives_the_same_bytecode(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        build(sys.executable, zip_of(LIBRARY), tmp_path / name / "code")

    one, two = (_bytecode(tmp_path / name / "code") for name in ("one", "two"))
    assert one == two != {}


def test_bytecode_names_the_file_where_it_will_be(tmp_path: Path) -> None:
    for place in ("/var/task", "/opt"):
        build(sys.executable, zip_of(LIBRARY), tmp_path / place[1:4], place=place)

        pyc = _bytecode(tmp_path / place[1:4])[f"lib/__pycache__/tool.{TAG}.pyc"]
        assert f"{place}/lib/tool.py".encode() in pyc
        assert str(tmp_path).encode() not in pyc


def test_what_was_compiled_is_readable_for_all(tmp_path: Path) -> None:
    build(sys.executable, zip_of(LIBRARY), tmp_path / "code", change="os.umask(0o077)")

    cache = tmp_path / "code/lib/__pycache__"
    assert oct(cache.stat().st_mode) == "0o40755"
    assert {oct(path.stat().st_mode) for path in cache.iterdir()} == {"0o100644"}


def _pyc(tmp_path: Path, mode: py_compile.PycInvalidationMode) -> bytes:
    source = tmp_path / "stale.py"
    source.write_text("FROM = 'bytecode'\n")
    path = py_compile.compile(str(source), invalidation_mode=mode, doraise=True)
    assert path is not None
    return Path(path).read_bytes()


@pytest.mark.parametrize(
    ("mode", "is_kept"),
    [
        (py_compile.PycInvalidationMode.UNCHECKED_HASH, True),
        (py_compile.PycInvalidationMode.CHECKED_HASH, True),
        (py_compile.PycInvalidationMode.TIMESTAMP, False),
    ],
)
def test_bytecode_of_the_package_s_own_stays_if_the_interpreter_would_look_at_it(
    tmp_path: Path, mode: py_compile.PycInvalidationMode, *, is_kept: bool
) -> None:
    own = _pyc(tmp_path, mode)
    name = f"__pycache__/app.{TAG}.pyc"

    build(
        sys.executable,
        zip_of({"app.py": "FROM = 'source'\n", name: own}),
        tmp_path / "code",
    )

    assert ((tmp_path / "code" / name).read_bytes() == own) is is_kept


@pytest.mark.parametrize(
    "own",
    [b"", b"x", importlib.util.MAGIC_NUMBER, b"\0\0\r\n" + bytes(60)],
    ids=["empty", "short", "cut off", "another version's"],
)
def test_bytecode_of_the_package_s_own_that_nobody_can_use_is_replaced(
    tmp_path: Path, own: bytes
) -> None:
    name = f"__pycache__/app.{TAG}.pyc"

    build(sys.executable, zip_of({"app.py": "a = 1\n", name: own}), tmp_path / "code")

    assert imported(sys.executable, tmp_path / "code", ["app"]) == []


def test_a_package_that_is_in_the_way_of_its_bytecode_stays_as_it_is(
    tmp_path: Path,
) -> None:
    files = {
        "__pycache__": "a file\n",
        "app.py": "a = 1\n",
        f"lib/__pycache__/tool.{TAG}.pyc/inner": "a folder\n",
        "lib/tool.py": "b = 1\n",
        "n" * 250 + ".py": "c = 1\n",
    }

    note, _ = build(sys.executable, zip_of(files), tmp_path / "code")

    assert note.kind == frames.BUILT
    root = tmp_path / "code"
    found = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}
    assert found == files.keys()


def test_a_compiler_that_crashes_costs_the_package_nothing(tmp_path: Path) -> None:
    crash = """
        import os, signal
        compiled = bytecode._compiled
        def crash(source, path):
            if path == "/var/task/b.py":
                os.kill(os.getpid(), signal.SIGSEGV)
            return compiled(source, path)
        bytecode._compiled = crash
    """
    data = zip_of({"a.py": "", "b.py": "", "c.py": ""})

    note, _ = build(sys.executable, data, tmp_path / "code", change=crash)

    assert (note.kind, note.instance) == (frames.BUILT, 3)
    assert _compiled(tmp_path / "code") == {"a"}


def test_a_compiler_that_dies_while_it_writes_leaves_no_half_of_a_file(
    tmp_path: Path,
) -> None:
    die = """
        import os, signal
        def die(descriptor, chunk):
            os.write(descriptor, chunk[:20])
            os.kill(os.getpid(), signal.SIGKILL)
        bytecode.write_all = die
    """

    note, _ = build(
        sys.executable, zip_of({"lib/a.py": ""}), tmp_path / "code", change=die
    )

    assert note.kind == frames.BUILT
    assert list((tmp_path / "code/lib/__pycache__").iterdir()) == []


def test_a_file_that_takes_for_ever_to_compile_is_given_up(tmp_path: Path) -> None:
    hang = """
        import signal
        def hang(source, path):
            if path == "/var/task/b.py":
                signal.pthread_sigmask(signal.SIG_SETMASK, ())
                signal.pause()
            return b"whole"
        bytecode._compiled = hang
        bytecode.COMPILE_S, bytecode.ONE_FILE_S = 0, 1
        bytecode.time.monotonic = lambda: 0.0
    """
    data = zip_of({"a.py": "", "b.py": "", "c.py": ""})

    note, _ = build(sys.executable, data, tmp_path / "code", change=hang)

    assert note.kind == frames.BUILT
    assert _compiled(tmp_path / "code") == {"a"}


def test_no_file_is_begun_when_the_time_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bytecode, "COMPILE_S", -1.0)

    _compile_here(tmp_path, {"a.py": "", "b.py": ""})

    assert _compiled(tmp_path) == set()


def test_no_more_bytecode_is_written_than_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = {"a.py": "a = 1\n", "b.py": "a = 1\n", "c.py": "a = 1\n"}
    (tmp_path / "free").mkdir()
    _compile_here(tmp_path / "free", sources)
    one, *_ = map(len, _bytecode(tmp_path / "free").values())
    monkeypatch.setattr(bytecode, "MAX_BYTECODE", 2 * one)

    (tmp_path / "bound").mkdir()
    _compile_here(tmp_path / "bound", sources)

    assert _compiled(tmp_path / "bound") == {"a", "b"}


@every_interpreter
def test_a_source_that_folds_to_much_more_is_left_to_the_import(
    python: str, tmp_path: Path
) -> None:
    folding = "".join(f"x = '{number:04x}' * 1000\n" for number in range(300))
    package = zip_of({**LIBRARY, "lib/folding.py": folding})

    build(python, package, tmp_path / "code")

    assert imported(python, tmp_path / "code", ["app", "lib.tool", "lib.folding"]) == [
        "lib/folding.py"
    ]


def test_all_bytecode_has_about_the_size_of_the_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bytecode, "MORE_OF_ALL", 0)
    names = [f"m{number}.py" for number in range(20)]
    sources = dict.fromkeys(names, "def f(a, b): return a + b\n" * 4)

    _compile_here(tmp_path, sources)

    written = _bytecode(tmp_path).values()
    assert 0 < len(written) < len(sources)
    most = bytecode.ALL_OF_SOURCES * sum(map(len, sources.values()))
    assert sum(map(len, written)) <= most


def test_a_full_disk_leaves_no_half_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int, chunk: bytes) -> None:
        os.write(descriptor, chunk[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bytecode, "write_all", fail)

    _compile_here(tmp_path, {"a.py": ""})

    assert list((tmp_path / "__pycache__").iterdir()) == []


def test_only_modules_of_a_usual_size_are_compiled() -> None:
    def entry(path: str, size: int = 1, *, is_folder: bool = False) -> archive.Entry:
        return archive.Entry(path, is_folder, False, 0, 0, size, size, 0)

    sources = bytecode.sources_of(
        [
            entry("lib/b.py"),
            entry("a.py"),
            entry("folder.py", 0, is_folder=True),
            entry("lib/__pycache__/c.py"),
            entry("data.txt"),
            entry("largest.py", bytecode.MAX_SOURCE),
            entry("table.py", bytecode.MAX_SOURCE + 1),
        ]
    )

    assert sources == ["a.py", "largest.py", "lib/b.py"]


def _compile_here(folder: Path, sources: dict[str, str]) -> None:
    for name, text in sources.items():
        (folder / name).write_text(text)
    root = os.open(folder, unpacking.OPEN_FOLDER)
    try:
        bytecode.compile_all(sorted(sources), root, "/var/task", ".new")
    finally:
        os.close(root)


def _compiled(folder: Path) -> set[str]:
    """Modules that have bytecode; nothing else may be beside it."""
    found = list(folder.rglob("__pycache__/*"))
    assert all(path.suffix == ".pyc" for path in found)
    return {path.name.partition(".")[0] for path in found}


def _bytecode(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*.pyc")
    }
