"""What there is of memory and processes, by a kernel that says so in files."""

import resource
from pathlib import Path

import pytest

from sandlot_engine.node import machine

KB, MB = 1 << 10, 1 << 20
NO_LIMIT_V1 = 0x7FFFFFFFFFFFF000


class Kernel:
    """Says what it is told to."""

    def __init__(self, folder: Path, groups: str) -> None:
        self.proc, self.groups = folder / "proc", folder / "cgroup"
        self.write("proc/sys/kernel/pid_max", "32768\n")
        self.write("proc/self/cgroup", groups)
        self.write("cgroup/unified/cgroup.procs", "")
        self.has_mb(total=2_048, available=1_024)

    def write(self, name: str, text: str) -> None:
        path = self.proc.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def has_mb(self, *, total: int, available: int) -> None:
        lines = {"MemTotal": total, "MemFree": 1, "MemAvailable": available}
        self.write(
            "proc/meminfo",
            "".join(f"{name}: {mb * KB} kB\n" for name, mb in lines.items()),
        )

    def v1(self, group: str, *, limit: int, used: int, files: int = 0) -> None:
        self.write(f"{group}/memory.limit_in_bytes", f"{limit}\n")
        self.write(f"{group}/memory.usage_in_bytes", f"{used}\n")
        stat = f"active_file 7\ntotal_active_file {files}\ntotal_inactive_file 0\n"
        self.write(f"{group}/memory.stat", stat)

    def v2(self, group: str, *, limit: str, used: int, files: int = 0) -> None:
        self.write(f"{group}/memory.max", f"{limit}\n")
        self.write(f"{group}/memory.current", f"{used}\n")
        self.write(f"{group}/memory.stat", f"anon 5\nactive_file {files}\n")

    @property
    def memory_mb(self) -> tuple[float, float]:
        return machine.memory_mb(self.proc, self.groups)

    @property
    def processes(self) -> int:
        return machine.processes(self.proc, self.groups)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path, "0::/a/b\n")


def test_without_a_group_that_is_limited_it_is_the_machine_s(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "4:memory:/a\n0::/b\n")
    kernel.v1("cgroup/memory", limit=NO_LIMIT_V1, used=900 * MB)
    kernel.v1("cgroup/memory/a", limit=NO_LIMIT_V1, used=800 * MB)
    kernel.v2("cgroup/b", limit="max", used=700 * MB)

    assert kernel.memory_mb == (2_048, 1_024)


def test_without_groups_it_is_the_machine_s(kernel: Kernel) -> None:
    (kernel.proc / "self" / "cgroup").unlink()

    assert kernel.memory_mb == (2_048, 1_024)


def test_a_group_s_limit_holds_and_what_it_remembers_of_files_is_free(
    kernel: Kernel,
) -> None:
    kernel.v2("cgroup/a/b", limit=str(512 * MB), used=300 * MB, files=100 * MB)

    assert kernel.memory_mb == (512, 312)


def test_so_does_that_of_one_around_it_and_the_least_is_what_is_left(
    kernel: Kernel,
) -> None:
    kernel.v2("cgroup/a/b", limit=str(512 * MB), used=100 * MB)
    kernel.v2("cgroup/a", limit=str(600 * MB), used=590 * MB)

    # What is larger than one in it may be used up by others that are in there.
    assert kernel.memory_mb == (512, 10)


def test_what_is_held_up_over_a_limit_is_held_to_it(kernel: Kernel) -> None:
    kernel.v2("cgroup/a/b", limit=str(512 * MB), used=100 * MB)
    kernel.write("cgroup/a/b/memory.high", f"{400 * MB}\n")

    assert kernel.memory_mb == (400, 300)


def test_a_group_may_have_more_than_its_limit_for_a_moment(kernel: Kernel) -> None:
    kernel.v2("cgroup/a", limit=str(512 * MB), used=513 * MB)

    assert kernel.memory_mb == (512, 0)


def test_a_machine_with_less_left_than_a_group_has_that(kernel: Kernel) -> None:
    kernel.has_mb(total=2_048, available=100)
    kernel.v2("cgroup/a", limit=str(512 * MB), used=0)

    assert kernel.memory_mb == (512, 100)


def test_v1_s_hierarchies_are_told_apart(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "5:cpu,memory:/a\n4:pids:/p\n")
    kernel.v1("cgroup/cpu,memory/a", limit=512 * MB, used=300 * MB, files=50 * MB)
    kernel.v1("cgroup/pids/a", limit=1, used=1)

    assert kernel.memory_mb == (512, 262)


def test_a_container_sees_its_own_group_where_the_root_should_be(
    tmp_path: Path,
) -> None:
    kernel = Kernel(tmp_path, "4:memory:/docker/a1b2\n")
    kernel.v1("cgroup/memory", limit=512 * MB, used=112 * MB)

    assert kernel.memory_mb == (512, 400)


def test_of_a_group_that_is_not_ours_to_see_nothing_is_known(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.v2("cgroup/a/b", limit=str(512 * MB), used=100 * MB)
    read = Path.read_text

    def refused(self: Path) -> str:
        if self.name == "memory.max":
            raise PermissionError(self)
        return read(self)

    monkeypatch.setattr(Path, "read_text", refused)

    assert kernel.memory_mb == (2_048, 1_024)


def test_this_machine_has_some() -> None:
    total, available = machine.memory_mb()

    assert total > available > 0
    assert machine.processes() > 0


@pytest.mark.parametrize(
    ("of_user", "of_groups", "processes"),
    [
        (resource.RLIM_INFINITY, {}, 32_768),
        (4_096, {}, 4_096),
        (1 << 20, {}, 32_768),
        (4_096, {"a": "max\n", "a/b": "512\n"}, 512),
        (256, {"a": "1024\n", "a/b": "max\n"}, 256),
        (resource.RLIM_INFINITY, {"a": "1024\n"}, 1_024),
    ],
)
def test_processes_are_what_the_least_allows(
    kernel: Kernel,
    monkeypatch: pytest.MonkeyPatch,
    of_user: int,
    of_groups: dict[str, str],
    processes: int,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (of_user, -1))
    for group, limit in of_groups.items():
        kernel.write(f"cgroup/{group}/pids.max", limit)

    assert kernel.processes == processes
