"""An interpreter that functions can be written for, as supervisor, engine and launcher
tell one another of it."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

_SYSTEM_PREFIX = Path("/usr")


@dataclass(frozen=True, slots=True)
class Runtime:
    """An interpreter that works, and the guest's code compiled for it."""

    name: str
    """`python3.11`"""

    version: str
    """`3.11.7`"""

    prefix: Path
    """Mounted at /var/lang, unless it is /usr."""

    guest_code: Path
    """Mounted at /var/runtime."""

    @property
    def has_own_prefix(self) -> bool:
        return self.prefix != _SYSTEM_PREFIX

    @property
    def executable(self) -> str:
        """Where it is inside a jail."""
        return (
            f"/var/lang/bin/{self.name}"
            if self.has_own_prefix
            else f"/usr/bin/{self.name}"
        )


def dump_runtimes(runtimes: Iterable[Runtime]) -> str:
    """For the command lines of launcher and engine."""
    return json.dumps([asdict(runtime) for runtime in runtimes], default=str)


def parse_runtimes(text: str) -> list[Runtime]:
    """The other way."""
    return [
        Runtime(r["name"], r["version"], Path(r["prefix"]), Path(r["guest_code"]))
        for r in json.loads(text)
    ]
