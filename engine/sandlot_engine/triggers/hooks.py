"""What is posted to us: webhooks and buckets' notifications become events.

Whoever may not post learns nothing: no hook of that name, no or another signature, and
another token are refused alike, and counted.
"""

import base64
import hashlib
import json
from dataclasses import dataclass

from sandlot_engine.catalog.seal import Sealer
from sandlot_engine.catalog.validation import is_unicode
from sandlot_engine.clock import Clock
from sandlot_engine.errors import PermissionDenied, Unavailable
from sandlot_engine.model.invocation import MAX_EVENT_PAYLOAD
from sandlot_engine.model.trigger import Bucket, Scheme, Trigger, Webhook
from sandlot_engine.triggers import objects, plan, secrets, signatures
from sandlot_engine.triggers.events import encoded, in_iso
from sandlot_engine.triggers.keeping import Triggers
from sandlot_engine.triggers.sending import Sender
from sandlot_engine.triggers.signatures import Headers, NotSigned

MAX_BODY = MAX_EVENT_PAYLOAD
"""Bytes that may be posted; what becomes of them as an event may have no more."""

_NOT_TOLD = frozenset({"authorization", "cookie", "connection", "proxy-authorization"})
_NOBODYS_SECRET = b"x" * 43


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """A request, read whole."""

    headers: Headers
    query: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What came of one that may be posted."""

    request_id: str = ""
    """Of its event; empty where it makes none."""

    records: int = 0
    """Of a notification: how many were chosen."""

    answer: str = ""
    """What its sender wants to read back."""


class Hooks:
    """The hooks of all tenants."""

    def __init__(
        self, triggers: Triggers, sender: Sender, sealer: Sealer, *, clock: Clock
    ) -> None:
        self._triggers = triggers
        self._sender = sender
        self._sealer = sealer
        self._clock = clock
        self.taken = 0
        """Posts that became events."""

        self.refused = 0
        """Posts by who may not."""

        self.passed_over = 0
        """Notifications none of whose records was chosen, and tests."""

    def __repr__(self) -> str:
        return f"<Hooks {self.taken} taken, {self.refused} refused>"

    async def post(self, tenant_id: str, name: str, post: Post) -> Taken:
        """Take a request. Raises `PermissionDenied` for one that may not be posted;
        `Unavailable` while its trigger is paused; `TooLarge`, `InvalidParameter` for
        what cannot be an event; and what `Sender.send` does."""
        trigger = self._triggers.find(tenant_id, name)
        try:
            taken = await self._take(trigger, post)
        except NotSigned as error:
            self.refused += 1
            raise PermissionDenied("refused") from error
        if taken.request_id:
            self.taken += 1
        else:
            self.passed_over += 1
        return taken

    async def _take(self, trigger: Trigger | None, post: Post) -> Taken:
        if trigger is not None and trigger.bucket is not None:
            self._check_token(trigger.bucket, post)
            self._check_enabled(trigger)
            return await self._notified(trigger, trigger.bucket, post)
        webhook = trigger.webhook if trigger is not None else None
        named = self._check_signature(trigger, webhook, post)
        assert trigger is not None  # noqa: S101 - nobody knows the others' secret
        assert webhook is not None  # noqa: S101
        self._check_enabled(trigger)
        if answer := _challenge(webhook, post):
            return Taken(answer=answer)
        return await self._called(trigger, webhook, post, named)

    # --- may they? ----------------------------------------------------------------

    def _check_signature(
        self, trigger: Trigger | None, webhook: Webhook | None, post: Post
    ) -> str:
        """The request's name."""
        # GitHub's, since there every request is worth the work of a signature.
        scheme, secret = Scheme.GITHUB, _NOBODYS_SECRET
        if trigger is not None and webhook is not None:
            scheme = webhook.scheme
            secret = secrets.unseal(self._sealer, trigger.id, webhook.sealed_secret)
        now_s = self._clock.now().timestamp()
        named = signatures.check_signature(
            scheme, secret, post.headers, post.body, now_s=now_s
        )
        if webhook is None:
            raise NotSigned("no such hook")
        return named

    def _check_token(self, bucket: Bucket, post: Post) -> None:
        kind, _, token = post.headers.get("authorization", "").partition(" ")
        is_token = secrets.is_token(token.strip(), bucket.token_sha256)
        if kind.lower() != "bearer" or not is_token:
            raise NotSigned("another token")

    def _check_enabled(self, trigger: Trigger) -> None:
        if not trigger.is_enabled:
            raise Unavailable(f"trigger {trigger.name} is paused; post it again later")

    # --- events ---------------------------------------------------------------------

    async def _called(
        self, trigger: Trigger, webhook: Webhook, post: Post, named: str
    ) -> Taken:
        once_key = f"{trigger.id} {named}"
        request_id = plan.request_id(once_key)
        payload = called_event(
            trigger, webhook.scheme, post, request_id=request_id, time=self._time()
        )
        await self._sender.send(trigger, payload, once_key=once_key)
        return Taken(request_id=request_id)

    async def _notified(self, trigger: Trigger, bucket: Bucket, post: Post) -> Taken:
        records = list(objects.chosen(objects.records_of(post.body), bucket.filter))
        if not records:
            return Taken()
        # A store that was not answered sends the same again.
        digest = hashlib.sha256(post.body).hexdigest()
        request_id = await self._sender.send(
            trigger,
            encoded({"Records": records}),
            once_key=f"{trigger.id} {digest}",
        )
        return Taken(request_id=request_id, records=len(records))

    def _time(self) -> str:
        return in_iso(self._clock.now())


def called_event(
    trigger: Trigger, scheme: Scheme, post: Post, *, request_id: str, time: str
) -> bytes:
    """A webhook's event, as `docs/triggers.md` has it."""
    try:
        body, is_base64 = post.body.decode(), False
    except UnicodeDecodeError:
        body, is_base64 = base64.b64encode(post.body).decode(), True
    return encoded(
        {
            "version": "1.0",
            "source": "sandlot.webhook",
            "id": request_id,
            "time": time,
            "trigger": trigger.name,
            "scheme": scheme.value,
            "headers": {
                name: value
                for name, value in post.headers.items()
                if name not in _NOT_TOLD
            },
            "rawQueryString": post.query,
            "body": body,
            "isBase64Encoded": is_base64,
        }
    )


def _challenge(webhook: Webhook, post: Post) -> str:
    """What Slack wants to read back when a URL is set up."""
    if webhook.scheme is not Scheme.SLACK or len(post.body) > _MAX_CHALLENGE:
        return ""
    try:
        asked = json.loads(post.body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(asked, dict) or asked.get("type") != "url_verification":
        return ""
    challenge = asked.get("challenge")
    if isinstance(challenge, str) and is_unicode(challenge):
        return challenge
    return ""


_MAX_CHALLENGE = 4_096
