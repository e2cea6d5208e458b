"""What is tried, which layers it has to get through, and who judges what came of it.

What a program says is only half of it: where something can be seen from outside, such
as a visitor at a server or a process that is still there, it is looked at.
"""

import contextlib
import io
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sandlot import errors
from sandlot.proof.scene import NEIGHBOUR, Scene, deploy, tried
from sandlot.results import LogLine, LogSource

GOT_THROUGH: Final = "got through"
"""The programs' word for it."""

ENGINE: Final = "engine"
"""By the engine itself, whatever the machine can enforce."""

WARDEN: Final = "warden"
"""By the first process of the jail, where control groups are not to be had."""

EGRESS: Final = "egress"
"""By the filter between a function with egress and the world."""

ALWAYS: Final = frozenset((ENGINE, WARDEN, EGRESS))
"""In force beside the layers of `sandlot doctor`."""

_IDLE_S = 0.5
_SETTLING_S = 0.1
"""How long after its answer an instance may still do something."""

_WAIT_S = 5.0
"""For what has to be seen from outside."""

_IMPORT_S = 30.0
"""How long an import may last, its end included: three times what it should."""

_MAX_TOLD = 3
"""Things told of those that ended alike."""

_LOOK_EVERY_S = 0.02
_MAX_LOG = 1 << 20
"""Bytes of log that one invocation may leave, at the very most."""


class GotThrough(Exception):
    """The message says what did."""


class NotTried(Exception):
    """The attempt did not come to what it was about, so nothing is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One thing that is tried."""

    name: str
    """Of the program, mostly."""

    tried: str
    layers: tuple[str, ...]
    """What should stop it; the first that is in force does, the others are behind."""

    judge: "Judge"
    needs_egress: bool = False
    """Whether it is tried only where there is network egress."""

    def carry_out(self, scene: Scene) -> str:
        """How it was stopped. Raises `GotThrough`, `NotTried` or the SDK's errors."""
        return self.judge(scene, self.name)


Judge = Callable[[Scene, str], str]
"""Has the named program run, or does itself what it is about: see `carry_out`."""


def _tells(scene: Scene, name: str) -> str:
    """By what a program tells that tells how each of its tries ended."""
    return _stopped(scene.attempt(name))


def _ends(*by: type[errors.FunctionError], function: str = "hostile") -> Judge:
    """It should be ended, unless it was held up before and tells so."""

    def judge(scene: Scene, name: str) -> str:
        try:
            answer = scene.attempt(name, function=function)
        except by as error:
            return _ending(error)
        return _stopped(answer)

    return judge


def _of(name: str, layers: tuple[str, ...], judge: Judge = _tells) -> Attempt:
    return Attempt(name=name, tried=tried(name), layers=layers, judge=judge)


def _stopped(answer: object) -> str:
    """By what, of a program's answer: what it tried, and how each try ended."""
    if not isinstance(answer, dict) or not answer:
        raise GotThrough(f"it answered {str(answer)[:100]}")
    through = [what for what, how in answer.items() if how == GOT_THROUGH]
    if through:
        raise GotThrough(", ".join(through))
    by_ending: dict[str, list[str]] = {}
    for what, how in answer.items():
        by_ending.setdefault(how, []).append(what)
    return "; ".join(f"{_some(what)}: {how}" for how, what in by_ending.items())


def _some(things: list[str]) -> str:
    if len(things) <= _MAX_TOLD:
        return ", ".join(things)
    return f"{', '.join(things[:_MAX_TOLD])} and {len(things) - _MAX_TOLD} more"


def _ending(error: errors.FunctionError) -> str:
    return f"{error.type}: {error.message.rpartition(' Error: ')[2]}"


def _wait_until(look: Callable[[], bool], *, wait_s: float = _WAIT_S) -> bool:
    until = time.monotonic() + wait_s
    while not (seen := look()) and time.monotonic() < until:
        time.sleep(_LOOK_EVERY_S)
    return seen


