"""What becomes of an engine that may open nothing more for a while."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e import processes
from tests.e2e.engines import Engine
from tests.e2e.processes import Role
from tests.e2e.waiting import wait_until
from tests.fakes.zips import zip_of

CODE = zip_of({"app.py": "def handler(event, context): return event"})

_LIMIT = """
import resource, sys
pid, soft = map(int, sys.argv[1:])
hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft or hard, hard))
"""


def test_an_engine_without_a_free_file_goes_on_and_recovers(
    fresh_engine: Engine,
) -> None:
    engine = processes.family_of(fresh_engine.pid).only(Role.ENGINE)
    client = fresh_engine.client()
    function = client.deploy(CODE, name="before", handler="app.handler")
    assert function.invoke({"n": 1}).value == {"n": 1}

    with _nothing_more_opened_by(engine.pid):
        wait_until(
            lambda: "memory could not be looked at" in fresh_engine.said,
            "it is told",
            shown=lambda: fresh_engine.said,
        )
        assert function.invoke({"n": 2}).value == {"n": 2}
        assert client.status().version

    after = client.deploy(CODE, name="after", handler="app.handler")
    assert after.invoke({"n": 3}).value == {"n": 3}
    assert processes.family_of(fresh_engine.pid).only(Role.ENGINE) == engine


@contextmanager
def _nothing_more_opened_by(pid: int) -> Iterator[None]:
    """As long as the block lasts, that process has as many open files as it may."""
    _limit_files(pid, 3)
    try:
        yield
    finally:
        _limit_files(pid, 0)


def _limit_files(pid: int, soft: int) -> None:
    """0: as many as it may have. By the same user, whom the kernel lets do that."""
    found = Path(f"/proc/{pid}/status").read_text()
    ids = dict(line.split(":\t", 1) for line in found.splitlines())
    subprocess.run(
        [sys.executable, "-c", _LIMIT, str(pid), str(soft)],
        check=True,
        user=int(ids["Uid"].split()[0]),
        group=int(ids["Gid"].split()[0]),
        extra_groups=[],
    )
