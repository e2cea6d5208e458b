"""What a phase of load cost the server, in words."""

from collections import Counter
from typing import Any

from benchmarks.load.servers import Server
from benchmarks.scenarios.throughput import _Loaded
from benchmarks.stats import Series

PHASE: dict[str, Any] = {
    "latencies_s": [0.001, 0.002],
    "failures": 0,
    "seconds": 0.5,
    "cpu_s": 0.1,
}


def loaded(*phases_ns: int) -> _Loaded:
    one = _Loaded("one", Server(pid=1, request={}), Series(label="one"))
    for spent in phases_ns:
        one.note(PHASE, Counter(engine=spent), 0.0)
    return one


def test_the_cost_is_that_of_the_cheapest_phase_that_cost_something() -> None:
    assert loaded(6_000, 0, 4_000).server_us == 2.0


def test_phases_too_short_to_have_cost_anything_have_a_row_all_the_same() -> None:
    told = loaded(0, 0).row(loaded(4_000))

    assert "4 requests/s" in told
    assert "nan µs" in told
