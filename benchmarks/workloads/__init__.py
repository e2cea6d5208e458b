"""The functions that are measured: from next to nothing to numpy."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A handler, an event for it, and the p50 that is asked of it."""

    name: str
    what: str
    event: dict[str, object]
    needs: str = ""
    """A package out of our own environment, which goes into the function's."""

    cold_target_ms: float | None = None
    warm_target_ms: float = 0.12

    @property
    def handler(self) -> str:
        return f"{self.module}.handler"

    @property
    def module(self) -> str:
        return f"{self.name}_function"

    @property
    def payload(self) -> bytes:
        return json.dumps(self.event).encode()

    @property
    def is_missing(self) -> bool:
        """Whether what it needs is not installed here."""
        return bool(self.needs) and find_spec(self.needs) is None

    def sources(self) -> Iterator[Path]:
        """Files and folders that make up its package."""
        yield _HERE / f"{self.module}.py"
        spec = find_spec(self.needs) if self.needs else None
        if spec is not None and spec.origin is not None:
            package = Path(spec.origin).parent
            yield package
            # Where wheels keep the shared libraries they bring along.
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.is_dir():
                yield libraries


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            name="small",
            what="adds two numbers",
            event={"a": 2, "b": 40},
            cold_target_ms=2.0,
        ),
        Workload(
            name="stdlib",
            what="imports ssl, asyncio, http.client, …; signs a message",
            event={"amount": "12.50", "at": "2026-11-24T10:00:00+00:00"},
        ),
        Workload(
            name="numpy",
            what="imports numpy; mean and maximum of a small array",
            event={"values": [3, 1, 4, 1, 5, 9, 2, 6]},
            needs="numpy",
            cold_target_ms=2.5,
        ),
    )
}
