"""What can be measured."""

from benchmarks.scenarios import (
    cold,
    jail,
    over_grpc,
    over_http,
    profile,
    soak,
    standby,
    warm,
)
from benchmarks.scenarios.plan import Plan, Results, Scenario

__all__ = ["SCENARIOS", "Plan", "Results"]

SCENARIOS = {
    "cold": Scenario(run=cold.run, usual_n=2000),
    "standby": Scenario(run=standby.run, usual_n=2000),
    "warm": Scenario(run=warm.run, usual_n=2000),
    "http": Scenario(run=over_http.run, usual_n=2000),
    "grpc": Scenario(run=over_grpc.run, usual_n=2000),
    "jail": Scenario(run=jail.run, usual_n=1000),
    "profile": Scenario(run=profile.run, usual_n=300),
    "soak": Scenario(run=soak.run, usual_n=10_000),
}
