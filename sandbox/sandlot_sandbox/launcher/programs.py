"""Runtimes whose instances are programs: Node, and whatever a package brings along.

They are started by a zygote of ours that runs in our own Python and imports nothing.
"""

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from sandlot_sandbox.guest.image_run import IMAGE
from sandlot_sandbox.guest.starter import BOOTSTRAP
from sandlot_sandbox.launcher.asking import NOT_RUN, start_asking
from sandlot_sandbox.launcher.runtime import SYSTEM_PREFIX, Runtime, guest_code_in, home

PROVIDED = ("provided.al2", "provided.al2023")
IMAGES = (IMAGE,)
"""The runtime of container images, which nobody names."""

_NODE = re.compile(r"nodejs(\d{2})\.x")
_OLDEST_NODE = 18
_ASK = "JSON.stringify([process.versions.node, process.execPath])"
_VERSION = "--version"

_NODE_ARGUMENTS = (
    "--max-old-space-size={heap_mb}",
    "--max-http-header-size=81920",
    "/var/runtime/node/index.mjs",
)
_VISIBLE = ("/usr/bin/", "/usr/lib/")
"""What of the machine a jail has at the same place."""

Asked = list["subprocess.Popen[str]"]


def is_node(name: str) -> bool:
    """Whether a runtime of that name would be a Node."""
    return _NODE.fullmatch(name) is not None


def ask_nodes(named: Mapping[str, str], started: Asked) -> dict[str, Asked]:
    """Processes that say what they are: under the name that they were given; under no
    name, those on PATH and in nvm's folder."""
    groups = {name: [path] for name, path in named.items() if is_node(name)}
    groups[""] = sorted(glob.glob(f"{_nvms()}/v*/bin/node"))[::-1]
    if on_path := shutil.which("node"):
        groups[""].insert(0, on_path)
    return {
        name: start_asking([[path, *question(path)] for path in paths], started)
        for name, paths in groups.items()
    }


def question(path: str) -> list[str]:
    """Arguments with which a Node says what it is.

    Its version takes a twentieth of running anything. But where it is, only the
    distribution's and nvm's need not say: another may be a version manager's, which
    starts the one that is meant.
    """
    there = os.path.realpath(path)
    is_itself = there.startswith((*_VISIBLE, f"{os.path.realpath(_nvms())}/")) and (
        os.path.basename(there) in ("node", "nodejs")
    )
    return [_VERSION] if is_itself else ["-p", _ASK]


def _nvms() -> str:
    """The folder of those that nvm installed."""
    nvm = os.environ.get("NVM_DIR") or str(home() / ".nvm")
    return f"{nvm}/versions/node"


def found(
    store: Path, named: Mapping[str, str], asked: Mapping[str, Asked], until: float
) -> tuple[list[Runtime], list[str]]:
    """The runtimes, and a sentence for each named one that is none."""
    ours = Path(sys.base_prefix).resolve()
    code = guest_code_in(store)
    brought = {**dict.fromkeys(PROVIDED, BOOTSTRAP), **dict.fromkeys(IMAGES, IMAGE)}
    runtimes = {
        name: Runtime(name, "", ours, code, (of,)) for name, of in brought.items()
    }
    problems = []
    for wanted, questions in asked.items():
        for process in questions:
            answer = _answer(process, until)
            name, version, path = answer or ("", "", Path())
            if wanted and name != wanted:
                problems.append(f"{named[wanted]} is not a Node for {wanted}")
            elif answer is not None and name not in runtimes:
                language, runs = _command(path)
                runtimes[name] = Runtime(name, version, ours, code, runs, language)
        if wanted and not questions:
            problems.append(f"{named[wanted]} {NOT_RUN}")
    return list(runtimes.values()), problems


def node(store: Path, name: str, asked: Asked, until: float) -> Runtime | None:
    """What a process that was asked is, if it is a Node for the runtime `name`."""
    for process in asked:
        answer = _answer(process, until)
        if answer is not None and answer[0] == name:
            _, version, path = answer
            language, runs = _command(path)
            ours = Path(sys.base_prefix).resolve()
            return Runtime(name, version, ours, guest_code_in(store), runs, language)
    return None


def _answer(
    process: "subprocess.Popen[str]", until: float
) -> tuple[str, str, Path] | None:
    """A Node's name as a runtime, its version, and where it really is."""
    try:
        answer, _ = process.communicate(timeout=max(0, until - time.monotonic()))
        version, path = _said(answer, cast("list[str]", process.args))
        major = int(version.partition(".")[0])
        there = Path(path).resolve(strict=True)
    except (
        *(subprocess.TimeoutExpired, ValueError, TypeError, OSError),
        *(AttributeError, RuntimeError),
    ):
        # It is somebody's program, and whatever it does or says, not ours to mend.
        return None
    return (f"nodejs{major}.x", version, there) if major >= _OLDEST_NODE else None


def _said(answer: str, command: list[str]) -> tuple[str, str]:
    if _VERSION in command:
        return answer.strip().removeprefix("v"), command[0]
    version, path = json.loads(answer)
    return version, path


def _command(path: Path) -> tuple[Path | None, tuple[str, ...]]:
    """What has to be mounted for it, and how it is run in a jail."""
    if str(path).startswith(_VISIBLE):
        return None, (str(path), *_NODE_ARGUMENTS)
    prefix = path.parent.parent
    if prefix == SYSTEM_PREFIX or path.parent.name != "bin":
        prefix = path.parent
    inside = f"/var/lang/{path.relative_to(prefix)}"
    return prefix, (inside, *_NODE_ARGUMENTS)
