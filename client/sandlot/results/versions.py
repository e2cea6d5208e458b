"""Aliases. Versions are functions: see `Function.version`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A name for a version of a function, or for two."""

    function: str
    name: str
    arn: str
    version: str
    """Where it leads, `weights` aside: a number, or `$LATEST`."""

    weights: dict[str, float]
    """Another version, and its share of the invocations, 0 to 1; or nothing."""

    description: str
    revision_id: str
    """Changes with every change of the alias."""
