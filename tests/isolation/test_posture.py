"""All that can be seen of a jailed process from outside, against one table.

A fact that the table does not have fails the test as much as one that differs: what
was forgotten here would be what is wrong there.
"""

import mmap
import os
import resource
from pathlib import Path
from typing import Any

import pytest

from sandlot_sandbox.guest import bare
from sandlot_sandbox.guest.entry import LEFT_TO_FORK
from sandlot_sandbox.limits import COUNTED_PROCESSES, OPEN_FILES, ZYGOTE_PROCESSES
from tests.isolation import python_launcher
from tests.isolation.alone import MEMORY_MB, TMP_MB, Alone, instance_of, unconfigured
from tests.isolation.groups import control, group_paths
from tests.isolation.machine import (
    LAUNCHER,
    MODES,
    ORDINARY_UID,
    Sandbox,
    Store,
    ask,
    descendants,
    kernel_facts,
    needs_groups,
    started,
)
from tests.isolation.posture import (
    NAMESPACES,
    cells_of,
    descriptors_of,
    environment_of,
    is_cell,
    limits_of,
    members_of,
    memory_of,
    namespace_of,
    owner_of,
    parent_of,
    posture,
    sockets_of,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEPT = "0000000000240000"
"""CAP_SYS_ADMIN and CAP_SYS_CHROOT, over the jail's own user namespace."""

NONE = "0000000000000000"
MIB = 1 << 20

MOUNTS = {
    "/": "tmpfs ro,nosuid,nodev",
    "/usr/bin": "host ro,nosuid,nodev",
    "/usr/lib": "host ro,nosuid,nodev",
    "/usr/lib32": "host ro,nosuid,nodev",
    "/usr/lib64": "host ro,nosuid,nodev",
    "/lib": "host ro,nosuid,nodev",
    "/lib64": "host ro,nosuid,nodev",
    "/bin": "host ro,nosuid,nodev",
    "/usr/share/zoneinfo": "host ro,nosuid,nodev",
    "/usr/share/ca-certificates": "host ro,nosuid,nodev",
    "/usr/local/share/ca-certificates": "host ro,nosuid,nodev",
    "/etc/ssl/certs": "host ro,nosuid,nodev",
    "/var/lang": "host ro,nosuid,nodev",
    "/var/runtime": "host ro,nosuid,nodev",
    "/var/task": "host ro,nosuid,nodev",
    "/dev/null": "host ro,nosuid",
    "/dev/zero": "host ro,nosuid",
    "/dev/full": "host ro,nosuid",
    "/dev/random": "host ro,nosuid",
    "/dev/urandom": "host ro,nosuid",
    "/tmp": "tmpfs rw,nosuid,nodev",
    "/proc": "proc rw,nosuid,nodev,noexec",
}
NOT_EVERYWHERE = frozenset(
    (
        *("/usr/lib32", "/usr/lib64", "/lib", "/lib64", "/bin", "/var/lang"),
        *("/usr/share/ca-certificates", "/usr/local/share/ca-certificates"),
    )
)
"""What not every distribution has as a folder of its own."""

MIB_OF_ZYGOTE, MIB_OF_INSTANCE = MEMORY_MB + TMP_MB + 64, MEMORY_MB + TMP_MB
SHARES_OF_ZYGOTE, SHARES_OF_INSTANCE = 512, 74
"""Of a processor's 1024: half of it for an import; 128/1769 for 128 MB."""


def _processes(sandbox: Sandbox) -> int:
    """Fewer where nobody counts those of each instance."""
    is_counted = "pids" in control(sandbox)[1]
    return COUNTED_PROCESSES if is_counted else ZYGOTE_PROCESSES


def expected(sandbox: Sandbox, *, is_instance: bool) -> dict[str, Any]:
    capabilities = NONE if is_instance else KEPT
    return {
        "uid": {_uid(sandbox)},
        "gid": {_uid(sandbox)},
        "owner": {_uid(sandbox)},
        "unknown": set(),
        "groups": [],
        **dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapAmb"), capabilities),
        "CapBnd": NONE,
        "no_new_privileges": "1",
        "seccomp": ("2", "1"),
        "threads": ["1", 1],
        "umask": "0077",
        "traced": "0",
        "blocks": NONE,
        "ignores": "0000000001001000",  # SIGPIPE and SIGXFSZ, as CPython has it
        "personality": "00000000",
        "timer_slack": "50000",
        "scheduled": (os.SCHED_OTHER, 0),
        "cgroups": _wanted_groups(sandbox),
        "cgroup_limits": _wanted_limits(sandbox, is_instance=is_instance),
        "descriptors": {
            0: "/dev/null",
            1: "pipe",
            2: "pipe",
            3: "socket",
            # A zygote's wake-up pipe.
            **({} if is_instance else {4: "pipe", 5: "pipe"}),
        },
        "limits": {
            "Max core file size": 1,
            "Max open files": OPEN_FILES,
            "Max locked memory": 65_536,
            "Max file size": TMP_MB * MIB + resource.getpagesize(),
            "Max data size": (MEMORY_MB + 256) * MIB,
            "Max processes": _processes(sandbox) - (LEFT_TO_FORK if is_instance else 0),
            "Max msgqueue size": 0,
            "Max pending signals": 1024,
            "Max nice priority": 0,
            "Max realtime priority": 0,
        },
        "cwd": "/var/task",
        "root": "/",
        "environment": {
            *("PATH", "LD_LIBRARY_PATH", "LD_BIND_NOW", "LANG", "LC_CTYPE", "TZ")
        },
        "mounts": MOUNTS,
        "victim": 500,
        "foreign_namespaces": NAMESPACES,
    }


def expected_of_ours(sandbox: Sandbox, *, is_warden: bool) -> dict[str, Any]:
    """Of a warden, or of a cell's first process: what differs from an instance."""
    kept = KEPT_BY_WARDEN[sandbox.mode] if is_warden else NONE
    launcher = sandbox.process.pid
    table = expected(sandbox, is_instance=True)
    limits = {
        **table["limits"],
        "Max processes": _processes(sandbox),
        # The launcher's own, so that nobody's in flight are in their way.
        "Max open files": limits_of(Path(f"/proc/{launcher}"))["Max open files"],
    }
    return {
        **table,
        # The machine's root is the owner of what may not be dumped.
        "owner": {"0"},
        **dict.fromkeys(("CapInh", "CapAmb"), NONE),
        **dict.fromkeys(("CapPrm", "CapEff"), kept),
        "seccomp": ("2", "1" if is_warden else "2"),
        # And SIGCHLD, where the kernel is to reap.
        "ignores": "0000000001001000" if is_warden else "0000000001011000",
        **(
            {
                "cgroups": dict.fromkeys(table["cgroups"], "the launcher's"),
                "cgroup_limits": {},
            }
            if is_warden
            else {}
        ),
        "descriptors": DESCRIPTORS_OF_WARDEN[sandbox.mode]
        if is_warden
        else LEASH[sandbox.mode],
        "limits": limits,
        "cwd": "/",
        # In memory that is the launcher's, and that nobody may look at; or in none.
        "environment": set()
        if _is_bare(sandbox, is_warden=is_warden)
        else environment_of(Path(f"/proc/{launcher}")),
        "foreign_namespaces": NAMESPACES - {"cgroup"},
    }


def _is_bare(sandbox: Sandbox, *, is_warden: bool) -> bool:
    """Whether it has given up its memory: where it has nothing to do but wait."""
    return not is_warden and sandbox.mode == "root" and bare.made() is not None


LEASH: dict[str, dict[int, str]] = {"root": {}, "rootless": {0: "pipe"}}
DESCRIPTORS_OF_WARDEN = {
    # Nothing to say anything by; its link, its wake-up pipe, and its zygote's leash;
    # and, where it looks after memory, what it asks the zygote's network by.
    "root": ["/dev/null"] * 3 + ["pipe"] * 2 + ["socket"],
    "rootless": ["/dev/null"] * 3 + ["pipe"] * 3 + ["socket"] * 2,
}
FOR_EACH_CELL: dict[str, list[str]] = {"root": [], "rootless": ["socket"]}
KEPT_BY_WARDEN = {"root": "0000000000201000", "rootless": "0000000000281000"}
"""CAP_SYS_ADMIN and CAP_NET_ADMIN, over the jail's own user namespace; and, to look
after memory, CAP_SYS_PTRACE."""


needs_root_to_look = pytest.mark.skipif(
    os.geteuid() != 0, reason="what is ours in a jail lets its own user not look"
)


@needs_root_to_look
async def test_a_warden_and_a_cell_s_first_process_are_as_the_table_says(
    sandbox: Sandbox,
) -> None:
    async with Alone(sandbox) as (guest, zygote):
        await guest.settle()
        warden = parent_of(zygote)
        cells = [pid for pid in descendants(warden) if is_cell(pid)]
        seen = posture(warden, sandbox.process.pid)
        of_cells = [posture(pid, sandbox.process.pid) for pid in cells]

    # Which number is whose is chance.
    seen["descriptors"] = sorted(seen["descriptors"].values())
    wanted = expected_of_ours(sandbox, is_warden=True)
    wanted["descriptors"] = wanted["descriptors"] + FOR_EACH_CELL[sandbox.mode] * len(
        cells
    )
    _compare(seen, wanted)
    assert of_cells
    for one in of_cells:
        _compare(one, expected_of_ours(sandbox, is_warden=False))


@needs_root_to_look
@pytest.mark.skipif(bare.made() is None, reason="not on this machine")
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode == "root"])
async def test_a_cell_made_without_machine_code_is_the_same_but_for_its_memory(
    mode: str, store: Store
) -> None:
    memory = {}
    for program in (LAUNCHER, python_launcher.__name__):
        async with (
            started(mode, store, program=program) as sandbox,
            Alone(sandbox) as (guest, zygote),
        ):
            launcher = sandbox.process.pid
            instance = posture(await instance_of(guest, zygote), launcher)
            await guest.settle()
            cells = cells_of(sandbox)
            seen = [posture(pid, launcher) for pid in cells]
            memory[program] = {tuple(memory_of(pid)) for pid in cells}
            wanted = expected_of_ours(sandbox, is_warden=False)
            if program != LAUNCHER:
                wanted["environment"] = environment_of(Path(f"/proc/{launcher}"))
            wanted_of_instance = expected(sandbox, is_instance=True)

        assert len(seen) > 1
        for one in seen:
            _compare(one, dict(wanted))
        _compare(instance, wanted_of_instance)

    one_page, whole = memory.values()
    assert one_page == {((mmap.PAGESIZE, "r-xp"),)}
    assert min(map(len, whole)) > 1, "it is a copy of its warden"


