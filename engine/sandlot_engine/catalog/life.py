"""The life of one function, as values: what each step of a change makes of it.

    created ──► PENDING ──made ready──► ACTIVE ──updating──► ACTIVE, InProgress ─┐
                  └──could not be──► FAILED   ▲         old revision serves      │
                                              └────────Successful or Failed──────┘

Pure; `functions` does what there is to do between two steps.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from sandlot_engine.errors import InvalidParameter, SandlotError
from sandlot_engine.model.function import (
    Code,
    Function,
    FunctionConfig,
    FunctionState,
    Revision,
    UpdateStatus,
)
from sandlot_engine.model.network import Network

_BEING_CREATED = "The function is being created."


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What was learnt when a revision's zygote was started."""

    fork_safe: bool
    reason: str
    """Why it is not, in words a user can act on; empty where it is."""


def new_revision(code: Code, config: FunctionConfig) -> Revision:
    return Revision(id=str(uuid.uuid4()), code=code, config=config)


def created(
    tenant_id: str, name: str, revision: Revision, *, now: datetime
) -> Function:
    """A function that is first being made ready."""
    return Function(
        tenant_id=tenant_id,
        name=name,
        serving=None,
        pending=revision,
        state=FunctionState.PENDING,
        state_reason=_BEING_CREATED,
        last_modified=now,
    )


def updating(function: Function, revision: Revision, *, now: datetime) -> Function:
    """The function with a revision being made ready beside the one that serves."""
    return replace(
        function,
        pending=revision,
        update_status=UpdateStatus.IN_PROGRESS,
        update_reason=_BEING_CREATED,  # AWS says so of updates too
        last_modified=now,
    )


def settled(
    function: Function, revision: Revision, result: Prepared | SandlotError
) -> Function:
    """The function with its pending revision in place, or given up."""
    if isinstance(result, Prepared):
        return replace(
            function,
            serving=revision,
            pending=None,
            state=FunctionState.ACTIVE,
            state_reason="",
            update_status=UpdateStatus.SUCCESSFUL,
            update_reason="",
            fork_safe=result.fork_safe,
            fork_safety_reason=result.reason,
        )
    if function.serving is None:
        return replace(
            function, state=FunctionState.FAILED, state_reason=result.message
        )
    return replace(
        function,
        pending=None,
        update_status=UpdateStatus.FAILED,
        update_reason=result.message,
    )


def renewed(function: Function) -> Function:
    """The function with its revisions that have a network made anew, unchanged but
    for their ids. An instance belongs to an id, so none of the old ones is used."""
    return replace(
        function,
        serving=_renewed(function.serving),
        pending=_renewed(function.pending),
    )


def _renewed(revision: Revision | None) -> Revision | None:
    if revision is None or revision.config.network is Network.NONE:
        return revision
    return new_revision(revision.code, revision.config)


def revisions(function: Function) -> tuple[Revision, ...]:
    """Those there are: what is being made ready, and what serves."""
    both = (function.pending, function.serving)
    return tuple(revision for revision in both if revision is not None)


def code_sizes(function: Function) -> dict[str, int]:
    """Bytes by hash, zipped and unpacked."""
    codes = [revision.code for revision in revisions(function)]
    return {code.sha256: code.size + code.unpacked_size for code in codes}


def changed_config(
    config: FunctionConfig, changes: Mapping[str, object]
) -> FunctionConfig:
    """Raises `InvalidParameter` for what is no setting."""
    if unknown := changes.keys() - {field.name for field in fields(FunctionConfig)}:
        raise InvalidParameter(
            f"A function has no setting {', '.join(sorted(unknown))}.",
            field=min(unknown),
        )
    values: dict[str, Any] = dict(changes)
    return replace(config, **values)
