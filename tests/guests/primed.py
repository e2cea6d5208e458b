"""Does some work with the standard library; was called before, if it is asked to be."""

import datetime
import decimal
import json
import os
import re
import statistics


def work(event):
    """Rows that are made, shown, searched and added up."""
    rows = [
        {"n": n, "share": str(decimal.Decimal(n) / 7), "day": _day(n)}
        for n in range(100)
    ]
    text = json.dumps(rows)
    return {
        "mean": statistics.mean(row["n"] for row in rows),
        "numbers": len(re.findall(r"\d+\.\d+", text)),
    }


def _day(number):
    return (datetime.date(2020, 1, 1) + datetime.timedelta(number)).isoformat()


def handler(event, context):
    return work(event)


if os.environ.get("PRIMED"):
    from snapshot_restore_py import register_before_snapshot

    @register_before_snapshot
    def prime():
        for _ in range(3):
            work({})