async def test_a_zygote_before_the_import_is_as_the_table_says(
    sandbox: Sandbox,
) -> None:
    async with unconfigured(sandbox) as pid:
        seen = posture(pid, sandbox.process.pid)

    wanted = expected(sandbox, is_instance=False)
    for wake_up in (4, 5):
        del wanted["descriptors"][wake_up]  # it makes its pipe when it has settings
    _compare(seen, wanted)


async def test_a_zygote_that_does_not_import_is_as_the_table_says(
    sandbox: Sandbox,
) -> None:
    async with Alone(sandbox, import_in_zygote=False) as (_, pid):
        seen = posture(pid, sandbox.process.pid)

    _compare(seen, expected(sandbox, is_instance=False))


async def test_a_zygote_after_the_import_is_as_the_table_says(sandbox: Sandbox) -> None:
    async with Alone(sandbox) as (_, pid):
        seen = posture(pid, sandbox.process.pid)

    _compare(seen, expected(sandbox, is_instance=False))


@pytest.mark.parametrize("import_in_zygote", [True, False])
async def test_an_instance_is_as_the_table_says(
    sandbox: Sandbox, import_in_zygote: bool
) -> None:
    async with Alone(sandbox, import_in_zygote=import_in_zygote) as (guest, zygote):
        pid = await instance_of(guest, zygote)
        seen = posture(pid, sandbox.process.pid)

    _compare(seen, expected(sandbox, is_instance=True))


