"""An invocation over AWS's HTTP API, from one end to the other, beside others' servers.

The whole way: the caller's socket, signature, admission, scheduler, jail, answer.
Beside it the same web server with nothing behind it, functions-framework, MiniStack.
"""

from contextlib import ExitStack

from benchmarks.cache import NOT_RUN
from benchmarks.callers import HttpCaller, http_caller, plain_request
from benchmarks.engines import running_engine
from benchmarks.peers.echoes import echo_server
from benchmarks.peers.services import functions_framework, ministack
from benchmarks.scenarios import end_to_end
from benchmarks.scenarios.end_to_end import Contender, Share
from benchmarks.scenarios.plan import Plan, Results
from benchmarks.workloads import WORKLOADS

WHAT = "a warm invocation over HTTP, from the caller's request to its answer"
SHARE = Share(must=50, aim=80)


async def run(plan: Plan) -> Results:
    workload = WORKLOADS["small"]
    async with running_engine(plan.runtime) as engine:
        results = Results.of(engine, name="http", what=WHAT)
        key = await engine.tenant("caller")
        await engine.deploy_workload(key, workload)
        with ExitStack() as stack:
            port = stack.enter_context(echo_server("http"))
            request = plain_request(f"127.0.0.1:{port}", "/", workload.payload)
            callers = [
                http_caller(engine, key, workload.name, workload.payload),
                HttpCaller("127.0.0.1", port, request),
            ]
            contenders = [
                Contender("sandlot", results.isolation, callers[0]),
                Contender("bare echo: the same server", "none", callers[1]),
            ]
            for start in (functions_framework, ministack):
                try:
                    service = stack.enter_context(start(workload))
                except RuntimeError as error:
                    results.not_run.append(str(error))
                    continue
                caller = HttpCaller("127.0.0.1", service.port, service.request)
                callers.append(caller)
                contenders.append(Contender(service.name, service.isolation, caller))
            try:
                await end_to_end.measure(
                    plan, results, contenders, share=SHARE, title="http"
                )
            finally:
                for caller in callers:
                    caller.close()
    results.not_run += NOT_RUN
    return results
