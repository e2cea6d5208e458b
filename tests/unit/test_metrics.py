"""What `/metrics` tells, read as Prometheus reads it."""

import subprocess
import sys

from prometheus_client.parser import text_string_to_metric_families

from sandlot_engine.metrics import Metrics


def told(metrics: Metrics) -> dict[tuple[str, str], float]:
    """Every sample by its name and its only label's value."""
    text = metrics.text().decode()
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def note(metrics: Metrics, status: str, *, init_s: float | None = None) -> None:
    metrics.note_invocation(
        status, duration_s=0.002, init_s=init_s, wait_s=0.0, billed_mb_ms=256
    )


def test_invocations_are_counted_by_how_they_ended() -> None:
    metrics = Metrics()

    note(metrics, "ok", init_s=0.003)
    note(metrics, "ok")
    note(metrics, "timeout")

    found = told(metrics)
    assert found["sandlot_invocations_total", "ok"] == 2
    assert found["sandlot_invocations_total", "timeout"] == 1
    assert found["sandlot_cold_starts_total", ""] == 1
    assert found["sandlot_billed_mb_ms_total", ""] == 3 * 256


def test_durations_are_distributions() -> None:
    metrics = Metrics()

    note(metrics, "ok")

    found = told(metrics)
    assert found["sandlot_invocation_duration_seconds_bucket", "0.001"] == 0
    assert found["sandlot_invocation_duration_seconds_bucket", "0.0025"] == 1
    assert found["sandlot_invocation_duration_seconds_bucket", "900.0"] == 1


def test_what_is_counted_elsewhere_is_read_when_somebody_asks() -> None:
    metrics, waiting = Metrics(), [3.0]
    metrics.watch(
        gauges={"waiting": ("What waits.", lambda: waiting[0])},
        counters={"lost": ("What is lost.", lambda: 7)},
    )

    before = told(metrics)
    waiting[0] = 5.0

    assert before["sandlot_waiting", ""] == 3
    assert before["sandlot_lost_total", ""] == 7
    assert told(metrics)["sandlot_waiting", ""] == 5


def test_throttles_are_counted_by_reason() -> None:
    metrics = Metrics()

    metrics.note_throttled("ConcurrentInvocationLimitExceeded")

    name = "sandlot_throttled_total", "ConcurrentInvocationLimitExceeded"
    assert told(metrics)[name] == 1


def test_what_has_not_happened_is_told_so_that_its_first_time_is_a_change() -> None:
    found = told(Metrics(statuses=("ok", "timeout")))

    assert found["sandlot_invocations_total", "timeout"] == 0
    assert found["sandlot_url_requests_total", "5xx"] == 0
    assert found["sandlot_throttled_total", "CallerRateLimitExceeded"] == 0


def test_what_the_engine_uses_has_the_names_that_others_have() -> None:
    found = told(Metrics())

    assert found["process_resident_memory_bytes", ""] > 2**20
    assert found["process_max_fds", ""] > found["process_open_fds", ""] > 0


def test_which_sandlot_it_is_is_a_label() -> None:
    metrics = Metrics()

    metrics.tell_build("1.2.3")

    assert told(metrics)["sandlot_build_info", "1.2.3"] == 1


def test_the_oldest_client_of_prometheus_that_is_promised_is_enough() -> None:
    # A newer one has this name; pyproject.toml asks for none.
    program = (
        "from prometheus_client import exposition\n"
        "vars(exposition).pop('CONTENT_TYPE_PLAIN_0_0_4', None)\n"
        "import sandlot_engine.metrics"
    )

    done = subprocess.run([sys.executable, "-c", program], check=False)

    assert done.returncode == 0