# --- seen from outside -----------------------------------------------------------


def _kill(scene: Scene, name: str) -> str:
    stopped = _tells(scene, name)
    if not scene.machine.process_lives:
        raise GotThrough("the process is dead")
    return stopped


def _visit(scene: Scene, name: str) -> str:
    stopped = _tells(scene, name)
    if scene.machine.visitors:
        raise GotThrough(f"{scene.machine.visitors} came to the servers")
    return stopped


def _visit_by_egress(scene: Scene, name: str) -> str:
    answer = scene.attempt(name, function="outgoing")
    if not isinstance(answer, dict) or answer.pop("the world", "") != GOT_THROUGH:
        raise NotTried("it has no way out to try")
    stopped = _stopped(answer)
    if scene.machine.visitors:
        raise GotThrough(f"{scene.machine.visitors} came to the servers")
    return stopped


def _outlive(scene: Scene, name: str) -> str:
    machine = scene.machine
    started = scene.attempt(name)
    if not started or machine.marked() != started:
        raise NotTried(f"{machine.marked()} of {started} daemons are seen")
    with contextlib.suppress(errors.Crashed):
        scene.attempt("end_at_once")
    if not _wait_until(lambda: not machine.marked()):
        raise GotThrough(f"{machine.marked()} of {started} live on")
    return f"{started} daemons: killed"


def _work_while_idle(scene: Scene, name: str) -> str:
    scene.attempt(name)
    since = time.monotonic() + _SETTLING_S
    time.sleep(_IDLE_S)
    until = time.monotonic()
    done = scene.attempt("tell_what_was_done", since=since, until=until)
    if not done["before"]:
        raise NotTried("it was another instance that answered")
    if done["while idle"]:
        raise GotThrough(f"{done['while idle']} steps of its work")
    return f"{(until - since) * 1000:.0f} ms: frozen"


def _flood(scene: Scene, name: str) -> str:
    reply = scene.invoke(name)
    log = _log_of(scene, reply.request_id)
    size = sum(len(line.data) for line in log)
    if size > _MAX_LOG:
        raise GotThrough(f"{size:,} bytes of log")
    return f"{reply.value} MB: {size // 1000} kB kept"


def _forge(scene: Scene, name: str) -> str:
    reply = scene.invoke(name)
    log = _log_of(scene, reply.request_id)
    reports = [line for line in log if line.data.startswith(b"REPORT")]
    real = [line for line in reports if line.source is LogSource.PLATFORM]
    if len(reports) <= len(real):
        raise NotTried("the forged lines did not arrive")
    if len(real) != 1 or b"Billed Duration: 0 ms" in real[0].data:
        raise GotThrough(f"{len(real)} lines pass for the engine's")
    return f"{len(reports) - 1} lines: marked as the function's"


def _log_of(scene: Scene, request_id: str) -> list[LogLine]:
    """All of it: records are written behind the reply."""
    log: list[LogLine] = []

    def is_whole() -> bool:
        lines = scene.hostile.logs("hostile")
        log[:] = [line for line in lines if line.request_id == request_id]
        return any(
            line.source is LogSource.PLATFORM and line.data.startswith(b"REPORT")
            for line in log
        )

    if not _wait_until(is_whole):
        raise NotTried(f"the log of {request_id} has no REPORT line")
    return log


def _exit_at_import(scene: Scene, _: str) -> str:
    deploy(scene.hostile, "import_that_exits")
    return _fails(lambda: scene.hostile.invoke("import_that_exits"))


def _hang_at_import(scene: Scene, _: str) -> str:
    def is_over() -> bool:
        scene.check()
        return scene.hanging.done()

    if not _wait_until(is_over, wait_s=_IMPORT_S):
        raise GotThrough(f"it is being imported for more than {_IMPORT_S:g} s")
    return _fails(scene.hanging.result)


def _fails(step: Callable[[], object]) -> str:
    try:
        step()
    except (errors.Crashed, errors.InitFailed, errors.TimedOut) as error:
        return _ending(error)
    raise GotThrough("it was imported")


