"""Which functions an event is a consequence of, and how often: pure.

Written as AWS writes it into X-Amzn-Trace-Id, `HASH:COUNT|HASH:COUNT`. Each event that
a function is sent adds one to that function's count; where it would be one too many,
the function is in a loop.
"""

import hashlib
import re

MAX_ROUNDS = 16
"""Times that one function may be in a lineage (AWS: about 16)."""

MAX_FUNCTIONS = 64
"""Different functions in a lineage: a longer chain counts as a loop."""

_ENTRY = re.compile(r"([0-9a-f]{8}):([0-9]{1,5})")
_TRACE = re.compile(r"(?:^|;)\s*Lineage=([0-9a-f:|]{1,1024})(?:;|$)")


def continued(lineage: str, tenant_id: str, function: str) -> str:
    """The lineage of what that function brings about, when it was sent an event of
    that lineage."""
    counts = _counts(lineage)
    name = _name(tenant_id, function)
    counts[name] = counts.get(name, 0) + 1
    return "|".join(f"{each}:{count}" for each, count in counts.items())


def is_loop(lineage: str, tenant_id: str, function: str) -> bool:
    """Whether an event of that lineage is one round too many for the function."""
    counts = _counts(lineage)
    rounds = counts.get(_name(tenant_id, function), 0)
    return rounds >= MAX_ROUNDS or len(counts) > MAX_FUNCTIONS


def lineage_in(trace_header: str) -> str:
    """What an X-Amzn-Trace-Id says of it; empty where it says nothing that we read."""
    found = _TRACE.search(trace_header)
    return found[1] if found and _counts(found[1]) else ""


def trace_id(request_id: str, lineage: str, tenant_id: str, function: str) -> str:
    """X-Amzn-Trace-Id of what the function does about an event of that lineage."""
    digits = request_id.replace("-", "")
    after = continued(lineage, tenant_id, function)
    return f"Root=1-{digits[:8]}-{digits[8:32]};Sampled=0;Lineage={after}"


def _counts(lineage: str) -> dict[str, int]:
    found = (_ENTRY.fullmatch(entry) for entry in lineage.split("|"))
    return {entry[1]: int(entry[2]) for entry in found if entry}


def _name(tenant_id: str, function: str) -> str:
    return hashlib.sha256(f"{tenant_id}:{function}".encode()).hexdigest()[:8]
