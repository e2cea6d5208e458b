"""What an X-Amzn-Trace-Id says, and what a function's says: pure.

Beside `Root`, `Parent` and `Sampled`, which are passed on, it has the lineage: which
functions an invocation is a consequence of, and how often, as AWS writes it,
`HASH:COUNT|HASH:COUNT`. Each call that a function is sent adds one to that function's
count; where it would be one too many, the function is in a loop.
"""

import hashlib
import re
from functools import lru_cache
from urllib.parse import unquote

MAX_ROUNDS = 16
"""Times that one function may be in a lineage (AWS: about 16)."""

RECURSION = "RecursiveInvocationException"
"""Why a call is refused that is one round too many: AWS's name for it."""

MAX_FUNCTIONS = 64
"""Different functions in a lineage: a longer chain counts as a loop."""

MAX_HEADER = 4_096
"""Characters of an X-Amzn-Trace-Id that is read."""

_ENTRY = re.compile(r"([0-9a-f]{8}):([0-9]{1,5})")
_LINEAGE = re.compile(r"[0-9a-f:|]{1,1024}")
_KEPT = {
    "Root": re.compile(r"1-[0-9a-f]{8}-[0-9a-f]{24}"),
    "Parent": re.compile(r"[0-9a-f]{16}"),
    "Sampled": re.compile(r"[01]"),
}


def continued(lineage: str, tenant_id: str, function: str) -> str:
    """The lineage of what that function brings about, when it was called with that
    lineage."""
    name = _name(tenant_id, function)
    if not lineage:
        return f"{name}:1"
    counts = _counts(lineage)
    counts[name] = counts.get(name, 0) + 1
    return "|".join(f"{each}:{count}" for each, count in counts.items())


def rounds(lineage: str, tenant_id: str, function: str) -> int:
    """How often that function led to a call of that lineage. At `MAX_ROUNDS` the call
    is one too many; that is said of a lineage with too many functions, too."""
    counts = _counts(lineage)
    if len(counts) > MAX_FUNCTIONS:
        return MAX_ROUNDS
    return counts.get(_name(tenant_id, function), 0)


def is_loop(lineage: str, tenant_id: str, function: str) -> bool:
    """Whether a call of that lineage is one round too many for the function."""
    return rounds(lineage, tenant_id, function) >= MAX_ROUNDS


def read(header: str) -> tuple[str, str]:
    """The trace and the lineage that an X-Amzn-Trace-Id is of; each is empty where it
    says nothing of it that we read.

    SDKs send the header as URLs are written: botocore's has `%7C` for each `|`.
    """
    if not header or len(header) > MAX_HEADER:
        return "", ""
    parts = dict(_parts(unquote(header)))
    lineage = parts.get("Lineage", "")
    if not (_LINEAGE.fullmatch(lineage) and _counts(lineage)):
        lineage = ""
    kept = {
        name: parts[name]
        for name, form in _KEPT.items()
        if name in parts and form.fullmatch(parts[name])
    }
    if "Root" not in kept:
        return "", lineage  # whose parent it would be, nobody knows
    return ";".join(f"{name}={value}" for name, value in kept.items()), lineage


def whole(trace: str, request_id: str) -> str:
    """The trace with all that tracers want to find in it, of the request's id where the
    caller has said nothing of it. What nobody has asked for is not sampled."""
    digits = request_id.replace("-", "")
    if not trace:  # of nearly every request
        return f"Root=1-{digits[:8]}-{digits[8:32]};Parent={digits[-16:]};Sampled=0"
    said = dict(_parts(trace))
    parent, sampled = said.get("Parent") or digits[-16:], said.get("Sampled") or "0"
    return f"Root={said['Root']};Parent={parent};Sampled={sampled}"


def trace_id(
    request_id: str, trace: str, lineage: str, tenant_id: str, function: str
) -> str:
    """X-Amzn-Trace-Id for the function, whose calls by AWS's SDKs carry it on."""
    after = continued(lineage, tenant_id, function)
    return f"{whole(trace, request_id)};Lineage={after}"


def _parts(header: str) -> list[tuple[str, str]]:
    found = (part.strip().partition("=") for part in header.split(";"))
    return [(name, value) for name, _, value in found]


def _counts(lineage: str) -> dict[str, int]:
    found = (_ENTRY.fullmatch(entry) for entry in lineage.split("|"))
    return {entry[1]: int(entry[2]) for entry in found if entry}


@lru_cache(maxsize=4_096)
def _name(tenant_id: str, function: str) -> str:
    return hashlib.sha256(f"{tenant_id}:{function}".encode()).hexdigest()[:8]
