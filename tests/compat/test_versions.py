"""Versions and aliases by boto3."""

import base64
import hashlib

from tests.compat.clients import (
    Account,
    Lambda,
    Refused,
    conflict,
    invalid,
    invoke,
    new_function,
    not_found,
    refused,
    said,
    saying,
    unique,
    wait_active,
    wait_updated,
)
from tests.compat.conftest import Create

STALE = Refused(
    412,
    "PreconditionFailedException",
    "The Revision Id provided does not match the latest Revision Id. Call the "
    "GetFunction/GetAlias API to retrieve the latest Revision Id",
)
LOOKS = 200
"""Far more than it takes for both of two versions at even odds to be seen."""


# --- versions -----------------------------------------------------------------


def test_a_version_can_be_invoked_when_it_is_published_and_stays_as_it_is(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("first"), Description="of $LATEST")

    made = aws.publish_version(FunctionName=name, Description="its own")
    at_once = said(aws, f"{name}:1")
    aws.update_function_code(FunctionName=name, ZipFile=saying("second"))
    wait_updated(aws, name)

    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (made["Version"], made["FunctionArn"]) == ("1", account.arn(f"{name}:1"))
    assert (made["State"], made["LastUpdateStatus"]) == ("Active", "Successful")
    shown = aws.get_function_configuration(FunctionName=name, Qualifier="1")
    assert (shown["State"], shown["Description"]) == ("Active", "its own")
    assert shown["RevisionId"] == made["RevisionId"]
    assert (at_once, said(aws, f"{name}:1")) == ("first", "first")
    assert said(aws, account.arn(f"{name}:1")) == "first"
    assert said(aws, name) == "second"
    assert invoke(aws, name, Qualifier="1")["ExecutedVersion"] == "1"


def test_a_version_is_not_changed_and_nothing_else_instead(
    aws: Lambda, create: Create
) -> None:
    name = create(saying("first"), Publish=True)

    refusals = [
        refused(aws.update_function_configuration, FunctionName=f"{name}:1", Timeout=9),
        refused(
            aws.update_function_code, FunctionName=f"{name}:1", ZipFile=saying("second")
        ),
        refused(aws.publish_version, FunctionName=f"{name}:1"),
        refused(aws.create_function, **new_function(saying("a"), FunctionName="a:1")),
    ]

    assert set(refusals) == {
        invalid(
            "Current operation does not support versions other than $LATEST. Please "
            "set the version to $LATEST or do not set a version in your request."
        )
    }
    assert said(aws, name) == "first"


def test_publishing_what_has_not_changed_gives_the_version_there_is(
    aws: Lambda, create: Create
) -> None:
    name = create(saying("a word"))
    first = aws.publish_version(FunctionName=name)

    again = aws.publish_version(FunctionName=name)

    assert again["Version"] == first["Version"] == "1"
    versions = aws.list_versions_by_function(FunctionName=name)["Versions"]
    assert [each["Version"] for each in versions] == ["$LATEST", "1"]


def test_a_number_is_never_given_again(aws: Lambda, create: Create) -> None:
    name = create(saying("first"), Publish=True)
    aws.delete_function(FunctionName=name, Qualifier="1")
    second = aws.publish_version(FunctionName=name)["Version"]
    aws.delete_function(FunctionName=name)

    aws.create_function(**new_function(saying("anew"), FunctionName=name))
    wait_active(aws, name)
    third = aws.publish_version(FunctionName=name)["Version"]

    assert (second, third) == ("2", "3")


def test_creating_and_changing_can_publish_at_once(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("first"), Publish=True)

    second = aws.update_function_code(
        FunctionName=name, ZipFile=saying("second"), Publish=True
    )
    said_by = [said(aws, f"{name}:{number}") for number in (1, 2)]

    assert second["FunctionArn"] == account.arn(f"{name}:2")
    assert (second["State"], second["LastUpdateStatus"]) == ("Active", "Successful")
    assert said_by == ["first", "second"]


