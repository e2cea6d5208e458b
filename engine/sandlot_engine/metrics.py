"""What `/metrics` tells: counts since the start, and how much there is now.

No label names a tenant or a function: whoever may scrape an engine learns how busy it
is, and of nobody in particular.

Each invocation counts in four of them. So they are plain numbers, which are made into
what Prometheus knows when somebody asks; all of it happens in the event loop's thread.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)
"""Upper ends: a warm invocation takes a tenth of the first, a start a few of them."""

_LONG_S = (*_SECONDS, 120, 900)
"""Up to the longest that a function may have."""

_REASONS = (
    "CallerRateLimitExceeded",
    "ConcurrentInvocationLimitExceeded",
    "ReservedFunctionConcurrentInvocationLimitExceeded",
)
"""Of AWS's, those that ours are."""

_ANSWERS = ("2xx", "3xx", "4xx", "5xx")

Reading = Callable[[], float]


class Metrics:
    """One engine's. What is counted elsewhere is read when somebody asks: `watch`."""

    def __init__(self, statuses: Iterable[str] = ()) -> None:
        """`statuses` are those that an invocation can end with."""
        self._registry = CollectorRegistry(auto_describe=True)
        # From the start with what has not happened: to `rate` and `increase` the first
        # of a number that was not there is no change.
        self._by_status = dict.fromkeys(statuses, 0)
        self._by_reason = dict.fromkeys(_REASONS, 0)
        self._by_answer = dict.fromkeys(_ANSWERS, 0)
        self._cold = 0
        self._billed = 0
        self._duration = _Histogram(
            "sandlot_invocation_duration_seconds", "How long handlers took.", _LONG_S
        )
        self._init = _Histogram(
            "sandlot_init_duration_seconds",
            "How long new instances took until they could take an event.",
        )
        self._wait = _Histogram(
            "sandlot_wait_duration_seconds",
            "How long invocations waited for an instance, or a place to start one.",
        )
        self._registry.register(_Told(self._told))
        # What the engine itself uses, by the names that every dashboard knows.
        ProcessCollector(registry=self._registry)

    def note_invocation(
        self,
        status: str,
        *,
        duration_s: float,
        init_s: float | None,
        wait_s: float,
        billed_mb_ms: int,
    ) -> None:
        """One that ran; `init_s` is None where its instance was there."""
        self._by_status[status] = self._by_status.get(status, 0) + 1
        self._duration.observe(duration_s)
        self._wait.observe(wait_s)
        self._billed += billed_mb_ms
        if init_s is not None:
            self._cold += 1
            self._init.observe(init_s)

    def note_throttled(self, reason: str) -> None:
        """One that did not run. `reason` is one of AWS's, never a caller's word."""
        self._by_reason[reason] = self._by_reason.get(reason, 0) + 1

    def note_url_request(self, status: int) -> None:
        """One that was answered."""
        answer = f"{status // 100}xx"
        self._by_answer[answer] = self._by_answer.get(answer, 0) + 1

    def watch(
        self,
        *,
        gauges: Mapping[str, tuple[str, Reading]],
        counters: Mapping[str, tuple[str, Reading]],
    ) -> None:
        """Also tell these, by name: what each is, and where to read it."""
        self._registry.register(_Watched(gauges, counters))

    def tell_build(self, version: str) -> None:
        """Also tell which Sandlot this is."""
        family = InfoMetricFamily("sandlot_build", "Which Sandlot runs; 1.")
        family.add_metric([], {"version": version})
        self._registry.register(_Told(lambda: iter([family])))

    def text(self) -> bytes:
        """In Prometheus's text format, `CONTENT_TYPE`."""
        return generate_latest(self._registry)

    def _told(self) -> Iterator[Metric]:
        yield _counter(
            "sandlot_invocations",
            "Invocations that ran, by how they ended.",
            ("status", self._by_status),
        )
        yield _counter(
            "sandlot_throttled",
            "Invocations that were refused for want of room, by AWS's reason.",
            ("reason", self._by_reason),
        )
        yield CounterMetricFamily(
            "sandlot_cold_starts",
            "Invocations for which an instance was started.",
            value=self._cold,
        )
        yield CounterMetricFamily(
            "sandlot_billed_mb_ms",
            "Milliseconds billed, each times the function's memory in MB.",
            value=self._billed,
        )
        yield _counter(
            "sandlot_url_requests",
            "Requests to function URLs, by the hundred of the answer's status.",
            ("status", self._by_answer),
        )
        for histogram in (self._duration, self._init, self._wait):
            yield histogram.told()


def _counter(name: str, what: str, counts: tuple[str, dict[str, int]]) -> Metric:
    label, by_value = counts
    family = CounterMetricFamily(name, what, labels=[label])
    for value, count in by_value.items():
        family.add_metric([value], count)
    return family


class _Histogram:
    """How often a number of seconds was in which bucket."""

    def __init__(
        self, name: str, what: str, ends_s: tuple[float, ...] = _SECONDS
    ) -> None:
        self._name, self._what, self._ends_s = name, what, ends_s
        self._counts = [0] * (len(ends_s) + 1)
        self._sum_s = 0.0

    def observe(self, seconds: float) -> None:
        # The first upper end that is not below it.
        self._counts[bisect_left(self._ends_s, seconds)] += 1
        self._sum_s += seconds

    def told(self) -> Metric:
        """Each bucket with those before it, as Prometheus has it."""
        ends = (*(str(float(end)) for end in self._ends_s), "+Inf")
        buckets = list(zip(ends, accumulate(self._counts), strict=True))
        family = HistogramMetricFamily(self._name, self._what)
        family.add_metric([], buckets=buckets, sum_value=self._sum_s)
        return family


class _Told(Collector):
    def __init__(self, tell: Callable[[], Iterator[Metric]]) -> None:
        self._tell = tell

    def collect(self) -> Iterator[Metric]:
        return self._tell()


class _Watched(Collector):
    def __init__(
        self,
        gauges: Mapping[str, tuple[str, Reading]],
        counters: Mapping[str, tuple[str, Reading]],
    ) -> None:
        self._gauges = gauges
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        for name, (what, read) in self._gauges.items():
            yield GaugeMetricFamily(f"sandlot_{name}", what, value=read())
        for name, (what, read) in self._counters.items():
            yield CounterMetricFamily(f"sandlot_{name}", what, value=read())
