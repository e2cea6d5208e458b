"""Events under load while everything is killed: afterwards the books must balance.

An engine accepts events at a steady rate, and one of its processes after the other is
killed. Each run of the function is seen by a collector that is not the engine's. In
the end every event that was accepted has succeeded, is a dead letter, or waits; and
the ledger has what ran. Beside that: a clock that jumps, power cuts, a full disk, and
what a bare group commit takes on the same disk.
"""

from benchmarks.scenarios.chaos.run import run

__all__ = ["run"]
