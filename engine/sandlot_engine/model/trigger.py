"""Triggers: what makes a function run without anybody calling it."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

DEFAULT_GROUP = "default"


class TriggerKind(StrEnum):
    """What a trigger waits for."""

    SCHEDULE = "schedule"
    WEBHOOK = "webhook"
    BUCKET = "bucket"
    """A store's notifications, which it posts to us."""

    DIRECTORY = "directory"
    """A folder of the machine's, which the engine watches."""


class Missed(StrEnum):
    """What becomes of times that passed while nobody could run anything."""

    RUN_ONCE = "run-once"
    """The last of them is made up for, if it is not older than its events may be."""

    SKIP = "skip"


class Scheme(StrEnum):
    """How a webhook's sender signs."""

    GENERIC = "generic"
    GITHUB = "github"
    STRIPE = "stripe"
    SLACK = "slack"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When, and what is sent. Moments are in UTC."""

    expression: str
    zone: str = "UTC"
    anchor: datetime
    """When it was made, or its expression changed: where a rate without `start`
    begins, and before which nothing is made up for."""

    start: datetime | None = None
    """Nothing is due before it."""

    end: datetime | None = None
    """Nothing is due from it on."""

    window_min: int = 0
    """So many minutes may pass between a time that is due and its event; 0 is none."""

    missed: Missed = Missed.RUN_ONCE
    is_deleted_after: bool = False
    """Once nothing can be due any more."""

    input: str = ""
    """JSON; empty is AWS's own event."""

    max_age_s: int = 86_400
    """How long an event that nobody took is offered again."""

    max_retries: int = 185
    role_arn: str = ""
    """Kept and shown: roles are nothing here."""

    dead_letter_arn: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Who may post."""

    scheme: Scheme
    sealed_secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFilter:
    """Which objects are meant; what is empty is any."""

    buckets: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    """`s3:ObjectCreated:*`, with or without `s3:`."""

    prefix: str = ""
    suffix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Whose notifications are taken."""

    token_sha256: bytes = field(repr=False)
    """Of a token that we made: it has 256 random bits, so that a plain hash will do."""

    filter: ObjectFilter = ObjectFilter()


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """Which folder is watched. Its files are objects, its path the bucket."""

    path: str
    filter: ObjectFilter = ObjectFilter()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """One of a function's. Of the last four fields it has the one of its kind."""

    id: str
    """For good: what was fired is known by it."""

    tenant_id: str
    kind: TriggerKind
    name: str
    """Of one tenant there is one of a group and name, whatever its kind."""

    group: str = DEFAULT_GROUP
    """Schedules alone have others."""

    function: str
    qualifier: str = ""
    description: str = ""
    is_enabled: bool = True
    created: datetime
    modified: datetime
    client_token: str = ""
    """Of the call that made it, which may come a second time."""

    schedule: Schedule | None = None
    webhook: Webhook | None = None
    bucket: Bucket | None = None
    directory: Directory | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a schedule has come. Written after what it says was done."""

    through: datetime
    """All that was due up to here has been seen to."""

    fired: int = 0
    missed: int = 0
    last_due: datetime | None = None
    last_error: str = ""
    """Why an event was given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleGroup:
    """A name that schedules of one tenant share."""

    name: str
    created: datetime
    modified: datetime
    tags: dict[str, str] = field(default_factory=dict)