async def test_layers_are_one_mount_more(sandbox: Sandbox) -> None:
    opt = sandbox.store.add_opt("posture", {"python/m.py": ""})
    async with Alone(sandbox, opt=opt) as (guest, zygote):
        seen_zygote = posture(zygote, sandbox.process.pid)
        seen = posture(await instance_of(guest, zygote), sandbox.process.pid)

    mounts = {**MOUNTS, "/opt": "host ro,nosuid,nodev"}
    wanted = {**expected(sandbox, is_instance=True), "mounts": mounts}
    _compare(seen, wanted)
    wanted = {**expected(sandbox, is_instance=False), "mounts": mounts}
    _compare(seen_zygote, wanted)


async def test_what_an_instance_starts_is_held_as_it_is_itself(
    sandbox: Sandbox,
) -> None:
    async with Alone(sandbox, "family_of_threads") as (guest, zygote):
        instance = await guest.fork()
        await ask(instance, "start", threads=3)
        pid, child = descendants(zygote)
        own = posture(pid, sandbox.process.pid)
        childs = posture(child, sandbox.process.pid)
        await instance.destroy()

    assert own["threads"] == childs["threads"] == ["4", 1]
    assert own == childs


async def test_two_zygotes_share_no_namespace(sandbox: Sandbox) -> None:
    async with Alone(sandbox) as (_, one), Alone(sandbox) as (_, other):
        shared = {
            kind
            for kind in NAMESPACES
            if namespace_of(one, kind) == namespace_of(other, kind)
        }
        ids = {kernel_facts(pid)["Uid"] for pid in (one, other)}

    assert shared == set()
    assert len(ids) == (2 if sandbox.mode == "root" else 1)


