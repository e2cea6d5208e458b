"""What parts count for themselves."""

import time
from collections.abc import Callable

from sandlot_engine.assembly.status import version
from sandlot_engine.catalog.functions import Functions
from sandlot_engine.events import readings
from sandlot_engine.gateway import faulted
from sandlot_engine.gateway.untaken import tally
from sandlot_engine.invocation.invoker import Invoker
from sandlot_engine.node.launchers import Launchers
from sandlot_engine.node.node import Node
from sandlot_engine.polling.poller import Poller
from sandlot_engine.scheduler.scheduler import Scheduler
from sandlot_engine.store.sqlite import SqliteStore
from sandlot_engine.workers.link import Link


def watch(
    invoker: Invoker,
    functions: Functions,
    scheduler: Scheduler,
    node: Node,
    store: SqliteStore,
    link: Link,
    poller: Poller,
    *,
    launchers: Launchers,
    trouble: Callable[[], str],
) -> None:
    """What parts count for themselves, for `/metrics`."""
    started = time.time()
    invoker.metrics.tell_build(version())
    invoker.metrics.watch(
        gauges={
            "healthy": (
                "1 where /healthz says so; 0 where no function can be run.",
                lambda: not trouble(),
            ),
            "start_time_seconds": (
                "When the engine was started, in seconds since 1970.",
                lambda: started,
            ),
            "functions": ("Functions that there are.", functions.count_all),
            "running": (
                "Invocations that run now.",
                lambda: invoker.admission.total - link.unused,
            ),
            "instances_lent": (
                "Instances that workers have.",
                lambda: link.lent,
            ),
            "instances": ("Instances that live.", lambda: scheduler.instances),
            "standbys": (
                "Instances that nobody has used yet, ready for a cold start.",
                lambda: scheduler.standbys.there,
            ),
            "zygotes": ("Zygotes that live.", lambda: node.zygotes),
            "cells_ready": (
                "Cells that wait for an instance.",
                lambda: launchers.cells_ready,
            ),
            "memory_used_bytes": (
                "What zygotes and instances use, as far as anybody counts that.",
                lambda: node.used_mb * 2**20,
            ),
            "records_behind": (
                "Records that are not on disk yet.",
                lambda: store.counters.records_behind,
            ),
            **readings.gauges(invoker.events),
            **poller.gauges,
        },
        counters={
            **readings.counters(invoker.events),
            **poller.counters,
            "idempotent_replays": (
                "Requests that were answered with an earlier one's answer.",
                lambda: invoker.once.replayed,
            ),
            "idempotent_answers_evicted": (
                "Answers that were forgotten before their time, for want of room.",
                lambda: invoker.once.evicted,
            ),
            "idempotent_answers_not_kept": (
                "Answers that the store could not take.",
                lambda: invoker.once.not_kept,
            ),
            "faults": (
                "Calls that failed because our side broke; the log says why.",
                lambda: faulted.tally.count,
            ),
            "launchers_lost": (
                "Launchers that ended, each with all instances that it had.",
                lambda: launchers.lost,
            ),
            "worker_restarts": (
                "Workers that were started in the place of one that died.",
                lambda: link.restarts,
            ),
            "provisioned_concurrency_invocations": (
                "Invocations on what is provisioned for their version.",
                lambda: invoker.admission.provisioned,
            ),
            "provisioned_concurrency_spillover_invocations": (
                "Invocations on demand, because all that is provisioned was in use.",
                lambda: invoker.admission.spilled,
            ),
            "held": (
                "Invocations that waited for a busy instance rather than a start.",
                lambda: scheduler.held,
            ),
            "standby_starts": (
                "Cold starts that were given a standby.",
                lambda: scheduler.standbys.taken,
            ),
            "answers_cut": (
                "Answers over HTTP that were cut off, as their clients took nothing.",
                lambda: tally.cut,
            ),
            "answers_unsent": (
                "Answers over gRPC that were not sent, as too many wait already.",
                lambda: tally.unsent,
            ),
            "rows_damaged": (
                "Times that something kept was not to be read, and was left out.",
                lambda: store.damaged,
            ),
            "log_lines_dropped": (
                "Lines of logs that writing was too slow for.",
                lambda: store.counters.log_lines_dropped,
            ),
            "log_lines_deleted": (
                "Lines of logs that made room for newer ones.",
                lambda: store.counters.log_lines_deleted,
            ),
        },
    )
