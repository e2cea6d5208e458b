"""What can be measured."""

from benchmarks.scenarios import cold, jail, profile, soak, throughput, warm
from benchmarks.scenarios.plan import Plan, Results, Scenario

__all__ = ["SCENARIOS", "Plan", "Results"]

SCENARIOS = {
    "cold": Scenario(run=cold.run, usual_n=2000),
    "warm": Scenario(run=warm.run, usual_n=2000),
    "jail": Scenario(run=jail.run, usual_n=1000),
    "profile": Scenario(run=profile.run, usual_n=300),
    "throughput": Scenario(run=throughput.run, usual_n=20_000),
    "soak": Scenario(run=soak.run, usual_n=10_000),
}
