"""Resource policies: what is written, what is refused, and who may then invoke."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandlot_engine.catalog.policies import Policies, kept_policies
from sandlot_engine.errors import (
    AlreadyExists,
    Conflict,
    InvalidParameter,
    NotFound,
    Refusal,
)
from tests.fakes.catalog import ARN, TENANT, Bench, Node, opened
from tests.fakes.stores import MemoryStore

FRIEND, STRANGER = "000000000077", "000000000088"


@dataclass
class World:
    bench: Bench
    policies: Policies

    async def add(self, sid: str = "s1", qualifier: str = "", **given: Any) -> str:
        given = {"action": "lambda:InvokeFunction", "principal": FRIEND} | given
        return await self.policies.add(
            TENANT, "resize", qualifier, statement_id=sid, **given
        )

    async def put(self, document: object, **given: Any) -> tuple[str, str]:
        text = document if isinstance(document, str) else json.dumps(document)
        return await self.policies.put(TENANT, "resize", document=text, **given)

    def may(self, caller: str, qualifier: str = "") -> bool:
        return self.policies.may_invoke(TENANT, "resize", qualifier, caller)

    def revision_id(self, qualifier: str = "") -> str:
        return self.bench.functions.revision_id(TENANT, "resize", qualifier)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """With a function that has a version 1, and an alias `live` for it."""
    store = MemoryStore()
    kept = kept_policies(store)
    async with opened(tmp_path, store, Node(), None, belongings=[kept]) as bench:
        await bench.create()
        await bench.settled()
        await bench.publish()
        await bench.functions.aliases.create(TENANT, "resize", "live", "1")
        yield World(bench, Policies(kept, bench.functions))


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (
            {"principal": FRIEND},
            f'{{"Sid":"s1","Effect":"Allow","Principal":{{"AWS":"arn:aws:iam::{FRIEND}'
            ':root"},"Action":"lambda:InvokeFunction","Resource":"' + ARN + '"}',
        ),
        (
            {"principal": "*", "action": "lambda:*"},
            '{"Sid":"s1","Effect":"Allow","Principal":"*","Action":"lambda:*",'
            '"Resource":"' + ARN + '"}',
        ),
        (
            {
                "principal": "s3.amazonaws.com",
                "source_arn": "arn:aws:s3:::pictures",
                "source_account": FRIEND,
            },
            '{"Sid":"s1","Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},'
            '"Action":"lambda:InvokeFunction","Resource":"' + ARN + '","Condition":'
            '{"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::pictures"},'
            f'"StringEquals":{{"AWS:SourceAccount":"{FRIEND}"}}}}}}',
        ),
    ],
)
async def test_a_statement_is_written_as_aws_does(
    world: World, given: dict[str, str], written: str
) -> None:
    statement = await world.add(**given)

    document, _ = world.policies.get(TENANT, "resize")
    assert statement == written
    assert document == (
        f'{{"Version":"2012-10-17","Id":"default","Statement":[{written}]}}'
    )


async def test_conditions_are_written_as_aws_does(world: World) -> None:
    statement = await world.add(
        action="lambda:InvokeFunctionUrl",
        principal="*",
        principal_org_id="o-1234567890",
        event_source_token="token",
        function_url_auth_type="NONE",
        via_function_url=True,
    )

    assert json.loads(statement)["Condition"] == {
        "StringEquals": {
            "aws:PrincipalOrgID": "o-1234567890",
            "lambda:EventSourceToken": "token",
            "lambda:FunctionUrlAuthType": "NONE",
        },
        "Bool": {"lambda:InvokedViaFunctionUrl": "true"},
    }


@pytest.mark.parametrize("principal", ["", "nobody", "12345", "s3.example.com"])
async def test_a_principal_that_is_none_is_refused(
    world: World, principal: str
) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        await world.add(principal=principal)

    assert str(refusal.value) == (
        "The provided principal was invalid. Please check the principal and try again."
    )


@pytest.mark.parametrize("sid", ["", "two words", "s" * 101, "s1\n"])
async def test_a_statement_id_that_is_none_is_refused(world: World, sid: str) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        await world.add(sid)

    assert str(refusal.value).startswith(f"Statement id {sid!r} must have")
    assert not world.may(FRIEND)


@pytest.mark.parametrize("action", ["", "s3:GetObject", "lambda:Invoke Function"])
async def test_an_action_that_is_none_is_refused(world: World, action: str) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        await world.add(action=action)

    assert str(refusal.value).startswith(f"Action {action!r} must be")


async def test_a_statement_about_a_urls_callers_is_for_calls_of_it_alone(
    world: World,
) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        await world.add(function_url_auth_type="NONE")

    assert str(refusal.value) == (
        "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action"
    )


async def test_a_policy_is_about_its_qualifier_alone(world: World) -> None:
    statement = await world.add(qualifier="live")

    assert json.loads(statement)["Resource"] == f"{ARN}:live"
    assert world.may(FRIEND, "live")
    assert not world.may(FRIEND)
    assert not world.may(FRIEND, "1")
    assert not world.may(STRANGER, "live")


async def test_an_owner_may_invoke_unless_it_is_denied(world: World) -> None:
    assert world.may(TENANT)

    await world.put(
        {"Statement": {"Effect": "Deny", "Principal": "*", "Action": "lambda:*"}}
    )

    assert not world.may(TENANT)


async def test_a_url_needs_two_permissions(world: World) -> None:
    def may_call(caller: str, auth_type: str) -> bool:
        return world.policies.may_call_url(
            TENANT, "resize", "", caller, auth_type=auth_type
        )

    await world.add(
        "url",
        action="lambda:InvokeFunctionUrl",
        principal="*",
        function_url_auth_type="NONE",
    )
    assert not may_call("", "NONE")
    await world.add("invoke", principal="*", via_function_url=True)

    assert may_call("", "NONE")
    assert not may_call(FRIEND, "AWS_IAM")
    assert may_call(TENANT, "AWS_IAM")
    assert not world.may(FRIEND), "not without the URL"


async def test_a_policy_shares_the_revision_id_of_what_it_is_about(
    world: World,
) -> None:
    ids = [world.revision_id(), world.revision_id("live")]
    await world.add(revision_id=ids[0])
    await world.add(qualifier="live", revision_id=ids[1])

    assert world.policies.get(TENANT, "resize")[1] == world.revision_id()
    assert world.policies.get(TENANT, "resize", "live")[1] == world.revision_id("live")
    assert world.revision_id() != ids[0]
    assert world.revision_id("live") != ids[1]
    with pytest.raises(Conflict) as refusal:
        await world.add("s2", revision_id=ids[0])
    with pytest.raises(Conflict):
        await world.policies.remove(
            TENANT, "resize", statement_id="s1", revision_id=ids[0]
        )
    assert world.may(FRIEND)
    assert refusal.value.reason == "PreconditionFailed"
    assert str(refusal.value).endswith(
        "Call the GetPolicy API to retrieve the latest Revision Id"
    )


async def test_a_statement_id_is_taken_once_and_can_be_free_again(world: World) -> None:
    await world.add()
    with pytest.raises(AlreadyExists) as refusal:
        await world.add()
    await world.policies.remove(TENANT, "resize", statement_id="s1")
    await world.add()

    assert str(refusal.value) == (
        "The statement id (s1) provided already exists. Please provide a new statement "
        "id, or remove the existing statement."
    )


async def test_the_last_statement_takes_the_policy_with_it(world: World) -> None:
    await world.add()
    with pytest.raises(NotFound, match=r"Statement s2 is not found in resource policy"):
        await world.policies.remove(TENANT, "resize", statement_id="s2")

    await world.policies.remove(TENANT, "resize", statement_id="s1")

    assert not world.may(FRIEND)
    with pytest.raises(
        NotFound, match=r"^The resource you requested does not exist\.$"
    ):
        world.policies.get(TENANT, "resize")
    with pytest.raises(NotFound, match=r"^No policy is associated with"):
        await world.policies.remove(TENANT, "resize", statement_id="s1")


@pytest.mark.parametrize(
    ("qualifier", "kind", "message"),
    [
        (
            "$LATEST",
            InvalidParameter,
            "We currently do not support adding policies for $LATEST.",
        ),
        ("dev", NotFound, f"Cannot find alias arn: {ARN}:dev"),
        ("no$one", NotFound, f"Function not found: {ARN}:no$one"),
        ("7", NotFound, f"Function not found: {ARN}:7"),
    ],
)
async def test_what_has_no_policy(
    world: World, qualifier: str, kind: type[Refusal], message: str
) -> None:
    with pytest.raises(kind) as refusal:
        await world.add(qualifier=qualifier)

    assert str(refusal.value) == message


async def test_what_is_not_there_has_no_policy(world: World) -> None:
    policies = world.policies
    with pytest.raises(NotFound, match=r"^The resource you requested does not exist"):
        policies.get(TENANT, "resize", "7")
    nobody = ARN.replace("resize", "nobody")
    with pytest.raises(NotFound, match=f"^Function not found: {nobody}$"):
        policies.get(TENANT, "nobody")
    with pytest.raises(NotFound, match=f"^No policy found for: {nobody}$"):
        await policies.remove(TENANT, "nobody", statement_id="s1")
    with pytest.raises(NotFound, match=f"^Function not found: {ARN}:7$"):
        policies.list(TENANT, "resize", "7")
    with pytest.raises(NotFound, match=f"^Function not found: {nobody}$"):
        policies.list(TENANT, "nobody", "live")


async def test_a_policy_has_its_limit(world: World) -> None:
    statement = len(await world.add("s1000")) + 1
    for number in range(1_001, 1_000 + 20_400 // statement):
        await world.add(f"s{number}")

    with pytest.raises(InvalidParameter) as refusal:
        await world.add("s" * 100)

    assert refusal.value.reason == "PolicyLengthExceededException"
    assert len(world.policies.get(TENANT, "resize")[0]) <= 20_480


async def test_an_alias_that_is_made_again_is_not_open_to_whom_the_old_one_was(
    world: World,
) -> None:
    await world.add(qualifier="live")

    await world.bench.functions.aliases.delete(TENANT, "resize", "live")
    await world.bench.functions.aliases.create(TENANT, "resize", "live", "1")

    assert not world.may(FRIEND, "live")


async def test_a_function_takes_its_policies_with_it(world: World) -> None:
    await world.add()

    await world.bench.functions.delete(TENANT, "resize")
    await world.bench.create()

    assert not world.may(FRIEND)


async def test_an_engine_that_starts_knows_them(world: World) -> None:
    await world.add()

    kept = kept_policies(world.bench.store)
    await kept.load()

    assert Policies(kept, world.bench.functions).may_invoke(
        TENANT, "resize", "", FRIEND
    )


# --- whole documents ------------------------------------------------------------------

STATEMENT = {"Effect": "Allow", "Principal": {"AWS": FRIEND}, "Action": "lambda:*"}


async def test_a_whole_document_replaces_all(world: World) -> None:
    await world.add("old", principal=STRANGER)
    document = {
        "Version": "2012-10-17",
        "Id": "mine",
        "Statement": [
            {
                "Sid": "both",
                "Effect": "Allow",
                "Principal": {"AWS": [f"arn:aws:iam::{FRIEND}:root"]},
                "Action": ["lambda:InvokeFunction", "lambda:GetFunction"],
                "Resource": ARN,
                "Condition": {
                    "StringLike": {"aws:SourceAccount": ["1*", "2*"]},
                    "Bool": {"lambda:InvokedViaFunctionUrl": False},
                },
            }
        ],
    }

    text, revision_id = await world.put(document, revision_id=world.revision_id())

    assert (text, revision_id) == world.policies.get(TENANT, "resize")
    written = json.loads(text)
    assert written["Id"] == "mine"
    assert written["Statement"][0] == document["Statement"][0] | {  # type: ignore[operator]
        "Principal": {"AWS": f"arn:aws:iam::{FRIEND}:root"},
        "Condition": {
            "StringLike": {"aws:SourceAccount": ["1*", "2*"]},
            "Bool": {"lambda:InvokedViaFunctionUrl": "false"},
        },
    }
    assert not world.may(STRANGER)
    assert await world.put(text) == world.policies.get(TENANT, "resize")


async def test_a_whole_document_is_replaced_and_deleted_as_it_is_known(
    world: World,
) -> None:
    passed = world.revision_id()
    await world.add()

    with pytest.raises(Conflict):
        await world.put({"Statement": [STATEMENT]}, revision_id=passed)
    with pytest.raises(Conflict):
        await world.policies.delete(TENANT, "resize", revision_id=passed)

    assert world.policies.list(TENANT, "resize")[0].sid == "s1"
    await world.policies.delete(TENANT, "resize", revision_id=world.revision_id())


async def test_what_a_document_leaves_out_is_as_aws_has_it(world: World) -> None:
    text, _ = await world.put({"Statement": [STATEMENT, STATEMENT]})

    document = json.loads(text)
    assert (document["Version"], document["Id"]) == ("2012-10-17", "default")
    assert len(document["Statement"]) == 2, "those without an id may be many"


async def test_to_a_role_something_is_allowed_in_vain(world: World) -> None:
    role = {"AWS": f"arn:aws:iam::{FRIEND}:role/x"}

    await world.put({"Statement": [STATEMENT | {"Principal": role}]})

    assert not world.may(FRIEND)


async def test_a_whole_document_can_be_deleted(world: World) -> None:
    await world.put({"Statement": [STATEMENT]})
    assert world.may(FRIEND)

    await world.policies.delete(TENANT, "resize")

    assert not world.may(FRIEND)
    with pytest.raises(NotFound, match=r"^No policy is associated with"):
        await world.policies.delete(TENANT, "resize")


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ("{", "no JSON"),
        ("[" * 20_000, "no JSON"),
        ('{"Id":"\\ud800","Statement":[]}', "no JSON"),
        ('{"Statement":[],"Statement":[]}', "twice"),
        ([], "must be a JSON object"),
        ({"Statement": []}, "no statement"),
        ({"Version": "2020-01-01", "Statement": [STATEMENT]}, "2020-01-01"),
        ({"Statement": [STATEMENT], "Extra": 1}, "Extra"),
        ({"Statement": [STATEMENT], "Id": 7}, "Id"),
        ({"Statement": ["all"]}, "JSON object"),
        ({"Statement": [STATEMENT | {"Sid": "a"}] * 2}, "different: a"),
        ({"Statement": [STATEMENT | {"Sid": "a b"}]}, "Sid"),
        ({"Statement": [STATEMENT | {"Effect": "allow"}]}, "Effect"),
        ({"Statement": [STATEMENT | {"NotAction": "lambda:*"}]}, "NotAction"),
        ({"Statement": [STATEMENT | {"NotPrincipal": "*"}]}, "NotPrincipal"),
        ({"Statement": [STATEMENT | {"NotResource": "*"}]}, "NotResource"),
        ({"Statement": [STATEMENT | {"Action": "s3:GetObject"}]}, "s3:GetObject"),
        ({"Statement": [STATEMENT | {"Action": []}]}, "Action"),
        ({"Statement": [STATEMENT | {"Action": [7]}]}, "Action"),
        ({"Statement": [STATEMENT | {"Resource": "*"}]}, "Resource"),
        ({"Statement": [STATEMENT | {"Resource": f"{ARN}:live"}]}, "Resource"),
        ({"Statement": [STATEMENT | {"Principal": {}}]}, "principal"),
        ({"Statement": [STATEMENT | {"Principal": "me"}]}, "Principal"),
        ({"Statement": [STATEMENT | {"Principal": {"Federated": "x"}}]}, "Federated"),
        ({"Statement": [STATEMENT | {"Principal": {"Service": "*"}}]}, "principal"),
        (
            {
                "Statement": [
                    STATEMENT | {"Condition": {"IpAddress": {"aws:SourceIp": ""}}}
                ]
            },
            "IpAddress",
        ),
        (
            {
                "Statement": [
                    STATEMENT | {"Condition": {"StringLike": {"aws:SourceIp": ""}}}
                ]
            },
            "aws:SourceIp",
        ),
        ({"Statement": [STATEMENT | {"Condition": {"StringLike": {}}}]}, "Condition"),
        (
            {"Statement": [STATEMENT | {"Condition": {"Bool": {"aws:SourceArn": []}}}]},
            "no value",
        ),
        (
            {
                "Statement": [
                    STATEMENT
                    | {
                        "Effect": "Deny",
                        "Principal": {"AWS": f"arn:aws:iam::{FRIEND}:role/x"},
                    }
                ]
            },
            "role/x",
        ),
    ],
)
async def test_what_could_not_be_held_to_is_refused_by_name(
    world: World, document: object, named: str
) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        await world.put(document)

    assert named in str(refusal.value)
    assert len(str(refusal.value)) < 1_000
    assert not world.may(FRIEND)


async def test_a_whole_document_has_the_same_limit(world: World) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        await world.put({"Id": "x" * 20_480, "Statement": [STATEMENT]})

    assert refusal.value.reason == "PolicyLengthExceededException"


async def test_a_policy_of_thousands_of_patterns_is_not_read_through_at_each_call(
    world: World,
) -> None:
    patterns = ["lambda:*?x"] * 1_400
    await world.put(
        {"Statement": {"Effect": "Deny", "Principal": "*", "Action": patterns}}
    )
    began = time.thread_time()
    assert not world.may(STRANGER)
    once_s = time.thread_time() - began

    began = time.thread_time()
    for _ in range(100):
        world.may(STRANGER)
    often_s = time.thread_time() - began

    assert often_s < 10 * once_s
    await world.put({"Statement": {"Effect": "Allow", "Principal": "*", "Action": "*"}})
    assert world.may(STRANGER)
