"""A machine that lacks a layer is refused, by name, before any tenant's code runs."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence

import pytest

from sandlot_sandbox.launcher.runtime import dump_runtimes
from sandlot_sandbox.probe import CAN_BE_GIVEN_UP, EX_CONFIG
from sandlot_sandbox.spec import MAX_MESSAGE, Hello, decode_report
from tests.isolation.groups import trees_of
from tests.isolation.machine import MODES, Store, as_ordinary_user, started

TRY_ALL = (
    "import json; from sandlot_sandbox import probe;"
    " from sandlot_sandbox.launcher import cgroups;"
    " layers = probe.try_all(cgroups.find());"
    " print(json.dumps({x.name: x.detail for x in layers"
    " if x.required and not x.holds}))"
)
IN_A_NAMESPACE = (
    *(as_ordinary_user() if os.geteuid() == 0 else ()),
    *("/usr/bin/unshare", "--user", "--map-root-user", "--mount"),
)
"""A user namespace of its own: what is changed in there is changed nowhere else."""

LIMITS = {
    "max_net_namespaces": {"network"},
    "max_pid_namespaces": {"pid", "user", "mount", "cell", "limits"},
    "max_ipc_namespaces": {"ipc"},
    "max_uts_namespaces": {"uts"},
}
"""Which layers must be found missing where the kernel gives no namespace of a kind."""


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _run(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.mark.parametrize("mode", MODES)
def test_this_machine_has_every_layer(mode: str) -> None:
    before = as_ordinary_user() if mode == "rootless" and os.geteuid() == 0 else []

    done = _run([*before, sys.executable, "-c", TRY_ALL])

    assert json.loads(done.stdout) == {}, done.stderr


def test_root_of_a_namespace_with_one_user_has_every_layer() -> None:
    done = _run([*IN_A_NAMESPACE, sys.executable, "-c", TRY_ALL])

    assert json.loads(done.stdout) == {}, done.stderr


def test_a_python_whose_library_only_root_may_enter_is_enough() -> None:
    """As one of root's own under /root: whoever is in a jail imports nothing more."""
    no_other_codec = "import encodings; encodings.__path__ = []; "

    done = _run([sys.executable, "-c", no_other_codec + TRY_ALL])

    assert "limits" not in json.loads(done.stdout), done.stdout


@pytest.mark.parametrize(("name", "missing"), LIMITS.items())
def test_a_kind_of_namespace_that_is_not_given_is_found_missing(
    name: str, missing: set[str]
) -> None:
    lower = f"echo 0 > /proc/sys/user/{name} && exec {sys.executable} -c '{TRY_ALL}'"

    done = _run([*IN_A_NAMESPACE, "sh", "-c", lower])

    found = json.loads(done.stdout)
    assert set(found) == missing, done.stderr
    assert all(found.values()), "each row says why, and how to mend it"


def test_too_few_open_files_are_found_missing() -> None:
    done = _run(["prlimit", "--nofile=1024:1024", sys.executable, "-c", TRY_ALL])

    assert "1024 open files are too few" in json.loads(done.stdout)["limits"]


def test_where_namespaces_cannot_be_bounded_limits_are_found_missing() -> None:
    locked = (
        "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys"
        f" && exec {sys.executable} -c '{TRY_ALL}'"
    )

    done = _run([*IN_A_NAMESPACE, "sh", "-c", locked])

    assert "max_mnt_namespaces" in json.loads(done.stdout)["limits"], done.stderr


JUDGE = (
    "import errno, os, time; from sandlot_sandbox import probe;"
    " probe._TRY_S = 1;"
    " row = probe._Row('files', 'reading them', lambda: {attempt}, 'Mend it');"
    " layer = probe._judge(row, frozenset());"
    " print(layer.is_busy, layer.holds, layer.required, layer.detail)"
)
_RAISE = "(_ for _ in ()).throw(OSError({number}, 'no'))"
_IN_JAIL = "probe._jailed(lambda: {step})"


@pytest.mark.parametrize(
    "attempt",
    [
        "time.sleep(60)",
        "(_ for _ in ()).throw(MemoryError())",
        *(_RAISE.format(number=f"errno.{name}") for name in ("EAGAIN", "EMFILE")),
        _IN_JAIL.format(step=_RAISE.format(number="errno.ENFILE")),
    ],
)
def test_what_the_machine_is_too_busy_to_try_is_not_found_missing(
    attempt: str,
) -> None:
    done = _run([sys.executable, "-c", JUDGE.format(attempt=attempt)])

    assert done.stdout.startswith("True False True "), done
    assert "try again later" in done.stdout
    assert "Mend it" not in done.stdout


