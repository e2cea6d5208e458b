"""Layers: numbered packages of a tenant, which functions have merged at /opt."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from sandlot_engine.model.function import Code

ANYBODY = "*"

_VERSION_ARN = re.compile(
    r"arn:aws[a-zA-Z-]*:lambda:([a-z0-9-]+):([0-9]{12}):layer:([a-zA-Z0-9_-]{1,140})"
    r":([0-9]{1,18})"
)
_LAYER_ARN = re.compile(
    r"arn:aws[a-zA-Z-]*:lambda:[a-z0-9-]+:([0-9]{12}):layer:([a-zA-Z0-9_-]{1,140})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPermission:
    """A statement of a layer version's policy: somebody may use and read it."""

    id: str
    """The statement's; 1 to 100 letters, digits, hyphens and underscores."""

    principal: str
    """A tenant id, or `ANYBODY`."""

    def allows(self, tenant_id: str) -> bool:
        return self.principal in (ANYBODY, tenant_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A name that versions go by."""

    tenant_id: str
    name: str
    """1 to 140 letters, digits, hyphens and underscores."""

    last_version: int
    """The last number that was given: it is never given again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerVersion:
    """One package under a layer's name. Its permissions change, and nothing else."""

    tenant_id: str
    name: str
    version: int
    """From 1 on."""

    code: Code
    description: str = ""
    license_info: str = ""
    runtimes: tuple[str, ...] = ()
    """What it says it is for: kept, shown and searched by, and nobody is held to it."""

    architectures: tuple[str, ...] = ()
    created: datetime
    """UTC."""

    permissions: tuple[LayerPermission, ...] = ()
    policy_revision_id: str = ""
    """A UUID, anew with each change of the permissions; empty before the first."""

    def arn(self, region: str) -> str:
        """As AWS writes it; it is the same version in every region."""
        return layer_version_arn(region, self.tenant_id, self.name, self.version)

    def layer_arn(self, region: str) -> str:
        return layer_arn(region, self.tenant_id, self.name)

    def allows(self, tenant_id: str) -> bool:
        """Whether a tenant may use and read it."""
        return tenant_id == self.tenant_id or any(
            permission.allows(tenant_id) for permission in self.permissions
        )

    def is_for(self, *, runtime: str = "", architecture: str = "") -> bool:
        """Whether it says so, of those that are given."""
        return (not runtime or runtime in self.runtimes) and (
            not architecture or architecture in self.architectures
        )


@dataclass(frozen=True, slots=True)
class LayerRef:
    """What the ARN of a layer version names, be it there or not."""

    region: str
    tenant_id: str
    name: str
    version: int

    @classmethod
    def parse(cls, arn: str) -> Self | None:
        """None for what is no ARN of a tenant's layer version."""
        match = _VERSION_ARN.fullmatch(arn)
        if match is None:
            return None
        region, tenant_id, name, version = match.groups()
        return cls(region, tenant_id, name, int(version))


def parse_layer_name(text: str, tenant_id: str) -> tuple[str, str]:
    """Owner and name of what a caller of that tenant calls so: a name or an ARN."""
    if match := _LAYER_ARN.fullmatch(text):
        return match[1], match[2]
    return tenant_id, text


def in_region(arn: str, region: str) -> str:
    """A layer version's ARN as it is there: a layer is the same in all regions. What is
    no such ARN stays as it is."""
    ref = LayerRef.parse(arn)
    if ref is None:
        return arn
    return layer_version_arn(region, ref.tenant_id, ref.name, ref.version)


def layer_arn(region: str, tenant_id: str, name: str) -> str:
    return f"arn:aws:lambda:{region}:{tenant_id}:layer:{name}"


def layer_version_arn(region: str, tenant_id: str, name: str, version: int) -> str:
    return f"{layer_arn(region, tenant_id, name)}:{version}"
