"""Where an ARN leads, and whether it may: pure.

A destination's ARN is a tenant's word. It selects a queue, topic, bus or function of
that tenant's own account; which machine is asked is the operator's choice alone, and
never in an ARN.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

SERVICES = ("sqs", "sns", "events")
"""What an operator can give an endpoint for."""

_ARN = re.compile(
    r"arn:aws[a-z0-9-]{0,20}:(lambda|sqs|sns|events|s3):([a-z0-9-]{0,32}):(\d{12})?:"
    r"([A-Za-z0-9_.:/$-]{1,400})"
)


class BadTarget(Exception):
    """Nothing can be told there, and the message says why; trying again is no use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What an ARN says."""

    service: str
    """`lambda`, or one of `SERVICES`."""

    region: str
    account: str
    name: str
    """Of the queue, topic or bus; of the function, without its qualifier."""

    qualifier: str = ""
    arn: str


def target_of(arn: str, *, tenant_id: str) -> Target:
    """Raises `BadTarget`."""
    parts = _ARN.fullmatch(arn)
    if parts is None:
        raise BadTarget(f"{arn[:200]!r} is no ARN of a destination")
    service, region, account, resource = parts[1], parts[2], parts[3] or "", parts[4]
    if service == "s3":
        raise BadTarget(
            "S3 destinations are not supported: name a queue, a topic, a bus or a "
            "function"
        )
    if account != tenant_id:
        raise BadTarget(
            f"{arn} belongs to another account than the function's: name one of "
            f"{tenant_id}"
        )
    name, qualifier = resource, ""
    if service == "lambda":
        kind, _, rest = resource.partition(":")
        name, _, qualifier = rest.partition(":")
        if kind != "function" or not name:
            raise BadTarget(f"{arn} is no function")
    elif service == "events":
        kind, _, name = resource.partition("/")
        if kind != "event-bus" or not name:
            raise BadTarget(f"{arn} is no event bus")
    if service != "lambda" and not re.fullmatch(r"[A-Za-z0-9_.-]{1,256}", name):
        raise BadTarget(f"{arn} has no name of a queue, topic or bus")
    return Target(
        service=service,
        region=region,
        account=account,
        name=name,
        qualifier=qualifier,
        arn=arn,
    )


def check_endpoint(target: Target, endpoints: Collection[str]) -> None:
    """Raise `BadTarget` where it is of a service that the operator named none for."""
    if target.service != "lambda" and target.service not in endpoints:
        raise BadTarget(
            f"This engine knows no endpoint for {target.service}: its operator can "
            f"start it with --destination {target.service}=URL"
        )
