"""A zygote's seal: from the launcher's hearing of the order to the interpreter's exec.

After it there is no step of the jail's any more, and before its end no byte of a
tenant's. Beside it, with nobody looking, the whole start up to the interpreter's first
word, in turns with the same interpreter started without a jail.
"""

import asyncio

from benchmarks.bare_launcher import bare_zygote
from benchmarks.board import LAUNCHER, MEANWHILE, WARDEN, ZYGOTE, Board, Mark
from benchmarks.jails import Jails
from benchmarks.scenarios.plan import Plan
from benchmarks.stats import Series, Table, differences, median_between_ms
from benchmarks.steps import Chain, Step
from benchmarks.workloads import Workload

TARGET_MS = 6.0

EVERY = 5
"""A zygote takes so long to start that there is one for so many instances."""

WARM_UP = 2

_SETTLE_S = 0.01
"""The kernel ends a dead jail's namespaces in the background."""


async def measure(
    plan: Plan, workload: Workload, plain: Jails, looking: Jails, board: Board
) -> list[Table]:
    """Three tables: the whole, the steps, and what the launcher does meanwhile."""
    seals = _Seals(plain, looking, board, workload)
    for _ in range(WARM_UP):
        await seals.round()
    seals.forget()
    rounds = range(max(1, plan.n // EVERY))
    for _ in plan.progress(rounds, "jail seals", len(rounds)):
        await seals.round()
    return seals.tables()


class _Seals:
    def __init__(
        self, plain: Jails, looking: Jails, board: Board, workload: Workload
    ) -> None:
        self._plain = plain
        self._looking = looking
        self._board = board
        self._workload = workload
        self.forget()

    def forget(self) -> None:
        self._chain, self._meanwhile = Chain(), Chain()
        self._jailed = Series(label="order to first word, jailed")
        self._bare = Series(label="order to first word, no jail")
        self._interpreter = Series(label="of which exec to first word")

    async def round(self) -> None:
        for jail, series in (
            (self._plain.zygote(self._workload), self._jailed),
            (bare_zygote(self._plain, self._workload), self._bare),
        ):
            await asyncio.sleep(_SETTLE_S)
            async with jail as zygote:
                series.add(zygote.started_s)
        await asyncio.sleep(_SETTLE_S)
        self._board.clear()
        async with self._looking.zygote(self._workload) as zygote:
            marks = self._board.read(LAUNCHER, WARDEN, ZYGOTE)
            _add(self._chain, marks)
            _add(self._meanwhile, self._board.read(MEANWHILE))
            heard_ns = self._looking.launcher.ordered_ns + zygote.started_s * 1e9
            self._interpreter.add((heard_ns - marks[-1].at_ns) / 1e9)

    def tables(self) -> list[Table]:
        seal = self._chain.whole("the seal", target_ms=TARGET_MS)
        adds = differences("the jail adds", self._jailed, self._bare)
        low, high = median_between_ms(adds)
        left = self._jailed.ms(50) - self._interpreter.ms(50)
        looking = (
            "the seal is the sum of the steps below; while the rest was measured nobody"
            " looked, but for exec to first word, which ends what the seal begins"
        )
        check = (
            f"the whole less exec to first word is {left:.3f} ms (p50 less p50): the"
            " seal, and the order's way to it, as it is when nobody looks"
        )
        confidence = (
            f"the jail adds: its p50 is between {low:.3f} and {high:.3f} ms with 95 %"
            " certainty"
        )
        return [
            Table(
                title="zygote: from the order to the interpreter's first word",
                series=[seal, self._jailed, self._interpreter, self._bare, adds],
                floor=self._bare,
                floor_name="no jail",
                notes=[looking, check, confidence],
            ),
            self._chain.table("zygote: the seal, step by step"),
            self._meanwhile.table(
                "zygote: what the launcher does meanwhile",
                "beside the warden, which waits for the word only",
            ),
        ]


def _add(chain: Chain, marks: list[Mark]) -> None:
    chain.add(marks[0].at_ns, as_steps(marks[1:]))


def as_steps(marks: list[Mark]) -> list[Step]:
    """Each with its role's name before it."""
    return [(f"{m.role}: {m.name}", m.at_ns, m.page_faults) for m in marks]
