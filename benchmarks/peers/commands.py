"""Peers that start a process in a sandbox: the same interpreter, handler and event.

Each start is what it takes without anything of ours: its program runs, makes what it
isolates by, and execs the interpreter in it. The host's `/usr` is its root file system,
mounted read-only, with the function's package beside it.
"""

import json
import os
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import cache
from benchmarks.jails import ENVIRONMENT, FLAGS, TIMEOUT_S
from benchmarks.peers.bare import EXEC, time_to_first_byte
from benchmarks.workloads import Workload
from sandlot_sandbox.launcher.runtime import Runtime

_TASK = "/var/task"
_LINKS = {"lib": "usr/lib", "lib64": "usr/lib64", "bin": "usr/bin"}

COMMANDS = ("bubblewrap", "crun", "runc", "runsc")


class SandboxedCommand(ABC):
    """One of them, made for one runtime and one package."""

    name: str
    isolation: str

    @abstractmethod
    def start(self, workload: Workload) -> float:
        """Seconds until the answer's first byte. Raises `RuntimeError`."""


@contextmanager
def sandboxed_commands(
    runtime: Runtime, package: Path, workload: Workload
) -> Iterator[tuple[list[SandboxedCommand], list[str]]]:
    """Those that work here, and of the others why they do not. Nothing of them is left
    when the block is."""
    working: list[SandboxedCommand] = []
    missing: list[str] = []
    with ExitStack() as stack:
        for name in COMMANDS:
            peer = cache.peer(name)
            if peer.path is None:
                missing.append(f"{name}: not installed; `python -m benchmarks peers`")
                continue
            command: SandboxedCommand
            if name == "bubblewrap":
                command = _Bubblewrap(peer, runtime, package)
            else:
                command = stack.enter_context(_oci(name, peer, runtime, package))
            try:
                command.start(workload)
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                missing.append(f"{name}: {error}")
            else:
                working.append(command)
        yield working, missing


def _call(runtime: Runtime, workload: Workload) -> list[str]:
    return [
        *(f"/usr/bin/{runtime.name}", *FLAGS, "-c", EXEC),
        *(_TASK, workload.module, workload.payload.decode()),
    ]


def _check_prefix(runtime: Runtime) -> None:
    if str(runtime.prefix) != "/usr":
        raise RuntimeError(f"{runtime.name} is in {runtime.prefix}, not in /usr")


class _Bubblewrap(SandboxedCommand):
    name = "bubblewrap"
    isolation = "all namespaces; no filter, no limits"

    def __init__(self, peer: cache.Peer, runtime: Runtime, package: Path) -> None:
        self._peer = peer
        self._runtime = runtime
        links = [
            word
            for name, to in _LINKS.items()
            for word in ("--symlink", to, f"/{name}")
        ]
        self._command = [
            *(str(peer.path), "--unshare-all", "--die-with-parent"),
            *("--ro-bind", "/usr", "/usr", *links),
            *("--ro-bind", str(package), _TASK, "--tmpfs", "/tmp"),  # noqa: S108 - its own
            *("--proc", "/proc", "--dev", "/dev", "--clearenv"),
            *(w for pair in ENVIRONMENT.items() for w in ("--setenv", *pair)),
        ]

    def start(self, workload: Workload) -> float:
        _check_prefix(self._runtime)
        return time_to_first_byte(
            [*self._command, *_call(self._runtime, workload)],
            environment=self._peer.environment,
        )


_ISOLATION = {
    "crun": "OCI default: namespaces, capabilities, limits; no filter",
    "runc": "OCI default: namespaces, capabilities, limits; no filter",
    "runsc": "a kernel of its own (ptrace); no limits",
}
_OPTIONS = {
    # What else it can do takes KVM, or a newer one than Debian's.
    "runsc": ("--network=none", "--ignore-cgroups", "--platform=ptrace"),
}


