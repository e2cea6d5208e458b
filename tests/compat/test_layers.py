"""Layers by boto3: published, found at /opt, shared, deleted."""

import json
from collections.abc import Callable, Iterator

import pytest
import urllib3

from tests.compat.clients import (
    RUNTIME,
    Account,
    Cloud,
    Lambda,
    Refused,
    invalid,
    new_function,
    package,
    refused,
    said,
    saying,
    unique,
    wait_active,
    wait_updated,
)
from tests.compat.conftest import Create
from tests.fakes.zips import zip_of

READS = package(
    "import os\n"
    "def handler(event, context):\n"
    "    read = lambda path: open(os.path.join('/opt', path)).read()\n"
    "    return {path: read(path) for path in sorted(os.listdir('/opt'))\n"
    "            if path.endswith('.txt')}"
)
GREETS = package("import greeting\ndef handler(event, context): return greeting.WORD")
NOT_THERE = Refused(
    404, "ResourceNotFoundException", "The resource you requested does not exist."
)


Publish = Callable[..., str]
"""`publish(files, name=…)`: a layer version of the shared account; its ARN."""


@pytest.fixture
def publish(aws: Lambda) -> Iterator[Publish]:
    """What was published is deleted after the test."""
    published: list[tuple[str, int]] = []

    def publish(files: dict[str, str], *, name: str = "") -> str:
        name = name or unique("layer")
        made = aws.publish_layer_version(
            LayerName=name, Content={"ZipFile": zip_of(files)}
        )
        published.append((name, made["Version"]))
        arn: str = made["LayerVersionArn"]
        return arn

    yield publish
    for name, number in published:
        aws.delete_layer_version(LayerName=name, VersionNumber=number)


def test_layers_are_merged_at_opt_in_their_order(
    aws: Lambda, create: Create, publish: Publish
) -> None:
    lower = publish({"a.txt": "lower", "both.txt": "lower"})
    upper = publish({"b.txt": "upper", "both.txt": "upper"})

    one = create(READS, Layers=[lower, upper])
    other = create(READS, Layers=[upper, lower])

    rest = {"a.txt": "lower", "b.txt": "upper"}
    assert said(aws, one) == rest | {"both.txt": "upper"}
    assert said(aws, other) == rest | {"both.txt": "lower"}
    shown = aws.get_function_configuration(FunctionName=one)["Layers"]
    assert [each["Arn"] for each in shown] == [lower, upper]


@pytest.mark.parametrize("folder", ["python", f"python/lib/{RUNTIME}/site-packages"])
def test_modules_of_a_layer_can_be_imported(
    aws: Lambda, create: Create, folder: str, publish: Publish
) -> None:
    layer = publish({f"{folder}/greeting.py": "WORD = 'hello'"})

    name = create(GREETS, Layers=[layer])

    assert said(aws, name) == "hello"


def test_layers_can_be_changed_and_taken_away(
    aws: Lambda, create: Create, publish: Publish
) -> None:
    layer = publish({"a.txt": "a"})
    name = create(READS)

    before = said(aws, name)
    aws.update_function_configuration(FunctionName=name, Layers=[layer])
    wait_updated(aws, name)
    during = said(aws, name)
    aws.update_function_configuration(FunctionName=name, Layers=[])
    wait_updated(aws, name)

    assert (before, during, said(aws, name)) == ({}, {"a.txt": "a"}, {})


def test_a_layer_version_is_shown_by_number_and_by_arn(
    aws: Lambda, account: Account
) -> None:
    name, zip_bytes = unique("layer"), zip_of({"a.txt": "a"})

    made = aws.publish_layer_version(
        LayerName=name,
        Description="what it is",
        LicenseInfo="MIT",
        CompatibleRuntimes=[RUNTIME],
        CompatibleArchitectures=["x86_64"],
        Content={"ZipFile": zip_bytes},
    )
    shown = aws.get_layer_version(LayerName=name, VersionNumber=1)
    by_arn = aws.get_layer_version_by_arn(Arn=made["LayerVersionArn"])
    fetched = urllib3.request("GET", shown["Content"]["Location"], redirect=False)
    aws.delete_layer_version(LayerName=name, VersionNumber=1)

    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    arn = f"arn:aws:lambda:eu-central-1:{account.id}:layer:{name}"
    for answer in (made, shown, by_arn):
        assert (answer["LayerArn"], answer["LayerVersionArn"]) == (arn, f"{arn}:1")
        assert (answer["Description"], answer["LicenseInfo"]) == ("what it is", "MIT")
        assert answer["CompatibleRuntimes"] == [RUNTIME]
        assert answer["CompatibleArchitectures"] == ["x86_64"]
        assert answer["Content"]["CodeSize"] == len(zip_bytes)
    assert fetched.data == zip_bytes


def test_layers_are_listed_page_by_page(cloud: Cloud) -> None:
    aws = cloud.account().aws()
    content = {"ZipFile": zip_of({"a.txt": "a"})}
    for name in ("a", "b", "b", "c"):
        aws.publish_layer_version(
            LayerName=name, Content=content, CompatibleRuntimes=[RUNTIME]
        )

    pages = list(
        aws.get_paginator("list_layers").paginate(PaginationConfig={"PageSize": 2})
    )
    versions = aws.list_layer_versions(LayerName="b")["LayerVersions"]
    others = aws.list_layers(CompatibleRuntime="nodejs20.x")["Layers"]

    layers = [each for page in pages for each in page["Layers"]]
    assert [each["LayerName"] for each in layers] == ["a", "b", "c"]
    assert [each["LatestMatchingVersion"]["Version"] for each in layers] == [1, 2, 1]
    assert [each["Version"] for each in versions] == [2, 1]
    assert others == []
    for name, version in (("a", 1), ("b", 1), ("b", 2), ("c", 1)):
        aws.delete_layer_version(LayerName=name, VersionNumber=version)


