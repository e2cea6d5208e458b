"""A file or folder becomes a zip, the same every time."""

import io
import os
import zipfile
from pathlib import Path

import pytest

from sandlot import packing
from sandlot.errors import InvalidParameter, PayloadTooLarge, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "hello"
    (made / "lib").mkdir(parents=True)
    (made / "app.py").write_text("def handler(event, context): return event\n")
    (made / "lib" / "tool.sh").write_text("#!/bin/sh\n")
    (made / "lib" / "tool.sh").chmod(0o755)
    return made


def names(package: packing.Package) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(package.zip)) as archive:
        return archive.namelist()


def test_the_same_folder_gives_the_same_bytes(folder: Path) -> None:
    before = packing.pack(folder).zip
    os.utime(folder / "app.py", (0, 1_700_000_000))
    (folder / "app.py").chmod(0o600)

    assert packing.pack(folder).zip == before


def test_a_folder_gives_its_name_and_its_likely_handler(folder: Path) -> None:
    package = packing.pack(folder)

    assert (package.name, package.likely_handler) == ("hello", "app.handler")
    assert names(package) == ["app.py", "lib/tool.sh"]


@pytest.mark.parametrize(
    ("file", "handler"),
    [
        ("resize.py", "resize.handler"),
        ("lambda_function.py", "lambda_function.lambda_handler"),
    ],
)
def test_a_file_gives_the_handler_that_aws_would_look_for(
    file: str, handler: str, tmp_path: Path
) -> None:
    (tmp_path / file).write_text("")

    assert packing.pack(tmp_path / file).likely_handler == handler


@pytest.mark.parametrize(
    ("file", "source", "handler"),
    [
        ("it.py", "def lambda_handler(event, context): ...", "it.lambda_handler"),
        ("it.py", "x = 1\nasync def lambda_handler(e, c): ...", "it.lambda_handler"),
        (
            "it.py",
            "def lambda_handler(): ...\ndef handler(e, c): ...",
            "it.handler",
        ),
        ("it.py", "def lambda_handler(e, c): ...\nhandler = wrap(3)", "it.handler"),
        ("it.py", "from x import handler\nlambda_handler = handler", "it.handler"),
        ("it.py", "class A:\n    def lambda_handler(self): ...", "it.handler"),
        ("it.py", "# lambda_handler", "it.handler"),
        ("lambda_function.py", "def handler(e, c): ...", "lambda_function.handler"),
        ("app.py", "def lambda_handler(event, context): ...", "app.lambda_handler"),
        ("it.js", "def lambda_handler(event, context): ...", "it.handler"),
    ],
)
def test_a_handler_that_is_called_otherwise_is_found(
    file: str, source: str, handler: str, tmp_path: Path
) -> None:
    (tmp_path / file).write_text(source)

    assert packing.pack(tmp_path / file).likely_handler == handler
    if file.endswith(".py"):
        assert packing.pack(tmp_path).likely_handler == handler
        assert packing.pack(packing.pack(tmp_path).zip).likely_handler == handler


def test_of_several_files_none_is_taken_for_the_handlers(tmp_path: Path) -> None:
    (tmp_path / "one.py").touch()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "two.py").touch()
    alone = packing.pack(tmp_path).likely_handler
    (tmp_path / "two.py").touch()

    assert alone == "one.handler"
    assert packing.pack(tmp_path).likely_handler is None


def test_a_zip_that_cannot_be_read_is_the_engines_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def lambda_handler(e, c): ...")
    content = bytearray(packing.pack(tmp_path).zip)
    content[content.index(b"app.py") + len("app.py")] ^= 0xFF

    assert packing.pack(bytes(content)).likely_handler == "app.handler"


