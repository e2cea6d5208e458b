"""A sandboxed instance in the engine's words: invocations in, runs out."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from msgspec.structs import replace

from sandlot_engine.errors import Internal, Unavailable
from sandlot_engine.model.function import Function, Revision, function_arn
from sandlot_engine.model.invocation import Ended, Invocation, LogLine, LogSource, Run
from sandlot_engine.node.node import Node
from sandlot_sandbox import outcome
from sandlot_sandbox.errors import LauncherLost, StartFailed
from sandlot_sandbox.frames import EventHeader
from sandlot_sandbox.host.instance import Instance
from sandlot_sandbox.host.lending import Borrower, LendableInstance, Loan
from sandlot_sandbox.host.log_pipe import Line

CLONES_INIT_S = 0.05
"""What a clone that stands by takes at most to be ready. Whatever takes longer is the
function's own work, as hooks of a fork are, and no way to compute for nothing."""

_KB_PER_MB = 1024
_EMPTY_EVENT = b"{}"
_COULD_NOT_FORK = b"sandlot: the zygote could not fork: "


class HostedInstance:
    """Satisfies `scheduler.ports.Instance`."""

    __slots__ = (
        "_instance",
        "_is_clone",
        "_is_kept",
        "_note_late_init",
        "_printed",
        "_region",
    )

    def __init__(
        self,
        instance: Instance,
        *,
        region: str,
        is_clone: bool,
        is_kept: bool = False,
        note_late_init: Callable[[], None],
        printed: Callable[[tuple[Line, ...]], None],
    ) -> None:
        self._instance = instance
        self._region = region
        self._is_clone = is_clone
        self._is_kept = is_kept
        self._note_late_init = note_late_init
        self._printed = printed

    @property
    def is_usable(self) -> bool:
        return self._instance.is_usable

    @property
    def idle_since(self) -> float:
        return self._instance.idle.idle_since

    @property
    def memory_mb(self) -> float:
        return self._instance.idle.used_kb / _KB_PER_MB

    async def run(
        self,
        function: Function,
        invocation: Invocation,
        *,
        wait_s: float,
        init_counts: bool = False,
        is_standby: bool = False,
    ) -> Run:
        assert function.serving is not None  # noqa: S101
        timeout_s = function.serving.config.timeout_s
        header = EventHeader(
            invocation.request_id,
            int((time.time() + timeout_s) * 1000),
            invocation.invoked_arn or self._arn_of(invocation),
            invocation.client_context,
            tenant_id=invocation.isolation_key,
            trace_id=invocation.trace_id,
        )
        payload = invocation.payload or _EMPTY_EVENT
        try:
            ending = await self._instance.invoke(
                header,
                payload,
                timeout_s=timeout_s,
                init_counts=init_counts,
                sink=invocation.sink,
                tells_init=is_standby,
            )
        except StartFailed as error:
            if error.said:
                self._printed(((time.time(), _COULD_NOT_FORK + error.said.encode()),))
            raise Unavailable(f"no instance could be started: {error}") from error
        except LauncherLost as error:
            raise Internal(
                "the instance was lost with its launcher while it ran; it may have done"
                " its work"
            ) from error
        if ending.ended is outcome.Ended.INIT_TIMED_OUT:
            self._note_late_init()
        run = _as_run(ending, invocation.request_id, wait_s)
        is_ours = is_standby and self._is_clone
        if is_ours and run.init_s is not None and run.init_s <= CLONES_INIT_S:
            # It is we who chose to start it, and when; nothing was imported in it.
            run = replace(run, init_s=0.0)
        if self._is_clone and function.has_snapshot and run.init_s is not None:
            run = replace(run, is_restore=True, init_is_within=False)
        if self._is_kept:
            run = replace(run, is_provisioned=True)
        if not self._instance.is_settling:
            return run
        return replace(run, rest=lambda: self._with_rest(run, invocation.request_id))

    async def _with_rest(self, run: Run, request_id: str) -> Run:
        rest = await self._instance.wait_settled()
        return replace(
            run,
            duration_s=run.duration_s + rest.duration_s,
            extensions_s=rest.duration_s,
            lost_because=rest.error_type,
            max_memory_mb=max(run.max_memory_mb, _mb(rest.peak_memory_kb)),
            log=(*run.log, *log_lines(request_id, rest.printed)),
            log_bytes_dropped=run.log_bytes_dropped + rest.dropped,
        )

    @property
    def is_settling(self) -> bool:
        return self._instance.is_settling

    async def wait_settled(self) -> bool:
        await self._instance.wait_settled()
        return self._instance.is_usable

    async def wait_ready(self, limit_s: float) -> bool:
        try:
            return await self._instance.wait_ready(limit_s)
        except TimeoutError:
            self._note_late_init()
            return False

    def stop(self) -> None:
        self._instance.stop()

    def lend(self, borrower: Borrower) -> tuple[Loan, dict[str, int]] | None:
        return self._lendable.lend(borrower)

    def take_back(
        self, *, is_frozen: bool, peak_memory_kb: int, printed: tuple[Line, ...]
    ) -> None:
        self._lendable.take_back(
            is_frozen=is_frozen, peak_memory_kb=peak_memory_kb, printed=printed
        )

    async def kill(self, *, leaves_tmp: bool) -> str:
        if not leaves_tmp:
            self._lendable.leave_nothing()
        try:
            await self._instance.destroy()
        except TimeoutError:
            self._instance.stop()
        return self._instance.verdict

    @property
    def _lendable(self) -> LendableInstance:
        assert isinstance(self._instance, LendableInstance), "it is borrowed"  # noqa: S101
        return self._instance

    def _arn_of(self, invocation: Invocation) -> str:
        return function_arn(
            self._region,
            invocation.tenant_id,
            invocation.function,
            invocation.qualifier,
        )


