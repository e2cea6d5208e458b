"""Programs of the operator's own, asked what they are: at once, with a deadline."""

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

TRY_S = 20.0
"""For all that are asked at once."""

NOT_RUN = "is not there, or cannot be run"
"""Of what `start_asking` leaves out."""


@contextmanager
def killed_at_the_end() -> Iterator[list["subprocess.Popen[str]"]]:
    """Nothing that was put into the list outlives the block."""
    started: list[subprocess.Popen[str]] = []
    try:
        yield started
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def start_asking(
    commands: Iterable[list[str]], started: list["subprocess.Popen[str]"]
) -> list["subprocess.Popen[str]"]:
    """Of each command, a process; those that cannot be run are left out."""
    questions = []
    for command in commands:
        try:
            process = subprocess.Popen(  # noqa: S603 - the operator's own interpreters
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        except OSError:
            continue
        started.append(process)
        questions.append(process)
    return questions
