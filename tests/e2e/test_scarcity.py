"""What becomes of an engine that may open or start nothing more for a while."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e import processes
from tests.e2e.engines import Engine, Mode, new_engine
from tests.e2e.processes import Role
from tests.e2e.waiting import DEADLINE_S, wait_until
from tests.fakes.zips import zip_of

CODE = zip_of({"app.py": "def handler(event, context): return event"})

_LIMIT = """
import resource, sys
pid, of, soft = map(int, sys.argv[1:])
hard = resource.prlimit(pid, of)[1]
resource.prlimit(pid, of, (soft or hard, hard))
"""


def test_an_engine_without_a_free_file_goes_on_and_recovers(
    fresh_engine: Engine,
) -> None:
    engine = processes.family_of(fresh_engine.pid).only(Role.ENGINE)
    client = fresh_engine.client()
    function = client.deploy(CODE, name="before", handler="app.handler")
    assert function.invoke({"n": 1}).value == {"n": 1}

    with _at_most(3, resource.RLIMIT_NOFILE, engine.pid):
        wait_until(
            lambda: "memory could not be looked at" in fresh_engine.said,
            "it is told",
            shown=lambda: fresh_engine.said,
        )
        assert function.invoke({"n": 2}).value == {"n": 2}
        assert client.status().version

    after = client.deploy(CODE, name="after", handler="app.handler")
    assert after.invoke({"n": 3}).value == {"n": 3}
    now = processes.family_of(fresh_engine.pid).only(Role.ENGINE)
    assert now.identity == engine.identity


def test_an_engine_that_can_start_no_thread_does_without(fresh_engine: Engine) -> None:
    engine = processes.family_of(fresh_engine.pid).only(Role.ENGINE)
    client = fresh_engine.client()

    with _at_most(1, resource.RLIMIT_NPROC, engine.pid):
        function = client.deploy(CODE, name="within", handler="app.handler")
        assert function.invoke({"n": 1}).value == {"n": 1}
        assert function.enqueue({"n": 2}).wait(deadline=DEADLINE_S).state == "succeeded"
        assert list(function.logs())


@pytest.mark.skipif(os.geteuid() != 0, reason="the limit is to be the engine's alone")
def test_an_engine_that_can_start_no_thread_at_first_is_worth_another_try() -> None:
    with new_engine(Mode.ROOT) as engine:
        # Root's own supervisor and launcher are not held by it.
        engine.started_by = ("prlimit", "--nproc=3", "--")
        status, said = engine.start_in_vain()

    assert status == os.EX_TEMPFAIL
    assert "no threads can be started" in said
    assert "Traceback" not in said


@contextmanager
def _at_most(soft: int, of: int, pid: int) -> Iterator[None]:
    """As long as the block lasts, that process may have so many of something."""
    _limit(pid, of, soft)
    try:
        yield
    finally:
        _limit(pid, of, 0)


def _limit(pid: int, of: int, soft: int) -> None:
    """0: as many as it may have. By the same user, whom the kernel lets do that."""
    found = Path(f"/proc/{pid}/status").read_text()
    ids = dict(line.split(":\t", 1) for line in found.splitlines())
    subprocess.run(
        [sys.executable, "-c", _LIMIT, str(pid), str(of), str(soft)],
        check=True,
        user=int(ids["Uid"].split()[0]),
        group=int(ids["Gid"].split()[0]),
        extra_groups=[],
    )