def test_a_deleted_version_stays_with_the_functions_that_have_it(
    aws: Lambda, create: Create, publish: Publish
) -> None:
    layer = publish({"a.txt": "a"})
    has = create(READS, Layers=[layer])
    name = layer.split(":")[-2]

    answer = aws.delete_layer_version(LayerName=name, VersionNumber=1)
    again = aws.delete_layer_version(LayerName=name, VersionNumber=1)
    refusal = refused(aws.create_function, **new_function(READS, Layers=[layer]))
    aws.update_function_code(FunctionName=has, ZipFile=READS)
    wait_updated(aws, has)
    next_one = publish({"b.txt": "b"}, name=name)

    for deletion in (answer, again):
        assert deletion["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refusal == invalid(f"Layer version {layer} does not exist.")
    assert said(aws, has) == {"a.txt": "a"}
    assert next_one.endswith(f":{name}:2")
    assert refused(aws.get_layer_version, LayerName=name, VersionNumber=1) == NOT_THERE


def test_layers_that_do_not_go_together_are_refused_in_awss_words(
    aws: Lambda, account: Account, publish: Publish
) -> None:
    name = unique("layer")
    first = publish({"a.txt": "1"}, name=name)
    second = publish({"a.txt": "2"}, name=name)
    missing = f"arn:aws:lambda:eu-central-1:{account.id}:layer:no-such:1"
    elsewhere = first.replace("eu-central-1", "us-west-2")

    def refusal(*layers: str) -> Refused:
        return refused(
            aws.create_function, **new_function(saying("x"), Layers=list(layers))
        )

    assert refusal(*[first] * 6) == invalid("Cannot reference more than 5 layers.")
    assert refusal(missing) == invalid(f"Layer version {missing} does not exist.")
    assert refusal(first, second) == invalid(
        "Two different versions of the same layer are not allowed to be referenced in "
        f"the same function. {first} and {second} are versions of the same layer."
    )
    assert refusal(elsewhere) == invalid(
        "Layers are not in the same region as the function. Layers are expected to be "
        "in region eu-central-1."
    )


# --- shared -------------------------------------------------------------------


def test_a_layer_is_used_by_another_account_only_where_it_is_allowed(
    aws: Lambda, cloud: Cloud, publish: Publish
) -> None:
    layer = publish({"a.txt": "shared"})
    name = layer.split(":")[-2]
    other = cloud.account("other")
    theirs = other.aws()
    wanted = new_function(READS, Layers=[layer])

    before = refused(theirs.create_function, **wanted)
    unread = refused(theirs.get_layer_version_by_arn, Arn=layer)
    allowed = aws.add_layer_version_permission(
        LayerName=name,
        VersionNumber=1,
        StatementId="other",
        Action="lambda:GetLayerVersion",
        Principal=other.id,
    )
    made = theirs.create_function(**wanted)["FunctionName"]
    wait_active(theirs, made)
    aws.remove_layer_version_permission(
        LayerName=name, VersionNumber=1, StatementId="other"
    )
    after = refused(theirs.create_function, **new_function(READS, Layers=[layer]))

    for refusal in (before, unread, after):
        assert (refusal.status, refusal.code) == (403, "AccessDeniedException")
        assert f"{layer} because no resource-based policy allows" in refusal.message
    assert json.loads(allowed["Statement"])["Resource"] == layer
    assert said(theirs, made) == {"a.txt": "shared"}
    theirs.delete_function(FunctionName=made)


def test_a_policy_is_shown_while_there_is_one(aws: Lambda, publish: Publish) -> None:
    name = publish({"a.txt": "a"}).split(":")[-2]
    which = {"LayerName": name, "VersionNumber": 1}
    allow = {
        "StatementId": "all",
        "Action": "lambda:GetLayerVersion",
        "Principal": "*",
    }

    none = refused(aws.get_layer_version_policy, **which)
    aws.add_layer_version_permission(**which, **allow)
    again = refused(aws.add_layer_version_permission, **which, **allow)
    policy = json.loads(aws.get_layer_version_policy(**which)["Policy"])

    assert (none.status, none.code) == (404, "ResourceNotFoundException")
    assert again == Refused(
        409,
        "ResourceConflictException",
        "The statement id (all) provided already exists. Please provide a new "
        "statement id, or remove the existing statement.",
    )
    (statement,) = policy["Statement"]
    assert (statement["Sid"], statement["Principal"]) == ("all", "*")


def test_what_a_function_has_can_be_said_again_wherever_it_was_said_first(
    aws: Lambda, account: Account, create: Create, publish: Publish
) -> None:
    """By an AWS client of another region, and by our own, which knows the engine's."""
    layer = publish({"a.txt": "1"})
    name = create(READS, Layers=[layer])
    elsewhere = account.aws("us-west-2")

    there = elsewhere.get_function_configuration(FunctionName=name)["Layers"]
    elsewhere.update_function_configuration(
        FunctionName=name, Layers=[each["Arn"] for each in there]
    )
    wait_updated(elsewhere, name)
    with account.grpc() as ours:
        named = f"{layer.split(':')[-2]}:1"
        (ours_arn,) = ours.update_function(name, layers=[named]).layers
    (here,) = aws.get_function_configuration(FunctionName=name)["Layers"]

    assert ":us-west-2:" in there[0]["Arn"]
    assert ours_arn.endswith(f":layer:{named}")
    assert here["Arn"] == layer
    assert said(aws, name) == {"a.txt": "1"}
