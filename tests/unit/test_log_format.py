"""What an operator reads of what a tenant has said."""

import logging

from sandlot_engine.log_format import BESIDE, Plain

HOSTILE = "\x1b]0;pwn\x07\x9b2J\r\nsandlot: ERROR forged\u202e"


def _line(message: str, *args: object, error: BaseException | None = None) -> str:
    record = logging.LogRecord(
        "sandlot",
        logging.ERROR,
        __file__,
        1,
        message,
        args,
        (type(error), error, error.__traceback__) if error is not None else None,
    )
    return Plain(lambda _: "").format(record)


def test_a_message_is_one_line_that_no_terminal_obeys() -> None:
    line = _line("it said %s", HOSTILE)

    assert line.isprintable()
    assert line.startswith("sandlot: ERROR sandlot: it said \\x1b]0;pwn")


def test_a_line_begins_with_its_time() -> None:
    record = logging.LogRecord("a", logging.INFO, __file__, 1, "said", (), None)

    line = Plain(lambda moment: f"{moment:.0f} ").format(record)

    assert line == f"{record.created:.0f} sandlot: INFO a: said"


def test_no_line_of_a_traceback_passes_for_a_message() -> None:
    first, *others = _line("fault", error=RuntimeError(HOSTILE)).split("\n")

    assert first == "sandlot: ERROR sandlot: fault"
    assert others[0].startswith(f"{BESIDE}RuntimeError: ")
    assert all(line.startswith(BESIDE) and line.isprintable() for line in others)


def test_what_is_harmless_stays_as_it_is() -> None:
    assert _line("Größe %d", 3) == "sandlot: ERROR sandlot: Größe 3"
