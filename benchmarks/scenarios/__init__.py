"""What can be measured."""

from benchmarks.scenarios import (
    burst,
    chaos,
    churn,
    cold,
    density,
    egress,
    jail,
    noisy_neighbour,
    over_grpc,
    over_http,
    profile,
    programs,
    runtimes,
    soak,
    standby,
    throughput,
    trace,
    under_load,
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
    "open-loop": Scenario(run=under_load.run, usual_n=2000),
    "burst": Scenario(run=burst.run, usual_n=1),
    "churn": Scenario(run=churn.run, usual_n=4000),
    "noisy-neighbour": Scenario(run=noisy_neighbour.run, usual_n=2000),
    "density": Scenario(run=density.run, usual_n=1),
    "trace": Scenario(run=trace.run, usual_n=1),
    "jail": Scenario(run=jail.run, usual_n=1000),
    "egress": Scenario(run=egress.run, usual_n=3000),
    "profile": Scenario(run=profile.run, usual_n=300),
    "programs": Scenario(run=programs.run, usual_n=2000, quick_n=5),
    "runtimes": Scenario(run=runtimes.run, usual_n=500, quick_n=5),
    "chaos": Scenario(run=chaos.run, usual_n=100, quick_n=3),
    "throughput": Scenario(run=throughput.run, usual_n=20_000, quick_n=1_000),
    "soak": Scenario(run=soak.run, usual_n=10_000),
}
