"""`sandlot doctor --prove`: its programs, and how it judges what came of them."""

import ast
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import sandlot.proof
from sandlot import errors
from sandlot.proof import prove as proof
from sandlot.proof.attempts import ATTEMPTS
from sandlot.proof.engine import Engine
from sandlot.proof.interruption import Interruption
from sandlot.proof.machine import Machine
from sandlot.proof.prove import Finding, Result
from sandlot.proof.scene import Scene

PROGRAMS = Path(sandlot.proof.__file__).with_name("programs")
OLDEST = (3, 9)
"""What functions may run on."""

ATTEMPT = "what was tried"


def test_every_program_is_tried_and_says_what_it_tries() -> None:
    hostile = ast.parse((PROGRAMS / "hostile.py").read_text())
    said = {
        node.name: ast.get_docstring(node) or ""
        for node in hostile.body
        if isinstance(node, ast.FunctionDef)
    }
    for file in PROGRAMS.glob("import_*.py"):
        said[file.stem] = ast.get_docstring(ast.parse(file.read_text())) or ""
    attempts = {attempt.name: attempt for attempt in ATTEMPTS}

    trying = {name for name, text in said.items() if text.startswith("tries to ")}

    assert trying == attempts.keys() & said.keys()
    assert all(attempt.tried and attempt.layers for attempt in ATTEMPTS)
    assert len(attempts) == len(ATTEMPTS)


@pytest.mark.parametrize("file", sorted(PROGRAMS.glob("*.py")), ids=lambda f: f.stem)
def test_programs_are_understood_by_the_oldest_python(file: Path) -> None:
    ast.parse(file.read_text(), feature_version=OLDEST)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.close()


def test_outside_of_a_jail_the_programs_get_through(
    machine: Machine, tmp_path: Path
) -> None:
    facts = {
        "secret_files": {"a secret": str(machine.secret_file)},
        "services": {"a server": machine.port},
        "abstract": machine.abstract,
        "code": str(tmp_path),
        "other_secret": "of nobody",
        "pid": machine.pid,
    }
    found = {
        name: run_unjailed({"attempt": name, **facts})
        for name in (
            *("read_files_of_the_host", "read_another_tenant", "see_processes"),
            "reach_services_of_the_host",
        )
    }

    assert found["read_files_of_the_host"]["a secret"] == "got through"
    assert found["read_another_tenant"]["its folder"] == "got through"
    assert set(found["see_processes"].values()) == {"got through"}
    assert set(found["reach_services_of_the_host"].values()) == {"got through"}


def test_who_comes_to_the_machines_servers_is_counted(machine: Machine) -> None:
    facts = {"services": {"a server": machine.port}, "abstract": machine.abstract}

    run_unjailed({"attempt": "reach_services_of_the_host", **facts})

    # They are let in one after the other, so those before us are counted by then.
    with socket.create_connection(("127.0.0.1", machine.port)) as last:
        assert last.recv(1) == b""
    with socket.socket(socket.AF_UNIX) as last:
        last.connect("\0" + machine.abstract)
        assert last.recv(1) == b""
    assert machine.visitors == 4


def test_a_process_of_the_machine_that_is_killed_is_missed(machine: Machine) -> None:
    assert machine.process_lives

    run_unjailed({"attempt": "signal_processes", "pid": machine.pid})

    assert not machine.process_lives


def run_unjailed(event: dict[str, Any]) -> dict[str, str]:
    """What an attempt of `hostile` answers as a process of ours."""
    program = (
        "import json, sys, types\n"
        "import hostile\n"
        "context = types.SimpleNamespace(aws_request_id='')\n"
        "print(json.dumps(hostile.handler(json.loads(sys.argv[1]), context)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(event)],
        cwd=PROGRAMS,
        capture_output=True,
        check=True,
        text=True,
        timeout=30,
        env={"PYTHONDONTWRITEBYTECODE": "1"},
    )
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


class FakeScene:
    """A hostile function that answers as it is told, and another tenant."""

    layers = frozenset({"seccomp", "privileges", "cgroup"})
    has_egress = True
    machine = SimpleNamespace(visitors=0)
    disguised = SimpleNamespace()

    def __init__(self, answer: object, *, noticed: str = "") -> None:
        self._answer = answer
        self._noticed = noticed
        self.other = self

    def attempt(self, _name: str, **_: object) -> object:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def disturbance(self) -> str:
        return self._noticed

    def check(self) -> None:
        pass


def find(name: str, scene: FakeScene, *, given_up: str = "") -> Finding:
    """What is found of one of the attempts."""
    stage = cast(Scene, scene)
    wanted = tuple(attempt for attempt in ATTEMPTS if attempt.name == name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proof, "ATTEMPTS", wanted)
        _, finding = proof.prove(stage, frozenset(filter(None, [given_up])))
    assert isinstance(finding, Finding)
    return finding


