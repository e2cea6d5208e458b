"""AwsError (placeholder until the protocol layer is merged)."""

from collections.abc import Mapping
from typing import Any


class AwsError(Exception):
    def __init__(
        self, code: str, message: str, members: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.members = dict(members or {})
