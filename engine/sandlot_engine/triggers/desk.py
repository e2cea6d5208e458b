"""Triggers of all kinds as callers make, change and try them."""

from dataclasses import replace
from datetime import datetime
from uuid import uuid4

from sandlot_engine.catalog.seal import Sealer
from sandlot_engine.clock import Clock
from sandlot_engine.errors import InvalidParameter, PermissionDenied
from sandlot_engine.model.trigger import (
    DEFAULT_GROUP,
    Bucket,
    Directory,
    ObjectFilter,
    Scheme,
    Trigger,
    TriggerKind,
    Webhook,
)
from sandlot_engine.triggers import plan, secrets
from sandlot_engine.triggers.directories import CREATED, Directories, object_record
from sandlot_engine.triggers.events import encoded, in_iso, scheduled_event
from sandlot_engine.triggers.hooks import Post, called_event
from sandlot_engine.triggers.keeping import Triggers
from sandlot_engine.triggers.sending import Sender

_TEST_BODY = b'{"test":true}'


class Desk:
    """What the API of triggers stands on."""

    def __init__(
        self,
        triggers: Triggers,
        directories: Directories,
        sender: Sender,
        sealer: Sealer,
        *,
        clock: Clock,
        region: str,
    ) -> None:
        self.triggers = triggers
        self._directories = directories
        self._sender = sender
        self._sealer = sealer
        self._clock = clock
        self._region = region

    async def create(
        self, trigger: Trigger, *, secret: str = "", is_operator: bool = False
    ) -> tuple[Trigger, str]:
        """Make a trigger, whose secret is made here if none is given; the trigger, and
        that secret. Raises as `Triggers.create` does, and `PermissionDenied` for a
        directory, unless for an operator."""
        if secret and trigger.kind is not TriggerKind.WEBHOOK:
            raise InvalidParameter("Only webhooks take a secret.", field="secret")
        if trigger.directory is not None:
            path = self._directories.checked_path(
                trigger.directory.path, is_operator=is_operator
            )
            trigger = replace(trigger, directory=replace(trigger.directory, path=path))
        if trigger.kind in (TriggerKind.WEBHOOK, TriggerKind.BUCKET):
            trigger, secret = self._with_secret(trigger, secret)
        return await self.triggers.create(trigger), secret

    async def rotate(
        self, tenant_id: str, name: str, *, secret: str = ""
    ) -> tuple[Trigger, str]:
        """Have another secret. Raises `NotFound`, `InvalidParameter`."""
        found = self.triggers.get(tenant_id, name)
        if found.kind not in (TriggerKind.WEBHOOK, TriggerKind.BUCKET):
            raise InvalidParameter(
                f"Trigger {name} is a {found.kind.value}, and has no secret.",
                field="name",
            )
        if secret and found.kind is TriggerKind.BUCKET:
            raise InvalidParameter("A bucket's token is made here.", field="secret")
        secret = secret or secrets.new_secret()
        changed = await self.triggers.change(
            tenant_id, name, change=lambda old: self._with_secret(old, secret)[0]
        )
        return changed, secret

    def _with_secret(self, trigger: Trigger, secret: str) -> tuple[Trigger, str]:
        secret = secret or secrets.new_secret()
        secrets.check_secret(secret)
        if trigger.bucket is not None:
            bucket = replace(trigger.bucket, token_sha256=secrets.hashed(secret))
            return replace(trigger, bucket=bucket), secret
        assert trigger.webhook is not None  # noqa: S101 - the others have none
        sealed = secrets.seal(self._sealer, trigger.id, secret)
        webhook = replace(trigger.webhook, sealed_secret=sealed)
        return replace(trigger, webhook=webhook), secret

    def next_due(self, trigger: Trigger) -> datetime | None:
        """When a schedule is due next, as far as is known; None: never, or it is
        paused."""
        assert trigger.schedule is not None  # noqa: S101 - others are not asked
        if not trigger.is_enabled:
            return None
        progress = self.triggers.progress(trigger)
        return plan.due_of(trigger.schedule).after(progress.through)

    async def test(self, tenant_id: str, name: str, group: str = DEFAULT_GROUP) -> str:
        """Send an event as the trigger would, now, whether it is paused or not; its
        request id. Raises `NotFound`, and what `Sender.send` does."""
        trigger = self.triggers.get(tenant_id, name, group)
        once_key = str(uuid4())
        payload = self._sample(trigger, plan.request_id(once_key))
        return await self._sender.send(trigger, payload, once_key=once_key)

    def _sample(self, trigger: Trigger, request_id: str) -> bytes:
        now = self._clock.now()
        if trigger.schedule is not None:
            return scheduled_event(
                trigger, now, request_id=request_id, region=self._region
            )
        if trigger.webhook is not None:
            return called_event(
                trigger,
                trigger.webhook.scheme,
                Post(
                    headers={"content-type": "application/json"},
                    query="",
                    body=_TEST_BODY,
                ),
                request_id=request_id,
                time=in_iso(now),
            )
        return encoded({"Records": [self._sample_record(trigger, in_iso(now))]})

    def _sample_record(self, trigger: Trigger, time: str) -> dict[str, object]:
        """Of an object that its filter would let through."""
        if trigger.directory is not None:
            of_directory, chosen = trigger, trigger.directory.filter
        else:
            assert trigger.bucket is not None  # noqa: S101 - of the last kind
            chosen = trigger.bucket.filter
            name = next(iter(chosen.buckets), "test-bucket")
            of_directory = replace(trigger, directory=Directory(path=name))
        record = object_record(
            of_directory,
            f"{chosen.prefix}test{chosen.suffix}",
            event=CREATED,
            size=0,
            time=time,
            region=self._region,
        )
        return record if trigger.directory else record | {"eventSource": "aws:s3"}


def webhook(scheme: Scheme) -> Webhook:
    """One that has its secret yet to get, from `Desk.create`."""
    return Webhook(scheme=scheme, sealed_secret=b"")


def bucket(chosen: ObjectFilter) -> Bucket:
    """The same."""
    return Bucket(token_sha256=b"", filter=chosen)


def filtered(
    trigger: Trigger, chosen: ObjectFilter, *, is_operator: bool = False
) -> Trigger:
    """With another filter. Raises `InvalidParameter` for kinds that have none, and
    `PermissionDenied` for a directory's, unless for an operator: it may be what keeps
    names of files from a tenant."""
    if trigger.bucket is not None:
        return replace(trigger, bucket=replace(trigger.bucket, filter=chosen))
    if trigger.directory is not None:
        if not is_operator:
            raise PermissionDenied("only an operator changes a directory's filter")
        return replace(trigger, directory=replace(trigger.directory, filter=chosen))
    raise InvalidParameter(
        f"Trigger {trigger.name} is a {trigger.kind.value}, and has no filter.",
        field="filter",
    )
