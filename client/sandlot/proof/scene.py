"""Where the attempts take place: an engine as `sandlot up` starts it, in a folder of
its own, with two tenants. One attacks, the other should notice nothing. Nothing of it
is left afterwards.
"""

import ast
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack
from uuid import uuid4

from sandlot.calls import FunctionOptions
from sandlot.client import Client
from sandlot.errors import SandlotError
from sandlot.proof.engine import Engine, own_folder
from sandlot.proof.interruption import Interruption
from sandlot.proof.machine import Machine
from sandlot.results import JSON, NewKey, Reply

MEMORY_MB = 128
TMP_MB = 512
TIMEOUT_S = 20
IMPATIENT_S = 1

NEIGHBOUR = "neighbour"
"""The other tenant's function."""

_PROGRAMS = Path(__file__).with_name("programs")
_ANSWER_S = 10.0
"""How long the other tenant's function may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What the attempts can act on, and look at from outside."""

    hostile: Client
    """Has the functions `hostile`, `impatient` and `outgoing`, of the same code."""

    disguised: Client
    """The same key, and says that it acts for the other tenant."""

    hanging: "Future[object]"
    """The invocation of `import_that_hangs`; it lasts as long as the engine lets it."""

    other: "OtherTenant"
    machine: Machine
    mode: str
    layers: frozenset[str]
    """Those of `sandlot doctor` that are in force."""

    has_egress: bool
    """Whether there is `outgoing`, which has the network that its tenant may have."""

    facts: dict[str, Any]
    """What every event says about where to look."""

    check: Callable[[], None]
    """Raises what a signal meant; to be called between two attempts."""

    def attempt(self, name: str, *, function: str = "hostile", **more: object) -> JSON:
        """What one of the hostile programs answers. Raises the SDK's errors."""
        return self.invoke(name, function=function, **more).value

    def invoke(self, name: str, *, function: str = "hostile", **more: object) -> Reply:
        event = {"attempt": name, **self.facts, **more}
        return self.hostile.invoke(function, event)


class OtherTenant:
    """Whom all this should not touch."""

    def __init__(self, client: Client) -> None:
        self.secret = uuid4().hex
        self._client = client
        self._invocations = 0

    def deploy(self) -> None:
        deploy(self._client, NEIGHBOUR, env={"SECRET": self.secret})

    def disturbance(self) -> str:
        """What it noticed since it was last asked; empty if nothing."""
        try:
            answer = self._client.invoke(NEIGHBOUR, deadline=_ANSWER_S).value
        except SandlotError as error:
            return f"it does not answer: {error}"
        self._invocations += 1
        if answer == {"secret": self.secret, "invocations": self._invocations}:
            return ""
        if isinstance(answer, dict):
            self._invocations = answer.get("invocations", 0)
        return "its instance was lost, or its environment changed"


@contextmanager
def scene(*, given_up: frozenset[str], has_egress: bool) -> Iterator[Scene]:
    """Set it all up, and clear it all away, also after SIGINT, SIGTERM and SIGHUP.
    `has_egress` says whether this machine can give functions network egress.

    Raises `NoEngine`, and what a signal means: here, and from `Scene.check`.
    """
    with Interruption() as interruption, ExitStack() as stack:
        try:
            stage = _set_up(stack, given_up, interruption, has_egress=has_egress)
        except BaseException:
            # Which it then may be the cause of.
            interruption.check()
            raise
        yield stage


def _set_up(
    stack: ExitStack,
    given_up: frozenset[str],
    interruption: Interruption,
    *,
    has_egress: bool,
) -> Scene:
    """All that there is; `stack` undoes it, from the end to the beginning."""
    folder = stack.enter_context(own_folder())
    engine = Engine(folder, given_up)
    stack.callback(engine.close)
    interruption.ends(engine)
    ready = engine.wait_ready()
    machine = Machine(folder)
    stack.callback(machine.close)
    pool = ThreadPoolExecutor()
    stack.callback(pool.shutdown, cancel_futures=True)
    # Clients are closed before the pool waits for those who use them.
    operator = stack.enter_context(Client(data=folder / "data"))
    others_key = operator.create_tenant("other")
    network = "egress" if has_egress else "none"
    key = operator.create_tenant("hostile", network=network)
    other = OtherTenant(_client(stack, ready["grpc"], others_key))
    hostile = _client(stack, ready["grpc"], key)
    disguised = _client(stack, ready["grpc"], key, tenant=others_key.tenant_id)
    hanging = pool.submit(_import_without_end, hostile)
    same = functools.partial(deploy, hostile, "hostile")
    deployments = [
        pool.submit(other.deploy),
        pool.submit(same),
        pool.submit(same, name="impatient", timeout=IMPATIENT_S),
    ]
    if has_egress:
        deployments.append(pool.submit(same, name="outgoing", network="egress"))
    for deployment in deployments:
        deployment.result()
    status = operator.status()
    in_force = (one.name for one in status.layers if one.holds and not one.given_up)
    return Scene(
        hostile=hostile,
        disguised=disguised,
        hanging=hanging,
        other=other,
        machine=machine,
        mode=status.mode,
        layers=frozenset(in_force),
        has_egress=has_egress,
        facts=_facts(folder, ready, machine, other),
        check=interruption.check,
    )


def deploy(
    client: Client,
    program: str,
    *,
    name: str | None = None,
    **options: Unpack[FunctionOptions],
) -> None:
    """Deploy one of `programs/`."""
    settings: FunctionOptions = {
        "memory": MEMORY_MB,
        "ephemeral_storage": TMP_MB,
        "timeout": TIMEOUT_S,
        **options,
    }
    client.deploy(_PROGRAMS / f"{program}.py", name=name, **settings)


def _import_without_end(client: Client) -> object:
    name = "import_that_hangs"
    deploy(client, name, timeout=IMPATIENT_S, init_mode="per-instance")
    return client.invoke(name).value


def tried(name: str) -> str:
    """What a program says that it tries: a function of `hostile`, or a file."""
    return _docstrings()[name].removeprefix("tries to ")


@functools.cache
def _docstrings() -> dict[str, str]:
    """Read, not imported: nobody runs these but a jail."""
    found: dict[str, str] = {}
    for file in _PROGRAMS.glob("*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        functions = (node for node in tree.body if isinstance(node, ast.FunctionDef))
        found |= {node.name: ast.get_docstring(node) or "" for node in functions}
        found[file.stem] = ast.get_docstring(tree) or ""
    return found


def _facts(
    folder: Path, ready: dict[str, Any], machine: Machine, other: OtherTenant
) -> dict[str, Any]:
    data = folder / "data"
    secrets = {
        "a secret": machine.secret_file,
        "the engine's key": data / "master.key",
        "its operator's": data / "operator.json",
    }
    return {
        "memory_mb": MEMORY_MB,
        "tmp_mb": TMP_MB,
        "folder": str(folder),
        "code": str(data / "code"),
        "secret_files": {name: str(path) for name, path in secrets.items()},
        "other_secret": other.secret,
        "pid": machine.pid,
        "mark": machine.mark,
        "abstract": machine.abstract,
        "services": {
            "a server": machine.port,
            "the engine's gRPC": _port(ready["grpc"]),
            "its HTTP": _port(ready["http"]),
        },
    }


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _client(
    stack: ExitStack, endpoint: str, key: NewKey, *, tenant: str | None = None
) -> Client:
    client = Client(
        endpoint,
        access_key_id=key.access_key_id,
        secret_access_key=key.secret_access_key,
        tenant=tenant,
    )
    return stack.enter_context(client)
