"""Whether a `ClusterState` contradicts itself. Tests ask after every step."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandlot_engine.scheduler.state import ClusterState


def check(state: ClusterState) -> None:
    """Raise `AssertionError` if it does."""
    _check_counts(state)
    _check_versions(state)
    _check_tenants(state)
    _check_ahead(state)
    if state.starting < state.max_starting:
        _require(state.next_start() is None, "waits beside a place")


def _check_counts(state: ClusterState) -> None:
    versions = state.versions.values()
    live = sum(version.live for version in versions)
    _require(state.starting == sum(v.starting for v in versions), "starting")
    _require(state.starting <= state.max_starting, "too many starting")
    _require(live == len(state.homes), "live instances")
    _require(live + state.starting <= state.max_instances, "too many instances")
    waiting = sorted(name for v in versions for name in v.waiting)
    _require(sorted(state.queue) == waiting, "waiting")
    idle = sorted(instance for v in versions for instance in v.idle)
    _require(sorted(state.idle) == idle, "idle")
    fresh = sorted(instance for v in versions for instance in v.fresh)
    _require(sorted(state.fresh) == fresh, "fresh")


def _check_versions(state: ClusterState) -> None:
    for name, version in state.versions.items():
        _require(not version.is_empty, "an empty version is kept")
        there = version.idle or version.fresh
        _require(not (there and version.waiting), "waits beside an idle one")
        everywhere = [*version.idle, *version.fresh, *version.busy]
        _require(len(set(everywhere)) == len(everywhere), "in two places")
        _require(version.held.keys() <= version.waiting.keys(), "held, and is not")
        _require(len(version.held) <= version.serving, "held for nobody")
        _require(version.initialising <= version.busy, "initialised, and is not")
        _require({state.homes[i] for i in everywhere} <= {name}, "of two versions")
        _require(0 <= version.starting_ahead <= version.starting, "starting ahead")


def _check_tenants(state: ClusterState) -> None:
    starting, waiting, places = Counter[str](), Counter[str](), Counter[str]()
    for version in state.versions.values():
        starting[version.tenant] += version.starting
        waiting[version.tenant] += len(version.waiting) - len(version.held)
        places[version.tenant] += version.live + version.starting
    for name, tenant in state.tenants.items():
        _require(tenant.starting or tenant.waiting, "an idle tenant is kept")
        _require(tenant.starting == starting[name], "a tenant's starts")
        _require(len(tenant.waiting) == waiting[name], "a tenant's waiting")
        _require(
            tenant.starting <= state.max_starting_of_tenant, "too many of a tenant"
        )
    _require(set(+starting) | set(+waiting) == set(state.tenants), "tenants")
    _require(+places == state.places, "places")
    _require(
        max(places.values(), default=0) <= state.max_of_tenant, "too many of a tenant"
    )


def _check_ahead(state: ClusterState) -> None:
    kept = {name: each.kept for name, each in state.versions.items() if each.kept}
    _require(kept.keys() == state.kept.keys(), "kept versions")
    _require(sum(kept.values()) <= state.max_kept, "too many kept")
    standbys = sum(each.standbys for each in state.versions.values())
    _require(standbys <= state.max_standbys, "too many standbys")
    lacking = {name for name, each in state.versions.items() if each.lacking}
    _require(lacking <= state.due.keys(), "lacks standbys, and nobody knows")


def _require(holds: object, what: str) -> None:
    if not holds:
        raise AssertionError(what)
