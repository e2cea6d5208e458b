"""The Ready line, and where other commands find the engine."""

import json
import logging
import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

from sandlot_engine.catalog.packages import sync_folder
from sandlot_engine.options import EngineConfig

_log = logging.getLogger("sandlot")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the Ready line says."""

    grpc: str
    http: str
    mode: str
    given_up: list[str]
    weaker: list[str]
    """Layers in whose place something weaker is done."""


def announce(config: EngineConfig, facts: Facts, took_s: float) -> None:
    """Write where we are for the other commands, then the line that tools wait for."""
    data = Path(config.data)
    credentials = data / "operator.json"
    pid = config.supervisor_pid
    write_private(
        data / "engine.json",
        {
            "grpc": facts.grpc,
            "http": facts.http,
            "pid": pid,
            **_tls(config.tls_cert),
        },
    )
    if config.as_json:
        line = json.dumps(
            {
                "http": facts.http,
                "grpc": facts.grpc,
                "pid": pid,
                "credentials_file": str(credentials),
            }
            | ({"isolation_given_up": facts.given_up} if facts.given_up else {})
            | ({"isolation_weaker": facts.weaker} if facts.weaker else {})
        )
    else:
        without = f" WITHOUT {', '.join(facts.given_up)}" if facts.given_up else ""
        less = f" with {', '.join(facts.weaker)} weaker" if facts.weaker else ""
        line = (
            f"Ready in {took_s:.1f} s · grpc {facts.grpc} · {facts.http}"
            f" · {facts.mode}{without}{less} · data {data}"
        )
    # In a locale of Latin-1, say, its dots are no reason to end.
    encoding = sys.stdout.encoding
    line = line.encode(encoding, "backslashreplace").decode(encoding)
    try:
        print(line, flush=True)  # noqa: T201 - the one line on stdout
    except OSError as error:
        # Where to connect is in the file as well.
        _log.warning("the Ready line was not taken: %s", error)


def _tls(certificate: str) -> dict[str, object]:
    """How other commands know the engine by its certificate, whoever has signed it."""
    if not certificate:
        return {"tls": False}
    # Not at the top: it is an import that only this needs.
    from sandlot_engine.assembly.certificates import own_certificate

    pem, name = own_certificate(Path(certificate).read_bytes())
    return {"tls": True, "certificate": pem, "certificate_name": name}


def write_private(path: Path, value: dict[str, object]) -> None:
    """Whole or not at all, for its owner alone; on disk when this returns."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w") as file:
            json.dump(value, file)
            file.write("\n")
            file.flush()
            os.fsync(fd)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