class _Oci(SandboxedCommand):
    def __init__(
        self, name: str, peer: cache.Peer, runtime: Runtime, folder: Path
    ) -> None:
        self.name = name
        self.isolation = _ISOLATION[name]
        self._peer = peer
        self._runtime = runtime
        self._bundle = folder / "bundle"
        self._configured: Workload | None = None
        self._number = 0
        self._program = [
            *(str(peer.path), "--root", str(folder / "state")),
            *_OPTIONS.get(name, ()),
        ]
        self._elsewhere: subprocess.Popen[bytes] | None = None

    def start(self, workload: Workload) -> float:
        _check_prefix(self._runtime)
        if os.geteuid():
            raise RuntimeError("needs root here")
        if self._configured is not workload:
            self._configure(workload)
        self._number += 1
        command = ["run", "--bundle", str(self._bundle), self._container(self._number)]
        try:
            return time_to_first_byte(
                [*self._program, *command], environment=self._peer.environment
            )
        except RuntimeError as error:
            if "hybrid mode" not in str(error) or self._elsewhere is not None:
                raise
        self._hide_the_unified_hierarchy()
        return self.start(workload)

    def _hide_the_unified_hierarchy(self) -> None:
        """This crun refuses machines with both versions of control groups. In a mount
        namespace of its own it sees the first version alone; entering that takes an
        exec of a small program more."""
        self._elsewhere = subprocess.Popen(
            [
                *("unshare", "--mount", "sh", "-c"),
                "umount /sys/fs/cgroup/unified && echo ready && read _",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._elsewhere.stdout is not None  # noqa: S101
        if not self._elsewhere.stdout.readline():
            raise RuntimeError("hybrid control groups, which could not be hidden")
        self._program = [
            *("nsenter", f"--mount=/proc/{self._elsewhere.pid}/ns/mnt"),
            *self._program,
        ]
        self.isolation += "; through nsenter"

    def remove(self) -> None:
        """What the last one left, if it was interrupted."""
        subprocess.run(
            [*self._program, "delete", "--force", self._container(self._number)],
            check=False,
            capture_output=True,
            env=self._peer.environment,
            timeout=TIMEOUT_S,
        )
        if self._elsewhere is not None:
            # Both of its pipes are closed, and `read` ends.
            self._elsewhere.communicate(timeout=TIMEOUT_S)

    def _container(self, number: int) -> str:
        return f"sandlot-benchmark-{os.getpid()}-{number}"

    def _configure(self, workload: Workload) -> None:
        (self._bundle / "config.json").unlink(missing_ok=True)
        subprocess.run(
            [str(self._peer.path), "spec"],
            check=True,
            capture_output=True,
            cwd=self._bundle,
            env=self._peer.environment,
            timeout=TIMEOUT_S,
        )
        file = self._bundle / "config.json"
        spec = json.loads(file.read_text("utf-8"))
        _adapt(spec, _call(self._runtime, workload), self._bundle / "package")
        file.write_text(json.dumps(spec), "utf-8")
        self._configured = workload


def _adapt(spec: dict[str, Any], call: list[str], package: Path) -> None:
    """The runtime's own default, with our command and two more mounts."""
    process = spec["process"]
    process["terminal"] = False
    process["args"] = call
    process["env"] = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
    spec["root"] = {"path": "rootfs", "readonly": True}
    spec["mounts"] += [
        {
            "destination": inside,
            "type": "bind",
            "source": str(outside.resolve()),
            "options": ["rbind", "ro"],
        }
        for inside, outside in (("/usr", Path("/usr")), (_TASK, package))
    ]


@contextmanager
def _oci(
    name: str, peer: cache.Peer, runtime: Runtime, package: Path
) -> Iterator[_Oci]:
    with tempfile.TemporaryDirectory(prefix=f"sandlot-benchmark-{name}-") as where:
        folder = Path(where)
        rootfs = folder / "bundle" / "rootfs"
        for part in ("usr", "proc", "dev", "sys", "tmp", "var/task"):
            (rootfs / part).mkdir(parents=True)
        for link, to in _LINKS.items():
            (rootfs / link).symlink_to(to)
        (folder / "bundle" / "package").symlink_to(package)
        command = _Oci(name, peer, runtime, folder)
        try:
            yield command
        finally:
            command.remove()
            shutil.rmtree(folder / "state", ignore_errors=True)
