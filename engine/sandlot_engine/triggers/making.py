"""New triggers, from what a caller says of them."""

import uuid
from datetime import datetime
from typing import Any

from sandlot_engine.model.trigger import Trigger, TriggerKind


def new_trigger(
    tenant_id: str,
    kind: TriggerKind,
    name: str,
    function: str,
    qualifier: str = "",
    *,
    now: datetime,
    **more: Any,
) -> Trigger:
    """One that can be created; `more` are fields of `Trigger`."""
    return Trigger(
        id=uuid.uuid4().hex,
        tenant_id=tenant_id,
        kind=kind,
        name=name,
        function=function,
        qualifier=qualifier,
        created=now,
        modified=now,
        **more,
    )