def test_publishing_can_be_bound_to_code_and_revision(
    aws: Lambda, create: Create
) -> None:
    zip_bytes = saying("a word")
    name = create(zip_bytes)
    sha = base64.b64encode(hashlib.sha256(zip_bytes).digest()).decode()
    shown = aws.get_function_configuration(FunctionName=name)

    wrong_code = refused(aws.publish_version, FunctionName=name, CodeSha256="wrong")
    stale = refused(aws.publish_version, FunctionName=name, RevisionId="stale")
    made = aws.publish_version(
        FunctionName=name, CodeSha256=sha, RevisionId=shown["RevisionId"]
    )

    assert shown["CodeSha256"] == sha
    assert wrong_code == invalid(
        f"CodeSHA256 (wrong) is different from current CodeSHA256 in $LATEST ({sha}). "
        "Please try again with the CodeSHA256 in $LATEST."
    )
    assert stale == STALE
    assert made["Version"] == "1"


def test_versions_are_listed_page_by_page(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("first"), Publish=True)
    aws.update_function_configuration(FunctionName=name, Timeout=9)
    wait_updated(aws, name)
    aws.publish_version(FunctionName=name)

    pages = list(
        aws.get_paginator("list_versions_by_function").paginate(
            FunctionName=name, PaginationConfig={"PageSize": 2}
        )
    )

    arns = [each["FunctionArn"] for page in pages for each in page["Versions"]]
    assert arns == [account.arn(f"{name}:{q}") for q in ("$LATEST", "1", "2")]
    assert [len(page["Versions"]) for page in pages] == [2, 1]


def test_only_versions_that_nothing_leads_to_are_deleted(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("a word"), Publish=True)
    aws.create_alias(FunctionName=name, Name="live", FunctionVersion="1")

    latest = refused(aws.delete_function, FunctionName=name, Qualifier="$LATEST")
    alias = refused(aws.delete_function, FunctionName=name, Qualifier="live")
    led_to = refused(aws.delete_function, FunctionName=name, Qualifier="1")
    missing = refused(aws.delete_function, FunctionName=name, Qualifier="dead")
    aws.delete_alias(FunctionName=name, Name="live")
    aws.delete_function(FunctionName=name, Qualifier="1")

    assert latest == invalid(
        "$LATEST version cannot be deleted without deleting the function."
    )
    assert alias.code == "InvalidParameterValueException"
    assert led_to == conflict(
        "Unable to delete version because the following aliases reference it: [live]"
    )
    assert missing == not_found(f"Function not found: {account.arn(name)}:dead")
    assert refused(aws.get_function, FunctionName=name, Qualifier="1").status == 404
    assert said(aws, name) == "a word"


def test_a_version_that_is_gone_can_be_deleted_again(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("a word"), Publish=True)
    aws.delete_function(FunctionName=name, Qualifier="1")

    again = aws.delete_function(FunctionName=name, Qualifier="1")
    never = aws.delete_function(FunctionName=name, Qualifier="7")
    aws.delete_function(FunctionName=name)
    whole = refused(aws.delete_function, FunctionName=name)
    of_none = refused(aws.delete_function, FunctionName=name, Qualifier="1")

    assert (again["StatusCode"], never["StatusCode"]) == (204, 204)
    assert whole == not_found(f"Function not found: {account.arn(name)}")
    assert of_none == whole


# --- aliases ------------------------------------------------------------------


def test_an_alias_leads_to_its_version_and_can_be_moved(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("first"), Publish=True)
    aws.update_function_code(FunctionName=name, ZipFile=saying("second"), Publish=True)

    made = aws.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    before = said(aws, f"{name}:live")
    moved = aws.update_alias(FunctionName=name, Name="live", FunctionVersion="2")

    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert made["AliasArn"] == account.arn(f"{name}:live")
    assert (before, said(aws, f"{name}:live")) == ("first", "second")
    assert moved["RevisionId"] != made["RevisionId"]
    shown = aws.get_function_configuration(FunctionName=name, Qualifier="live")
    assert (shown["Version"], shown["FunctionArn"]) == ("2", made["AliasArn"])


def test_an_alias_between_two_versions_leads_to_both(
    aws: Lambda, create: Create
) -> None:
    name = create(saying("first"), Publish=True)
    aws.update_function_code(FunctionName=name, ZipFile=saying("second"), Publish=True)
    routing = {"AdditionalVersionWeights": {"2": 0.5}}

    made = aws.create_alias(
        FunctionName=name, Name="live", FunctionVersion="1", RoutingConfig=routing
    )
    seen: set[tuple[str, str]] = set()
    for _ in range(LOOKS):
        answer = invoke(aws, f"{name}:live")
        seen.add((answer["ExecutedVersion"], answer["Payload"]))
        if len(seen) == 2:
            break
    cleared = aws.update_alias(FunctionName=name, Name="live", RoutingConfig={})

    assert made["RoutingConfig"] == routing
    assert seen == {("1", "first"), ("2", "second")}
    assert "RoutingConfig" not in cleared


