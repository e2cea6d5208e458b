"""Resource policies: who but its owner may invoke a function, a version or an alias.

Texts are AWS's. A policy is about exactly what it belongs to: an alias's says nothing
of the version behind it. It shares the revision id of that, which changes with it.
"""

import re
from dataclasses import replace

from sandlot_engine.catalog.functions import Functions
from sandlot_engine.catalog.kept import Kept
from sandlot_engine.catalog.permits import (
    INVOKE,
    INVOKE_URL,
    Verdict,
    Verdicts,
)
from sandlot_engine.catalog.policy_documents import (
    MAX_POLICY,
    parse_policy,
    policy_text,
    statement_text,
    with_principal,
)
from sandlot_engine.catalog.versions import check_revision_id
from sandlot_engine.errors import AlreadyExists, InvalidParameter, NotFound
from sandlot_engine.model.function import LATEST
from sandlot_engine.model.policy import Condition, Policy, Statement
from sandlot_engine.store.ports import DocumentStore

NO_AUTH = "NONE"
"""The auth type of a function URL that anybody may call whom its policy lets."""

_STATEMENT_ID = re.compile(r"[a-zA-Z0-9_-]{1,100}")
_ACTION = re.compile(r"\*|lambda:(\*|[a-zA-Z]+)")
_NO_POLICY = "No policy is associated with the given resource."
_NOTHING = Policy()


def kept_policies(store: DocumentStore) -> Kept[Policy]:
    """Kept by function and qualifier, which is empty for the function itself: one of
    the `belongings` of `Functions`."""
    return Kept(store, "policy", Policy)