@pytest.mark.parametrize(
    "attempt",
    [
        "os.kill(os.getpid(), 9)",
        _RAISE.format(number="errno.EPERM"),
        _IN_JAIL.format(step=_RAISE.format(number="errno.ENOSPC")),
        _IN_JAIL.format(step="os.kill(os.getpid(), 9) or os._exit(1)"),
    ],
)
def test_what_it_refuses_is(attempt: str) -> None:
    done = _run([sys.executable, "-c", JUDGE.format(attempt=attempt)])

    assert done.stdout.startswith("False False True "), done
    assert "Mend it" in done.stdout


def _launcher(store: Store, channel: socket.socket) -> list[str]:
    return [
        *(sys.executable, "-m", "sandlot_sandbox.launcher"),
        *("--channel", str(channel.fileno()), "--parent", str(os.getpid())),
        *("--code", str(store.code)),
        *("--runtimes", dump_runtimes(store.runtimes)),
    ]


def _ended(
    argv: Sequence[str], channel: socket.socket
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        env=_environment(),
        pass_fds=[channel.fileno()],
        stderr=subprocess.PIPE,
        text=True,
        timeout=50,
        check=False,
    )


def test_a_launcher_whose_engine_is_gone_leaves_the_word_to_it(store: Store) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    with theirs:
        done = _ended(_launcher(store, theirs), theirs)

    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="somebody else has processes, too")
@pytest.mark.parametrize("processes", [1, 4])
def test_a_launcher_that_may_have_too_few_processes_may_be_tried_again(
    store: Store, processes: int
) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        few = [*as_ordinary_user(), "/usr/bin/env", "prlimit", f"--nproc={processes}"]
        done = _ended([*few, *_launcher(store, theirs)], theirs)

    assert done.returncode == os.EX_TEMPFAIL, done.stderr
    assert "Traceback" not in done.stderr


def test_a_launcher_that_lacks_a_layer_says_so_and_builds_no_jail(
    store: Store,
) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    script = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"'
    with ours, theirs:
        done = subprocess.run(
            [*IN_A_NAMESPACE, "sh", "-c", script, "sh", *_launcher(store, theirs)],
            env=_environment(),
            pass_fds=[theirs.fileno()],
            timeout=50,
            check=False,
        )
        hello = decode_report(ours.recv(MAX_MESSAGE))

    assert done.returncode == EX_CONFIG
    assert isinstance(hello, Hello)
    missing = [row.name for row in hello.layers if row.required and not row.holds]
    assert missing == ["network"]


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("layer", sorted(CAN_BE_GIVEN_UP))
async def test_a_layer_that_was_given_up_by_name_is_done_without(
    store: Store, layer: str
) -> None:
    async with (
        started(MODES[0], store, given_up=layer) as sandbox,
        sandbox.running("curious") as guest,
    ):
        given_up = {row.name for row in sandbox.hello.layers if row.given_up}
        facts = await guest.ask("read", path="/proc/self/status")
        devices = await guest.ask("interfaces")
        await guest.settle()
        trees = trees_of(sandbox.process.pid)
        berth = await guest.zygote._cells.take()  # noqa: SLF001 - as a fork does
        goes_along = len(berth.theirs) - len(trees)
        berth.close()
        held = {row.name for row in sandbox.hello.layers if row.holds}

    assert given_up == {layer}
    assert layer in held, "it was there to be given up"
    assert (trees == []) == (layer == "cgroup" or "cgroup" not in held)
    assert goes_along == WITH_A_FORK + (layer != "landlock")
    assert ("Seccomp:\t0" in facts) == (layer == "seccomp")
    assert (_names(devices) == ["lo"]) == (layer != "network")


WITH_A_FORK = 5
"""Three namespaces, a channel and a log; then a ruleset, and groups to join."""


def _names(devices: str) -> list[str]:
    """Of /proc/net/dev. A machine that runs tests has more than a loopback."""
    return [line.partition(":")[0].strip() for line in devices.splitlines()[2:]]
