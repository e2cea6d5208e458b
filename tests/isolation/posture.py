"""What can be seen of a jailed process from outside: its posture, and whose it is."""

import os
import re
from pathlib import Path
from typing import Any

from tests.isolation.groups import group_folder, group_paths
from tests.isolation.machine import Sandbox, descendants, kernel_facts

NAMESPACES = frozenset(("user", "mnt", "pid", "net", "ipc", "uts", "cgroup"))

CHECKED = frozenset(
    (
        *("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"),
        *("NoNewPrivs", "Seccomp", "Seccomp_filters", "Threads", "Umask", "TracerPid"),
        *("SigBlk", "SigIgn", "NSpid"),
    )
)
"""Of /proc/PID/status, what the table of `test_posture` has, or its tests."""

OF_NO_MATTER = frozenset(
    (
        # Names and numbers, which say nothing of what it may do.
        *("Name", "Tgid", "Ngid", "Pid", "PPid", "NStgid", "NSpgid", "NSsid"),
        # What it does and has used at the moment.
        *("State", "FDSize", "SigQ", "SigPnd", "ShdPnd", "SigCgt"),
        *("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"),
        *("VmPeak", "VmSize", "VmLck", "VmPin", "VmHWM", "VmRSS", "RssAnon", "RssFile"),
        *("RssShmem", "VmData", "VmStk", "VmExe", "VmLib", "VmPTE", "VmPMD", "VmSwap"),
        *("HugetlbPages", "CoreDumping", "THP_enabled", "untag_mask", "Kthread"),
        # The machine's, and the same for all.
        *("Cpus_allowed", "Cpus_allowed_list", "Mems_allowed", "Mems_allowed_list"),
        *("Speculation_Store_Bypass", "SpeculationIndirectBranch"),
        *("x86_Thread_features", "x86_Thread_features_locked"),
    )
)
"""What else there is, on any kernel that we know of."""


def posture(pid: int, launcher: int) -> dict[str, Any]:
    """All that the table says something about."""
    facts = kernel_facts(pid)
    process = Path("/proc") / str(pid)
    return {
        "uid": set(facts["Uid"].split()),
        "gid": set(facts["Gid"].split()),
        # A process that may not be dumped is not its own user's, says /proc.
        "owner": {str(owner_of(pid))},
        # What the kernel tells of a process and this table does not know of.
        "unknown": facts.keys() - CHECKED - OF_NO_MATTER,
        "groups": facts["Groups"].split(),
        **{name: facts[name] for name in ("CapInh", "CapPrm", "CapEff")},
        **{name: facts[name] for name in ("CapBnd", "CapAmb")},
        "no_new_privileges": facts["NoNewPrivs"],
        "seccomp": (facts["Seccomp"], facts["Seccomp_filters"]),
        "threads": [facts["Threads"], *_kinds_of_threads(process)],
        "umask": facts["Umask"],
        "traced": facts["TracerPid"],
        "blocks": facts["SigBlk"],
        "ignores": facts["SigIgn"],
        "personality": (process / "personality").read_text().strip(),
        "timer_slack": (process / "timerslack_ns").read_text().strip(),
        "scheduled": (os.sched_getscheduler(pid), os.getpriority(0, pid)),
        "cgroups": groups_of(pid, launcher),
        "cgroup_limits": group_limits_of(pid, launcher),
        "descriptors": descriptors_of(process),
        "limits": limits_of(process),
        "cwd": str((process / "cwd").readlink()),
        "root": str((process / "root").readlink()),
        "environment": environment_of(process),
        "mounts": mounts_of(process),
        "victim": int((process / "oom_score_adj").read_text()),
        "foreign_namespaces": {
            kind
            for kind in namespaces_of("self")
            if namespace_of(pid, kind) != namespace_of("self", kind)
        },
    }


def is_zygote(pid: int) -> bool:
    return "bootstrap.py" in Path(f"/proc/{pid}/cmdline").read_text()


def is_cell(pid: int) -> bool:
    """The first process of a nested pid namespace, and not of the jail's own."""
    numbers = kernel_facts(pid)["NSpid"].split()
    return numbers[-1] == "1" and len(numbers) == 3


def cells_of(sandbox: Sandbox) -> set[int]:
    return {pid for pid in descendants(sandbox.process.pid) if is_cell(pid)}


def owner_of(pid: int) -> int:
    return Path(f"/proc/{pid}/status").stat().st_uid


def parent_of(pid: int) -> int:
    return int(kernel_facts(pid)["PPid"])