class Policies:
    """The resource policies of all functions."""

    def __init__(self, kept: Kept[Policy], functions: Functions) -> None:
        self._kept = kept
        self._functions = functions
        self._verdicts = Verdicts()

    # --- decided ------------------------------------------------------------------

    def of(self, tenant_id: str, function: str, qualifier: str = "") -> Policy:
        """From memory; an empty one where there is none. Never waits."""
        return self._kept.get(tenant_id, function, qualifier) or _NOTHING

    def may_invoke(
        self, owner_tenant: str, function: str, qualifier: str, caller_tenant: str
    ) -> bool:
        """Whether a tenant may invoke what is addressed in that way. Never waits.

        Its owner may unless a statement denies it, others where one allows it.
        """
        policy = self.of(owner_tenant, function, qualifier)
        verdict = self._verdicts.of(
            policy, action=INVOKE, principal_account=caller_tenant
        )
        return _may(verdict, is_owner=caller_tenant == owner_tenant)

    def may_call_url(
        self,
        owner_tenant: str,
        function: str,
        qualifier: str,
        caller_tenant: str,
        *,
        auth_type: str,
    ) -> bool:
        """The same for a call of a function URL, whose caller is empty where nobody
        signed it. AWS wants two actions to be allowed."""
        policy = self.of(owner_tenant, function, qualifier)
        return all(
            _may(
                self._verdicts.of(
                    policy,
                    action=action,
                    principal_account=caller_tenant,
                    function_url_auth_type=auth_type,
                ),
                # A URL without authentication knows no owner.
                is_owner=auth_type != NO_AUTH and caller_tenant == owner_tenant,
            )
            for action in (INVOKE_URL, INVOKE)
        )

    # --- by statement -------------------------------------------------------------

    async def add(
        self,
        tenant_id: str,
        function: str,
        qualifier: str = "",
        *,
        statement_id: str,
        action: str,
        principal: str,
        source_arn: str = "",
        source_account: str = "",
        principal_org_id: str = "",
        event_source_token: str = "",
        function_url_auth_type: str = "",
        via_function_url: bool | None = None,
        revision_id: str = "",
    ) -> str:
        """Allow somebody something; returns the statement as AWS writes it.

        Raises `InvalidParameter`, `NotFound`, `AlreadyExists` for a statement id that
        is taken, and `Conflict` where the function or alias is not at `revision_id`
        (if that is given) any more.
        """
        if function_url_auth_type and action != INVOKE_URL:
            raise InvalidParameter(
                f"FunctionUrlAuthType is only supported for {INVOKE_URL} action",
                field="function_url_auth_type",
            )
        statement = Statement(
            sid=_checked_id(statement_id),
            actions=(_checked_action(action),),
            conditions=_conditions(
                ("StringEquals", "aws:PrincipalOrgID", principal_org_id),
                ("ArnLike", "AWS:SourceArn", source_arn),
                ("StringEquals", "AWS:SourceAccount", source_account),
                ("StringEquals", "lambda:EventSourceToken", event_source_token),
                ("StringEquals", "lambda:FunctionUrlAuthType", function_url_auth_type),
                ("Bool", "lambda:InvokedViaFunctionUrl", _bool(via_function_url)),
            ),
        )

        async def add() -> str:
            self._check(tenant_id, function, qualifier, revision_id)
            policy = self.of(tenant_id, function, qualifier)
            if any(each.sid == statement_id for each in policy.statements):
                raise AlreadyExists(
                    f"The statement id ({statement_id}) provided already exists. "
                    "Please provide a new statement id, or remove the existing "
                    "statement."
                )
            added = with_principal(statement, principal)
            await self._put(
                tenant_id,
                function,
                qualifier,
                replace(policy, statements=(*policy.statements, added)),
            )
            return statement_text(
                added, self._functions.arn(tenant_id, function, qualifier)
            )

        return await self._functions.in_turn(tenant_id, add)

    async def remove(
        self,
        tenant_id: str,
        function: str,
        qualifier: str = "",
        *,
        statement_id: str,
        revision_id: str = "",
    ) -> None:
        """Take a statement back. Raises `NotFound`, `InvalidParameter`, `Conflict`."""

        async def remove() -> None:
            self._require_some(tenant_id, function)
            self._check(tenant_id, function, qualifier, revision_id)
            policy = self._kept.get(tenant_id, function, qualifier)
            if policy is None:
                raise NotFound(_NO_POLICY, kind="policy")
            left = tuple(each for each in policy.statements if each.sid != statement_id)
            if len(left) == len(policy.statements):
                raise NotFound(
                    f"Statement {statement_id} is not found in resource policy.",
                    kind="statement",
                    name=statement_id,
                )
            await self._put(
                tenant_id, function, qualifier, replace(policy, statements=left)
            )

        await self._functions.in_turn(tenant_id, remove)

    # --- as a whole ---------------------------------------------------------------

    def get(
        self, tenant_id: str, function: str, qualifier: str = ""
    ) -> tuple[str, str]:
        """The document as AWS writes it, and its revision id. Raises `NotFound`: of a
        version that is not there AWS says the same as of one without."""
        self._functions.find(tenant_id, function)
        policy = self._kept.get(tenant_id, function, qualifier)
        if policy is None:
            raise NotFound("The resource you requested does not exist.", kind="policy")
        arn = self._functions.arn(tenant_id, function, qualifier)
        revision_id = self._functions.revision_id(tenant_id, function, qualifier)
        return policy_text(policy, arn), revision_id

    async def put(
        self,
        tenant_id: str,
        function: str,
        qualifier: str = "",
        *,
        document: str,
        revision_id: str = "",
    ) -> tuple[str, str]:
        """Replace all of it; returns what `get` then does. Raises as `add` does.

        What the document says and this engine could not hold to is refused by name.
        """
        if len(document.encode()) > MAX_POLICY:
            raise _too_long(len(document.encode()))
        arn = self._functions.arn(tenant_id, function, qualifier)
        policy = parse_policy(document, resource=arn)

        async def put() -> None:
            self._check(tenant_id, function, qualifier, revision_id)
            await self._put(tenant_id, function, qualifier, policy)

        await self._functions.in_turn(tenant_id, put)
        return self.get(tenant_id, function, qualifier)

    async def delete(
        self,
        tenant_id: str,
        function: str,
        qualifier: str = "",
        *,
        revision_id: str = "",
    ) -> None:
        """Raises `NotFound`, `Conflict`."""

        async def delete() -> None:
            self._check(tenant_id, function, qualifier, revision_id)
            if self._kept.get(tenant_id, function, qualifier) is None:
                raise NotFound(_NO_POLICY, kind="policy")
            await self._put(tenant_id, function, qualifier, _NOTHING)

        await self._functions.in_turn(tenant_id, delete)

    # Last, because from here on the class's `list` hides the builtin.
    def list(
        self, tenant_id: str, function: str, qualifier: str = ""
    ) -> tuple[Statement, ...]:
        """Its statements, none where there is no policy. Raises `NotFound`."""
        self._require(tenant_id, function, qualifier)
        return self.of(tenant_id, function, qualifier).statements

    # --- in turn ------------------------------------------------------------------

    async def _put(
        self, tenant_id: str, function: str, qualifier: str, policy: Policy
    ) -> None:
        arn = self._functions.arn(tenant_id, function, qualifier)
        size = len(policy_text(policy, arn).encode())
        if size > MAX_POLICY:
            raise _too_long(size)
        if policy.statements:
            await self._kept.put(tenant_id, function, qualifier, policy)
        else:
            await self._kept.delete(tenant_id, function, qualifier)
        await self._functions.touch(tenant_id, function, qualifier)

    def _check(
        self, tenant_id: str, function: str, qualifier: str, revision_id: str
    ) -> None:
        if qualifier == LATEST:
            raise InvalidParameter(
                f"We currently do not support adding policies for {LATEST}.",
                field="qualifier",
            )
        self._require(tenant_id, function, qualifier)
        now = self._functions.revision_id(tenant_id, function, qualifier)
        check_revision_id(revision_id, now, shown_by="GetPolicy")

    def _require_some(self, tenant_id: str, function: str) -> None:
        """What AWS says here of a function that is not there."""
        try:
            self._functions.find(tenant_id, function)
        except NotFound:
            arn = self._functions.arn(tenant_id, function)
            raise NotFound(f"No policy found for: {arn}", kind="policy") from None

    def _require(self, tenant_id: str, function: str, qualifier: str) -> None:
        self._functions.find(tenant_id, function)
        if qualifier and not qualifier.isdecimal() and qualifier != LATEST:
            self._functions.aliases.get(tenant_id, function, qualifier)
        self._functions.find(tenant_id, function, qualifier)


def _may(verdict: Verdict, *, is_owner: bool) -> bool:
    return verdict is not Verdict.DENIED if is_owner else verdict is Verdict.ALLOWED


def _checked_id(statement_id: str) -> str:
    if not _STATEMENT_ID.fullmatch(statement_id):
        raise InvalidParameter(
            f"Statement id {statement_id[:200]!r} must have 1 to 100 letters, digits, "
            "hyphens and underscores.",
            field="statement_id",
        )
    return statement_id


def _checked_action(action: str) -> str:
    if not _ACTION.fullmatch(action):
        raise InvalidParameter(
            f"Action {action[:200]!r} must be *, lambda:*, or one of Lambda's.",
            field="action",
        )
    return action


def _conditions(*given: tuple[str, str, str]) -> tuple[Condition, ...]:
    return tuple(
        Condition(operator=operator, key=key, values=(value,))
        for operator, key, value in given
        if value
    )


def _bool(value: bool | None) -> str:
    return "" if value is None else str(value).lower()


def _too_long(size: int) -> InvalidParameter:
    return InvalidParameter(
        f"The final policy size ({size}) is bigger than the limit ({MAX_POLICY}).",
        reason="PolicyLengthExceededException",
        field="policy",
    )
