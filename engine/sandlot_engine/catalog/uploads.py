"""Packages between their arrival and the end of their last user.

A package is on disk while somebody has it: a version in the store, a call that has not
stored its version yet, a revision that is being retired. Then it goes.
"""

from collections import Counter
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
)
from contextlib import (
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)
from typing import TypeVar

from sandlot_engine.catalog.code import CodeStore
from sandlot_engine.catalog.keeper import Keeper
from sandlot_engine.locks import KeyedLocks
from sandlot_engine.model.function import Code, ImageSource
from sandlot_engine.store.ports import FunctionStore

T = TypeVar("T")


class Uploads:
    """Lets packages come and go, and layers merged. `kept_elsewhere` has the hashes of
    those that stay although no version has them: of layers."""

    def __init__(
        self,
        store: FunctionStore,
        codes: CodeStore,
        *,
        keeper: Keeper,
        kept_elsewhere: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._store = store
        self._codes = codes
        self._keeper = keeper
        self._kept_elsewhere = kept_elsewhere
        self._turns = KeyedLocks()
        """By tenant: whose turn it is to have a package built."""
        self._held: Counter[str] = Counter()
        """Packages, by hash, that nobody has in the store, or soon will not have."""

    async def keep_only(self, sha256s: Iterable[str]) -> None:
        """For the start: those that versions have, and those kept elsewhere."""
        await self._codes.keep_only({*sha256s, *self._kept_elsewhere()})

    @asynccontextmanager
    async def arrived(
        self, tenant_id: str, zip_bytes: bytes, runtime: str, *, is_layer: bool = False
    ) -> AsyncIterator[Code]:
        """Check and keep a package. If nobody has it afterwards, it goes."""
        put = self._codes.put_layer if is_layer else self._codes.put
        sha256 = await self._codes.hash(zip_bytes)
        # Said before it is on disk: another function with the same package may be
        # deleted at any moment, and must leave it to us.
        code = None
        try:
            with self.holding([sha256]):
                # Few are built at once: each tenant has no more than one among them.
                async with self._turns.hold(tenant_id):
                    code = await put(zip_bytes, runtime)
                yield code
        finally:
            if code is not None:
                await self.discard_unused([code.sha256])

    @asynccontextmanager
    async def image_arrived(
        self, tenant_id: str, source: ImageSource
    ) -> AsyncIterator[Code]:
        """As `arrived`, for a container image on this machine."""
        code = None
        try:
            with ExitStack() as held:
                # Copied in turn as well: it takes as much of the disk as it likes.
                async with (
                    self._turns.hold(tenant_id),
                    self._codes.staged(source) as staged,
                ):
                    held.enter_context(self.holding([staged.sha256]))
                    code = await self._codes.put_image(staged)
                yield code
        finally:
            if code is not None:
                await self.discard_unused([code.sha256])

    async def in_turn(self, tenant_id: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do what may have a tenant's packages built: when it is its turn, and then to
        the end. Who gives up before that has nothing done."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._turns.hold(tenant_id))
            turn = stack.pop_all()

            async def to_its_end() -> T:
                async with turn:
                    return await work()

            return await self._keeper.whole(to_its_end())

    @asynccontextmanager
    async def kept(self, sha256s: Collection[str]) -> AsyncIterator[None]:
        """Keep packages from this very moment on. If nobody has them afterwards, they
        go."""
        try:
            with self.holding(sha256s):
                yield
        finally:
            await self.discard_unused(sha256s)

    @contextmanager
    def holding(self, sha256s: Collection[str]) -> Iterator[None]:
        """Keep packages, whether a version has them or not."""
        self._held.update(sha256s)
        try:
            yield
        finally:
            self._held.subtract(sha256s)
            for sha256 in sha256s:
                if not self._held[sha256]:
                    del self._held[sha256]

    async def discard_unused(self, sha256s: Iterable[str]) -> None:
        for sha256 in sha256s:
            in_use = await self._store.code_in_use(sha256)
            # Asked last: it may have begun to arrive while the store looked.
            is_kept = sha256 in self._held or sha256 in self._kept_elsewhere()
            if not in_use and not is_kept:
                await self._codes.discard(sha256)
