"""What is sent again, and what never is."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import grpc
import pytest

from sandlot import AsyncClient, Client, calls, errors, steps
from tests.fakes.engine import OPERATOR, Engine, Refusal
from tests.fakes.server import Server


def unavailable(times: int) -> list[Refusal]:
    refusal = Refusal(grpc.StatusCode.UNAVAILABLE, "Unavailable", "no instance started")
    return [refusal] * times


def test_an_invocation_that_surely_did_not_start_is_sent_again(
    client: Client, engine: Engine
) -> None:
    engine.add_function("hello")
    engine.refuse_next.extend(unavailable(2))

    assert client.invoke("hello", {"n": 1}).value == {"n": 1}
    assert len(engine.requests) == 3


async def test_the_asynchronous_twin_sends_again_too(
    aclient: AsyncClient, engine: Engine
) -> None:
    engine.add_function("hello")
    engine.refuse_next.extend(unavailable(2))

    assert (await aclient.invoke("hello", {"n": 1})).value == {"n": 1}


def test_after_four_attempts_it_is_given_up(client: Client, engine: Engine) -> None:
    engine.refuse_next.extend(unavailable(10))

    with pytest.raises(errors.Unavailable):
        client.invoke("hello")

    assert len(engine.requests) == 4


def test_reads_are_repeated_by_grpc_itself(client: Client, engine: Engine) -> None:
    engine.add_function("hello")
    engine.refuse_next.extend(unavailable(2))

    assert client.get_function("hello").name == "hello"
    assert engine.metadata[-1]["grpc-previous-rpc-attempts"] == "2"


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED]
)
def test_nothing_else_is_sent_again(
    client: Client, engine: Engine, code: grpc.StatusCode
) -> None:
    engine.refuse_next.append(Refusal(code, "Whatever", "no"))

    with pytest.raises(errors.SandlotError):
        client.invoke("hello")

    assert len(engine.requests) == 1


def test_an_invocation_whose_connection_is_lost_is_never_sent_again(
    server: Server, nobodys_environment: object
) -> None:
    runs: list[object] = []
    with cuttable(server.port) as (port, cut):

        def answer(event: object) -> None:
            runs.append(event)
            cut()

        server.engine.add_function("transfer", answer)
        with (
            Client(
                f"127.0.0.1:{port}",
                access_key_id=OPERATOR[0],
                secret_access_key=OPERATOR[1],
                deadline=20,
            ) as client,
            pytest.raises(errors.ConnectionFailed, match="was lost"),
        ):
            client.invoke("transfer", {"amount": 1})

        assert runs == [{"amount": 1}]


@pytest.mark.parametrize(("key", "attempts"), [("k", 2), ("", 1)])
def test_only_what_has_a_key_is_sent_again_when_a_stop_cut_it_short(
    client: Client, engine: Engine, key: str, attempts: int
) -> None:
    engine.add_function("transfer")
    cut = Refusal(grpc.StatusCode.INTERNAL, "CutShort", "it may have been done")
    engine.refuse_next.append(cut)

    with (
        nullcontext()
        if key
        else pytest.raises(errors.ConnectionFailed, match="may have been")
    ):
        client.invoke("transfer", idempotency_key=key)

    assert len(engine.requests) == attempts


class Stops(grpc.GenericRpcHandler):
    """A server that ends each call as grpc does when it stops: without a word."""

    def __init__(self) -> None:
        self.calls = 0

    def service(self, _: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        return grpc.unary_unary_rpc_method_handler(self._end)

    def _end(self, _: bytes, context: grpc.ServicerContext) -> None:
        self.calls += 1
        context.abort(grpc.StatusCode.CANCELLED, "CANCELLED")


def test_a_call_that_an_engine_ends_by_stopping_is_told_as_that_and_not_sent_again(
    nobodys_environment: object,
) -> None:
    stops = Stops()
    server = grpc.server(ThreadPoolExecutor(1), handlers=[stops])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with (
            Client(f"127.0.0.1:{port}", deadline=20) as client,
            pytest.raises(errors.ConnectionFailed, match=r"that stops.*may have been"),
        ):
            client.invoke("hello")
    finally:
        server.stop(None).wait()

    assert stops.calls == 1


@contextmanager
def cuttable(port: int) -> Iterator[tuple[int, Callable[[], None]]]:
    """A way to the server that can be cut, and works again for the next connection."""
    sockets: list[socket.socket] = []

    def carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                here, _ = listener.accept()
                there = socket.create_connection(("127.0.0.1", port), timeout=10)
                sockets.extend((here, there))
                for pair in ((here, there), (there, here)):
                    threading.Thread(target=carry, args=pair, daemon=True).start()

    def cut() -> None:
        while sockets:
            end = sockets.pop()
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        try:
            yield listener.getsockname()[1], cut
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            cut()


@pytest.mark.parametrize(("key", "attempts"), [("k", 4), ("", 1)])
def test_only_what_has_a_key_is_sent_again_when_the_connection_was_lost(
    key: str, attempts: int
) -> None:
    request = calls.invoke_request("hello", idempotency_key=key)

    assert attempts_of(steps.ask(calls.invoke(request))) == attempts


def attempts_of(errand: steps.Steps[Any]) -> int:
    """How often it sends what is lost each time."""
    sent = 0
    with suppress(errors.ConnectionFailed):
        step = next(errand)
        while True:
            if isinstance(step, steps.Pause):
                step = errand.send(None)
            else:
                sent += 1
                step = errand.throw(errors.ConnectionFailed("lost"))
    return sent
