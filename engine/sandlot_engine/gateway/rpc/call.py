"""One call, from its arrival to the answer that its client has taken: what is known of
it, for whoever serves it."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from sandlot_engine.errors import SandlotError, Unauthenticated
from sandlot_engine.gateway.turns import Held
from sandlot_engine.gateway.untaken import Unsent
from sandlot_engine.model.tenant import Caller

SMALL_ANSWER = 64 * 1024
"""Bytes of an answer that is not counted while its client does not take it: nearly all
are taken at once, and there are `MAX_CALLS` at most."""

COPIES = 2
"""Of an answer that waits: ours, and grpc's."""


@dataclass(slots=True, kw_only=True)
class Call:
    """What the steps found out about the call that this task serves."""

    request_id: str
    method: str
    held: Held
    """For what it asks; a stream's messages come one by one."""

    unsent: Unsent
    """For what it is answered."""

    caller: Caller | None = None
    deadline: float | None = None
    """Of the clock's `monotonic`; None where the client set none."""

    has_begun: bool = True
    """Whether anything may have been done; not while a request is being read."""

    cut: SandlotError | None = None
    """Why its task was cancelled, where a stop does not wait for it."""

    @property
    def who(self) -> str:
        """Whose share it is; all strangers have one together."""
        return self.caller.tenant_id if self.caller is not None else ""

    def told(self, error: BaseException) -> Exception:
        """What its client is told of what ended it. A cancellation is raised again, as
        there is nobody to be told, unless the call was `cut`."""
        if isinstance(error, Exception):
            return error
        if self.cut is None or task_of_call().uncancel():
            raise error
        return self.cut

    @contextmanager
    def sending(self, size: int) -> Iterator[None]:
        """As long as an answer of `size` bytes waits for the client. Raises `Internal`
        where too many do already."""
        if size < SMALL_ANSWER:
            yield
            return
        with self.unsent.held(self.who, size * COPIES):
            yield

    def until_taken(self, size: int) -> None:
        """Count an answer that grpc sends for us, until the call's task has ended.
        Raises as `sending` does."""
        if size < SMALL_ANSWER:
            return
        sending = ExitStack()
        sending.enter_context(self.sending(size))
        task_of_call().add_done_callback(lambda _: sending.close())


_current: ContextVar[Call] = ContextVar("call")


def begin(call: Call) -> None:
    """It is the one that this task serves."""
    _current.set(call)


def current_call() -> Call:
    """The call that this task serves."""
    return _current.get()


def current_caller() -> Caller:
    """Who makes the call that this task serves."""
    caller = _current.get().caller
    if caller is None:
        # Not reachable: a method is called only behind the check of a key. Should that
        # ever break, nobody is better than anybody.
        raise Unauthenticated("no key was checked for this call")
    return caller


def task_of_call() -> asyncio.Task[None]:
    """This one: grpc.aio serves each call in a task of its own, which ends with it."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101
    return task
