"""`status`: how the engine on this machine is, in a dozen lines.

It asks what anybody who watches an engine asks, `/healthz` and `/metrics`, so that it
answers also where functions cannot be run, and an alarm says the same.
"""

import json
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from sandlot.cli.options import folders, json_flag
from sandlot.cli.output import document, table
from sandlot.cli.root import BROKEN
from sandlot.cli.text import minute, one_line, size
from sandlot.errors import ConnectionFailed, PermissionDenied

_TIMEOUT_S = 10.0
_MAX_BYTES = 1 << 20
_ROW = re.compile(r'sandlot_(\w+?)(?:_total)?(?:\{\w+="([^"]*)"\})? (\S+)')
"""A metric: its name, its one label's value, and how much."""

Counts = dict[str, float]


@click.command()
@click.option(
    "--data",
    metavar="DIR",
    envvar="SANDLOT_DATA",
    show_envvar=True,
    shell_complete=folders,
    help="The engine that runs on this directory.",
)
@json_flag
def status(*, data: str | None, as_json: bool) -> None:
    """Say how the engine on this machine is: what lives and runs, what went wrong.

    To be run by whoever started it. Exit codes: 0 it runs functions; 4 it does not, or
    is not reached.
    """
    from sandlot.config import default_data

    folder = Path(data).absolute() if data else default_data()
    found = _told(folder)
    if as_json:
        document(found)
    else:
        table(None, [[name, one_line(text)] for name, text in _rows(found)])
    sys.exit(0 if found["status"] == "ok" else BROKEN)


def _told(data: Path) -> dict[str, Any]:
    """All of it, as JSON can hold it."""
    from sandlot.config import from_data, http_of, is_loopback

    address = http_of(data)
    headers = {}
    key = None if is_loopback(address) else from_data(data, needs_address=False)
    if key is not None and (pair := key.credentials) is not None:
        # To an address of this machine: that goes over no network.
        secret = f"{pair.access_key_id}:{pair.secret_access_key}"
        headers["authorization"] = f"Bearer {secret}"
    health = _health(address, headers, data)
    single, labelled = _metrics(_get(address, "/metrics", headers, data).decode())
    started = datetime.fromtimestamp(single["start_time_seconds"], UTC)
    live, standby = int(single["instances"]), int(single["standbys"])
    busy = min(int(single["running"]), live - standby)
    disk = shutil.disk_usage(data)
    return {
        "status": health["status"],
        "reason": health.get("reason", ""),
        "version": health["version"],
        "http": f"http://{address}",
        "data": str(data),
        "mode": health["mode"],
        "isolation_given_up": health["isolation_given_up"],
        "isolation_weaker": health["isolation_weaker"],
        "started": started.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "uptime_s": round((datetime.now(UTC) - started).total_seconds()),
        "functions": int(single["functions"]),
        "instances": {
            "live": live,
            "busy": busy,
            "idle": live - standby - busy,
            "standby": standby,
        },
        "zygotes": int(single["zygotes"]),
        "memory_used_bytes": int(single["memory_used_bytes"]),
        "invocations": _whole(labelled.get("invocations", {})),
        "cold_starts": int(single["cold_starts"]),
        "throttled": _whole(labelled.get("throttled", {})),
        "events": {
            name: int(single[f"events_{name}"])
            for name in ("waiting", "running", "dead_kept")
        },
        "faults": int(single["faults"]),
        "launchers_lost": int(single["launchers_lost"]),
        "records_behind": int(single["records_behind"]),
        "disk": {"free_bytes": disk.free, "total_bytes": disk.total},
    }


def _health(address: str, headers: dict[str, str], data: Path) -> dict[str, Any]:
    said = _get(address, "/healthz", headers, data)
    try:
        health = json.loads(said)
        if health["status"] and health["version"]:
            return dict(health)
    except (ValueError, TypeError, KeyError):
        pass
    from sandlot.config import start_on

    raise ConnectionFailed(
        f"what answers on {address} is no engine; the one on {data} was there. Start it"
        f" with `{start_on(data)}`"
    )


def _get(address: str, path: str, headers: dict[str, str], data: Path) -> bytes:
    # With TLS, of no use here, it is a fifth of what every command has to load.
    import http.client

    from sandlot.config import start_on

    connection = http.client.HTTPConnection(address, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        said = answer.read(_MAX_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionFailed(
            f"no engine answers on {address}, where the one on {data} was: {error}."
            f" Start it with `{start_on(data)}`; its log says why it ended"
        ) from error
    finally:
        connection.close()
    if answer.status == http.HTTPStatus.FORBIDDEN:
        raise PermissionDenied(
            f"{path} on {address} is for this machine and for operators"
        )
    return said


def _metrics(text: str) -> tuple[Counts, dict[str, Counts]]:
    """Those without labels, and those with one, by its values."""
    # An older engine that runs still has not all of them.
    single: Counts = defaultdict(float)
    labelled: dict[str, Counts] = {}
    for line in text.splitlines():
        if row := _ROW.fullmatch(line):
            name, label, value = row.groups()
            if label is None:
                single[name] = float(value)
            else:
                labelled.setdefault(name, {})[label] = float(value)
    return single, labelled


def _whole(counts: Counts) -> dict[str, int]:
    return {name: int(count) for name, count in counts.items() if count}


def _rows(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """For people."""
    why = f": {found['reason']}" if found["reason"] else ""
    yield "status", found["status"] + why
    yield "engine", f"sandlot {found['version']} on {found['http']}"
    started = datetime.fromisoformat(found["started"])
    up_for = timedelta(seconds=found["uptime_s"])
    yield "up", f"{up_for}, since {minute(started)}"
    yield "isolation", f"{found['mode']}, {_layers(found)}"
    yield "functions", f"{found['functions']:,}"
    instances = found["instances"]
    parts = (f"{instances[name]:,} {name}" for name in ("busy", "idle", "standby"))
    yield "instances", f"{instances['live']:,}: {', '.join(parts)}"
    yield "zygotes", f"{found['zygotes']:,}"
    used = found["memory_used_bytes"]
    is_unknown = found["zygotes"] and not used
    yield "memory", "nobody counts it here" if is_unknown else size(used)
    cold = f"{found['cold_starts']:,} cold"
    yield "invocations", f"{_counted(found['invocations'])}; {cold}"
    yield "throttled", _counted(found["throttled"])
    events = found["events"]
    told = (f"{events[name]:,} {name}" for name in ("waiting", "running"))
    yield "events", f"{', '.join(told)}, {events['dead_kept']:,} dead letters"
    lost = f"{found['launchers_lost']:,} launchers lost"
    yield "faults", f"{found['faults']:,}; {lost}"
    disk = found["disk"]
    share = disk["free_bytes"] / disk["total_bytes"] if disk["total_bytes"] else 0
    room = f"{size(disk['free_bytes'])} free, {share:.0%}"
    yield "disk", f"{room}, of {found['data']}"


def _layers(found: dict[str, Any]) -> str:
    but = []
    if given_up := found["isolation_given_up"]:
        but.append(f"WITHOUT {', '.join(given_up)}")
    if weaker := found["isolation_weaker"]:
        but.append(f"with {', '.join(weaker)} weaker")
    return ", ".join(but) or "with all layers"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "0"