class NodeMachine:
    """Satisfies `scheduler.ports.Machine`."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def is_ready(self, function: Function, revision: Revision) -> bool:
        return self._node.host(function, revision).is_live

    def short_mb(self) -> float:
        return self._node.short_mb()

    def shed(self, short_mb: float) -> None:
        self._node.shed(short_mb)

    def note_away(self, revisions: frozenset[str]) -> None:
        self._node.note_away(revisions)

    def drop_kept(self) -> bool:
        return self._node.drop_kept()

    def has_reset(self, function: Function, revision: Revision) -> bool:
        return self._node.host(function, revision).has_reset

    async def make_ready(
        self, function: Function, revision: Revision, *, is_awaited: bool = False
    ) -> None:
        await self._node.host(function, revision).make_ready(is_awaited=is_awaited)

    async def start(
        self,
        function: Function,
        revision: Revision,
        *,
        on_death: Callable[[], None],
        is_ahead: bool = False,
        is_kept: bool = False,
    ) -> HostedInstance | None:
        hosted = self._node.host(function, revision)
        forked = await hosted.fork(on_death, is_ahead=is_ahead, is_kept=is_kept)
        if forked is None:
            return None
        instance, zygote = forked
        return HostedInstance(
            instance,
            region=self._node.region,
            is_clone=hosted.is_cloned(zygote),
            is_kept=is_kept,
            note_late_init=lambda: hosted.note_late_init(zygote),
            printed=hosted.note_printed,
        )


def log_lines(request_id: str, printed: tuple[Line, ...]) -> tuple[LogLine, ...]:
    """What a tenant printed, as lines of the log."""
    if not printed:
        return ()
    return tuple(
        LogLine(
            time=datetime.fromtimestamp(moment, UTC),
            request_id=request_id,
            source=LogSource.FUNCTION,
            text=text,
        )
        for moment, text in printed
    )


def _mb(kb: int) -> int:
    return -(-kb // _KB_PER_MB)


_ENDED = {ended: Ended(ended.value) for ended in outcome.Ended}


def _as_run(ending: outcome.Ending, request_id: str, wait_s: float) -> Run:
    return Run(
        ended=_ENDED[ending.ended],
        payload=ending.payload,
        error_type=ending.error_type,
        exit_code=ending.exit_code,
        signal=ending.signal,
        why=ending.why,
        init_s=ending.init_s,
        init_is_within=ending.init_is_within,
        duration_s=ending.duration_s,
        wait_s=wait_s,
        max_memory_mb=_mb(ending.peak_memory_kb),
        log=log_lines(request_id, ending.printed),
        log_bytes_dropped=ending.dropped,
        is_streamed=ending.is_streamed,
    )
