"""The life of one version, as values: what each step of a change makes of it.

    created ──► PENDING ──made ready──► ACTIVE ──updating──► ACTIVE, InProgress ─┐
                  └──could not be──► FAILED   ▲         old revision serves      │
                                              └────────Successful or Failed──────┘

`$LATEST` goes all of that way; a published version begins like a new function and is
not updated. `revision_id` is new whenever a caller could see a difference.

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


def new_id() -> str:
    return str(uuid.uuid4())


def new_revision(code: Code, config: FunctionConfig) -> Revision:
    return Revision(id=new_id(), code=code, config=config)


def created(
    tenant_id: str, name: str, revision: Revision, *, now: datetime
) -> Function:
    """A function that is first being made ready."""
    return Function(
        tenant_id=tenant_id,
        name=name,
        revision_id=new_id(),
        serving=None,
        pending=revision,
        state=FunctionState.PENDING,
        state_reason=_BEING_CREATED,
        last_modified=now,
    )


def published(
    latest: Function, revision: Revision, *, version: str, description: str | None
) -> Function:
    """A version out of a revision of `$LATEST`, first being made ready: it has its own
    zygote, so its revision is one of its own. None leaves the description as it is."""
    config = revision.config
    if description is not None:
        config = replace(config, description=description)
    return Function(
        tenant_id=latest.tenant_id,
        name=latest.name,
        version=version,
        revision_id=new_id(),
        serving=None,
        pending=new_revision(revision.code, config),
        state=FunctionState.PENDING,
        state_reason=_BEING_CREATED,
        last_modified=latest.last_modified,
        published_description=revision.config.description,
    )


def is_published_as(version: Function, revision: Revision) -> bool:
    """Whether a version is what a revision of `$LATEST` would be published as: then
    there is nothing new to publish. One that has failed is not."""
    config = replace(version.current.config, description=version.published_description)
    return (
        version.state is not FunctionState.FAILED
        and version.current.code == revision.code
        and config == revision.config
    )


def updating(function: Function, revision: Revision, *, now: datetime) -> Function:
    """The function with a revision being made ready beside the one that serves."""
    return replace(
        function,
        revision_id=new_id(),
        pending=revision,
        update_status=UpdateStatus.IN_PROGRESS,
        update_reason=_BEING_CREATED,  # AWS says so of updates too
        last_modified=now,
    )


def settled(
    function: Function, revision: Revision, result: Prepared | SandlotError
) -> Function:
    """The function with its pending revision in place, or given up."""
    function = touched(function)
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
        code = result.reason if result.reason.startswith("FunctionError.") else ""
        return replace(
            function,
            state=FunctionState.FAILED,
            state_reason=result.message,
            state_reason_code=code,
        )
    return replace(
        function,
        pending=None,
        update_status=UpdateStatus.FAILED,
        update_reason=result.message,
    )


def learnt(function: Function, revision_id: str, found: Prepared) -> Function:
    """The function, which serves that revision, as what was learnt of it later makes
    it; the same where that is nothing new, or it serves another."""
    if function.serving is None or function.serving.id != revision_id:
        return function
    changed = replace(
        function, fork_safe=found.fork_safe, fork_safety_reason=found.reason
    )
    return function if changed == function else touched(changed)


def touched(function: Function) -> Function:
    """The function with a new revision id, and so known to have changed."""
    return replace(function, revision_id=new_id())


def renewed(function: Function) -> Function:
    """The function with its revisions that have a network made anew, unchanged but
    for their ids. An instance belongs to an id, so none of the old ones is used.
    Nothing that a caller sees is different, and so the function's own id stays."""
    return replace(
        function,
        serving=_renewed(function.serving),
        pending=_renewed(function.pending),
    )


def _renewed(revision: Revision | None) -> Revision | None:
    if revision is None or revision.config.network is Network.NONE:
        return revision
    return new_revision(revision.code, revision.config)


def changed_config(
    config: FunctionConfig, changes: Mapping[str, object]
) -> FunctionConfig:
    """An image's settings may be given whole, or by those that change.

    Raises `InvalidParameter` for what is no setting.
    """
    if unknown := changes.keys() - {field.name for field in fields(FunctionConfig)}:
        raise InvalidParameter(
            f"A function has no setting {', '.join(sorted(unknown))}.",
            field=min(unknown),
        )
    values: dict[str, Any] = dict(changes)
    if isinstance(of_image := values.get("image_config"), Mapping):
        values["image_config"] = replace(config.image_config, **of_image)
    changed = replace(config, **values)
    if changed.is_image != config.is_image:
        raise InvalidParameter(
            "Whether a function is a zip or an image is chosen when it is created, and "
            "stays.",
            field="runtime",
        )
    if changed.per_tenant != config.per_tenant:
        raise InvalidParameter(
            "Tenant isolation is chosen when a function is created, and stays.",
            field="per_tenant",
        )
    return changed
