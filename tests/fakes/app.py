"""Stands where `sandlot_engine.app` would, for commands that run the engine here."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@dataclass
class FakeApp:
    """Keeps what it was called with."""

    calls: list[Any] = field(default_factory=list)
    found: dict[str, Any] = field(default_factory=dict)
    """What its doctor finds."""

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        module = ModuleType("sandlot_engine.app")
        module.__dict__.update(
            UpOptions=dict,
            up=self.up,
            doctor=self.doctor,
            register=self.register,
            unregister=self.unregister,
            NotRegistered=self.NotRegistered,
            rotate_master_key=self.rotate_master_key,
            Refused=self.Refused,
        )
        monkeypatch.setitem(sys.modules, "sandlot_engine.app", module)

    def up(self, options: Any) -> int:
        self.calls.append(options)
        return 7

    def doctor(
        self, *, given_up: frozenset[str], data: str | None = None
    ) -> dict[str, Any]:
        self.calls.append(given_up)
        return self.found

    class Refused(Exception):
        """As the engine has it."""

    def rotate_master_key(self, data: Path) -> dict[str, int]:
        self.calls.append(data)
        if "taken" in str(data):
            raise self.Refused(f"another engine is running on {data}")
        return {"sealed": 12, "left": 1}

    class NotRegistered(Exception):
        """As the engine has it."""

    def register(
        self, data: Path, name: str, path: str, *, given_up: frozenset[str]
    ) -> dict[str, Any]:
        self.calls.append((data, name, path, given_up))
        if "bad" in path:
            raise self.NotRegistered(f"{name}: no answer")
        return {
            "name": name,
            "version": "3.12.1",
            "path": path,
            "visible": "/opt/python",
            "hello_ms": 9.5,
        }

    def unregister(self, data: Path, name: str) -> None:
        self.calls.append((data, name))
