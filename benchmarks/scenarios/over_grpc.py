"""An invocation over gRPC, one unary call each, beside a server that only answers."""

from benchmarks.callers import GrpcCaller, grpc_caller
from benchmarks.engines import running_engine
from benchmarks.peers.echoes import echo_server
from benchmarks.scenarios import end_to_end
from benchmarks.scenarios.end_to_end import Contender, Share
from benchmarks.scenarios.plan import Plan, Results
from benchmarks.workloads import WORKLOADS

WHAT = "a warm invocation over gRPC, unary, from the caller's request to its answer"
SHARE = Share(must=70, aim=90)


async def run(plan: Plan) -> Results:
    workload = WORKLOADS["small"]
    async with running_engine(plan.runtime) as engine:
        results = Results.of(engine, name="grpc", what=WHAT)
        key = await engine.tenant("caller")
        await engine.deploy_workload(key, workload)
        ours = grpc_caller(engine, key, workload.name, workload.payload)
        with echo_server("grpc") as port:
            echo = GrpcCaller(f"127.0.0.1:{port}", ours.request)
            try:
                await end_to_end.measure(
                    plan,
                    results,
                    [
                        Contender("sandlot", results.isolation, ours),
                        Contender("bare echo: the same server", "none", echo),
                    ],
                    share=SHARE,
                    title="grpc unary",
                )
            finally:
                await ours.close()
                await echo.close()
    return results
