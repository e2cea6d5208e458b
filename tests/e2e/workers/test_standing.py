"""What workers may, and what is one of them."""

import socket
from pathlib import Path

import pytest

from sandlot import errors
from tests.e2e import processes
from tests.e2e.engines import Engine, Mode, new_engine
from tests.e2e.processes import Role
from tests.e2e.workers.callers import Tenant, deploy_answers, new_tenant, workers_of
from tests.integration.test_grpc_server import self_signed


def test_a_worker_can_gain_nothing_and_shows_itself_to_nobody(engine: Engine) -> None:
    core = processes.family_of(engine.pid).only(Role.ENGINE)
    for worker in workers_of(engine):
        status = _status(worker.pid)
        assert status["NoNewPrivs"] == "1"
        assert int(status["CapEff"], 16) == 0
        assert status["Uid"] == _status(core.pid)["Uid"]
        assert worker.parent == core.pid
        assert Path(f"/proc/{worker.pid}/environ").stat().st_uid == 0


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    pairs = (line.split(":", 1) for line in lines)
    return {name: value.strip() for name, value in pairs}


def test_a_taken_port_is_refused(engine: Engine, mode: Mode) -> None:
    taken = engine.ready["http"].removeprefix("http://")
    with new_engine(mode) as second:
        status, said = second.start_in_vain("--workers", "2", "--http", taken)

    assert status != 0
    assert "cannot serve HTTP" in said


def test_a_stranger_who_does_not_speak_tls_writes_nothing_into_the_log(
    unstarted_engine: Engine,
) -> None:
    folder = unstarted_engine.data.parent
    chain, key = self_signed()
    for name, pem in (("chain", chain), ("key", key)):
        (folder / name).write_bytes(pem)
        (folder / name).chmod(0o644)
    unstarted_engine.start(
        *("--workers", "2"),
        *("--tls-cert", f"{folder}/chain", "--tls-key", f"{folder}/key"),
    )
    host, _, port = unstarted_engine.ready["grpc"].rpartition(":")

    for _ in range(4):
        with socket.create_connection((host, int(port)), timeout=30) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while stranger.recv(4096):
                pass

    assert "ssl" not in unstarted_engine.said.lower()


def test_one_worker_is_none(unstarted_engine: Engine) -> None:
    unstarted_engine.start("--workers", "1")

    assert workers_of(unstarted_engine) == []
    tenant = new_tenant(unstarted_engine)
    assert deploy_answers(tenant).invoke().value["version"] == 1


def test_an_operator_speaks_for_a_tenant_through_workers(tenant: Tenant) -> None:
    function = deploy_answers(tenant)
    operator = tenant.engine.client(tenant=tenant.key.tenant_id)

    assert operator.invoke(function.name).value["version"] == 1
    with pytest.raises(errors.NotFound):
        tenant.engine.client(tenant="999999999999").invoke(function.name)
