"""Answers that are ready and that their clients do not take.

A function answers up to 6 MB in milliseconds; a client who does not read has us hold
them. How many it asks for is bounded only by its tenant's concurrency, again and again:
an answer that waits has no instance any more. So what waits has bounds of its own.

Over HTTP, whoever has waited longest is cut off. A call of gRPC's cannot be ended once
its answer is grpc's; there the next answer is not sent.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sandlot_engine.errors import Internal

MAX_UNTAKEN, MAX_UNTAKEN_OF_TENANT = 1024 << 20, 512 << 20
"""Bytes of answers that wait for their clients, of all and of one tenant; of each of
gRPC and HTTP."""

SHARE = MAX_UNTAKEN_OF_TENANT // 8
"""Of gRPC's, what a tenant may have whatever others have."""

ANSWER_DEADLINE_S = 300.0
"""In which a client has to take what was written to it, once it has fallen behind: the
largest answer over 200 kbit/s. Until then we hold it."""

_log = logging.getLogger(__name__)


class Tally:
    """What nobody took, in this process, since its start; whoever sets `tell` is told
    of each."""

    def __init__(self) -> None:
        self.cut = 0
        """Answers of HTTP's that were cut off."""

        self.unsent = 0
        """Answers of gRPC's that were not sent."""

        self.tell: Callable[[bool], object] = lambda _: None
        """Whether it was cut; or else it was not sent."""

    def note(self, *, is_cut: bool) -> None:
        self.cut += is_cut
        self.unsent += not is_cut
        self.tell(is_cut)


tally = Tally()


@dataclass(eq=False, slots=True)
class Waiting:
    """An answer that is held."""

    tenant_id: str
    size: int
    cut: Callable[[], object]


class Untaken:
    """HTTP's. `cut` ends the connection that one belongs to, at once, and
    is called once at most."""

    def __init__(
        self,
        *,
        most: int | None = None,
        of_tenant: int | None = None,
    ) -> None:
        self._most = MAX_UNTAKEN if most is None else most
        self._of_tenant = MAX_UNTAKEN_OF_TENANT if of_tenant is None else of_tenant
        self._waiting: dict[str, dict[Waiting, None]] = {}
        """Of each tenant, the longest first."""

        self._bytes: Counter[str] = Counter()
        self.total = 0
        self.cuts = 0
        """How many were cut off."""

    def __repr__(self) -> str:
        return f"<Untaken {self.total} bytes, {self.cuts} cut>"

    def add(self, tenant_id: str, size: int, cut: Callable[[], object]) -> Waiting:
        """One more; `remove` says that it was taken, or is not wanted any more."""
        waiting = Waiting(tenant_id, size, cut)
        self._waiting.setdefault(tenant_id, {})[waiting] = None
        self._add(tenant_id, size)
        return waiting

    def resize(self, waiting: Waiting, size: int) -> None:
        """It has so many bytes now, and has waited for as long."""
        if waiting not in self._waiting.get(waiting.tenant_id, {}):
            return  # it was cut
        grown, waiting.size = size - waiting.size, size
        self._add(waiting.tenant_id, grown)

    def remove(self, waiting: Waiting) -> None:
        tenant_id = waiting.tenant_id
        mine = self._waiting.get(tenant_id, {})
        if waiting not in mine:
            return  # it was cut
        del mine[waiting]
        self._bytes[tenant_id] -= waiting.size
        self.total -= waiting.size
        if not mine:
            del self._waiting[tenant_id], self._bytes[tenant_id]

    def _add(self, tenant_id: str, size: int) -> None:
        self._bytes[tenant_id] += size
        self.total += size
        while self._bytes[tenant_id] > self._of_tenant:
            self._cut_longest_of(tenant_id)
        while self.total > self._most:
            self._cut_longest_of(max(self._bytes, key=self._bytes.__getitem__))

    def _cut_longest_of(self, tenant_id: str) -> None:
        longest = next(iter(self._waiting[tenant_id]))
        _log.warning(
            "an answer of %d bytes is not taken, and cut: %d bytes wait",
            longest.size,
            self._bytes[tenant_id],
            extra={"tenant_id": tenant_id},
        )
        self.remove(longest)
        self.cuts += 1
        tally.note(is_cut=True)
        longest.cut()


class Unsent:
    """gRPC's."""

    def __init__(
        self,
        *,
        most: int | None = None,
        of_tenant: int | None = None,
        share: int | None = None,
    ) -> None:
        self._most = MAX_UNTAKEN if most is None else most
        self._of_tenant = MAX_UNTAKEN_OF_TENANT if of_tenant is None else of_tenant
        self._share = SHARE if share is None else share
        self._bytes: Counter[str] = Counter()
        self.total = 0

    @contextmanager
    def held(self, tenant_id: str, size: int) -> Iterator[None]:
        """As long as the block lasts. Raises `Internal` where it may not be sent."""
        mine = self._bytes.get(tenant_id, 0) + size
        if mine > self._of_tenant or (
            mine > self._share and self.total + size > self._most
        ):
            tally.note(is_cut=False)
            raise Internal(
                f"the function has run, and its answer was not sent: {mine - size}"
                " bytes of earlier answers to this tenant were not taken yet. Read"
                " them, or ask for fewer at once"
            )
        self._bytes[tenant_id] = mine
        self.total += size
        try:
            yield
        finally:
            self.total -= size
            self._bytes[tenant_id] -= size
            if not self._bytes[tenant_id]:
                del self._bytes[tenant_id]
