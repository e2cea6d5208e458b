"""What is kept of events, function URLs and event sources, by boto3."""

from typing import Any

import pytest

from sandlot.errors import InvalidParameter
from tests.compat.clients import (
    REGION,
    Account,
    Cloud,
    Lambda,
    Refused,
    invalid,
    new_function,
    not_found,
    refused,
    saying,
)
from tests.compat.conftest import Create

QUEUE = f"arn:aws:sqs:{REGION}:123456789012:orders"
UNKNOWN = "arn:aws:ec2:eu-west-1:123456789012:y"
BUCKET = "arn:aws:s3:::failed"
STREAM = f"arn:aws:kinesis:{REGION}:123456789012:stream/clicks"
TABLE = f"arn:aws:dynamodb:{REGION}:123456789012:table/t/stream/2026-01-01T00:00:00.000"


# --- events -------------------------------------------------------------------


def test_an_event_config_is_put_changed_and_deleted(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("a word"))
    topic = f"arn:aws:sns:{REGION}:{account.id}:alarms"

    put = aws.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=1
    )
    changed = aws.update_function_event_invoke_config(
        FunctionName=name,
        MaximumEventAgeInSeconds=60,
        DestinationConfig={"OnFailure": {"Destination": topic}},
    )
    listed = aws.list_function_event_invoke_configs(FunctionName=name)
    aws.delete_function_event_invoke_config(FunctionName=name)
    gone = refused(aws.get_function_event_invoke_config, FunctionName=name)

    assert put["FunctionArn"] == account.arn(name) + ":$LATEST"
    assert put["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {}}
    assert (changed["MaximumRetryAttempts"], changed["MaximumEventAgeInSeconds"]) == (
        1,
        60,
    )
    assert listed["FunctionEventInvokeConfigs"][0]["DestinationConfig"] == {
        "OnSuccess": {},
        "OnFailure": {"Destination": topic},
    }
    assert gone == not_found(
        f"The function {account.arn(name)}:$LATEST doesn't have an EventInvokeConfig"
    )


def test_a_destination_without_an_endpoint_is_refused(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("a word"))
    queue = QUEUE.replace("123456789012", account.id)

    refusal = refused(
        aws.put_function_event_invoke_config,
        FunctionName=name,
        DestinationConfig={"OnFailure": {"Destination": queue}},
    )

    assert refusal.code == "InvalidParameterValueException"
    assert "can start it with --destination sqs=URL" in refusal.message


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (
            {},
            "You must specify at least one of error handling or destination setting.",
        ),
        (
            {"DestinationConfig": {"OnSuccess": {"Destination": UNKNOWN}}},
            f"The destination ARN {UNKNOWN} is invalid.",
        ),
        (
            {"DestinationConfig": {"OnFailure": {"Destination": BUCKET}}},
            (
                f"The destination ARN {BUCKET} is invalid. S3 destinations are not "
                "supported: name a queue, a topic, a bus or a function."
            ),
        ),
    ],
)
def test_what_an_event_config_cannot_be_is_refused(
    aws: Lambda, create: Create, given: dict[str, Any], why: str
) -> None:
    name = create(saying("a word"))

    assert refused(
        aws.put_function_event_invoke_config, FunctionName=name, **given
    ) == invalid(why)


# --- function URLs --------------------------------------------------------------


def test_a_function_url_is_kept_under_an_id_of_its_own(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("a word"))
    cors = {"AllowOrigins": ["https://example.test"], "MaxAge": 60}

    made = aws.create_function_url_config(FunctionName=name, AuthType="NONE", Cors=cors)
    twice = refused(aws.create_function_url_config, FunctionName=name, AuthType="NONE")
    changed = aws.update_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    listed = aws.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]
    aws.delete_function_url_config(FunctionName=name)
    gone = refused(aws.get_function_url_config, FunctionName=name)

    assert made["FunctionArn"] == account.arn(name)
    assert (made["Cors"], "InvokeMode" in made) == (cors, False)
    assert (twice.status, twice.code) == (409, "ResourceConflictException")
    assert changed["FunctionUrl"] == made["FunctionUrl"]
    assert (changed["AuthType"], changed["InvokeMode"]) == ("AWS_IAM", "BUFFERED")
    assert [each["FunctionUrl"] for each in listed] == [made["FunctionUrl"]]
    assert gone == not_found("The resource you requested does not exist.")


