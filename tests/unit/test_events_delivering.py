"""Who is told of events that are over, and that nobody is forgotten."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from sandlot_engine.errors import Conflict, NotFound, Unavailable
from sandlot_engine.events.delivering import Delivering
from sandlot_engine.events.endpoints import Untold
from sandlot_engine.events.lineage import MAX_ROUNDS
from sandlot_engine.events.verdicts import Settings
from sandlot_engine.model.event import Condition, Event, EventState
from sandlot_engine.model.invocation import Invocation, Outcome, Record
from sandlot_engine.model.target import BadTarget, Target
from sandlot_engine.store.event_ports import Lane, Parcel
from tests.fakes.event_queue import Failed, World

TENANT = "111111111111"
QUEUE = f"arn:aws:sqs:us-east-1:{TENANT}:jobs"
TOPIC = f"arn:aws:sns:us-east-1:{TENANT}:alarms"
OTHER = f"arn:aws:lambda:us-east-1:{TENANT}:function:other"


class Post(World):
    """A queue with destinations that a test scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, bytes]] = []
        self.troubles: list[Exception] = []
        self.refusal: Exception | None = None
        """Why the function of a destination cannot be invoked."""
        self.settings_of: dict[str, Settings] = {}
        self.payloads: dict[str, bytes] = {}
        self.post: Delivering

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        async with self.engine(settings_of=self._settings) as queue:
            self.post = Delivering(
                self.disk,
                queue,
                tell=self._tell,
                check=self._check,
                region="us-east-1",
            )
            async with self.post:
                yield

    def _settings(self, event: Event) -> Settings:
        return self.settings_of.get(event.function, Settings())

    async def _tell(
        self, target: Target, parcel: Parcel, body: bytes, *, region: str
    ) -> None:
        if self.troubles:
            raise self.troubles.pop(0)
        self.told.append((target.arn, body))

    async def _check(self, invocation: Invocation) -> None:
        if self.refusal is not None:
            raise self.refusal

    async def _attempt(
        self, event: Invocation, keep: Callable[[Record], None]
    ) -> Outcome:
        self.payloads[event.request_id] = event.payload
        return await super()._attempt(event, keep)

    def tick(self, seconds: float) -> None:
        self.pass_time(seconds)
        self.post.wake()

    async def put_off(self, tries: int) -> None:
        await self.until(lambda: self.queue.counts["delivery_retried"] == tries)

    async def send(self, name: str) -> None:
        await self.enqueue(name, tenant=TENANT, size=0)

    async def ended(self, name: str) -> Event:
        return await self.over(name, TENANT)


@pytest.fixture
def post() -> Post:
    return Post()


async def test_a_success_is_told_to_its_destination(post: Post) -> None:
    post.settings_of["f"] = Settings(on_success=QUEUE)
    async with post.delivering():
        await post.send("a")
        done = await post.ended("a")

    assert done.state is EventState.SUCCEEDED
    [(target, body)] = post.told
    assert target == QUEUE
    assert b'"condition":"Success","approximateInvokeCount":1' in body
    assert post.disk.payloads == {}


async def test_a_failure_is_told_to_its_destination_and_to_the_dead_letter_target(
    post: Post,
) -> None:
    post.settings_of["f"] = Settings(
        max_retries=0, on_success="arn:nobody", on_failure=QUEUE, dead_letter=TOPIC
    )
    post.failures = [Failed()]
    async with post.delivering():
        await post.enqueue("a", tenant=TENANT, size=7)
        done = await post.ended("a")

    assert (done.state, done.condition) == (
        EventState.FAILED,
        Condition.RETRIES_EXHAUSTED,
    )
    told = dict(post.told)
    assert told[TOPIC] == b"      1"
    assert b'"functionError":"Unhandled"' in told[QUEUE]
    assert b'"responsePayload":{"errorMessage":"boom"}' in told[QUEUE]


async def test_another_function_gets_the_record_as_an_event(post: Post) -> None:
    post.settings_of["f"] = Settings(on_success=OTHER)
    async with post.delivering():
        await post.enqueue("a", tenant=TENANT)
        done = await post.ended("a")
        await post.until(lambda: not post.queue.depths.queued)

    [other] = [e for e in post.disk.all.values() if e.function == "other"]
    assert done.state is EventState.SUCCEEDED
    assert (other.state, other.invoked_arn) == (EventState.SUCCEEDED, OTHER)
    assert other.request_id != "a"
    record = json.loads(post.payloads[other.request_id])
    assert record["requestContext"]["requestId"] == "a"
    assert other.lineage.endswith(":1")


async def test_two_functions_that_call_each_other_are_stopped(post: Post) -> None:
    post.settings_of["f"] = Settings(on_success=OTHER)
    post.settings_of["other"] = Settings(
        on_success=f"arn:aws:lambda:us-east-1:{TENANT}:function:f"
    )
    async with post.delivering():
        await post.enqueue("a", tenant=TENANT)
        await post.until(lambda: post.queue.depths.dead == 1)

    [dead] = [e for e in post.disk.all.values() if e.state is EventState.DEAD]
    assert (dead.function, dead.condition) == ("f", Condition.RECURSION)
    assert len(post.attempted) == 2 * MAX_ROUNDS


