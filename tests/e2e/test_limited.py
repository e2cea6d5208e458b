"""An engine in a control group that has less memory than the machine, as in a container
or a service."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandlot_engine.node.pressure import FLOOR_MB
from tests.e2e.engines import Mode, new_engine
from tests.e2e.waiting import wait_until
from tests.e2e.workers.callers import metric
from tests.fakes.zips import zip_of

MB = 1 << 20
_ROOT = Path("/sys/fs/cgroup")
LARGE_MB = 256

_SOURCE = """
kept = []
def handler(event, context):
    # Not when it is imported, or its zygote would have it.
    kept.append(bytearray(b"x") * (MB << 20) if not kept else b"")
    return len(kept)
"""


class _Group:
    """A control group of a test's own, with a limit on memory."""

    def __init__(self, folder: Path, files: tuple[str, str]) -> None:
        self.folder = folder
        self._limit, self._usage = (folder / name for name in files)

    @property
    def used(self) -> int:
        return int(self._usage.read_text())

    def limit(self, most: int) -> None:
        self._limit.write_text(str(most))


@contextmanager
def _group() -> Iterator[_Group]:
    """In v1 within our own; in v2 beside it, where memory is counted there."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    paths = dict(line.split(":", 2)[1:] for line in lines)
    name = f"sandlot-test-{os.getpid()}"
    if "memory" in paths:
        around = _ROOT / "memory" / paths["memory"].lstrip("/")
        files = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    else:
        around, files = _ROOT, ("memory.max", "memory.current")
    group = _Group(around / name, files)
    if os.geteuid() == 0:
        group.folder.mkdir()
    try:
        if not (group.folder / files[0]).exists():
            pytest.skip("no control group with a limit can be made here")
        yield group
    finally:
        # The engine was killed if the test failed, and its launcher may still clear up.
        wait_until(lambda: _is_removed(group.folder), "the group is empty")


def _is_removed(group: Path) -> bool:
    for inner, _, _ in os.walk(group, topdown=False):
        try:
            Path(inner).rmdir()
        except OSError:
            return False
    return True


def test_where_its_group_has_little_left_idle_instances_go(mode: Mode) -> None:
    with _group() as group, new_engine(mode) as engine:
        join = f'echo $$ > {group.folder}/cgroup.procs && exec "$@"'
        engine.started_by = ("sh", "-c", join, "sh")
        engine.start("--standbys", "0")
        large, small = (
            engine.client().deploy(
                zip_of({"app.py": f"MB = {mb}{_SOURCE}"}),
                name=f"has-{mb}",
                handler="app.handler",
                memory=2 * LARGE_MB,
            )
            for mb in (LARGE_MB, 1)
        )
        most = group.used + int(FLOOR_MB + LARGE_MB * 1.5) * MB
        group.limit(most)

        assert small.invoke({}).value == 1
        assert large.invoke({}).value == 1
        # With it less than the floor would be left, if more than the engine needs.
        group.limit(most - LARGE_MB * MB)

        wait_until(lambda: metric(engine, "instances") < 2, "one has gone")
        if mode is Mode.ROOT:  # else nobody counts what each of them has
            assert small.invoke({}).value == 2
        assert engine.stop() == 0
