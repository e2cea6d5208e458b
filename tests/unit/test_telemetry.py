"""The Telemetry API: what is a subscription, and what is kept for whom."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sandlot_sandbox.host import subscription, telemetry
from sandlot_sandbox.host.runtime_api import Reply
from sandlot_sandbox.host.subscription import LOGS, TELEMETRY, Subscription, parse
from sandlot_sandbox.host.telemetry import Batch, Room, Telemetry
from tests.fakes.extensions import Talk

HTTP = {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080/a?b"}
WANTS: dict[str, Any] = {
    "schemaVersion": "2022-07-01",
    "types": ["platform", "function"],
    "destination": HTTP,
}


def wants(**changes: Any) -> bytes:
    return json.dumps({**WANTS, **changes}).encode()


def subscribed(body: bytes = wants(), path: str = TELEMETRY) -> Subscription:
    found = parse(path, body)
    assert isinstance(found, Subscription), found
    return found


def test_a_subscription_has_awss_defaults() -> None:
    found = subscribed()
    assert (found.max_items, found.max_bytes, found.timeout_s) == (10_000, 262_144, 1.0)
    assert found.destination == "HTTP 8080 POST /a?b"
    tcp = wants(destination={"protocol": "TCP", "port": 81})
    assert subscribed(tcp).destination == "TCP 81 POST /"
    assert subscribed(wants(schemaVersion="2021-03-18"), LOGS).kinds == (
        "platform",
        "function",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"schemaVersion": "2020-08-15"},
        {"types": []},
        {"types": "platform"},
        {"types": ["platform", []]},
        {"types": ["other"]},
        {"buffering": []},
        {"buffering": {"maxItems": 999}},
        {"buffering": {"maxItems": True}},
        {"buffering": {"maxBytes": 1_048_577}},
        {"buffering": {"timeoutMs": 24}},
        {"destination": None},
        {"destination": {"protocol": "UDP"}},
        {"destination": {"protocol": "TCP", "port": 9001}},
        {"destination": {"protocol": "TCP", "port": "80"}},
        {"destination": {**HTTP, "URI": "http://example.com:80"}},
        {"destination": {**HTTP, "URI": "https://sandbox.localdomain:80"}},
        {"destination": {**HTTP, "URI": "http://sandbox.localdomain:9001"}},
        {"destination": {**HTTP, "URI": "http://sandbox.localdomain:99999"}},
        {"destination": {**HTTP, "URI": "http://sandbox.localdomain:80/a b"}},
        {"destination": {**HTTP, "URI": "http://sandbox.localdomain:80/\r\nX: y"}},
        {"destination": {**HTTP, "URI": "http://[::1"}},
        {"destination": {**HTTP, "method": "DELETE"}},
        {"destination": {**HTTP, "encoding": "XML"}},
    ],
)
def test_what_is_no_subscription_is_refused(changes: dict[str, Any]) -> None:
    reply = parse(TELEMETRY, wants(**changes))
    assert isinstance(reply, Reply)
    assert reply.status == 400
    assert json.loads(reply.body)["errorType"] == "ValidationError"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["types", "buffering", "destination", "URI", "maxItems"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(_JSON, st.sampled_from(subscription.PATHS))
def test_any_body_has_an_answer(body: object, path: str) -> None:
    parse(path, json.dumps(body).encode())
    parse(path, b"[" * 10_000)
    parse(path, wants(destination=body))


def _subscriber(api: Telemetry, *kinds: str, **buffering: int) -> None:
    body = wants(types=list(kinds), buffering=buffering)
    api.subscribe("id", "one", TELEMETRY, subscribed(body), now=0.0)


def events(batch: Batch) -> list[Any]:
    found: list[Any] = json.loads(batch.body)
    return found


def test_who_subscribes_hears_of_what_was_before() -> None:
    api = Telemetry(Room())
    api.note("platform", "platform.initStart", {"a": 1}, now=0.0, at=1.5)
    _subscriber(api, "platform")
    assert api.take_due(0.5) == []
    assert api.next_due() == 1.0
    (batch,) = api.take_due(1.0)
    first, second = events(batch)
    assert first == {
        "time": "1970-01-01T00:00:01.500Z",
        "type": "platform.initStart",
        "record": {"a": 1},
    }
    assert second["record"] == {
        "name": "one",
        "state": "Subscribed",
        "types": ["platform"],
    }


BAD = ['{"a": NaN}', '{"a": 1e999}', '{"a": 1']
LINES = ['{"a": {"b": 1}}', " {} ", "plain", "[1]", *BAD]


@pytest.mark.parametrize(
    ("schema", "has_json_log", "records"),
    [
        ("2022-12-13", True, [{"a": {"b": 1}}, {}, *LINES[2:]]),
        ("2022-12-13", False, LINES),
        ("2022-07-01", True, LINES),
    ],
)
def test_lines_of_a_log_in_json_are_objects_since_the_second_schema(
    schema: str, has_json_log: bool, records: list[object]
) -> None:
    api = Telemetry(Room(), has_json_log=has_json_log)
    found = subscribed(wants(types=["function"], schemaVersion=schema))
    api.subscribe("id", "one", TELEMETRY, found, now=0.0)

    for line in LINES:
        api.note("function", "function", line, now=0.0, at=1.5)

    (batch,) = api.take_due(9.0)
    assert [each["record"] for each in events(batch)] == records


@pytest.mark.parametrize(
    "line",
    [
        '{"a":' * 20_000,
        '{"a":' * 20_000 + "1" + "}" * 20_000,
        json.dumps({"a": "x" * telemetry.MAX_PARSED}),
    ],
)
def test_a_hostile_line_is_a_text(line: str) -> None:
    api = Telemetry(Room(), has_json_log=True)
    found = subscribed(wants(types=["function"], schemaVersion="2022-12-13"))
    api.subscribe("id", "one", TELEMETRY, found, now=0.0)

    api.note("function", "function", line, now=0.0)

    assert [each["record"] for each in events(api.take_due(9.0)[0])] == [line]


def test_a_full_buffer_is_sent_at_once() -> None:
    api = Telemetry(Room())
    _subscriber(api, "function", maxItems=1_000)
    for _ in range(999):
        api.note("function", "function", "line", now=0.0)
    assert api.take_due(0.0) == []
    api.note("function", "function", "line", now=0.0)
    (batch,) = api.take_due(0.0)
    assert len(events(batch)) == 1_000


def test_who_has_not_taken_a_batch_gets_no_other_and_is_told_what_it_lost() -> None:
    api = Telemetry(Room())
    _subscriber(api, "function", maxBytes=262_144)
    line = "x" * 100_000
    for _ in range(3):
        api.note("function", "function", line, now=0.0)
    (sent,) = api.take_due(0.0)
    assert len(events(sent)) == 2
    for _ in range(6):
        api.note("function", "function", line, now=0.0)
    assert api.take_due(9.0) == []
    api.note_delivered(sent.number, is_delivered=False, now=9.0)
    told = []
    while batches := api.take_due(99.0):
        told += events(batches[0])
        api.note_delivered(0, is_delivered=True, now=99.0)
    dropped = [e["record"] for e in told if e["type"] == "platform.logsDropped"]
    assert sum(each["droppedRecords"] for each in dropped) == 9 - (
        len(told) - len(dropped)
    )
    assert dropped[0]["droppedRecords"] >= 2


def test_who_subscribes_again_has_still_to_take_what_is_on_its_way() -> None:
    room = Room()
    api = Telemetry(room)
    api.note("platform", "platform.initStart", {}, now=0.0)
    _subscriber(api, "platform")
    (sent,) = api.take_due(9.0)
    for _ in range(3):
        _subscriber(api, "platform")
        assert api.take_due(9.0, all_of_them=True) == []
    api.note_delivered(sent.number, is_delivered=True, now=9.0)
    (again,) = api.take_due(9.0)
    assert again.number == sent.number
    api.close()
    assert room.taken == 0


def test_all_instances_share_what_is_kept() -> None:
    room = Room(most=1_000)
    first, second = Telemetry(room), Telemetry(room)
    for api in (first, second):
        _subscriber(api, "function")
        api.note("function", "function", "x" * 600, now=0.0)
    ((heard,), (lost,)) = (events(api.take_due(9.0)[0]) for api in (first, second))
    assert (heard["type"], lost["type"]) == ("function", "platform.logsDropped")
    first.close()
    assert room.taken == 0
    second.note_delivered(0, is_delivered=True, now=9.0)
    second.note("function", "function", "x" * 600, now=9.0)
    assert events(second.take_due(99.0)[0])[0]["type"] == "function"


class Buffers(RuleBasedStateMachine):
    """Whatever comes and goes, what is kept is counted, and within its bounds."""

    def __init__(self) -> None:
        super().__init__()
        self.room = Room(most=700_000)
        self.api = Telemetry(self.room)
        self.now = 0.0
        self.on_the_way: set[int] = set()

    @rule(name=st.sampled_from("abc"), tcp=st.booleans())
    def subscribe(self, name: str, tcp: bool) -> None:
        where = {"protocol": "TCP", "port": 80} if tcp else HTTP
        found = subscribed(wants(destination=where))
        self.on_the_way.discard(self._number(name))
        self.api.subscribe(name, name, TELEMETRY, found, now=self.now)

    def _number(self, name: str) -> int:
        known = self.api._subscribers  # noqa: SLF001 - only seen there
        return known[name].number if name in known else -1

    @rule(size=st.sampled_from([0, 1_000, 200_000, 400_000]))
    def note(self, size: int) -> None:
        self.api.note("function", "function", "x" * size, now=self.now)

    @rule(passes=st.sampled_from([0.1, 1.0]), everything=st.booleans())
    def take(self, passes: float, everything: bool) -> None:
        self.now += passes
        for batch in self.api.take_due(self.now, all_of_them=everything):
            assert batch.number not in self.on_the_way
            self.on_the_way.add(batch.number)

    @rule(number=st.integers(0, 3), is_delivered=st.booleans())
    def deliver(self, number: int, is_delivered: bool) -> None:
        self.on_the_way.discard(number)
        self.api.note_delivered(number, is_delivered=is_delivered, now=self.now)

    @invariant()
    def is_counted(self) -> None:
        known = self.api._subscribers.values()  # noqa: SLF001
        kept = sum(sum(map(len, each.waiting)) + each.sent_size for each in known)
        assert kept == self.room.taken <= self.room.most
        assert all(each.size == sum(map(len, each.waiting)) for each in known)

    def teardown(self) -> None:
        self.api.close()
        assert self.room.taken == 0


TestBuffers = Buffers.TestCase
TestBuffers.settings = settings(max_examples=40, stateful_step_count=30)


def _put(talk: Talk, identifier: str, path: str = TELEMETRY) -> Reply:
    body = wants(schemaVersion=path.split("/")[1])
    pending = talk.call("PUT", path, body, Lambda_Extension_Identifier=identifier)
    assert pending.reply is not None
    return pending.reply


def test_extensions_subscribe_during_the_init() -> None:
    talk = Talk("one")
    assert talk.call("PUT", TELEMETRY, wants()).refused(
        "Extension.MissingExtensionIdentifier"
    )
    one = talk.registered("one")
    assert (_put(talk, one).status, _put(talk, one, LOGS).status) == (200, 200)
    talk.next(one)
    talk.runtime_next()
    late = _put(talk, one)
    assert late.status == 403
    assert json.loads(late.body)["errorType"] == "Telemetry.SubscriptionClosed"


def test_an_internal_extension_subscribes_as_well() -> None:
    talk = Talk()
    inside = talk.registered("in")
    assert (_put(talk, inside).status, _put(talk, inside, LOGS).status) == (200, 200)


def test_where_nothing_could_be_delivered_nobody_subscribes() -> None:
    talk = Talk()
    talk.heard.delivers = False
    inside = talk.registered("in")
    reply = _put(talk, inside)
    assert reply.status == 202
    assert json.loads(reply.body)["errorType"] == "Telemetry.NotSupported"


def test_an_init_has_only_so_many_early_events() -> None:
    api = Telemetry(Room())
    for _ in range(telemetry.MAX_EARLY + 9):
        api.note("platform", "platform.x", {}, now=0.0)
    _subscriber(api, "platform")
    (batch,) = api.take_due(9.0)
    assert len(events(batch)) == telemetry.MAX_EARLY + 1
