"""Where a function's answer comes from: whole, or in pieces while it is being made.

async with answering(invocation, may_stream=True) as answer:
    match answer:
        case Outcome(): ...    # it has ended
        case Streamed(): ...   # it goes on, and so may its function
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from sandlot_engine.invocation import streamed
from sandlot_engine.invocation.invoker import Invoker
from sandlot_engine.invocation.streamed import Streamed
from sandlot_engine.model.invocation import Invocation, Outcome


class Answering(Protocol):
    """Runs an invocation. Leaving the block early says that nobody waits any more."""

    def __call__(
        self, invocation: Invocation, *, may_stream: bool
    ) -> AbstractAsyncContextManager[Outcome | Streamed]:
        """With `may_stream`, what a function streams is passed on as it comes; else it
        is an outcome as well. Raises what the invoker raises, before it began."""
        ...


def by_invoker(invoker: Invoker) -> Answering:
    """What the invoker's functions answer."""

    @asynccontextmanager
    async def answering(
        invocation: Invocation, *, may_stream: bool
    ) -> AsyncIterator[Outcome | Streamed]:
        if may_stream:
            async with streamed.answering(invoker, invocation, deadline=None) as answer:
                yield answer
        else:
            yield await invoker.invoke(invocation, None)

    return answering