async def test_an_instance_has_processes_mounts_and_network_of_its_own(
    sandbox: Sandbox,
) -> None:
    async with Alone(sandbox) as (guest, zygote):
        one = await instance_of(guest, zygote)
        other = await instance_of(guest, zygote)
        shared = {
            kind
            for kind in NAMESPACES
            if namespace_of(one, kind) == namespace_of(other, kind)
        }
        with_zygote = {
            kind
            for kind in NAMESPACES
            if namespace_of(one, kind) == namespace_of(zygote, kind)
        }

    assert shared == with_zygote == {"user", "ipc", "uts", "cgroup"}


@needs_root_to_look
async def test_wardens_and_cells_hold_nothing_of_the_launchers(
    sandbox: Sandbox,
) -> None:
    async with Alone(sandbox) as (guest, zygote):
        instance = await guest.fork()
        await guest.settle()
        below = descendants(sandbox.process.pid)
        links = sockets_of(sandbox.process.pid)
        held = {pid: sockets_of(pid) & links for pid in below}
        cells = [pid for pid in below if is_cell(pid)]
        cell_descriptors = [descriptors_of(Path(f"/proc/{pid}")) for pid in cells]
        await instance.destroy()

    assert {pid: fds for pid, fds in held.items() if fds} == {}
    assert cells
    assert cell_descriptors == [LEASH[sandbox.mode]] * len(cells)
    assert zygote not in cells


async def test_a_cell_s_first_process_has_no_capability_and_can_only_wait(
    sandbox: Sandbox,
) -> None:
    async with Alone(sandbox) as (guest, _):
        instance = await guest.fork()
        await guest.settle()
        cells = [pid for pid in descendants(sandbox.process.pid) if is_cell(pid)]
        facts = [kernel_facts(pid) for pid in cells]
        await instance.destroy()

    assert cells
    for fact in facts:
        assert {fact[n] for n in ("CapInh", "CapPrm", "CapEff", "CapBnd")} == {NONE}
        assert (fact["NoNewPrivs"], fact["Seccomp"]) == ("1", "2")


