"""How the channel is opened: retries, keepalive, sizes, TLS, who is calling."""

import json
import time
from pathlib import Path

import grpc

from sandlot.calls import READS
from sandlot.config import Address, Settings, is_loopback
from sandlot.errors import DeadlineExceeded, UsageError

CALL_DEADLINE_S = 60.0
"""For calls that run no function."""

INVOKE_DEADLINE_S = 910.0
"""For invocations: the longest timeout of a function, and some slack."""

DEPLOY_DEADLINE_S = 120.0
"""For uploading a package and waiting until it serves."""

STREAM_DEADLINE_S = 86_400.0
"""For what may go on for long: following a log, mapping many values."""

MAX_DEADLINE_S = 1e8
"""Three years; gRPC cannot hold much more."""

MAX_MESSAGE = 64 * 1024 * 1024
"""Bytes: a package of 50 MB, and slack."""

SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [
                dict(zip(("service", "method"), path[1:].split("/"), strict=True))
                for path in sorted(READS)
            ],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
"""gRPC repeats reads by itself. What changes something is not in here: to gRPC a
connection lost in mid-call is UNAVAILABLE too, and the work may have been done."""

IDLE_MS = 9_000
"""A connection without calls is closed after that, or twice as long; the next call
opens another."""

OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ("grpc.enable_retries", 1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Before the engine does it, which gRPC would note on stderr.
    ("grpc.client_idle_timeout_ms", IDLE_MS),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    # A client never shares its channel's connection with one of other credentials.
    ("grpc.use_local_subchannel_pool", 1),
)


def tls_of(address: Address) -> grpc.ChannelCredentials | None:
    """The channel's credentials; None for plaintext."""
    if not address.tls:
        return None
    if address.certificate:
        return grpc.ssl_channel_credentials(address.certificate.encode())
    if address.ca_file is None:
        return grpc.ssl_channel_credentials()
    try:
        return grpc.ssl_channel_credentials(Path(address.ca_file).read_bytes())
    except OSError as error:
        raise UsageError(
            f"the CA file {address.ca_file!r} cannot be read: {error.strerror}"
        ) from error


def options_of(address: Address) -> tuple[tuple[str, str | int], ...]:
    """How a channel to it is to behave."""
    options: tuple[tuple[str, str | int], ...] = OPTIONS
    if is_loopback(address.endpoint):
        # gRPC has `http_proxy` reach this machine as well: a proxy finds another there,
        # and what is sent, a key in the clear, would leave this one.
        options += (("grpc.enable_http_proxy", 0),)
    if address.certificate_name:
        options += (("grpc.ssl_target_name_override", address.certificate_name),)
    return options


def metadata_of(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Who is calling, and for which tenant."""
    found: list[tuple[str, str]] = []
    if key := settings.credentials:
        bearer = f"Bearer {key.access_key_id}:{key.secret_access_key}"
        found.append(("authorization", bearer))
    if settings.tenant:
        found.append(("sandlot-tenant", settings.tenant))
    return tuple(found)


class Deadline:
    """A point in time, set once at the edge and passed down."""

    def __init__(self, seconds: float) -> None:
        if not 0 < seconds <= MAX_DEADLINE_S:
            raise UsageError(
                f"a deadline of {seconds:g} s: it must be more than 0, and at most "
                f"{MAX_DEADLINE_S:,.0f}"
            )
        self._seconds = seconds
        self._at = time.monotonic() + seconds

    def left_s(self) -> float:
        """Seconds until then. Raises `DeadlineExceeded` when there are none."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded(f"the deadline of {self._seconds:g} s has passed")
        return left
