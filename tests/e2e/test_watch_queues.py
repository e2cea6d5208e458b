"""A start without one of the kernel's queues for watched folders: told what to do."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.engines import USER, Mode, new_engine

_TAKE_ALL = """
import ctypes, resource, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
libc = ctypes.CDLL(None, use_errno=True)
while libc.inotify_init1(0) >= 0:
    pass
print(flush=True)
sys.stdin.read()
"""

SOMEBODY = USER + 1
"""Nobody else of this suite."""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_start_without_a_queue_to_watch_by_is_refused_with_what_to_do() -> None:
    with new_engine(Mode.ROOT) as engine, _all_queues_taken():
        status, said = engine.start_in_vain(
            "--watch-dir", "/usr", "--user", str(SOMEBODY)
        )

    assert status == 78
    assert "raise fs.inotify.max_user_instances" in said
    assert "Traceback" not in said


@contextmanager
def _all_queues_taken() -> Iterator[None]:
    """By another program of the same user."""
    with subprocess.Popen(
        [sys.executable, "-c", _TAKE_ALL],
        user=SOMEBODY,
        group=SOMEBODY,
        extra_groups=[],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as program:
        assert program.stdout is not None
        program.stdout.readline()
        yield
        program.kill()
