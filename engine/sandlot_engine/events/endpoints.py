"""SQS-, SNS- and EventBridge-compatible endpoints: told with botocore, beside the loop.

Only the endpoints that the operator named are ever spoken to.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from sandlot_engine.events.lineage import trace_id
from sandlot_engine.events.records import bus_entry, dead_letter_attributes
from sandlot_engine.model.event import DeliveryKind, Event
from sandlot_engine.model.target import BadTarget, Target, check_endpoint
from sandlot_engine.store.event_ports import Parcel

TIMEOUT_S = 10
"""For a connection, and for each answer on it."""

AT_ONCE = 4
"""Messages that one service is told at once; the others wait."""


class Untold(Exception):
    """It was not told, or nobody knows; it is worth another try."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointAccess:
    """Where services are, and a key for them."""

    urls: Mapping[str, str]
    """By service: `sqs`, `sns`, `events`."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    region: str

    def queue_url(self, account: str, name: str) -> str:
        return f"{self.urls['sqs'].rstrip('/')}/{account}/{name}"

    def connect(self, service: str, *, waits_s: int = 0, connections: int = 10) -> Any:
        """botocore's client for one of them, which waits `waits_s` longer than others
        for an answer. It asks once: whether and when to ask again is its callers' to
        say, who remember to over a restart."""
        # Imported for those who use it: it is slow to load.
        from botocore.config import Config
        from botocore.session import Session

        config = Config(
            connect_timeout=TIMEOUT_S,
            read_timeout=TIMEOUT_S + waits_s,
            max_pool_connections=connections,
            retries={"total_max_attempts": 1},
            # A proxy of the environment's would be another machine to speak to.
            proxies={},
        )
        session: Any = Session()
        return session.create_client(
            service,
            region_name=self.region,
            endpoint_url=self.urls[service],
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            config=config,
        )


class Endpoints:
    """Tells them; a context manager."""

    def __init__(self, access: EndpointAccess) -> None:
        self._access = access
        self._pools = {
            service: ThreadPoolExecutor(AT_ONCE, thread_name_prefix=f"to-{service}")
            for service in access.urls
        }
        self._clients: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pool in self._pools.values():
            pool.shutdown(wait=True, cancel_futures=True)

    async def tell(
        self, target: Target, parcel: Parcel, body: bytes, *, region: str
    ) -> None:
        """Send a record, or a dead letter. Raises `Untold`, and `BadTarget` where
        there is no such endpoint or it says that there is no such thing."""
        check_endpoint(target, self._pools)
        await asyncio.get_running_loop().run_in_executor(
            self._pools[target.service], self._tell, target, parcel, body, region
        )

    def _tell(self, target: Target, parcel: Parcel, body: bytes, region: str) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        _trace.set(_trace_of(parcel.event))
        try:
            client = self._client(target.service)
            match target.service:
                case "sqs":
                    _check(client.send_message(**self._message(target, parcel, body)))
                case "sns":
                    _check(client.publish(**_publication(target, parcel, body)))
                case _:
                    entry = bus_entry(parcel.event, body, bus=target.arn, region=region)
                    _check_entries(client.put_events(Entries=[entry]))
        except ClientError as error:
            raise _said(error) from error
        except (BotoCoreError, OSError, ValueError) as error:
            raise Untold(
                f"{target.service}: {type(error).__name__}: {error}"
            ) from error

    def _message(self, target: Target, parcel: Parcel, body: bytes) -> dict[str, Any]:
        return {
            "QueueUrl": self._access.queue_url(target.account, target.name),
            "MessageBody": body.decode(),
        } | _attributes(parcel)

    def _client(self, service: str) -> Any:
        """One for each service; made by whoever is first, twice at worst."""
        if service not in self._clients:
            client = self._access.connect(service)
            client.meta.events.register("before-call", _add_trace)
            self._clients[service] = client
        return self._clients[service]


_trace: ContextVar[str] = ContextVar("_trace")
"""Of what this thread is telling. SQS keeps it with the message: by it loops over a
queue are found."""


def _trace_of(event: Event) -> str:
    """As botocore writes it in a function."""
    trace = trace_id(
        event.request_id, event.trace, event.lineage, event.tenant_id, event.function
    )
    return quote(trace, safe="-=;:")


def _add_trace(params: Mapping[str, Any], **_: Any) -> None:
    params["headers"]["X-Amzn-Trace-Id"] = _trace.get()


def _publication(target: Target, parcel: Parcel, body: bytes) -> dict[str, Any]:
    return {"TopicArn": target.arn, "Message": body.decode()} | _attributes(parcel)


def _attributes(parcel: Parcel) -> dict[str, Any]:
    if parcel.delivery.kind is not DeliveryKind.DEAD_LETTER:
        return {}
    return {
        "MessageAttributes": {
            name: {"DataType": kind, "StringValue": value}
            for name, (kind, value) in dead_letter_attributes(parcel.event).items()
        }
    }


def _check(answer: Mapping[str, Any]) -> None:
    """What has no id was taken by nobody, whatever its status."""
    if not answer.get("MessageId"):
        raise Untold("the endpoint's answer has no MessageId")


def _check_entries(answer: Mapping[str, Any]) -> None:
    """PutEvents says of each entry whether it was taken."""
    entries = answer.get("Entries", ())
    if not (entries and entries[0].get("EventId")):
        said = entries[0] if entries else {}
        code = said.get("ErrorCode", "no EventId in the answer")
        raise Untold(f"events: {code}: {said.get('ErrorMessage', '')}")


_NEVER = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
        "NotFound",
        "ResourceNotFoundException",
        "InvalidParameterValue",
        "InvalidParameter",
        "InvalidMessageContents",
    }
)


def _said(error: Any) -> Exception:
    """What an endpoint refused, in its own words."""
    said = error.response.get("Error", {})
    code = str(said.get("Code", ""))
    why = f"{code}: {said.get('Message', '')}"
    return BadTarget(why) if code in _NEVER else Untold(why)
