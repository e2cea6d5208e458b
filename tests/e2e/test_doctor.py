"""`sandlot doctor`, with and without `--prove`: what it finds, says, and leaves."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import processes
from tests.e2e.engines import USER, Mode
from tests.e2e.waiting import wait_until
from tests.markdown import REPOSITORY

_PROOF_S = 170.0
"""For one `--prove`, ten times what it takes where nothing else runs."""

_DOCTOR = USER + 2
"""Whose limits the shared engines take nothing of. Of the memory that a user may lock,
a few leave too little for a ring of io_uring's, and then no layer is missed."""

_LACKING = 78
"""EX_CONFIG of sysexits.h."""

_INTERRUPTED = 130
_CGROUPS = Path("/sys/fs/cgroup")
_OF_A_LAUNCHER = re.compile(r"sandlot-(\d+)(?:\.\d+)?")
_FEW_FILES = (shutil.which("prlimit") or "prlimit", "--nofile=512:512")
"""Less than the layer `limits` needs."""

pytestmark = pytest.mark.timeout(2 * _PROOF_S)


class Doctor:
    """Runs `sandlot doctor` as somebody with a temporary folder of his own."""

    def __init__(self, mode: Mode, folder: Path) -> None:
        self.folder = folder
        self._as_user = mode is Mode.ROOTLESS and os.geteuid() == 0
        roots = (REPOSITORY / root for root in ("client", "engine", "sandbox"))
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "PYTHONPATH": os.pathsep.join(map(str, roots)),
            # Meant for others, and no business of the engine that proves.
            "SANDLOT_TENANT": "123456789012",
            "SANDLOT_GRPC": "nonsense",
        }

    def ask(self, *options: str, wrapped: tuple[str, ...] = ()) -> tuple[int, str]:
        """The exit status, and what it said on stdout."""
        with self.begin(*options, wrapped=wrapped) as process:
            try:
                said, _ = process.communicate(timeout=_PROOF_S)
            finally:
                process.terminate()
            return process.returncode, said

    def begin(
        self, *options: str, wrapped: tuple[str, ...] = ()
    ) -> "subprocess.Popen[str]":
        command = [*wrapped, sys.executable, "-m", "sandlot", "doctor", *options]
        if self._as_user:
            as_user = Path(__file__).with_name("as_user.py")
            user = [sys.executable, str(as_user), str(_DOCTOR), str(self.folder)]
            command = [*user, *command]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment,
        )

    def expect_nothing_left(self) -> None:
        """No file, no process, no control group."""
        assert list(self.folder.iterdir()) == []
        assert processes.strays(str(self.folder)) == []
        # Others' launchers may be ending at the same time.
        wait_until(lambda: not _groups_of_the_dead(), "their groups are gone")


@pytest.fixture
def doctor(mode: Mode) -> Iterator[Doctor]:
    folder = Path(tempfile.mkdtemp(prefix="sandlot-doctor-"))
    if mode is Mode.ROOTLESS and os.geteuid() == 0:
        os.chown(folder, _DOCTOR, _DOCTOR)
    yield Doctor(mode, folder)
    shutil.rmtree(folder)


def test_each_layer_has_a_row_and_the_last_line_says_what_follows(
    doctor: Doctor,
) -> None:
    status, said = doctor.ask()

    header, *rows, runtimes, conclusion = said.splitlines()
    marks = {row[9:20].strip(): row[:9].strip() for row in rows if row[0] != " "}
    assert status == 0
    assert header.split() == ["LAYER", "STOPS", "A", "FUNCTION", "FROM"]
    assert marks.keys() >= {"user", "mount", "seccomp", "landlock", "cgroup", "egress"}
    assert set(marks.values()) <= {"ok", "weaker", "none"}
    assert runtimes.startswith("runtimes: python3.")
    assert conclusion.startswith("sandlot up would start here, with")
    doctor.expect_nothing_left()


def test_it_says_the_same_as_json(doctor: Doctor) -> None:
    status, said = doctor.ask("--json")

    found = json.loads(said)
    assert status == 0
    assert found.keys() == {"layers", "egress", "runtimes", "ok"}
    assert found["ok"] is True
    assert all(layer["holds"] for layer in found["layers"] if layer["required"])
    assert found["runtimes"][0].keys() == {"name", "version"}
    assert isinstance(found["egress"]["missing"], str)


@pytest.mark.parametrize("options", [(), ("--prove",)], ids=str)
def test_a_machine_that_lacks_a_layer_is_told_how_to_mend_it(
    doctor: Doctor, options: tuple[str, ...]
) -> None:
    status, said = doctor.ask(*options, wrapped=_FEW_FILES)

    assert status == _LACKING
    assert "\nMISSING  limits" in said
    assert "ulimit -H -a" in said
    assert said.splitlines()[-1].startswith("sandlot up would refuse to start here")


def test_every_attempt_is_stopped_by_a_layer_and_nothing_is_left(
    doctor: Doctor, mode: Mode
) -> None:
    status, said = doctor.ask("--prove", "--json")

    proof: dict[str, Any] = json.loads(said)["proof"]
    bad = [one for one in proof["attempts"] if one["result"] != "stopped"]
    assert (status, bad) == (0, [])
    assert proof["ok"] is True
    assert proof["mode"] == mode
    layers = {one["layer"] for one in proof["attempts"]}
    assert layers >= {"mount", "pid", "cell", "network", "seccomp", "engine"}
    assert layers & {"cgroup", "warden"}
    names = {one["name"] for one in proof["attempts"]}
    has_egress = not json.loads(said)["egress"]["missing"]
    assert "ask_for_host" in names
    assert ("reach_beyond_egress" in names) == has_egress
    doctor.expect_nothing_left()


def test_without_a_layer_attempts_get_through_and_the_layer_is_named(
    doctor: Doctor,
) -> None:
    status, said = doctor.ask("--prove", "--insecure=seccomp,network")

    broken = [line for line in said.splitlines() if line.startswith("BROKEN  ")]
    assert status == 1
    assert "\ngiven up seccomp" in said
    assert any("io_uring" in line and "GOT THROUGH" in line for line in broken), said
    assert any("server on loopback" in line for line in broken)
    assert all(
        "seccomp (given up)" in line or "network (given up)" in line for line in broken
    )
    assert f"BROKEN: {len(broken)} of " in said
    assert "not stopped, without network and seccomp" in said
    doctor.expect_nothing_left()


def test_interrupted_in_the_middle_it_leaves_nothing(doctor: Doctor) -> None:
    with doctor.begin("--prove") as process:
        # A read has no deadline; one that lasts too long ends with its process.
        deadline = threading.Timer(_PROOF_S, process.kill)
        deadline.start()
        try:
            assert process.stdout is not None
            first = next(line for line in process.stdout if "read files" in line)

            process.send_signal(signal.SIGINT)

            assert process.wait(_PROOF_S) == _INTERRUPTED
        finally:
            deadline.cancel()
            process.kill()
    assert first.startswith("ok ")
    doctor.expect_nothing_left()


def _groups_of_the_dead() -> list[Path]:
    """Control groups of launchers that live no more."""
    found = []
    for folder, groups, _ in os.walk(_CGROUPS):
        for name in groups:
            launcher = _OF_A_LAUNCHER.fullmatch(name)
            if launcher is not None and not Path("/proc", launcher[1]).exists():
                found.append(Path(folder, name))
    return found
