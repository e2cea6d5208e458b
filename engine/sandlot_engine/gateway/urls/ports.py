"""Where a function's answer comes from: whole, or in pieces while it is being made.

async with answering(invocation, may_stream=True) as answer:
    match answer:
        case Outcome(): ...    # it has ended
        case Streamed(): ...   # it goes on, and so may its function
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from sandlot_engine.invocation.invoker import Invoker
from sandlot_engine.model.invocation import Invocation, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """An answer that has begun."""

    content_type: str
    """As the runtime says it; `streams.INTEGRATION` where a prelude comes first."""

    pieces: AsyncIterator[bytes] = field(repr=False)
    """Ends where the answer does. Raises where it broke: then there is no more of it,
    and who has got a part is to be shown that this was not all."""


class Answering(Protocol):
    """Runs an invocation. Leaving the block early says that nobody waits any more."""

    def __call__(
        self, invocation: Invocation, *, may_stream: bool
    ) -> AbstractAsyncContextManager[Outcome | Streamed]:
        """With `may_stream`, what a function streams is passed on as it comes; else it
        is an outcome as well. Raises what the invoker raises, before it began."""
        ...


def by_invoker(invoker: Invoker) -> Answering:
    """Answers that are whole: functions give theirs at the end."""

    @asynccontextmanager
    async def answering(
        invocation: Invocation, *, may_stream: bool
    ) -> AsyncIterator[Outcome | Streamed]:
        del may_stream
        yield await invoker.invoke(invocation, None)

    return answering
