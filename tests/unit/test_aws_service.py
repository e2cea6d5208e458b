"""Which operation a request is for."""

import subprocess
import sys

import pytest

from sandlot_engine.gateway.aws.faults import AwsError
from sandlot_engine.gateway.aws.service import Service, by_botocore, compiled, document

SERVICE = Service.load()
FUNCTIONS = "/2015-03-31/functions"


@pytest.mark.parametrize(
    ("method", "path", "name", "labels"),
    [
        ("POST", FUNCTIONS, "CreateFunction", {}),
        ("GET", FUNCTIONS, "ListFunctions", {}),
        ("GET", f"{FUNCTIONS}/", "ListFunctions", {}),
        ("GET", f"{FUNCTIONS}/f", "GetFunction", {"FunctionName": "f"}),
        ("GET", f"{FUNCTIONS}/f/", "GetFunction", {"FunctionName": "f"}),
        (
            "GET",
            f"{FUNCTIONS}/arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Af",
            "GetFunction",
            {"FunctionName": "arn:aws:lambda:eu-west-1:123456789012:function:f"},
        ),
        (
            "POST",
            f"{FUNCTIONS}/f:%24LATEST/invocations",
            "Invoke",
            {"FunctionName": "f:$LATEST"},
        ),
        (
            "GET",
            f"{FUNCTIONS}/f/aliases/live",
            "GetAlias",
            {"FunctionName": "f", "Name": "live"},
        ),
        (
            "GET",
            "/2019-09-25/functions/f/event-invoke-config/list",
            "ListFunctionEventInvokeConfigs",
            {"FunctionName": "f"},
        ),
        (
            "GET",
            "/2021-10-31/functions/f/urls",
            "ListFunctionUrlConfigs",
            {"FunctionName": "f"},
        ),
        (
            "POST",
            "/2025-12-01/durable-executions/a%2Fb%2Fc/stop",
            "StopDurableExecution",
            {"DurableExecutionArn": "a/b/c"},
        ),
        (
            "GET",
            f"{FUNCTIONS}//configuration",
            "GetFunctionConfiguration",
            {"FunctionName": ""},
        ),
        (
            "GET",
            f"{FUNCTIONS}/a+b%20c%2525",
            "GetFunction",
            {"FunctionName": "a+b c%25"},
        ),
        ("GET", f"{FUNCTIONS}/f%C3%A9", "GetFunction", {"FunctionName": "fé"}),
    ],
)
def test_a_path_leads_to_its_operation(
    method: str, path: str, name: str, labels: dict[str, str]
) -> None:
    operation, found = SERVICE.match(method, path, [])

    assert (operation.name, found) == (name, labels)


@pytest.mark.parametrize(
    ("path", "query", "name"),
    [
        ("/2018-10-31/layers", [], "ListLayers"),
        ("/2018-10-31/layers", [("find", "LayerVersion")], "GetLayerVersionByArn"),
        (
            "/2018-10-31/layers",
            [("Arn", "x"), ("find", "LayerVersion")],
            "GetLayerVersionByArn",
        ),
        ("/2018-10-31/layers", [("find", "Layer")], "ListLayers"),
        (
            "/2019-09-30/functions/f/provisioned-concurrency",
            [("Qualifier", "1")],
            "GetProvisionedConcurrencyConfig",
        ),
        (
            "/2019-09-30/functions/f/provisioned-concurrency",
            [("List", "ALL")],
            "ListProvisionedConcurrencyConfigs",
        ),
    ],
)
def test_a_literal_query_tells_operations_of_one_path_apart(
    path: str, query: list[tuple[str, str]], name: str
) -> None:
    operation, _ = SERVICE.match("GET", path, query)

    assert operation.name == name


def test_every_operation_is_found_by_its_own_address() -> None:
    for operation in SERVICE.operations.values():
        assert SERVICE.operation(operation.name) is operation


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/functions",
        "/2015-03-31",
        f"{FUNCTIONS}/f/g",
        "*",
        f"{FUNCTIONS}/f/" * 400,
    ],
)
def test_an_unknown_path_is_no_operation(path: str) -> None:
    with pytest.raises(AwsError) as refusal:
        SERVICE.match("GET", path, [])

    assert refusal.value.code == "UnknownOperationException"
    assert len(refusal.value.message) < 300


def test_a_known_path_under_another_method_says_which_there_are() -> None:
    with pytest.raises(
        AwsError, match=r"PATCH is not allowed.*DELETE, GET is"
    ) as refusal:
        SERVICE.match("PATCH", f"{FUNCTIONS}/f", [])

    assert refusal.value.code == "MethodNotAllowedException"


def test_a_path_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(AwsError) as refusal:
        SERVICE.match("GET", f"{FUNCTIONS}/%ff", [])

    assert refusal.value.code == "SerializationException"


def test_an_operation_knows_its_status_and_its_errors() -> None:
    create = SERVICE.operation("CreateFunction")

    assert create.status == 201
    assert create.errors["ResourceConflictException"].status == 409


@pytest.mark.parametrize("name", ["lambda", "scheduler"])
def test_a_model_is_the_one_that_botocore_itself_loads(name: str) -> None:
    assert document(name) == by_botocore(name)


def test_the_model_is_loaded_without_botocore_s_own_loader() -> None:
    load = "from sandlot_engine.gateway.aws.service import Service; Service.load()"

    told = subprocess.run(
        [sys.executable, "-c", f"{load}; import sys; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()

    assert "botocore" in told
    assert not {"botocore.loaders", "urllib3"} & set(told)


def test_the_model_is_read_once() -> None:
    assert Service.load() is SERVICE


def test_an_operation_of_a_newer_model_needs_no_code() -> None:
    service = compiled(
        {
            "operations": {
                "PutThing": {
                    "http": {"method": "PUT", "requestUri": "/2030-01-01/{Key+}/acl"},
                    "input": {"shape": "PutThingRequest"},
                }
            },
            "shapes": {
                "PutThingRequest": {
                    "type": "structure",
                    "members": {
                        "Key": {
                            "shape": "Text",
                            "location": "uri",
                            "locationName": "Key",
                        },
                        "Tree": {"shape": "Tree"},
                    },
                },
                "Tree": {
                    "type": "structure",
                    "members": {"Branches": {"shape": "Trees"}},
                },
                "Trees": {"type": "list", "member": {"shape": "Tree"}},
                "Text": {"type": "string"},
            },
        }
    )

    operation, labels = service.match("PUT", "/2030-01-01/a/b%2Fc/acl", [])

    assert (operation.name, labels) == ("PutThing", {"Key": "a/b/c"})
