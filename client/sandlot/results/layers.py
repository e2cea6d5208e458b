"""Layers. Which of them a function has is in `Function.layers`."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerVersion:
    """One package under a layer's name, which functions may have at /opt."""

    name: str
    version: int
    arn: str
    description: str
    compatible_runtimes: tuple[str, ...]
    """What it says it is for; nobody is held to it."""

    code_size: int
    """Bytes of the package."""

    code_sha256: str
    """Of the package, base64 as AWS gives it."""

    created: datetime
