"""Whose turn it is: those who wait for an instance, or for a place to start one."""

import asyncio
from collections.abc import Callable

from sandlot_engine.clock import Clock
from sandlot_engine.errors import Throttled
from sandlot_engine.model.function import Revision
from sandlot_engine.model.invocation import Invocation
from sandlot_engine.scheduler.bounds import RETRY_AFTER_S
from sandlot_engine.scheduler.decisions import Assign, Decision
from sandlot_engine.scheduler.scaling import Scaling
from sandlot_engine.scheduler.serving import Serving
from sandlot_engine.scheduler.standbys import Standbys
from sandlot_engine.scheduler.state import ClusterState


class Turns:
    """The turns of one scheduler. Nobody waits for longer than `place_s`."""

    def __init__(
        self,
        state: ClusterState,
        standbys: Standbys,
        *,
        clock: Clock,
        place_s: float,
        scaling: Scaling,
        serving: Serving,
        act: Callable[[list[Decision]], None],
    ) -> None:
        self._state = state
        self._standbys = standbys
        self._clock = clock
        self._place_s = place_s
        self._scaling = scaling
        self._serving = serving
        self._act = act
        self._turns: dict[str, asyncio.Future[Assign | None]] = {}
        """By invocation. It is told an instance, or to start one itself."""

        self.held = 0
        """Invocations for which an instance that served was waited for, so far."""

    def __len__(self) -> int:
        return len(self._turns)

    def tell(self, request_id: str, assigned: Assign | None) -> bool:
        """Whether it still waits: it may have been cancelled a moment ago, and its task
        not have run since."""
        turn = self._turns[request_id]
        if turn.done():
            return False
        turn.set_result(assigned)
        return True

    async def wait(
        self,
        revision: Revision,
        invocation: Invocation,
        version: str,
        *,
        is_reset: bool,
    ) -> Assign | None:
        """An instance, or None: start one, a place is kept for it.

        Raises `Throttled` where neither is to be had within `place_s`, and where its
        function has had as many new ones lately as it may.
        """
        function = (invocation.tenant_id, invocation.function)
        is_counted = not self._state.has_warm(version)
        if is_counted:
            self._scaling.take(*function, self._clock.monotonic())
        is_new = False
        try:
            assigned = await self._take(
                invocation,
                version,
                self._hold_s(revision, version),
                is_reset=is_reset,
            )
            is_new = assigned is None or assigned.is_standby
        finally:
            if is_counted and not is_new:
                self._scaling.give_back(*function)
        return assigned

    def _hold_s(self, revision: Revision, version: str) -> float:
        """How long to wait for an instance that serves now, rather than start one."""
        known = self._standbys.find(revision.id)
        if known is None:
            return 0.0
        return self._serving.hold_s(
            known.history,
            version,
            self._clock.monotonic(),
            ahead=self._state.waiting_of(version),
        )

    def _hold_no_more(self, request_id: str) -> None:
        self._act(self._state.hold_no_more(request_id))

    async def _take(
        self,
        invocation: Invocation,
        version: str,
        hold_s: float,
        *,
        is_reset: bool,
    ) -> Assign | None:
        request_id = invocation.request_id
        turn: asyncio.Future[Assign | None] = asyncio.get_running_loop().create_future()
        self._turns[request_id] = turn
        self._act(
            self._state.invocation_arrived(
                request_id,
                version,
                tenant=invocation.tenant_id,
                holds=hold_s > 0,
                spares_fresh=is_reset,
            )
        )
        hold = None
        if hold_s and not turn.done():
            self.held += 1
            loop = asyncio.get_running_loop()
            hold = loop.call_later(hold_s, self._hold_no_more, request_id)
        try:
            if not turn.done():
                async with asyncio.timeout(self._place_s):
                    await turn
            return turn.result()
        except TimeoutError:
            self._give_up(request_id, version, turn)
            raise self._full(invocation.function) from None
        except asyncio.CancelledError:
            self._give_up(request_id, version, turn)
            raise
        finally:
            if hold is not None:
                hold.cancel()
            self._turns.pop(request_id, None)

    def _full(self, function: str) -> Throttled:
        limit = self._state.max_instances
        return Throttled(
            f"no instance of {function!r} became free within {self._place_s:g} s, nor a"
            f" place to start one in: the machine has {limit} instances at most, and"
            f" starts {self._state.max_starting} at once,"
            f" {self._state.max_starting_of_tenant} of them for one tenant. Nothing"
            " ran; send it again later, or have fewer at once",
            reason="ConcurrentInvocationLimitExceeded",
            limit=limit,
            retry_after_s=RETRY_AFTER_S,
        )

    def _give_up(
        self, invocation: str, version: str, turn: asyncio.Future[Assign | None]
    ) -> None:
        """Give back what a cancelled invocation was just given, if anything."""
        if not turn.done() or turn.cancelled():
            self._state.invocation_left(invocation)
        elif (assigned := turn.result()) is None:
            self._act(self._state.start_ended(version, None))
        else:
            self._act(self._state.instance_freed(assigned.instance))