async def test_what_is_ours_in_a_jail_lets_nobody_look_into_it(
    sandbox: Sandbox,
) -> None:
    async with Alone(sandbox) as (guest, zygote):
        instance = await guest.fork()
        warden = parent_of(zygote)
        ours = [warden, *cells_of(sandbox)]
        owners = {pid: owner_of(pid) for pid in ours}
        users = {kernel_facts(pid)["Uid"] for pid in ours}
        await instance.destroy()

    assert len(ours) > 1
    # The machine's root is the owner of what may not be dumped, whosever it is.
    assert set(owners.values()) == {0}
    assert all("0" not in user.split() for user in users)


@needs_groups
async def test_a_group_has_one_zygote_or_one_cell_and_nobody_else(
    sandbox: Sandbox,
) -> None:
    async with Alone(sandbox) as (guest, zygote):
        one = await instance_of(guest, zygote)
        other = await instance_of(guest, zygote)
        members = {pid: members_of(pid, sandbox) for pid in (zygote, one, other)}

    # Without the warden, who has to work while the zygote is frozen.
    assert members[zygote] == {zygote}
    for pid in (one, other):
        (first,) = members[pid] - {pid}
        assert first not in (zygote, one, other)


def _uid(sandbox: Sandbox) -> str:
    if sandbox.mode == "rootless":
        return str(os.geteuid() or ORDINARY_UID)
    first = 1_000_000_000 + sandbox.process.pid % (1 << 20) * 1024
    return f"{first}..{first + 1023}"


def _wanted_groups(sandbox: Sandbox) -> dict[str, str]:
    version, controls = control(sandbox)
    used = {"v1": controls, "v2": {""}, "": set()}[version]
    return {
        names: "its own" if used & set(names.split(",")) else "the launcher's"
        for names in group_paths(sandbox.process.pid)
    }


def _wanted_limits(sandbox: Sandbox, *, is_instance: bool) -> dict[str, str]:
    version, controls = control(sandbox)
    mib = MIB_OF_INSTANCE if is_instance else MIB_OF_ZYGOTE
    shares = SHARES_OF_INSTANCE if is_instance else SHARES_OF_ZYGOTE
    by_version: dict[str, dict[str, dict[str, object]]] = {
        "v1": {
            "memory": {
                "memory.limit_in_bytes": mib * MIB,
                "memory.kmem.tcp.limit_in_bytes": mib * MIB // 2,
            },
            "cpu": {
                "cpu.shares": shares,
                "cpu.cfs_quota_us": 100_000,
                "cpu.cfs_period_us": 100_000,
            },
            "pids": {"pids.max": 1024},
        },
        "v2": {
            "memory": {
                "memory.max": mib * MIB,
                "memory.swap.max": 0,
                "memory.oom.group": 1,
            },
            "cpu": {
                "cpu.weight": shares * 100 // 1024,
                "cpu.max": "100000 100000",
            },
            "pids": {"pids.max": 1024},
        },
        "": {},
    }
    by_controller = by_version[version]
    wanted = [by_controller[name] for name in controls & by_controller.keys()]
    return {file: str(value) for files in wanted for file, value in files.items()}


def _compare(seen: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name in ("uid", "gid", "owner"):
        (allowed,), (one,) = wanted.pop(name), seen.pop(name)
        low, _, high = allowed.partition("..")
        assert int(low) <= int(one) <= int(high or low), f"{name} {one}"
    missing = set(wanted["mounts"]) - set(seen["mounts"])
    assert missing <= NOT_EVERYWHERE
    wanted["mounts"] = {k: v for k, v in wanted["mounts"].items() if k not in missing}
    assert seen == wanted
