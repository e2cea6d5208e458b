"""What the jail costs, step by step: an instance, a zygote's seal, a cell."""

from benchmarks.board import new_board
from benchmarks.guest_marks import BOOTSTRAP
from benchmarks.jails import open_jails
from benchmarks.scenarios.jail import cells, instances, seals
from benchmarks.scenarios.plan import Plan, Results

WHAT = (
    "what the jail adds, beside the same in turns without one; its steps, as launcher,"
    " warden, cell and guest see them that look"
)


async def run(plan: Plan) -> Results:
    workloads = list(plan.present())
    async with open_jails(plan.runtime) as plain:
        results = Results.of(plain, name="jail", what=WHAT)
        async with open_jails(plan.runtime, bootstrap=BOOTSTRAP) as looking:
            for workload in workloads:
                results.tables += await instances.measure(
                    plan, workload, plain, looking
                )
        # A seal ends before there is anything of the function's, and a cell is made
        # from the warden: they are the same for all.
        with new_board() as board:
            async with open_jails(plan.runtime, board=board) as looking:
                for measure in (seals.measure, cells.measure):
                    results.tables += await measure(
                        plan, workloads[0], plain, looking, board
                    )
    return results