async def test_one_who_cannot_be_told_now_is_told_later(post: Post) -> None:
    post.settings_of["f"] = Settings(on_success=QUEUE)
    post.troubles = [Untold("sqs: timeout"), ValueError("unforeseen"), Untold("again")]
    async with post.delivering():
        await post.send("a")
        for tries, pause_s in enumerate((1, 2, 4), start=1):
            await post.put_off(tries)
            post.tick(pause_s)
        done = await post.ended("a")

    assert done.state is EventState.SUCCEEDED
    assert len(post.told) == 1
    assert post.queue.counts["delivery_retried"] == 3


async def test_one_who_cannot_be_told_at_all_leaves_it_dead(post: Post) -> None:
    post.settings_of["f"] = Settings(on_success=QUEUE)
    post.troubles = [BadTarget("QueueDoesNotExist: no such queue")]
    async with post.delivering():
        await post.send("a")
        done = await post.ended("a")

    assert (done.state, done.condition) == (EventState.DEAD, Condition.SUCCESS)
    assert done.undelivered == f"destination {QUEUE}: QueueDoesNotExist: no such queue"
    assert post.queue.counts["undelivered_destination"] == 1
    assert post.disk.payloads != {}


async def test_one_who_cannot_be_told_for_an_hour_leaves_it_dead(post: Post) -> None:
    post.settings_of["f"] = Settings(on_failure=QUEUE, is_switched_off=True)
    post.troubles = [Untold("timeout")] * 100
    async with post.delivering():
        await post.send("a")
        for tries in range(1, 3_600 // 300 + 1):
            await post.put_off(tries)
            post.tick(300)
        done = await post.ended("a")

    assert done.state is EventState.DEAD
    assert done.undelivered.endswith("timeout")


async def test_an_arn_of_another_account_is_told_nothing(post: Post) -> None:
    post.settings_of["f"] = Settings(
        on_success="arn:aws:sqs:us-east-1:999999999999:jobs"
    )
    async with post.delivering():
        await post.send("a")
        done = await post.ended("a")

    assert (done.state, post.told) == (EventState.DEAD, [])
    assert "another account" in done.undelivered


@pytest.mark.parametrize(
    ("refusal", "state"),
    [(NotFound("no such function"), EventState.DEAD), (Conflict("Pending"), None)],
    ids=["gone", "pending"],
)
async def test_a_function_that_cannot_be_invoked(
    post: Post, refusal: Exception, state: EventState | None
) -> None:
    post.settings_of["f"] = Settings(on_success=OTHER)
    post.refusal = refusal
    async with post.delivering():
        await post.enqueue("a", tenant=TENANT)
        if state is None:
            await post.until(lambda: post.queue.counts["delivery_retried"] == 1)
            post.refusal = None
            post.tick(1)
        done = await post.ended("a")

    assert done.state is (state or EventState.SUCCEEDED)


async def test_who_was_not_told_when_the_engine_stopped_is_told_by_the_next(
    post: Post,
) -> None:
    post.settings_of["f"] = Settings(on_success=QUEUE)
    async with post.engine(settings_of=post._settings):  # noqa: SLF001 - one that dies early
        await post.send("a")
        await post.until(lambda: bool(post.disk.deliveries))
    assert post.told == []

    async with post.delivering():
        done = await post.ended("a")

    assert (done.state, len(post.told)) == (EventState.SUCCEEDED, 1)


async def test_a_delivery_that_could_not_be_kept_is_made_again(
    post: Post, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_args: object, **_options: object) -> None:
        raise Unavailable("the disk is full")

    post.settings_of["f"] = Settings(on_success=QUEUE)
    async with post.delivering():
        with monkeypatch.context() as broken:
            broken.setattr(post.disk, "settle_delivery", fail)
            await post.send("a")
            await post.until(lambda: "could not be kept" in caplog.text)
        post.tick(1)
        done = await post.ended("a")

    assert done.state is EventState.SUCCEEDED
    # Twice: at least once is what is promised.
    assert len(post.told) == 2


async def test_a_destination_that_hangs_delays_no_other_tenants(post: Post) -> None:
    gate = asyncio.Event()
    theirs = QUEUE.replace(TENANT, "222222222222")

    async def tell(target: Target, parcel: Parcel, body: bytes, *, region: str) -> None:
        if target.account == TENANT:
            await gate.wait()
        post.told.append((target.arn, body))

    post._tell = tell  # type: ignore[method-assign]  # noqa: SLF001 - this test's own
    async with post.delivering():
        for number in range(20):
            post.settings_of["f"] = Settings(on_success=QUEUE)
            await post.enqueue(f"mine{number}", tenant=TENANT)
        post.settings_of["g"] = Settings(on_success=theirs)
        await post.enqueue("theirs", tenant="222222222222", function="g")
        done = await post.over("theirs", "222222222222")
        gate.set()

    assert done.state is EventState.SUCCEEDED
    assert post.told[0][0] == theirs


async def test_an_event_that_ends_while_the_post_is_opened_is_told_of(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes = post.disk.delivery_lanes

    async def slowly() -> list[Lane]:
        found = await lanes()
        await post.send("a")
        await post.until(lambda: bool(post.disk.deliveries))
        return found

    post.settings_of["f"] = Settings(on_success=QUEUE)
    monkeypatch.setattr(post.disk, "delivery_lanes", slowly)
    async with post.delivering():
        done = await post.ended("a")

    assert (done.state, len(post.told)) == (EventState.SUCCEEDED, 1)