def _invoke_the_others(scene: Scene, _: str) -> str:
    return _refused(lambda: scene.disguised.invoke(NEIGHBOUR))


def _ask_for_host(scene: Scene, name: str) -> str:
    return _refused(
        lambda: deploy(scene.hostile, "neighbour", name=name, network="host")
    )


def _climb_out(scene: Scene, _: str) -> str:
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("../../escaped.py", "")
    return _refused(
        lambda: scene.hostile.deploy(
            package.getvalue(), name="climbing", handler="app.handler"
        )
    )


def _refused(step: Callable[[], object]) -> str:
    try:
        step()
    except errors.UsageError as error:
        raise NotTried(f"no engine was asked: {error}") from error
    except errors.Refused as error:
        return type(error).__name__
    raise GotThrough("it was done")


# --- all of them -------------------------------------------------------------------

_FILES = ("mount", "landlock")
_PROCESSES = ("pid", "landlock")
_CALLS = ("seccomp", "privileges")
_SECCOMP = ("seccomp",)
_MEMORY = ("cgroup", WARDEN)
_CELL = ("cell",)
_NETWORK = ("network",)
_ENGINE = (ENGINE,)
_killed = _ends(errors.OutOfMemory, errors.Crashed)

ATTEMPTS = (
    _of("read_files_of_the_host", _FILES),
    _of("read_another_tenant", _FILES),
    _of("write_outside_tmp", _FILES),
    _of("fill_tmp", _CELL),
    _of("see_processes", _PROCESSES),
    _of("signal_processes", _PROCESSES, _kill),
    _of("reach_services_of_the_host", _NETWORK, _visit),
    _of("reach_other_machines", _NETWORK),
    _of("open_other_sockets", _SECCOMP),
    _of("mount_file_systems", _CALLS),
    _of("make_namespaces", _SECCOMP),
    _of("trace_processes", _SECCOMP),
    _of("load_kernel_programs", _CALLS),
    _of("use_the_kernels_keys", _SECCOMP),
    _of("use_io_uring", _SECCOMP),
    _of("gain_privileges", _CALLS),
    _of("use_foreign_call_numbers", _SECCOMP),
    _of("take_private_memory", _MEMORY, _killed),
    _of("take_shared_memory", _MEMORY, _killed),
    _of("take_memory_files", ("cgroup", "seccomp"), _killed),
    _of("take_memory_in_children", _MEMORY, _killed),
    _of("fork_without_end", _MEMORY, _killed),
    _of("work_while_idle", ("cgroup", "cell"), _work_while_idle),
    _of("leave_daemons", _CELL, _outlive),
    _of("print_without_end", _ENGINE, _flood),
    _of("forge_a_report", _ENGINE, _forge),
    _of("answer_with_noise", _ENGINE, _ends(errors.Crashed)),
    _of("answer_too_much", _ENGINE, _ends(errors.Unhandled)),
    _of(
        "go_on_beyond_the_timeout",
        _ENGINE,
        _ends(errors.TimedOut, function="impatient"),
    ),
    Attempt(
        name="invoke_the_others",
        tried="invoke another tenant's function",
        layers=_ENGINE,
        judge=_invoke_the_others,
    ),
    Attempt(
        name="reach_beyond_egress",
        tried=tried("reach_beyond_egress"),
        layers=(EGRESS,),
        judge=_visit_by_egress,
        needs_egress=True,
    ),
    Attempt(
        name="ask_for_host",
        tried="deploy a function with the machine's network",
        layers=_ENGINE,
        judge=_ask_for_host,
    ),
    Attempt(
        name="climb_out",
        tried="deploy a zip that writes outside its folder",
        layers=_ENGINE,
        judge=_climb_out,
    ),
    _of("import_that_exits", _ENGINE, _exit_at_import),
    _of("import_that_hangs", _ENGINE, _hang_at_import),
)
