"""What `sandlot up` was asked for; what supervisor, launcher and engine are told."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

DEFAULT_HTTP = "127.0.0.1:9070"
DEFAULT_GRPC = "127.0.0.1:9071"
DEFAULT_REGION = "us-east-1"
DEFAULT_IDLE_S = 300.0
MAX_WORKERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """The options of `sandlot up`."""

    data: Path | None = None
    """Where everything is kept; a folder of the user's own if not given."""

    http: str = DEFAULT_HTTP
    grpc: str = DEFAULT_GRPC
    as_json: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allow_plaintext: bool = False
    """Also where others could listen in."""

    user: str | None = None
    """Whom the engine becomes when it is started as root: a name or a number."""

    region: str = DEFAULT_REGION
    """For ARNs and environments only."""

    idle_s: float = DEFAULT_IDLE_S
    """How long an instance stays without an invocation."""

    workers: int = 0
    """Processes that serve and run what is warm; with 0 or 1 the engine does it all."""

    s3_endpoint: str = ""
    """URL of a store that packages may be fetched from; its key is in the environment,
    as `S3_ACCESS_KEY_ID` and `S3_SECRET_ACCESS_KEY`. Empty: from none."""

    runtimes: dict[str, str] = field(default_factory=dict)
    """Interpreters by runtime name, before those that are found."""

    given_up: frozenset[str] = frozenset()
    """Layers of isolation that the operator does without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """What the supervisor tells the engine; on its command line, so no secrets."""

    data: str
    http: str
    grpc: str
    as_json: bool
    tls_cert: str
    tls_key: str
    allow_plaintext: bool
    region: str
    idle_s: float
    workers: int
    s3_endpoint: str
    uid: int
    gid: int
    supervisor_pid: int
    control: int
    """The descriptor over which launchers come."""

    runtimes: str
    """JSON of `launcher.runtimes`."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "EngineConfig":
        fields: dict[str, Any] = json.loads(text)
        return cls(**fields)
