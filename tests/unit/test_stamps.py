"""Lines on stderr have a time where nobody else gives them one."""

import os
import re
import subprocess
import sys
from pathlib import Path

_SAY = """
import sys
from sandlot_sandbox.stamps import stamp
print(stamp(0.5) + "said", file=sys.stderr)
"""


def _said(file: Path, **environment: str) -> str:
    with file.open("w") as stderr:
        subprocess.run(
            [sys.executable, "-c", _SAY],
            check=True,
            stderr=stderr,
            env={"PYTHONPATH": os.pathsep.join(sys.path), "TZ": "UTC-1", **environment},
        )
    return file.read_text()


def test_a_line_has_local_time_and_its_zone(tmp_path: Path) -> None:
    assert _said(tmp_path / "log") == "1970-01-01T01:00:00.500+0100 said\n"


def test_a_line_that_the_journal_reads_has_none(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.touch()
    found = file.stat()

    assert _said(file, JOURNAL_STREAM=f"{found.st_dev}:{found.st_ino}") == "said\n"


def test_a_journal_that_reads_somebody_else_gives_us_no_times(tmp_path: Path) -> None:
    said = _said(tmp_path / "log", JOURNAL_STREAM="8:1")

    assert re.fullmatch(r"1970-\S+ said\n", said)
