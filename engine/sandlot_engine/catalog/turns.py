"""Turns: what has the same key, a tenant mostly, is changed by one at a time."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from sandlot_engine.catalog.keeper import Keeper
from sandlot_engine.locks import KeyedLocks

T = TypeVar("T")


class Turns:
    """First come, first served. The keeper owns what is being changed."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._locks = KeyedLocks()

    def hold(self, key: str) -> AbstractAsyncContextManager[None]:
        """As long as the block lasts. For who is kept already."""
        return self._locks.hold(key)

    async def whole(self, key: str, change: Callable[[], Awaitable[T]]) -> T:
        """Run `change` when it is its turn; to its end, even if the caller is cancelled
        half-way."""

        async def in_turn() -> T:
            async with self._locks.hold(key):
                return await change()

        return await self._keeper.whole(in_turn())