def test_what_was_compiled_says_for_which_python(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("")
    for name in (
        "a.cpython-312-x86_64-linux-gnu.so",
        "b.cpython-313-darwin.so",
        "c.cp311-win_amd64.pyd",
        "good_for_many.abi3.so",
        "libplain.so",
    ):
        (tmp_path / name).touch()

    assert packing.pack(tmp_path).compiled_for == {
        "python3.12",
        "python3.13 on macOS",
        "python3.11 on Windows",
    }


def test_executable_bits_are_kept(folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(packing.pack(folder).zip)) as archive:
        modes = {
            one.filename: one.external_attr >> 16 & 0o777 for one in archive.filelist
        }

    assert modes == {"app.py": 0o644, "lib/tool.sh": 0o755}


def test_a_file_with_a_handler_gives_both_names(tmp_path: Path) -> None:
    (tmp_path / "resize.py").write_text("def main(event, context): ...\n")

    package = packing.pack(f"{tmp_path}/resize.py:main")

    assert (package.name, package.handler) == ("resize", "resize.main")
    assert names(package) == ["resize.py"]


def test_what_python_and_git_leave_behind_is_left_out(folder: Path) -> None:
    for name in ("__pycache__", ".git", ".venv"):
        (folder / name).mkdir()
        (folder / name / "x").write_text("x")

    assert names(packing.pack(folder)) == ["app.py", "lib/tool.sh"]


def test_sandlotignore_leaves_out_what_it_lists(folder: Path) -> None:
    (folder / "notes.md").write_text("x")
    (folder / "lib" / "data.md").write_text("x")
    (folder / "big").mkdir()
    (folder / "big" / "file").write_text("x")
    (folder / ".sandlotignore").write_text("# comment\n*.md\nbig/\nlib/tool.sh\n")

    assert names(packing.pack(folder)) == ["app.py"]


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (folder / "innocent.txt").symlink_to(tmp_path / "secret")

    with pytest.raises(InvalidParameter, match="link out of the folder"):
        packing.pack(folder)


def test_a_link_within_the_folder_becomes_a_copy(folder: Path) -> None:
    (folder / "main.py").symlink_to("app.py")

    with zipfile.ZipFile(io.BytesIO(packing.pack(folder).zip)) as archive:
        assert archive.read("main.py") == archive.read("app.py")


def test_a_link_to_a_folder_is_refused(folder: Path) -> None:
    (folder / "again").symlink_to(folder / "lib")

    with pytest.raises(InvalidParameter, match="link to a folder"):
        packing.pack(folder)


def test_what_is_not_a_file_is_refused_and_not_read(folder: Path) -> None:
    os.mkfifo(folder / "pipe")

    with pytest.raises(InvalidParameter, match="neither a file nor a folder"):
        packing.pack(folder)


def test_a_zip_is_taken_as_it_is(folder: Path, tmp_path: Path) -> None:
    content = packing.pack(folder).zip
    (tmp_path / "code.zip").write_bytes(content)

    assert packing.pack(tmp_path / "code.zip").zip == content
    assert len(packing.pack(content).names) == 2
    assert packing.pack(content).likely_handler == "app.handler"


def test_bytes_that_are_no_zip_are_refused() -> None:
    with pytest.raises(InvalidParameter, match="not a zip file"):
        packing.pack(b"def handler(): ...")


def test_a_package_over_the_limit_is_refused_with_both_numbers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "MAX_ZIP", 100)

    with pytest.raises(PayloadTooLarge, match=r"of 100 allowed.* as layers") as refused:
        packing.pack(folder)

    assert refused.value.limit == 100


def test_files_over_the_limit_are_refused_before_they_are_read(folder: Path) -> None:
    with (folder / "sparse").open("wb") as file:
        file.truncate(packing.MAX_UNPACKED + 1)

    with pytest.raises(PayloadTooLarge, match="unpacked"):
        packing.pack(folder)


@pytest.mark.parametrize("source", ["nowhere", "nowhere.py:handler"])
def test_a_path_that_is_not_there_is_refused(source: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="no file or folder"):
        packing.pack(f"{tmp_path}/{source}")


@pytest.mark.parametrize("name", ["hello.txt", "sandlot.db", "hello"])
def test_a_file_that_nothing_runs_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("")

    with pytest.raises(UsageError, match=r"one of \.py, \.js.* or a program"):
        packing.pack(tmp_path / name)


def test_a_program_may_be_by_itself(tmp_path: Path) -> None:
    (tmp_path / "bootstrap").write_text("")

    alone = packing.pack(tmp_path / "bootstrap")
    folder = packing.pack(tmp_path)
    (tmp_path / "app.py").write_text("")

    assert (alone.language, alone.likely_handler) == ("provided", "bootstrap")
    assert (folder.likely_language, folder.likely_handler) == ("provided", "bootstrap")
    assert packing.pack(folder.zip).likely_language == "provided"
    assert packing.pack(tmp_path).likely_language == "python"


@pytest.mark.parametrize("source", ["docker://a/b:1", "docker-archive:a.tar"])
def test_an_image_of_another_kind_is_told_how_to_become_a_layout(source: str) -> None:
    with pytest.raises(InvalidParameter, match=f"skopeo copy {source} oci:DIR/NAME"):
        packing.pack(source)


@pytest.mark.parametrize("source", ["oci:a:1", "oci-archive:/a.tar"])
def test_an_image_s_address_is_passed_on(source: str) -> None:
    package = packing.pack(source)

    assert (package.image, package.zip, package.name) == (source, b"", None)


def test_a_file_that_is_named_without_its_end_is_told(tmp_path: Path) -> None:
    (tmp_path / "hello.py").touch()

    with pytest.raises(UsageError, match=r"to deploy: do you mean .*/hello\.py\?"):
        packing.pack(tmp_path / "hello")
    with pytest.raises(UsageError, match=r"'https://a\.test/x\.zip' to deploy$"):
        packing.pack("https://a.test/x.zip")
