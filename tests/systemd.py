"""The units in docs/systemd, as systemd reads them."""

from pathlib import Path

from tests.markdown import REPOSITORY

UNITS = REPOSITORY / "docs" / "systemd"
SYSTEM, USER = UNITS / "sandlot.service", UNITS / "sandlot-user.service"

Unit = dict[str, list[str]]
"""Values by `Section.Key`: a key may be given more than once."""


def read_unit(path: Path) -> Unit:
    """Raises `ValueError` for a line that is none of a unit's."""
    found: Unit = {}
    section = ""
    for line in path.read_text().splitlines():
        text = line.strip()
        if text.startswith("[") and text.endswith("]"):
            section = text[1:-1]
        elif text and not text.startswith(("#", ";")):
            key, equals, value = text.partition("=")
            if not (section and equals and key):
                raise ValueError(f"{path.name}: {line!r}")
            found.setdefault(f"{section}.{key}", []).append(value)
    return found


def dropped_capabilities(unit: Unit) -> list[str]:
    """As `cap_sys_module`; only lists of what is taken away are understood."""
    lines = unit.get("Service.CapabilityBoundingSet", [])
    if not all(line.startswith("~") for line in lines):
        raise ValueError("a list of what is left")
    return [name.lower() for line in lines for name in line[1:].split()]