def test_cors_that_is_taken_back_is_not_shown(aws: Lambda, create: Create) -> None:
    name = create(saying("a word"))
    cors = {"AllowOrigins": ["https://example.test"]}
    aws.create_function_url_config(FunctionName=name, AuthType="NONE", Cors=cors)

    kept = aws.update_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    taken = aws.update_function_url_config(FunctionName=name, Cors={})
    shown = aws.get_function_url_config(FunctionName=name)
    [listed] = aws.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]

    assert kept["Cors"] == cors
    assert not any("Cors" in each for each in (taken, shown, listed))


# --- event sources --------------------------------------------------------------


def test_a_mapping_says_that_nobody_reads_its_source(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("a word"))

    made = aws.create_event_source_mapping(FunctionName=name, EventSourceArn=QUEUE)
    read = aws.get_event_source_mapping(UUID=made["UUID"])
    changed = aws.update_event_source_mapping(UUID=made["UUID"], BatchSize=5)
    listed = aws.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    twice = refused(
        aws.create_event_source_mapping, FunctionName=name, EventSourceArn=QUEUE
    )
    deleted = aws.delete_event_source_mapping(UUID=made["UUID"])

    assert made["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert (made["State"], made["BatchSize"]) == ("Creating", 10)
    assert made["FunctionArn"] == account.arn(name)
    assert read["State"] == "Disabled"
    assert "knows no endpoint for sqs" in read["StateTransitionReason"]
    assert (changed["State"], changed["BatchSize"]) == ("Updating", 5)
    assert [each["UUID"] for each in listed] == [made["UUID"]]
    assert (twice.status, twice.code) == (409, "ResourceConflictException")
    assert made["UUID"] in twice.message
    assert deleted["State"] == "Deleting"
    assert refused(aws.get_event_source_mapping, UUID=made["UUID"]).status == 404


def test_a_stream_s_mapping_shows_what_is_a_stream_s(
    aws: Lambda, create: Create
) -> None:
    name = create(saying("a word"))

    made = aws.create_event_source_mapping(
        FunctionName=name, EventSourceArn=STREAM, StartingPosition="LATEST"
    )
    aws.delete_event_source_mapping(UUID=made["UUID"])

    assert made["BatchSize"] == 100
    assert made["StartingPosition"] == "LATEST"
    assert made["MaximumRetryAttempts"] == -1
    assert made["DestinationConfig"] == {"OnFailure": {}}


def test_mappings_are_listed_by_alias(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("a word"), Publish=True)
    for alias in ("live", "idle"):
        aws.create_alias(FunctionName=name, Name=alias, FunctionVersion="1")
    made = [
        aws.create_event_source_mapping(FunctionName=each, EventSourceArn=QUEUE)
        for each in (name, f"{name}:live")
    ]

    listed = [
        aws.list_event_source_mappings(FunctionName=each)["EventSourceMappings"]
        for each in (name, f"{name}:live", account.arn(f"{name}:live"), f"{name}:idle")
    ]
    for each in made:
        aws.delete_event_source_mapping(UUID=each["UUID"])

    of_all, of_live = {each["UUID"] for each in made}, {made[1]["UUID"]}
    found = [{each["UUID"] for each in page} for page in listed]
    assert found == [of_all, of_live, of_live, set()]


def test_what_is_taken_away_from_a_mapping_is_shown_no_more(
    aws: Lambda, create: Create
) -> None:
    name = create(saying("a word"))
    made = aws.create_event_source_mapping(
        FunctionName=name,
        EventSourceArn=QUEUE,
        FilterCriteria={"Filters": [{"Pattern": '{"body": {"a": [1]}}'}]},
        ScalingConfig={"MaximumConcurrency": 2},
    )

    aws.update_event_source_mapping(
        UUID=made["UUID"], FilterCriteria={}, ScalingConfig={}
    )
    read = aws.get_event_source_mapping(UUID=made["UUID"])
    aws.delete_event_source_mapping(UUID=made["UUID"])

    assert {"FilterCriteria", "ScalingConfig"} <= made.keys()
    assert not {"FilterCriteria", "ScalingConfig"} & read.keys()


def test_a_mapping_outlives_its_function(aws: Lambda, create: Create) -> None:
    name = create(saying("a word"))
    made = aws.create_event_source_mapping(FunctionName=name, EventSourceArn=QUEUE)

    aws.delete_function(FunctionName=name)

    assert aws.get_event_source_mapping(UUID=made["UUID"])["UUID"] == made["UUID"]
    aws.delete_event_source_mapping(UUID=made["UUID"])


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (
            {"EventSourceArn": UNKNOWN},
            "Unrecognized event source.",
        ),
        (
            {"EventSourceArn": STREAM},
            (
                "1 validation error detected: Value null at 'startingPosition' failed "
                "to satisfy constraint: Member must not be null."
            ),
        ),
        (
            {"EventSourceArn": TABLE, "StartingPosition": "AT_TIMESTAMP"},
            f"Unsupported starting position for arn type: {TABLE}",
        ),
        (
            {
                "EventSourceArn": STREAM,
                "StartingPosition": "LATEST",
                "MaximumRecordAgeInSeconds": 59,
            },
            (
                "MaximumRecordAgeInSeconds is -1, for records of any age, or at least "
                "60; it is 59."
            ),
        ),
        (
            {
                "EventSourceArn": STREAM,
                "StartingPosition": "LATEST",
                "StartingPositionTimestamp": 1_741_010_802,
            },
            "Timestamp only valid with StartingPosition AT_TIMESTAMP",
        ),
        (
            {"EventSourceArn": QUEUE, "StartingPosition": "LATEST"},
            "StartingPosition is not valid for SQS event sources.",
        ),
        (
            {"EventSourceArn": QUEUE, "BatchSize": 11},
            (
                "Maximum batch window in seconds must be greater than 0 if maximum "
                "batch size is greater than 10"
            ),
        ),
        (
            {"EventSourceArn": f"{QUEUE}.fifo", "MaximumBatchingWindowInSeconds": 1},
            "Batching window is not supported for FIFO queues.",
        ),
        (
            {
                "EventSourceArn": QUEUE,
                "FilterCriteria": {"Filters": [{"Pattern": "no JSON"}]},
            },
            "Invalid filter pattern definition.",
        ),
        (
            {
                "EventSourceArn": QUEUE,
                "DestinationConfig": {"OnFailure": {"Destination": QUEUE}},
            },
            (
                "Unsupported DestinationConfig parameter for given event source "
                "mapping type."
            ),
        ),
    ],
)
def test_what_cannot_be_mapped_is_refused(
    aws: Lambda, create: Create, given: dict[str, Any], why: str
) -> None:
    name = create(saying("a word"))

    refusal = refused(aws.create_event_source_mapping, FunctionName=name, **given)

    assert refusal == invalid(why)


