"""What `sandlot up` was asked for; what supervisor, launcher and engine are told."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

DEFAULT_HTTP = "127.0.0.1:9070"
DEFAULT_GRPC = "127.0.0.1:9071"
DEFAULT_REGION = "us-east-1"
DEFAULT_IDLE_S = 300.0
DEFAULT_IDEMPOTENCY_S = 24 * 3600.0
DEFAULT_EVENT_RETRY_DELAYS_S = (60.0, 120.0)
DEFAULT_INSTANCES = 3_200
DEFAULT_STANDBYS = 256
DEFAULT_SCALING = 1_000
"""AWS's: new instances of a function within ten seconds."""

DEFAULT_REQUESTS = 10
"""AWS's: invocations a second for each that may run at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much an engine may do at once. 0 is no bound of that kind, unless said."""

    instances: int = DEFAULT_INSTANCES
    """That live at once, at most; as many as open files allow, if those are fewer."""

    standbys: int = DEFAULT_STANDBYS
    """Of them, those that are started before anybody needs them; 0 for none."""

    memory_mb: int = 0
    """What zygotes and instances have together before idle ones go; 0: as much as the
    machine has."""

    scaling: int = DEFAULT_SCALING
    """New instances of one function within ten seconds."""

    requests: int = DEFAULT_REQUESTS
    """Invocations a second for each that a tenant, or a function by its reserve, may
    have running at once."""


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
    max_instances: int = DEFAULT_INSTANCES
    standbys: int = DEFAULT_STANDBYS
    memory_mb: int = 0
    scaling: int = DEFAULT_SCALING
    requests: int = DEFAULT_REQUESTS
    """See `Scale`, for these five."""

    s3_endpoint: str = ""
    """URL of a store that packages may be fetched from; its key is in the environment,
    as `S3_ACCESS_KEY_ID` and `S3_SECRET_ACCESS_KEY`. Empty: from none."""

    public_url: str = ""
    """Where others reach the HTTP port, for what function URLs are called; see
    `gateway/urls/addresses.py`. Empty: at the port itself."""

    idempotency_s: float = DEFAULT_IDEMPOTENCY_S
    """How long an answer is given again to repeats with the same idempotency key."""
    keep_records_days: int = 0
    """How long records of invocations are kept; 0: for ever."""
    watch_dirs: tuple[Path, ...] = ()
    """Folders of which, and of those in them, an operator may make triggers."""
    image_dirs: tuple[Path, ...] = ()
    """Folders of which, and of those in them, all tenants may run container images."""

    event_retry_delays_s: tuple[float, ...] = DEFAULT_EVENT_RETRY_DELAYS_S
    """How long an event waits after its function's first error, second, and so on."""

    destinations: dict[str, str] = field(default_factory=dict)
    """URLs of services that are told of events, by `sqs`, `sns`, `events`; their key is
    in the environment, as `DESTINATION_ACCESS_KEY_ID` and
    `DESTINATION_SECRET_ACCESS_KEY`."""

    runtimes: dict[str, str] = field(default_factory=dict)
    """Interpreters by runtime name, before those that are found."""

    given_up: frozenset[str] = frozenset()
    """Layers of isolation that the operator does without."""

    @property
    def scale(self) -> Scale:
        return Scale(
            instances=self.max_instances,
            standbys=self.standbys,
            memory_mb=self.memory_mb,
            scaling=self.scaling,
            requests=self.requests,
        )


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
    scale: Scale
    s3_endpoint: str
    public_url: str
    idempotency_s: float
    keep_records_days: int
    watch_dirs: list[str]
    image_dirs: list[str]
    event_retry_delays_s: tuple[float, ...]
    destinations: dict[str, str]
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
        return cls(**{**fields, "scale": Scale(**fields["scale"])})
