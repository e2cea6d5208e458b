"""Many invocations over one stream. The fake answers the newest first."""

import itertools
from collections.abc import Iterator

import grpc
import pytest

from sandlot import Client, errors
from tests.fakes.engine import Engine, Failure, Refusal


def test_every_value_gets_its_answer(client: Client, engine: Engine) -> None:
    engine.add_function("double", lambda n: n * 2)

    results = list(client.map("double", range(100), concurrency=8))

    assert {one.index: one.value for one in results} == {n: n * 2 for n in range(100)}


def test_ordered_results_come_in_the_order_of_their_values(
    client: Client, engine: Engine
) -> None:
    engine.add_function("echo")

    results = client.map("echo", range(50), concurrency=8, ordered=True)

    assert [one.value for one in results] == list(range(50))


@pytest.mark.parametrize("ordered", [True, False])
def test_no_more_than_the_window_is_ever_under_way(
    client: Client, engine: Engine, *, ordered: bool
) -> None:
    engine.add_function("echo")
    endless = client.map("echo", itertools.count(), concurrency=4, ordered=ordered)

    indices = [one.index for one in itertools.islice(endless, 40)]

    assert max(index - position for position, index in enumerate(indices)) < 4
    assert engine.most_under_way <= 4


def test_a_value_that_fails_does_not_stop_the_others(
    client: Client, engine: Engine
) -> None:
    def odd_only(n: int) -> int:
        if n == 1:
            raise Failure("ValueError", "one")
        if n == 2:
            raise Refusal(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "ConcurrentInvocationLimitExceeded",
                "too many",
                retry_after_s=0.5,
            )
        return n

    engine.add_function("picky", odd_only)

    fine, failed, refused = client.map("picky", range(3), ordered=True)

    assert fine.value == 0
    assert isinstance(failed.error, errors.Unhandled)
    assert failed.reply is not None
    assert isinstance(refused.error, errors.Throttled)
    assert refused.error.retry_after == 0.5
    with pytest.raises(errors.Throttled):
        _ = refused.value


def test_no_values_give_no_results(client: Client, engine: Engine) -> None:
    engine.add_function("echo")

    assert list(client.map("echo", [])) == []


def test_an_error_of_the_callers_values_comes_out_as_it_is(
    client: Client, engine: Engine
) -> None:
    engine.add_function("echo")

    def values() -> Iterator[int]:
        yield 1
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        list(client.map("echo", values()))


def test_a_stream_that_is_refused_raises(client: Client, engine: Engine) -> None:
    engine.refuse_next.append(
        Refusal(grpc.StatusCode.PERMISSION_DENIED, "PermissionDenied", "no")
    )

    with pytest.raises(errors.PermissionDenied):
        list(client.map("echo", [1]))


def test_a_window_of_no_width_is_refused_at_once(client: Client) -> None:
    with pytest.raises(errors.InvalidParameter, match="concurrency is 0"):
        client.map("echo", [1], concurrency=0)