def test_what_is_refused_was_stopped_by_the_first_layer_in_force() -> None:
    answer = {"mount": "EPERM", "umount2": "EPERM", "fsopen": "ENOSYS"}
    scene = FakeScene(answer)

    finding = find("mount_file_systems", scene)
    scene.layers = frozenset({"privileges"})
    without = find("mount_file_systems", scene, given_up="seccomp")

    assert finding.is_good
    assert (finding.layer, finding.is_given_up) == ("seccomp", False)
    assert finding.happened == "mount, umount2: EPERM; fsopen: ENOSYS"
    assert (without.layer, without.is_given_up) == ("privileges", False)


def test_one_try_that_gets_through_is_enough_and_names_the_layer() -> None:
    scene = FakeScene({"keyctl": "EPERM", "add_key": "got through"})
    scene.layers = frozenset()

    finding = find("use_the_kernels_keys", scene, given_up="seccomp")

    assert finding.result is Result.GOT_THROUGH
    assert finding.happened == "add_key"
    assert (finding.layer, finding.is_given_up) == ("seccomp", True)


def test_what_is_reached_by_egress_gets_through_and_nothing_proves_nothing() -> None:
    with_metadata = {"the world": "got through", "169.254.169.254": "got through"}
    without_world = {"the world": "ENETUNREACH", "169.254.169.254": "ENETUNREACH"}
    refused = {"the world": "got through", "169.254.169.254": "EACCES"}

    found = [
        find("reach_beyond_egress", FakeScene(dict(answer)))
        for answer in (with_metadata, without_world, refused)
    ]

    assert [one.result for one in found] == [
        Result.GOT_THROUGH,
        Result.NOT_TRIED,
        Result.STOPPED,
    ]
    assert {one.layer for one in found} == {"egress"}


def test_where_there_is_no_egress_it_is_not_tried() -> None:
    scene = FakeScene({})
    scene.has_egress = False

    with pytest.raises(ValueError, match="not enough values"):
        find("reach_beyond_egress", scene)


def test_what_a_layer_behind_the_first_would_have_stopped_names_that_one() -> None:
    scene = FakeScene({"512 of 128 MB": "got through"})
    scene.layers = frozenset()

    finding = find("take_memory_files", scene, given_up="seccomp")

    assert (finding.layer, finding.is_given_up) == ("seccomp", True)


@pytest.mark.parametrize("answer", [None, {}, "done", 7], ids=repr)
def test_an_answer_that_tells_of_nothing_stopped_was_not_stopped(
    answer: object,
) -> None:
    assert find("take_shared_memory", FakeScene(answer)).result is Result.GOT_THROUGH


def test_an_attempt_that_fails_otherwise_than_it_should_proves_nothing() -> None:
    raised = errors.Unhandled("no attribute", type="AttributeError")

    assert find("use_io_uring", FakeScene(raised)).result is Result.NOT_TRIED
    assert find("take_shared_memory", FakeScene(raised)).result is Result.NOT_TRIED


@pytest.mark.parametrize(
    ("refused", "result"),
    [
        (errors.PermissionDenied("not yours"), Result.STOPPED),
        (errors.UsageError("no engine was asked"), Result.NOT_TRIED),
    ],
)
def test_what_our_own_client_refuses_proves_nothing_of_the_engine(
    refused: Exception, result: Result
) -> None:
    def invoke(_: str) -> None:
        raise refused

    scene = FakeScene(None)
    scene.disguised = SimpleNamespace(invoke=invoke)

    assert find("invoke_the_others", scene).result is result


def test_an_ending_that_is_wanted_is_told() -> None:
    message = "RequestId: 1 Error: Runtime exited with error: signal: killed"
    ended = errors.OutOfMemory(message, type="Runtime.OutOfMemory")

    finding = find("take_shared_memory", FakeScene(ended))

    assert finding.is_good
    assert finding.layer == "cgroup"
    assert finding.happened.startswith("Runtime.OutOfMemory: Runtime exited")


def test_what_the_other_tenant_notices_is_as_bad_as_what_gets_through() -> None:
    scene = FakeScene({"io_uring_setup": "ENOSYS"}, noticed="it does not answer")

    finding = find("use_io_uring", scene)

    assert finding.result is Result.DISTURBED
    assert not finding.is_good
    assert finding.happened == "the other tenant: it does not answer"


class FakeEngine:
    """Counts how often it was asked to end."""

    asked = 0

    def terminate(self) -> None:
        self.asked += 1


@pytest.mark.parametrize(
    ("number", "raised"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)],
    ids=str,
)
def test_a_signal_ends_the_engine_and_is_raised_where_it_is_asked_for(
    number: signal.Signals, raised: type[BaseException]
) -> None:
    engine, late = FakeEngine(), FakeEngine()
    before = signal.getsignal(number)

    with Interruption() as interruption:
        interruption.ends(cast(Engine, engine))
        interruption.check()
        signal.raise_signal(number)
        with pytest.raises(raised):
            interruption.check()
        interruption.ends(cast(Engine, late))

    assert (engine.asked, late.asked) == (1, 1)
    assert signal.getsignal(number) is before
