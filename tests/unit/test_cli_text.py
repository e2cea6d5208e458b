"""What tenants write cannot command the terminal of who reads it."""

import json

import pytest

from sandlot.cli import output, text
from tests.fakes.engine import Engine, Failure
from tests.unit.conftest import Cli

ESCAPES = {
    "clear the screen": "\x1b[2J",
    "set the window's title": "\x1b]0;owned\x07",
    "C1 form of the same": "\x9b2J",
    "overwrite the line": "\rsecret",
    "turn the text round": "\u202etxt.exe",
    "no width": "\u200b",
    "half a character": "\ud800",
}


@pytest.mark.parametrize("hostile", ESCAPES.values(), ids=ESCAPES.keys())
def test_silent_characters_are_shown(hostile: str) -> None:
    for harmless in (text.block(hostile), text.one_line(hostile)):
        assert all(character.isprintable() for character in harmless), harmless
        assert json.loads(f'"{harmless}"') == hostile


def test_newlines_stay_in_a_block_and_go_from_a_line() -> None:
    assert text.block("a\nb\tc") == "a\nb\tc"
    assert text.one_line("a\nb") == "a\\u000ab"


def test_a_traceback_in_a_log_is_shown_on_lines_of_its_own_below_its_time(
    cli: Cli, engine: Engine
) -> None:
    engine.add_function("hello")
    engine.log("hello", b"[ERROR] E: no\rTraceback:\r\xc2\xa0 File", request_id="r1")

    first, *below = cli("logs", "hello").stdout.splitlines()

    assert first.endswith("r1…  [ERROR] E: no")
    indent = " " * first.index("[ERROR]")
    assert below == [f"{indent}Traceback:", f"{indent}\xa0 File"]


def test_the_end_of_a_log_has_carriage_returns_as_lines_and_nothing_else_silent() -> (
    None
):
    assert text.logged_block("a\r\nb\rc\x1b\n") == "a\nb\nc\\u001b\n"


@pytest.mark.parametrize("json_flag", [[], ["--json"]], ids=["text", "json"])
def test_escape_sequences_in_a_log_are_neutralised(
    cli: Cli, engine: Engine, json_flag: list[str]
) -> None:
    engine.add_function("hello")
    engine.log("hello", b"\x1b[2J\xc2\x9b2J\rgone", request_id="r\x1b[31m")

    shown = cli("logs", "hello", *json_flag).stdout

    assert not set(shown) & {"\x1b", "\x9b", "\r"}
    assert "gone" in shown


def test_raw_logs_are_the_bytes_as_they_were(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")
    engine.log("hello", b"\x1b[2J\xff")

    assert cli("logs", "hello", "--raw").stdout_bytes == b"\x1b[2J\xff\n"


def test_an_answer_is_escaped_and_still_decodes_to_the_same(
    cli: Cli, engine: Engine
) -> None:
    engine.add_function("echo", lambda event: {"a": "\x9b\u202e\x7f", "b": "é"})

    shown = cli("invoke", "echo").stdout

    assert not set(shown) & {"\x9b", "\u202e", "\x7f"}
    assert json.loads(shown) == {"a": "\x9b\u202e\x7f", "b": "é"}


def test_an_error_cannot_forge_lines_of_ours(cli: Cli, engine: Engine) -> None:
    def fail(event: object) -> None:
        raise Failure("E\x1b[31m", "no\n  request id: forged\x1b[2J")

    engine.add_function("evil", fail)

    shown = cli("invoke", "evil")

    assert "\x1b" not in shown.output
    assert "\n  request id: forged" not in shown.stderr


LONG = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"


@pytest.mark.parametrize("last", [LONG, f"{LONG}/{LONG}", "2026-05-17 10:00"])
def test_on_a_narrow_terminal_ids_and_addresses_can_still_be_copied(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    monkeypatch.setenv("COLUMNS", "40")

    output.rich_table(["ID", "LAST"], [[LONG, last]])

    assert f"{LONG}  {last}" in capsys.readouterr().out


def test_nor_are_they_cut_on_a_dumb_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("TERM", "dumb"), ("FORCE_COLOR", "1"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)

    output.rich_table(["ID", "LAST"], [[LONG, f"{LONG}/{LONG}"]])

    assert f"{LONG}  {LONG}/{LONG}" in capsys.readouterr().out


def test_a_long_text_is_folded_in_its_column(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")

    output.rich_table(["ID", "WHY"], [["a", "no module " * 20]])

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 3
    assert max(map(len, lines)) <= len("ID  ") + output.TEXT_WIDTH


def test_rich_markup_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.rich_table(["NAME"], [["[bold red]x[/]"]])

    assert "[bold red]x[/]" in capsys.readouterr().out


def test_no_color_leaves_no_sequences_at_all(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")

    output.rich_table(["NAME"], [["hello"]])

    assert capsys.readouterr().out.split() == ["NAME", "hello"]
