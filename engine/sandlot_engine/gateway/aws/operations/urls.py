"""Function URLs: which there are. `gateway/urls` serves them."""

from collections.abc import Mapping
from typing import Any

from sandlot_engine.gateway.aws import names
from sandlot_engine.gateway.aws.operations import Call, operation
from sandlot_engine.gateway.aws.operations.functions import unqualified
from sandlot_engine.gateway.aws.shapes import last_modified
from sandlot_engine.model.url import Cors, FunctionUrl, InvokeMode, UrlAuthType


@operation("CreateFunctionUrlConfig")
async def create_function_url_config(call: Call) -> Mapping[str, Any]:
    given = call.input
    asked = call.own_function(given["FunctionName"], given.get("Qualifier"))
    url = await call.catalog.urls.create(
        call.tenant_id,
        asked.name,
        asked.qualifier or "",
        auth_type=UrlAuthType(given["AuthType"]),
        cors=_cors_of(given),
        invoke_mode=InvokeMode(given.get("InvokeMode", InvokeMode.BUFFERED)),
    )
    shown = _shown(call, url)
    if "InvokeMode" not in given:
        del shown["InvokeMode"]
    del shown["LastModifiedTime"]
    return shown


@operation("GetFunctionUrlConfig")
async def get_function_url_config(call: Call) -> Mapping[str, Any]:
    asked = call.own_function(call.input["FunctionName"], call.input.get("Qualifier"))
    url = call.catalog.urls.get(call.tenant_id, asked.name, asked.qualifier or "")
    return _shown(call, url)


@operation("UpdateFunctionUrlConfig")
async def update_function_url_config(call: Call) -> Mapping[str, Any]:
    given = call.input
    asked = call.own_function(given["FunctionName"], given.get("Qualifier"))
    url = await call.catalog.urls.update(
        call.tenant_id,
        asked.name,
        asked.qualifier or "",
        auth_type=UrlAuthType(given["AuthType"]) if "AuthType" in given else None,
        cors=_cors_of(given),
        invoke_mode=InvokeMode(given["InvokeMode"]) if "InvokeMode" in given else None,
    )
    return _shown(call, url)


@operation("DeleteFunctionUrlConfig")
async def delete_function_url_config(call: Call) -> Mapping[str, Any]:
    asked = call.own_function(call.input["FunctionName"], call.input.get("Qualifier"))
    await call.catalog.urls.delete(call.tenant_id, asked.name, asked.qualifier or "")
    return {}


@operation("ListFunctionUrlConfigs")
async def list_function_url_configs(call: Call) -> Mapping[str, Any]:
    name = unqualified(call, call.input["FunctionName"])
    page, token = call.catalog.urls.list(call.tenant_id, name, *call.page())
    shown = [_shown(call, url) for url in page]
    return {"FunctionUrlConfigs": shown, "NextMarker": token or None}


_CORS = {
    "AllowCredentials": "allow_credentials",
    "AllowHeaders": "allow_headers",
    "AllowMethods": "allow_methods",
    "AllowOrigins": "allow_origins",
    "ExposeHeaders": "expose_headers",
    "MaxAge": "max_age_s",
}


def _cors_of(given: Mapping[str, Any]) -> Cors | None:
    if "Cors" not in given:
        return None
    said: dict[str, Any] = {
        _CORS[name]: tuple(value) if isinstance(value, list) else value
        for name, value in given["Cors"].items()
    }
    return Cors(**said)


def _cors(cors: Cors) -> dict[str, Any]:
    values = {theirs: getattr(cors, ours) for theirs, ours in _CORS.items()}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if value is not None
    }


def _shown(call: Call, url: FunctionUrl) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "FunctionUrl": call.parts.addresses.of(url.id, reached_at=call.base_url),
        "FunctionArn": names.function_arn(
            call.region, url.tenant_id, url.function, url.qualifier
        ),
        "AuthType": url.auth_type.value,
        "CreationTime": last_modified(url.created),
        "LastModifiedTime": last_modified(url.last_modified),
        "InvokeMode": url.invoke_mode.value,
    }
    # An empty one is how tools take it back: who saw it would try that again and again.
    if (cors := url.active_cors) is not None:
        shown["Cors"] = _cors(cors)
    return shown
