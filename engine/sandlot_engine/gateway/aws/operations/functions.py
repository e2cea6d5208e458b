"""Functions: created, shown, changed, deleted, listed."""

from collections.abc import Mapping
from typing import Any

from sandlot_engine.errors import InvalidParameter, NotFound
from sandlot_engine.gateway.aws import shapes
from sandlot_engine.gateway.aws.operations import Call, operation
from sandlot_engine.gateway.aws.settings import (
    changes_of,
    check_package,
    check_source,
    config_of,
    resolved,
)
from sandlot_engine.model.function import LATEST, Function

MAX_LISTED = 50
"""Functions, or versions of one, in one page, whatever `MaxItems` says."""

PUBLISH_S = 30.0
"""How long a version is waited for that was just published: AWS's answer shows it
`Active`, and it can be invoked at once. After that ours shows it as it is. boto3 waits
60 s for an answer."""


@operation("CreateFunction")
async def create_function(call: Call) -> Mapping[str, Any]:
    given = call.input
    functions, signing = call.catalog.functions, call.catalog.signing
    name = latest(call, given["FunctionName"])
    signing_config = ""
    if "CodeSigningConfigArn" in given:
        signing_config = call.own_signing_config(
            given["CodeSigningConfigArn"], for_function=True
        )
    signing.check_code(call.tenant_id, signing_config)
    check_source(given.get("PackageType", "Zip"), given["Code"])
    package = await call.function_package(given["Code"])
    function = await call.whole(
        functions.create(
            call.tenant_id,
            name,
            config_of({**given, **_layers(call)}),
            package,
            publish=given.get("Publish", False),
            tags=given.get("Tags"),
        )
    )
    if signing_config:
        await signing.attach(call.tenant_id, name, signing_config)
    # Also of a version that was published with it the ARN has no number, as on AWS.
    return shapes.function_configuration(function, region=call.region)


@operation("GetFunction")
async def get_function(call: Call) -> Mapping[str, Any]:
    asked = call.own_function(call.input["FunctionName"], call.input.get("Qualifier"))
    function = await call.catalog.functions.get(
        call.tenant_id, asked.name, asked.qualifier or ""
    )
    settings = call.catalog.functions.settings.of(call.tenant_id, asked.name)
    shown: dict[str, Any] = {
        "Configuration": configuration(call, function, asked.qualifier),
        "Code": _location(call, function),
    }
    if settings.tags:
        shown["Tags"] = dict(settings.tags)
    if settings.reserved_concurrency is not None:
        shown["Concurrency"] = {
            "ReservedConcurrentExecutions": settings.reserved_concurrency
        }
    return shown


def _location(call: Call, function: Function) -> dict[str, str]:
    code = function.current.code
    if (image := code.image) is None:
        return {"RepositoryType": "S3", "Location": call.code_url(code)}
    return {
        # AWS's word for whatever keeps images.
        "RepositoryType": "ECR",
        "ImageUri": image.uri,
        "ResolvedImageUri": f"{resolved(image.uri)}@sha256:{image.digest}",
    }


@operation("GetFunctionConfiguration")
async def get_function_configuration(call: Call) -> Mapping[str, Any]:
    asked = call.own_function(call.input["FunctionName"], call.input.get("Qualifier"))
    function = await call.catalog.functions.get(
        call.tenant_id, asked.name, asked.qualifier or ""
    )
    return configuration(call, function, asked.qualifier)


@operation("UpdateFunctionCode")
async def update_function_code(call: Call) -> Mapping[str, Any]:
    given = call.input
    check_package(given)
    name = latest(call, given["FunctionName"])
    package = await call.function_package(given)
    function = await call.whole(
        call.catalog.functions.update_code(
            call.tenant_id,
            name,
            package,
            given.get("RevisionId", ""),
            publish=given.get("Publish", False),
            dry_run=given.get("DryRun", False),
        )
    )
    return configuration(call, await _published(call, function))


@operation("UpdateFunctionConfiguration")
async def update_function_configuration(call: Call) -> Mapping[str, Any]:
    given = call.input
    name = latest(call, given["FunctionName"])
    now = await call.catalog.functions.get(call.tenant_id, name)
    function = await call.catalog.functions.update_configuration(
        call.tenant_id,
        name,
        changes_of({**given, **_layers(call)}, now.current.config.logging),
        given.get("RevisionId", ""),
    )
    return configuration(call, function)


