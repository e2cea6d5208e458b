"""What the invoker needs from below; `scheduler.Scheduler` satisfies it."""

from collections.abc import Callable
from typing import Protocol

from sandlot_engine.model.function import Function
from sandlot_engine.model.invocation import Invocation, Run


class Runner(Protocol):
    """Runs an invocation on an instance of the function's serving revision."""

    async def run(
        self,
        function: Function,
        invocation: Invocation,
        *,
        note_cut: Callable[[float], None],
    ) -> Run:
        """Lend an instance, send it the event, and return what came of it.

        Returns for every way in which the tenant's code can end, a timeout
        included. Raises `Throttled` where there is no room, `Unavailable` where
        no instance could be started through our own fault, `Internal` where one
        was lost through our own fault after it had the event.

        A caller that is cancelled gets its instance destroyed: nobody knows what
        the handler is still doing in there. Then `note_cut` is called with the
        seconds that it had it; not at all for one that was still waiting.
        """
        ...