def test_a_mapping_has_tags(aws: Lambda, create: Create) -> None:
    name = create(saying("a word"))
    made = aws.create_event_source_mapping(
        FunctionName=name, EventSourceArn=QUEUE, Tags={"a": "1"}
    )
    arn = made["EventSourceMappingArn"]

    aws.tag_resource(Resource=arn, Tags={"b": "2"})
    aws.untag_resource(Resource=arn, TagKeys=["a"])
    tags = aws.list_tags(Resource=arn)["Tags"]
    aws.delete_event_source_mapping(UUID=made["UUID"])

    assert tags == {"b": "2"}


# --- code signing, runtimes, the account ----------------------------------------

PROFILE = f"arn:aws:signer:{REGION}:123456789012:/signing-profiles/ours/abcdefghij"
PUBLISHERS = {"SigningProfileVersionArns": [PROFILE]}


def test_a_signing_config_belongs_to_functions_until_it_is_taken_away(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("a word"))
    made = aws.create_code_signing_config(AllowedPublishers=PUBLISHERS)
    arn = made["CodeSigningConfig"]["CodeSigningConfigArn"]

    aws.put_function_code_signing_config(FunctionName=name, CodeSigningConfigArn=arn)
    shown = aws.get_function_code_signing_config(FunctionName=name)
    users = aws.list_functions_by_code_signing_config(CodeSigningConfigArn=arn)
    in_use = refused(aws.delete_code_signing_config, CodeSigningConfigArn=arn)
    aws.delete_function_code_signing_config(FunctionName=name)
    none = aws.get_function_code_signing_config(FunctionName=name)
    aws.delete_code_signing_config(CodeSigningConfigArn=arn)
    gone = refused(aws.get_code_signing_config, CodeSigningConfigArn=arn)
    no_more = refused(
        aws.put_function_code_signing_config,
        FunctionName="no-such-either",
        CodeSigningConfigArn=arn,
    )
    not_created = refused(
        aws.create_function,
        **new_function(saying("x"), FunctionName="x", CodeSigningConfigArn=arn),
    )

    assert shown["CodeSigningConfigArn"] == arn
    assert none.keys() == {"ResponseMetadata"}
    assert users["FunctionArns"] == [account.arn(name)]
    assert (in_use.status, in_use.code) == (409, "ResourceConflictException")
    assert gone == not_found(
        f"The Lambda code signing configuration {arn} can not be found."
    )
    assert (
        no_more
        == not_created
        == Refused(
            404,
            "CodeSigningConfigNotFoundException",
            "The code signing configuration cannot be found. Check that the provided "
            f"configuration is not deleted: {arn}.",
        )
    )


