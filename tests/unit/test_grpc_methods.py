"""All methods are found, however generated code registers them, and none is registered
with grpc one by one."""

from types import SimpleNamespace
from typing import Any

import grpc

from sandlot_engine.gateway.rpc.methods import Methods


def test_a_method_is_found_by_its_path() -> None:
    handler: Any = grpc.unary_unary_rpc_method_handler(lambda request, _: request)
    methods = Methods()
    methods.add_registered_method_handlers("a.Service", {"Do": handler})

    assert methods.service(_called("/a.Service/Do")) is handler
    assert methods.service(_called("/a.Service/DoNot")) is None


def test_one_that_an_older_generator_knows_is_found_as_well() -> None:
    handler: Any = grpc.unary_unary_rpc_method_handler(lambda request, _: request)
    methods = Methods()
    methods.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("an.Older", {"Do": handler}),)
    )

    assert methods.service(_called("/an.Older/Do")) is handler
    assert methods.service(_called("/an.Older/DoNot")) is None


def _called(method: str) -> Any:
    return SimpleNamespace(method=method)