def _kinds_of_threads(process: Path) -> list[int]:
    """How many kinds of threads there are, by what could set one of them free."""
    names = (
        *("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"),
        *("NoNewPrivs", "Seccomp", "Seccomp_filters", "SigBlk", "NSpid"),
    )
    kinds = set()
    for task in (process / "task").iterdir():
        facts = kernel_facts(f"{process.name}/task/{task.name}")
        # A thread has a number of its own in every namespace.
        facts["NSpid"] = str(len(facts["NSpid"].split()))
        links = [(task / "ns" / kind).readlink() for kind in sorted(NAMESPACES)]
        groups = (task / "cgroup").read_text()
        kinds.add((*(facts[name] for name in names), *links, groups))
    return [len(kinds)]


def groups_of(pid: int, launcher: int) -> dict[str, str]:
    """Whose group it is in, in each hierarchy: all of its own have one name, below its
    owner's where there are processors to be dealt out."""
    theirs = group_paths(launcher)
    name = "[0-9a-f]{16}"
    found, names = {}, set()
    for hierarchy, path in group_paths(pid).items():
        owner = f"{name}/" if {"", "cpu"} & set(hierarchy.split(",")) else ""
        tree = re.compile(rf".*/sandlot-{launcher}(?:\.\d+)?/{owner}({name}/{name})")
        if match := tree.fullmatch(path):
            names.add(match[1])
            found[hierarchy] = "its own"
        else:
            is_same = path == theirs[hierarchy]
            found[hierarchy] = "the launcher's" if is_same else path
    assert len(names) <= 1, names
    return found


LIMIT_FILES = (
    *("memory.limit_in_bytes", "memory.kmem.tcp.limit_in_bytes"),
    *("cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us"),
    *("memory.max", "memory.swap.max", "memory.oom.group", "cpu.weight", "cpu.max"),
    "pids.max",
)


def group_limits_of(pid: int, launcher: int) -> dict[str, str]:
    """What the files of its groups say; of those that are the launcher's, nothing."""
    found = {}
    for hierarchy, kind in groups_of(pid, launcher).items():
        if kind != "the launcher's":
            folder = group_folder(hierarchy, group_paths(pid)[hierarchy])
            for name in LIMIT_FILES:
                if (folder / name).exists():
                    found[name] = (folder / name).read_text().strip()
    return found


def members_of(pid: int, sandbox: Sandbox) -> set[int]:
    """Who is in all of its groups together with it."""
    lists = [
        (group_folder(hierarchy, group_paths(pid)[hierarchy]) / "cgroup.procs")
        for hierarchy, kind in groups_of(pid, sandbox.process.pid).items()
        if kind != "the launcher's"
    ]
    each = [{int(number) for number in file.read_text().split()} for file in lists]
    assert all(members == each[0] for members in each)
    return each[0]


def descriptors_of(process: Path) -> dict[int, str]:
    return {
        int(fd.name): str(fd.readlink()).split(":")[0]
        for fd in (process / "fd").iterdir()
    }


def sockets_of(pid: int) -> set[str]:
    """By number, to be compared between processes; an epoll handle by its kind."""
    links = {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    return {link for link in links if link.startswith("socket:") or "eventpoll" in link}


def limits_of(process: Path) -> dict[str, int]:
    """What is limited, and cannot be raised again."""
    found = {}
    for line in (process / "limits").read_text().splitlines()[1:]:
        name, soft, hard = line[:26].strip(), *line[26:].split()[:2]
        if soft == hard != "unlimited" and name != "Max stack size":
            found[name] = int(soft)
    return found


def environment_of(process: Path) -> set[str]:
    items = (process / "environ").read_text().split("\0")
    return {item.partition("=")[0] for item in items if item}


def memory_of(pid: int) -> list[tuple[int, str]]:
    """What it has mapped: bytes, and how; without the kernel's own, which everybody
    has."""
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        where, how, *_ = line.split()
        if not line.endswith("[vsyscall]"):
            first, _, end = where.partition("-")
            found.append((int(end, 16) - int(first, 16), how))
    return found


def mounts_of(process: Path) -> dict[str, str]:
    """The topmost mount at each place."""
    found = {}
    for line in (process / "mountinfo").read_text().splitlines():
        fields = line.split()
        kind = fields[fields.index("-") + 1]
        options = [o for o in fields[5].split(",") if not o.endswith("atime")]
        shown = kind if kind in ("tmpfs", "proc") else "host"
        found[fields[4]] = f"{shown} {','.join(options)}"
    return found


def namespaces_of(pid: int | str) -> list[str]:
    return [
        entry.name
        for entry in Path(f"/proc/{pid}/ns").iterdir()
        if not entry.name.endswith("_for_children")
    ]


def namespace_of(pid: int | str, kind: str) -> str:
    return str(Path(f"/proc/{pid}/ns/{kind}").readlink())
