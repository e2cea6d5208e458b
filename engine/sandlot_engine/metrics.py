"""What `/metrics` tells: counts since the start, and how much there is now.

No label names a tenant or a function: whoever may scrape an engine learns how busy it
is, and of nobody in particular.
"""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)
"""Upper ends: a warm invocation takes a tenth of the first, a start a few of them."""

Reading = Callable[[], float]


class Metrics:
    """One engine's. What is counted elsewhere is read when somebody asks: `watch`."""

    def __init__(self) -> None:
        registry = CollectorRegistry(auto_describe=True)
        self._registry = registry
        # Looking a label up takes longer than counting.
        self._by_status: dict[str, Counter] = {}
        self._invocations = Counter(
            "sandlot_invocations",
            "Invocations that ran, by how they ended.",
            ["status"],
            registry=registry,
        )
        self._throttled = Counter(
            "sandlot_throttled",
            "Invocations that were refused for want of room, by AWS's reason.",
            ["reason"],
            registry=registry,
        )
        self._cold = Counter(
            "sandlot_cold_starts",
            "Invocations for which an instance was started.",
            registry=registry,
        )
        self._billed = Counter(
            "sandlot_billed_mb_ms",
            "Milliseconds billed, each times the function's memory in MB.",
            registry=registry,
        )
        self._url_requests = Counter(
            "sandlot_url_requests",
            "Requests to function URLs, by the hundred of the answer's status.",
            ["status"],
            registry=registry,
        )
        self._duration = Histogram(
            "sandlot_invocation_duration_seconds",
            "How long handlers took.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._init = Histogram(
            "sandlot_init_duration_seconds",
            "How long new instances took until they could take an event.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._wait = Histogram(
            "sandlot_wait_duration_seconds",
            "How long invocations waited for an instance, or a place to start one.",
            buckets=_SECONDS,
            registry=registry,
        )

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
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._by_status[status] = self._invocations.labels(status)
        counter.inc()
        self._duration.observe(duration_s)
        self._wait.observe(wait_s)
        self._billed.inc(billed_mb_ms)
        if init_s is not None:
            self._cold.inc()
            self._init.observe(init_s)

    def note_throttled(self, reason: str) -> None:
        """One that did not run. `reason` is one of AWS's, never a caller's word."""
        self._throttled.labels(reason).inc()

    def note_url_request(self, status: int) -> None:
        """One that was answered."""
        self._url_requests.labels(f"{status // 100}xx").inc()

    def watch(
        self,
        *,
        gauges: Mapping[str, tuple[str, Reading]],
        counters: Mapping[str, tuple[str, Reading]],
    ) -> None:
        """Also tell these, by name: what each is, and where to read it."""
        self._registry.register(_Watched(gauges, counters))

    def text(self) -> bytes:
        """In Prometheus's text format, `CONTENT_TYPE`."""
        return generate_latest(self._registry)


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
