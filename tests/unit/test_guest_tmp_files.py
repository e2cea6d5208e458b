"""What an import left in /tmp, clones have in theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.guest_interpreters import Guest, every_interpreter

KEPT = """
tmp = tmp_files.TMP = os.path.realpath("tmp")
os.mkdir(tmp)
{made}
reasons = list(tmp_files.keep())
os.rename(tmp, tmp + "-of-the-zygote")
os.mkdir(tmp)
"""


@pytest.fixture
def guest(python: str, tmp_path: Path) -> Guest:
    return Guest(python, tmp_path)


def kept(made: str) -> str:
    return KEPT.format(made=made)


@every_interpreter
def test_a_clone_has_files_folders_and_links_as_they_were(guest: Guest) -> None:
    made = """
os.makedirs(tmp + "/cache/fonts")
with open(tmp + "/cache/fonts/list", "wb") as file: file.write(b"0123456789" * 99999)
with open(tmp + "/tool", "w") as file: file.write("#!/bin/sh")
os.chmod(tmp + "/tool", 0o555)
os.utime(tmp + "/tool", ns=(1, 2))
os.symlink("cache/fonts", tmp + "/fonts")
os.chmod(tmp + "/cache", 0o500)
os.utime(tmp + "/cache", ns=(3, 4))
os.chdir(tmp + "/cache")
"""
    script = """
def look():
    os.chdir("/")
    tmp_files.restore()
    tool, cache = os.stat(tmp + "/tool"), os.stat(tmp + "/cache")
    with open(tmp + "/fonts/list", "rb") as file: content = file.read()
    return [
        content == b"0123456789" * 99999, os.getcwd() == tmp + "/cache",
        *([each.st_mode & 0o777, each.st_mtime_ns] for each in (tool, cache)),
        os.readlink(tmp + "/fonts"),
    ]
result = [reasons, in_a_clone(look)]
"""

    reasons, seen = guest.result_of(kept(made) + script)

    assert reasons == []
    assert seen == [True, True, [0o555, 2], [0o500, 4], "cache/fonts"]


@every_interpreter
def test_what_is_there_of_the_last_instance_is_replaced(guest: Guest) -> None:
    made = """
os.mkdir(tmp + "/cache")
for name in ("cache/one", "two"):
    with open(f"{tmp}/{name}", "w") as file: file.write("new")
os.symlink("two", tmp + "/link")
"""
    script = """
os.mkdir(tmp + "/cache")
for name in ("cache/one", "two", "own"):
    with open(f"{tmp}/{name}", "w") as file: file.write("older, and longer")
os.symlink("one", tmp + "/link")
def look():
    tmp_files.restore()
    return [open(f"{tmp}/{name}").read() for name in ("cache/one", "link", "own")]
result = [reasons, in_a_clone(look), in_a_clone(look)]
"""

    reasons, *seen = guest.result_of(kept(made) + script)

    assert reasons == []
    assert seen == [["new", "new", "older, and longer"]] * 2


@every_interpreter
def test_a_log_that_is_open_each_clone_goes_on_with(guest: Guest) -> None:
    script = """
os.mkdir("tmp")
tmp = tmp_files.TMP = os.path.realpath("tmp")
before = fork_safety.take_snapshot()
log = open(tmp + "/log", "a")
log.write("of the import\\n")
log.flush()
reasons = fork_safety.inspect_process(before)
reasons += tmp_files.keep(fork_safety.files_to_append(before))
os.rename(tmp, tmp + "-of-the-zygote")
os.mkdir(tmp)
def write():
    tmp_files.restore()
    log.write(f"{log.tell()}\\n")
    log.flush()
    return open(tmp + "/log").read().split("\\n")
result = [reasons, in_a_clone(write), in_a_clone(write)]
assert os.path.getsize(tmp + "-of-the-zygote/log") == 14
"""

    reasons, *written = guest.result_of(script)

    assert reasons == []
    assert written == [["of the import", "14", ""]] * 2


@every_interpreter
@pytest.mark.parametrize(
    "opened",
    [
        "open(tmp + '/log', 'w')",
        "open(os.path.realpath('elsewhere'), 'a')",
        "(open(tmp + '/log', 'a'), os.unlink(tmp + '/log'))",
    ],
    ids=["not appended to", "elsewhere", "removed"],
)
def test_what_else_is_open_for_writing_is_told(guest: Guest, opened: str) -> None:
    reasons = guest.result_of(
        f"""
        os.mkdir("tmp")
        tmp = tmp_files.TMP = os.path.realpath("tmp")
        before = fork_safety.take_snapshot()
        kept = {opened}
        assert not fork_safety.files_to_append(before)
        result = fork_safety.inspect_process(before)
        """
    )

    assert "open for writing" in reasons[0]


@every_interpreter
@pytest.mark.parametrize(
    ("made", "why"),
    [
        ("os.mkfifo(tmp + '/fifo')", "neither a file nor a folder"),
        ("open(tmp + '/large', 'w').truncate((64 << 20) + 1)", "of 64 MB at most"),
        ("[os.mkdir(f'{tmp}/{n}') for n in range(257)]", "clones get 256 files"),
    ],
    ids=["a fifo", "a large file", "many"],
)
def test_what_is_not_copied_is_told(guest: Guest, made: str, why: str) -> None:
    reasons = guest.result_of(kept(made) + "result = reasons\n")

    assert len(reasons) == 1
    assert why in reasons[0]