def test_routing_that_cannot_be_is_refused_in_awss_words(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("first"), Publish=True)

    def routed(version: str, weights: dict[str, float]) -> Refused:
        return refused(
            aws.create_alias,
            FunctionName=name,
            Name="live",
            FunctionVersion=version,
            RoutingConfig={"AdditionalVersionWeights": weights},
        )

    assert routed("1", {"1": 0.5}) == invalid(
        "Invalid function version 1. Function version 1 is already included in routing "
        "configuration."
    )
    assert routed("1", {"2": 0.5, "3": 0.1}) == invalid(
        "Number of items in AdditionalVersionWeights cannot be greater than 1"
    )
    assert routed("$LATEST", {"1": 0.5}) == invalid(
        "$LATEST is not supported for an alias pointing to more than 1 version"
    )
    assert routed("1", {"7": 0.5}) == not_found(
        f"Function not found: {account.arn(name)}:7"
    )


def test_aliases_are_refused_in_awss_words(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("a word"))
    arn = account.arn(name)
    made = aws.create_alias(FunctionName=name, Name="live", FunctionVersion="$LATEST")

    again = refused(
        aws.create_alias, FunctionName=name, Name="live", FunctionVersion="$LATEST"
    )
    to_nothing = refused(
        aws.create_alias, FunctionName=name, Name="other", FunctionVersion="7"
    )
    stale = refused(
        aws.update_alias, FunctionName=name, Name="live", RevisionId="stale"
    )

    assert again == conflict(f"Alias already exists: {arn}:live")
    assert to_nothing == not_found(f"Function not found: {arn}:7")
    assert refused(aws.get_alias, FunctionName=name, Name="none") == not_found(
        f"Cannot find alias arn: {arn}:none"
    )
    assert refused(aws.update_alias, FunctionName=name, Name="none") == not_found(
        f"Alias not found: {arn}:none"
    )
    assert stale == STALE
    assert (
        aws.get_alias(FunctionName=name, Name="live")["RevisionId"]
        == (made["RevisionId"])
    )


def test_deleting_an_alias_that_is_not_there_is_no_failure(
    aws: Lambda, create: Create
) -> None:
    name = create(saying("a word"))
    aws.create_alias(FunctionName=name, Name="live", FunctionVersion="$LATEST")

    statuses = [
        aws.delete_alias(FunctionName=name, Name="live")["ResponseMetadata"]
        for _ in range(2)
    ]

    assert [each["HTTPStatusCode"] for each in statuses] == [204, 204]
    assert refused(aws.invoke, FunctionName=f"{name}:live").status == 404


def test_aliases_are_listed_by_version_and_page_by_page(
    aws: Lambda, create: Create
) -> None:
    name = create(saying("a word"), Publish=True)
    for alias, version in (("a", "1"), ("b", "$LATEST"), ("c", "1")):
        aws.create_alias(FunctionName=name, Name=alias, FunctionVersion=version)

    pages = list(
        aws.get_paginator("list_aliases").paginate(
            FunctionName=name, PaginationConfig={"PageSize": 2}
        )
    )
    of_one = aws.list_aliases(FunctionName=name, FunctionVersion="1")

    assert [[a["Name"] for a in page["Aliases"]] for page in pages] == [
        ["a", "b"],
        ["c"],
    ]
    assert [each["Name"] for each in of_one["Aliases"]] == ["a", "c"]


def test_a_recreated_function_has_nothing_of_the_old_one(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("old"), FunctionName=unique(), Publish=True, Tags={"a": "b"})
    aws.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    aws.delete_function(FunctionName=name)

    aws.create_function(**new_function(saying("new"), FunctionName=name))
    wait_active(aws, name)

    assert aws.list_aliases(FunctionName=name)["Aliases"] == []
    assert aws.list_tags(Resource=account.arn(name))["Tags"] == {}
    shown = aws.get_function(FunctionName=name)
    assert not {"Tags", "Concurrency"} & set(shown)
    assert refused(aws.invoke, FunctionName=f"{name}:1").status == 404
