"""How a start that is refused is told on stderr: to a reader, or as JSON to a tool."""

import json
import os


def refusal(message: str, *, status: int, as_json: bool) -> str:
    """One line, as the CLI has it for all errors; `status` is what is exited with."""
    if not as_json:
        return f"sandlot: {message}"
    kind = "Unavailable" if status == os.EX_TEMPFAIL else "Refused"
    return json.dumps({"error": {"kind": kind, "message": message, "advice": ""}})
