"""How functions and the other things of Lambda are called: names, qualifiers, ARNs.

Pure text. Whether there is such a thing, and whose it is, is the catalog's to say.
"""

import re
from dataclasses import dataclass

from sandlot_engine.gateway.aws.faults import AwsError

MAX_NAME = 64
"""Characters of a function's own name, whatever stands around it."""


@dataclass(frozen=True, slots=True)
class FunctionId:
    """A function, and which of its versions, as a caller addressed it."""

    account: str
    name: str
    qualifier: str | None = None
    """A version's number, an alias, `$LATEST`; None where the caller gave none."""

    def arn(self, region: str) -> str:
        """Qualified if this is; `context.invoked_function_arn` of an invocation."""
        return function_arn(region, self.account, self.name, self.qualifier)


@dataclass(frozen=True, slots=True)
class ThingId:
    """What has an ARN of the form `…:KIND:NAME`: an event source mapping's UUID, or a
    code signing config's `csc-…`."""

    region: str
    account: str
    name: str


EVENT_SOURCE_MAPPING = "event-source-mapping"
CODE_SIGNING_CONFIG = "code-signing-config"


# --- reading ------------------------------------------------------------------

_REGION = r"(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d"
_LAMBDA = rf"arn:aws[a-zA-Z-]*:lambda:(?P<region>{_REGION}):(?P<account>\d{{12}})"
_FUNCTION = re.compile(
    # What the model's patterns take, each part on its own optional.
    r"(?:arn:(?:aws[a-zA-Z-]*)?:lambda:)?"
    rf"(?:(?P<region>{_REGION}):)?"
    r"(?:(?P<account>\d{12}):)?"
    r"(?:function:)?"
    r"(?P<name>[a-zA-Z0-9_.-]+)"
    r"(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9_-]+))?",
    re.ASCII,
)
_THING = re.compile(rf"{_LAMBDA}:(?P<kind>[a-z-]+):(?P<name>[a-zA-Z0-9_-]+)", re.ASCII)


def parse_function(
    text: str, *, region: str, account: str, qualifier: str | None = None
) -> FunctionId:
    """The function that `text` and a `Qualifier` parameter name together.

    `text` is a name, `function:NAME`, `ACCOUNT:function:NAME` or a whole ARN, each with
    or without `:QUALIFIER`. `region` and `account` are the request's. Another account
    than that is returned as it is: whether the caller may is not decided here.

    Raises `AwsError`: `InvalidParameterValueException` where the qualifiers differ, or
    for what is no function; `ResourceNotFoundException` for another region.
    """
    found = _FUNCTION.fullmatch(text)
    if not found:
        raise _invalid(f"Invalid function name or ARN: {text[:_SHOWN]}")
    check_region(found["region"], region)
    derived = found["qualifier"]
    if derived and qualifier and derived != qualifier:
        raise _invalid(
            "The derived qualifier from the function name does not match the specified "
            "qualifier."
        )
    return FunctionId(
        account=found["account"] or account,
        name=found["name"],
        qualifier=derived or qualifier or None,
    )


def bare_name(text: str) -> str:
    """The function's own name in any of its forms; empty where there is none."""
    found = _FUNCTION.fullmatch(text)
    return found["name"] if found else ""


def check_region(given: str | None, region: str) -> None:
    """Raise `AwsError` if an ARN is of another region than the request."""
    if given and given != region:
        raise AwsError(
            "ResourceNotFoundException",
            f"Functions from '{given}' are not reachable in this region ('{region}')",
        )


def parse_thing(kind: str, text: str, *, region: str, account: str) -> ThingId:
    """A thing of that kind by its ARN or its bare name.

    Raises `AwsError` `InvalidParameterValueException` for an ARN of anything else.
    """
    if found := _THING.fullmatch(text):
        if found["kind"] == kind:
            return ThingId(found["region"], found["account"], found["name"])
    elif re.fullmatch(r"[a-zA-Z0-9_-]+", text):
        return ThingId(region, account, text)
    raise _invalid(f"Invalid {kind} name or ARN: {text[:_SHOWN]}")


def kind_of(arn: str) -> str:
    """`function`, `layer` or another kind: what an ARN of Lambda's is of.

    Empty for everything else. What tags hang on is told apart by this.
    """
    parts = arn.split(":", 6)
    return parts[5] if len(parts) == 7 and parts[0] == "arn" else ""


_SHOWN = 200
"""Characters of a refused name that are repeated."""


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterValueException", message)


# --- writing ------------------------------------------------------------------


def function_arn(
    region: str, account: str, name: str, qualifier: str | None = None
) -> str:
    suffix = f":{qualifier}" if qualifier else ""
    return f"{arn_prefix(region)}:{account}:function:{name}{suffix}"


def event_source_mapping_arn(region: str, account: str, uuid: str) -> str:
    return f"{arn_prefix(region)}:{account}:{EVENT_SOURCE_MAPPING}:{uuid}"


def code_signing_config_arn(region: str, account: str, config: str) -> str:
    """`config` is `csc-` and 17 letters or digits."""
    return f"{arn_prefix(region)}:{account}:{CODE_SIGNING_CONFIG}:{config}"


def runtime_version_arn(region: str, version: str) -> str:
    """Of a managed runtime, which is in no account."""
    return f"{arn_prefix(region)}::runtime:{version}"


def arn_prefix(region: str) -> str:
    """What ARNs of Lambda begin with, up to the account."""
    return f"arn:{partition_of(region)}:lambda:{region}"


def partition_of(region: str) -> str:
    """The part of AWS that a region is in: `aws` for nearly all."""
    for prefix, partition in _PARTITIONS:
        if region.startswith(prefix):
            return partition
    return "aws"


_PARTITIONS = (
    ("cn-", "aws-cn"),
    ("us-gov-", "aws-us-gov"),
    ("us-iso-", "aws-iso"),
    ("us-isob-", "aws-iso-b"),
    ("eu-isoe-", "aws-iso-e"),
    ("us-isof-", "aws-iso-f"),
    ("eusc-", "aws-eusc"),
)
