"""`TriggerService`: the triggers of the caller's functions."""

from dataclasses import replace

from sandlot.v1 import triggers_pb2 as wire
from sandlot_engine.errors import InvalidParameter
from sandlot_engine.gateway.paging import page_size
from sandlot_engine.gateway.ports import Backend
from sandlot_engine.gateway.rpc import Context
from sandlot_engine.gateway.rpc.call import current_caller
from sandlot_engine.gateway.rpc.trigger_convert import (
    filter_of,
    schedule_of,
    trigger_of,
    trigger_out,
)
from sandlot_engine.model.trigger import DEFAULT_GROUP, Trigger, TriggerKind
from sandlot_engine.triggers.desk import filtered


class TriggerService:
    """Wire to triggers and back."""

    def __init__(self, backend: Backend) -> None:
        self._desk = backend.triggers.desk
        self._triggers = backend.triggers.triggers
        self._clock = backend.clock

    async def CreateTrigger(
        self, request: wire.CreateTriggerRequest, _: Context
    ) -> wire.CreateTriggerResponse:
        caller = current_caller()
        wanted = trigger_of(request, caller.tenant_id, now=self._clock.now())
        made, secret = await self._desk.create(
            wanted, secret=request.secret, is_operator=caller.is_operator
        )
        return wire.CreateTriggerResponse(trigger=self._out(made), secret=secret)

    async def GetTrigger(
        self, request: wire.GetTriggerRequest, _: Context
    ) -> wire.GetTriggerResponse:
        found = self._triggers.get(
            current_caller().tenant_id, request.name, request.group or DEFAULT_GROUP
        )
        return wire.GetTriggerResponse(trigger=self._out(found))

    async def ListTriggers(
        self, request: wire.ListTriggersRequest, _: Context
    ) -> wire.ListTriggersResponse:
        page, token = self._triggers.list(
            current_caller().tenant_id,
            kind=_kind(request.kind),
            function=request.function,
            page_size=page_size(request.page_size),
            page_token=request.page_token,
        )
        return wire.ListTriggersResponse(
            triggers=[self._out(trigger) for trigger in page], next_page_token=token
        )

    async def UpdateTrigger(
        self, request: wire.UpdateTriggerRequest, _: Context
    ) -> wire.UpdateTriggerResponse:
        caller = current_caller()
        changed = await self._triggers.change(
            caller.tenant_id,
            request.name,
            request.group or DEFAULT_GROUP,
            change=lambda old: self._changed(
                old, request, is_operator=caller.is_operator
            ),
        )
        return wire.UpdateTriggerResponse(trigger=self._out(changed))

    def _changed(
        self, old: Trigger, request: wire.UpdateTriggerRequest, *, is_operator: bool
    ) -> Trigger:
        new, has = old, request.HasField
        if has("enabled"):
            new = replace(new, is_enabled=request.enabled)
        if has("description"):
            new = replace(new, description=request.description)
        if has("function"):
            new = replace(new, function=request.function, qualifier="")
        if has("qualifier"):
            new = replace(new, qualifier=request.qualifier)
        if has("filter"):
            chosen = filter_of(request.filter)
            new = filtered(new, chosen, is_operator=is_operator)
        if has("schedule"):
            new = self._rescheduled(new, request.schedule)
        return new

    def _rescheduled(self, old: Trigger, given: wire.Schedule) -> Trigger:
        if old.schedule is None:
            raise InvalidParameter(
                f"Trigger {old.name} is a {old.kind.value}, and has no schedule.",
                field="schedule",
            )
        schedule = replace(
            schedule_of(given, now=self._clock.now()),
            # AWS's alone, and so not for us to change.
            role_arn=old.schedule.role_arn,
            dead_letter_arn=old.schedule.dead_letter_arn,
        )
        return replace(old, schedule=schedule)

    async def RotateTriggerSecret(
        self, request: wire.RotateTriggerSecretRequest, _: Context
    ) -> wire.RotateTriggerSecretResponse:
        _trigger, secret = await self._desk.rotate(
            current_caller().tenant_id, request.name, secret=request.secret
        )
        return wire.RotateTriggerSecretResponse(secret=secret)

    async def TestTrigger(
        self, request: wire.TestTriggerRequest, _: Context
    ) -> wire.TestTriggerResponse:
        request_id = await self._desk.test(
            current_caller().tenant_id, request.name, request.group or DEFAULT_GROUP
        )
        return wire.TestTriggerResponse(request_id=request_id)

    async def DeleteTrigger(
        self, request: wire.DeleteTriggerRequest, _: Context
    ) -> wire.DeleteTriggerResponse:
        await self._triggers.delete(
            current_caller().tenant_id, request.name, request.group or DEFAULT_GROUP
        )
        return wire.DeleteTriggerResponse()

    def _out(self, trigger: Trigger) -> wire.Trigger:
        if trigger.schedule is None:
            return trigger_out(trigger, progress=None, next_due=None)
        return trigger_out(
            trigger,
            progress=self._triggers.progress(trigger),
            next_due=self._desk.next_due(trigger),
        )


def _kind(text: str) -> TriggerKind | None:
    if text and text not in tuple(TriggerKind):
        raise InvalidParameter(
            f"kind {text[:40]!r} is none of {', '.join(TriggerKind)}", field="kind"
        )
    return TriggerKind(text) if text else None
