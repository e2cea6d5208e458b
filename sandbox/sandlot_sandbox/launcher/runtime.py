"""What functions can be written for, as supervisor, engine and launcher tell one
another of it: an interpreter that is forked, or what runs any other program."""

import contextlib
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sandlot_sandbox.guest.image_run import IMAGE

SYSTEM_PREFIX = Path("/usr")
_OURS = f"python3.{sys.version_info[1]}"


def guest_code_in(
    store: Path, name: str = _OURS, version: str = sys.version.split()[0]
) -> Path:
    """Where our code is, compiled by such a Python: our own, if none is named."""
    return store / f"{name}-{version}"


"""What starts programs."""


def home() -> Path:
    """The user's; of one whom the machine does not know, as in containers, `/`."""
    with contextlib.suppress(RuntimeError):
        return Path.home()
    return Path("/")


@dataclass(frozen=True, slots=True)
class Runtime:
    """An interpreter that works, and the guest's code compiled for it."""

    name: str
    """`python3.11`, `nodejs20.x`, `provided.al2023`; with a label of the operator's,
    `python3.11-custom`."""

    version: str
    """`3.11.7`; empty for those that bring their own."""

    prefix: Path
    """Of the Python that starts instances, or that they are clones of."""

    guest_code: Path
    """Mounted at /var/runtime."""

    runs: tuple[str, ...] = ()
    """What an instance becomes, with its arguments: it speaks the Runtime API. Empty
    where it is a clone of the zygote."""

    language: Path | None = None
    """Mounted at /var/lang: what `runs` is of, if it is not in /usr."""

    @property
    def is_image(self) -> bool:
        """Whether instances have the root file system of a container image."""
        return self.runs == (IMAGE,)

    @property
    def has_own_prefix(self) -> bool:
        return self.prefix != SYSTEM_PREFIX

    @property
    def place(self) -> str:
        """Where `prefix` is mounted, unless it is /usr."""
        return "var/lang" if self.language is None else "var/starter"

    @property
    def python(self) -> Path:
        """The Python, on the machine."""
        base, _, _ = self.name.partition("-")
        return self.prefix / "bin" / (base if base.startswith("python") else _OURS)

    @property
    def outside(self) -> str:
        """The interpreter of functions, on the machine; empty where they bring one."""
        if not self.runs:
            return str(self.python)
        if self.language is not None:
            return self.runs[0].replace("/var/lang", str(self.language), 1)
        return self.runs[0] if self.runs[0].startswith("/") else ""

    @property
    def executable(self) -> str:
        """The Python, inside a jail."""
        prefix = f"/{self.place}" if self.has_own_prefix else "/usr"
        return f"{prefix}/bin/{self.python.name}"


def as_program(runtime: Runtime) -> Runtime:
    """A Python whose instances are programs: each starts an interpreter of its own."""
    if runtime.runs:
        return runtime
    return replace(runtime, runs=(runtime.executable, *_ALONE, _PROGRAM))


_ALONE = ("-S", "-B")
"""As zygotes have it: without the machine's own packages, and writing no bytecode."""

_PROGRAM = "/var/runtime/sandlot_sandbox/guest/program.py"


def dump_runtimes(runtimes: Iterable[Runtime]) -> str:
    """For the command lines of launcher and engine."""
    return json.dumps([asdict(runtime) for runtime in runtimes], default=str)


def parse_runtimes(text: str) -> list[Runtime]:
    """The other way."""
    return [
        Runtime(
            **(r | {"prefix": Path(r["prefix"]), "guest_code": Path(r["guest_code"])})
            | {
                "runs": tuple(r["runs"]),
                "language": Path(r["language"]) if r["language"] else None,
            }
        )
        for r in json.loads(text)
    ]