def test_code_is_not_taken_where_signatures_are_enforced(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("a word"))
    made = aws.create_code_signing_config(
        AllowedPublishers=PUBLISHERS,
        CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Enforce"},
    )
    arn = made["CodeSigningConfig"]["CodeSigningConfigArn"]
    aws.put_function_code_signing_config(FunctionName=name, CodeSigningConfigArn=arn)

    refusal = refused(
        aws.update_function_code, FunctionName=name, ZipFile=saying("another")
    )
    with pytest.raises(InvalidParameter, match="enforces signatures"):
        account.grpc().deploy(saying("another"), name=name, handler="app.handler")

    assert (refusal.status, refusal.code) == (400, "CodeVerificationFailedException")


def test_runtimes_are_updated_with_the_machine(aws: Lambda, create: Create) -> None:
    name = create(saying("a word"))

    before = aws.get_runtime_management_config(FunctionName=name)
    aws.put_runtime_management_config(
        FunctionName=name, UpdateRuntimeOn="FunctionUpdate"
    )
    after = aws.get_runtime_management_config(FunctionName=name)
    manual = refused(
        aws.put_runtime_management_config, FunctionName=name, UpdateRuntimeOn="Manual"
    )

    assert before["UpdateRuntimeOn"] == "Auto"
    assert after["UpdateRuntimeOn"] == "FunctionUpdate"
    assert "Manual is not supported" in manual.message


def test_an_account_knows_what_it_has_and_may_have(cloud: Cloud) -> None:
    aws = cloud.account("counted", concurrency=200).aws()
    before = aws.get_account_settings()
    aws.publish_layer_version(LayerName="some", Content={"ZipFile": saying("a word")})

    after = aws.get_account_settings()

    assert before["AccountLimit"]["ConcurrentExecutions"] == 200
    assert before["AccountLimit"]["UnreservedConcurrentExecutions"] == 200
    assert before["AccountUsage"] == {"TotalCodeSize": 0, "FunctionCount": 0}
    assert after["AccountUsage"]["TotalCodeSize"] > 0
    aws.delete_layer_version(LayerName="some", VersionNumber=1)
