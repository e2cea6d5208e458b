"""States of the scheduler to begin with, and what is often done to them."""

from sandlot_engine.scheduler.state import ClusterState, Decision

TENANTS = {"resize": "acme", "parse": "acme", "mail": "globex", "sort": "initech"}
"""Whose the versions are."""


def new_state(
    *,
    instances: int = 10,
    starting: int = 10,
    of_tenant: int = 10,
    kept: int = 10,
    standbys: int = 10,
    places: int | None = None,
) -> ClusterState:
    return ClusterState(
        max_instances=instances,
        max_of_tenant=places,
        max_standbys=standbys,
        max_starting=starting,
        max_starting_of_tenant=of_tenant,
        max_kept=kept,
    )


def keep(state: ClusterState, version: str, count: int) -> list[Decision]:
    return state.keep(version, count, tenant=TENANTS[version])


def start_ahead(state: ClusterState, instance: int, version: str = "resize") -> None:
    """And initialise."""
    state.start_ended(version, instance, ahead=True)
    state.instance_freed(instance)


def arrive(state: ClusterState, invocation: str, version: str) -> list[Decision]:
    return state.invocation_arrived(invocation, version, tenant=TENANTS[version])


def warm(state: ClusterState, *instances: int, version: str = "resize") -> None:
    """Idle instances, the last the newest."""
    for instance in instances:
        arrive(state, f"warm-{instance}", version)
    for instance in instances:
        state.start_ended(version, instance)
    for instance in instances:
        state.instance_freed(instance)
