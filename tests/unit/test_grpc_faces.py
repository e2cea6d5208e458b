"""How a call ends that is refused."""

import asyncio
from typing import Any, cast

import grpc.aio
import pytest

from sandlot_engine.errors import InvalidParameter
from sandlot_engine.gateway.rpc.faces import abort


class Gone:
    """The context of a call whose caller is gone."""

    async def abort(self, *_: object) -> None:
        raise grpc.aio.InternalError("execute_batch failed")


async def test_who_is_gone_before_a_refusal_is_no_error() -> None:
    with pytest.raises(asyncio.CancelledError):
        await abort(cast("Any", Gone()), InvalidParameter("no"), "1")