@operation("DeleteFunction")
async def delete_function(call: Call) -> Mapping[str, Any]:
    asked = call.own_function(call.input["FunctionName"], call.input.get("Qualifier"))
    functions = call.catalog.functions
    if asked.qualifier is None:
        await functions.delete(call.tenant_id, asked.name)
    else:
        await _delete_version(call, asked.name, asked.qualifier)
    # Modelled as 200; AWS answers so.
    return {"StatusCode": 204}


async def _delete_version(call: Call, name: str, version: str) -> None:
    functions = call.catalog.functions
    try:
        await functions.delete_version(call.tenant_id, name, version)
    except NotFound:
        if not version.isdecimal():
            raise
        # AWS says that it is gone, which it is: two that prune at once, or one that
        # tries again, both succeed. Of a function that is not there it is an error.
        await functions.get(call.tenant_id, name)


@operation("ListFunctions")
async def list_functions(call: Call) -> Mapping[str, Any]:
    all_versions = call.input.get("FunctionVersion") == "ALL"
    page, token = await call.catalog.functions.list(
        call.tenant_id,
        *call.page(at_most=MAX_LISTED),
        all_versions=all_versions,
    )
    shown = [
        shapes.listed(configuration(call, f, f.version if all_versions else None))
        for f in page
    ]
    return {"Functions": shown, "NextMarker": token or None}


# --- versions -------------------------------------------------------------------


@operation("PublishVersion")
async def publish_version(call: Call) -> Mapping[str, Any]:
    given = call.input
    version = await call.catalog.functions.publish(
        call.tenant_id,
        latest(call, given["FunctionName"]),
        code_sha256=given.get("CodeSha256", ""),
        description=given.get("Description"),
        revision_id=given.get("RevisionId", ""),
    )
    return configuration(call, await _published(call, version))


async def _published(call: Call, version: Function) -> Function:
    """The same as soon as it can be invoked, if it is a version that was published."""
    # One with SnapStart is `Pending` on AWS too, maybe for minutes.
    if version.version == LATEST or version.has_snapshot:
        return version
    return await call.catalog.functions.when_ready(version, within_s=PUBLISH_S)


@operation("ListVersionsByFunction")
async def list_versions_by_function(call: Call) -> Mapping[str, Any]:
    page, token = await call.catalog.functions.list_versions(
        call.tenant_id,
        call.own_function(call.input["FunctionName"]).name,
        *call.page(at_most=MAX_LISTED),
    )
    shown = [shapes.listed(configuration(call, f, f.version)) for f in page]
    return {"Versions": shown, "NextMarker": token or None}


def _layers(call: Call) -> dict[str, Any]:
    """What is said of layers, as the packages that they are now."""
    if "Layers" not in call.input:
        return {}
    layers = call.catalog.functions.layers.resolve(
        call.tenant_id, call.input["Layers"], region=call.region
    )
    return {"Layers": layers}


def configuration(
    call: Call, function: Function, qualifier: str | None = None
) -> dict[str, Any]:
    """`FunctionConfiguration`, its ARN as the caller asked for it."""
    return shapes.function_configuration(
        function,
        region=call.region,
        qualifier=shapes.shown_qualifier(function, qualifier),
    )


def latest(call: Call, text: str) -> str:
    """The name of a function whose `$LATEST` is to be changed, as nothing else can be.

    Raises `InvalidParameter` for one with another qualifier.
    """
    asked = call.own_function(text)
    if asked.qualifier not in (None, LATEST):
        raise InvalidParameter(
            f"Current operation does not support versions other than {LATEST}. Please "
            f"set the version to {LATEST} or do not set a version in your request.",
            field="FunctionName",
        )
    return asked.name


def unqualified(call: Call, text: str) -> str:
    """The name of a function of which versions and aliases have nothing of their own.

    Raises `InvalidParameter` for one with a qualifier.
    """
    asked = call.own_function(text)
    if asked.qualifier not in (None, LATEST):
        raise InvalidParameter(
            "This operation is permitted on Lambda functions only. Aliases and "
            "versions do not support this operation. Please specify either a function "
            "name or an unqualified function ARN.",
            field="FunctionName",
        )
    return asked.name
