"""Queues of the operator's endpoint: asked with botocore, beside the loop.

Only that endpoint is ever spoken to: an ARN gives account and name of a queue, no host.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

from sandlot_engine.events.endpoints import TIMEOUT_S, EndpointAccess
from sandlot_engine.polling.pace import LONG_POLL_S
from sandlot_engine.polling.sources import Source
from sandlot_engine.polling.turns import TURNS

TELLS = 16
"""Deletions, and what else is no poll, that are told at once."""

ANSWER_S = 2.0 * TIMEOUT_S + LONG_POLL_S
"""The longest that anything is waited for, from when it was asked for here."""

MAX_ENTRIES = 10
"""Messages of one request."""

_MISSING = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})

_NONSENSE = (LookupError, TypeError, ValueError, AttributeError)
"""What botocore raises of an answer that is another thing than its model has."""

T = TypeVar("T")


class QueueTrouble(Exception):
    """An endpoint did not do as it was asked, or nobody knows; it may another time."""


class NoQueue(QueueTrouble):
    """It says that there is no such queue."""


class Queues:
    """A context manager: leaving it waits for what was asked, `TIMEOUT_S` at most after
    a poll's own time."""

    def __init__(self, access: EndpointAccess, *, answer_s: float = ANSWER_S) -> None:
        self._access = access
        self._answer_s = answer_s
        self._polls = ThreadPoolExecutor(TURNS, thread_name_prefix="from-sqs")
        self._tells = ThreadPoolExecutor(TELLS, thread_name_prefix="done-sqs")
        self._client: Any = None
        self._making = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pool in (self._polls, self._tells):
            pool.shutdown(wait=True, cancel_futures=True)
        if self._client is not None:
            self._client.close()

    @property
    def has_endpoint(self) -> bool:
        return "sqs" in self._access.urls

    async def receive(
        self,
        source: Source,
        *,
        count: int,
        wait_s: int,
        read: Callable[[Sequence[dict[str, Any]]], T],
    ) -> T:
        """Up to `count` messages, and what `read` makes of them, beside the loop as
        well. Raises `QueueTrouble`, and what `read` does."""

        def receive(client: Any) -> Sequence[dict[str, Any]]:
            answer = client.receive_message(
                QueueUrl=self._url(source),
                MaxNumberOfMessages=count,
                WaitTimeSeconds=wait_s,
                # Older than MessageSystemAttributeNames: every endpoint knows it.
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
            found = answer.get("Messages", ())
            if not isinstance(found, Sequence):
                raise TypeError(f"Messages is {found!r:.100}")
            return found

        return await self._beside(self._polls, lambda: read(self._ask(receive)))

    async def delete(self, source: Source, handles: Sequence[str]) -> list[str]:
        """Up to `MAX_ENTRIES`; those handles that were not deleted. Raises
        `QueueTrouble`."""

        def delete(client: Any) -> list[str]:
            answer = client.delete_message_batch(
                QueueUrl=self._url(source), Entries=_entries(handles)
            )
            done = {each["Id"] for each in answer.get("Successful", ())}
            return [each for n, each in enumerate(handles) if str(n) not in done]

        return await self._call(delete)

    async def release(self, source: Source, handles: Sequence[str]) -> None:
        """Have up to `MAX_ENTRIES` messages given to whoever asks next."""

        def release(client: Any) -> None:
            client.change_message_visibility_batch(
                QueueUrl=self._url(source),
                Entries=_entries(handles, VisibilityTimeout=0),
            )

        await self._call(release)

    async def visibility_s(self, source: Source) -> float:
        """How long a message that was received is hidden. Raises `QueueTrouble`."""

        def ask(client: Any) -> float:
            answer = client.get_queue_attributes(
                QueueUrl=self._url(source), AttributeNames=["VisibilityTimeout"]
            )
            return float(answer["Attributes"]["VisibilityTimeout"])

        return await self._call(ask)

    async def _call(self, ask: Callable[[Any], T]) -> T:
        return await self._beside(self._tells, lambda: self._ask(ask))

    async def _beside(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        """A socket's own deadline begins anew with each byte; this one does not."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._answer_s):
                return await loop.run_in_executor(pool, work)
        except TimeoutError as error:
            raise QueueTrouble(
                f"the endpoint has not answered within {self._answer_s:g} s"
            ) from error

    def _ask(self, ask: Callable[[Any], T]) -> T:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return ask(self._connected())
        except ClientError as error:
            raise _said(error) from error
        except (BotoCoreError, OSError, *_NONSENSE) as error:
            raise QueueTrouble(f"{type(error).__name__}: {error}") from error

    def _url(self, source: Source) -> str:
        return self._access.queue_url(source.account, source.name)

    def _connected(self) -> Any:
        with self._making:
            if self._client is None:
                self._client = self._access.connect(
                    "sqs", waits_s=LONG_POLL_S, connections=TURNS + TELLS
                )
            return self._client


def _entries(handles: Sequence[str], **also: int) -> list[dict[str, Any]]:
    return [
        {"Id": str(number), "ReceiptHandle": handle, **also}
        for number, handle in enumerate(handles)
    ]


def _said(error: Any) -> QueueTrouble:
    """What an endpoint refused, in its own words."""
    said = error.response.get("Error", {})
    code = str(said.get("Code", ""))
    why = f"SQS Error Code: {code}. SQS Error Message: {said.get('Message', '')}"
    return NoQueue(why) if code in _MISSING else QueueTrouble(why)
