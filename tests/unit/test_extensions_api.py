"""The Extensions API, beside the Runtime API of the same instance; no sockets."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from sandlot_sandbox import frames
from sandlot_sandbox.host.extensions_api import (
    MAX_EXTENSIONS,
    PREFIX,
    Shutdown,
)
from sandlot_sandbox.host.program_api import EXTERNAL_S, INTERNAL_S
from tests.fakes.extensions import Pending, Talk


def test_the_runtime_starts_when_all_external_extensions_are_registered() -> None:
    talk = Talk("one", "two")
    talk.registered("one", "INVOKE")
    assert talk.heard.started == 0
    talk.registered("two")
    assert talk.heard.started == 1


def test_the_init_ends_when_runtime_and_extensions_have_asked() -> None:
    talk = Talk("one")
    one = talk.registered("one", "INVOKE")
    talk.send()
    runtime = talk.runtime_next()
    assert (talk.heard.kinds, runtime.waits) == ([], True)
    extension = talk.next(one)
    assert talk.heard.kinds == [frames.READY]
    assert not runtime.waits
    assert extension.told == {
        "eventType": "INVOKE",
        "deadlineMs": 5,
        "requestId": "r-1",
        "invokedFunctionArn": "arn:f",
        "tracing": {"type": "X-Amzn-Trace-Id", "value": "Root=1"},
    }


def test_an_invocation_is_over_when_every_extension_has_asked_again() -> None:
    talk = Talk("one", "deaf")
    one, deaf = talk.registered("one", "INVOKE"), talk.registered("deaf", "SHUTDOWN")
    talk.next(one), talk.next(deaf), talk.runtime_next()
    talk.send()
    talk.answer()
    assert talk.heard.kinds == [frames.READY, frames.ANSWER]
    assert (talk.api.is_settled, talk.heard.settled_times) == (False, 0)
    talk.next(one)
    assert (talk.api.is_settled, talk.heard.settled_times) == (True, 1)


def test_that_a_runtime_asks_again_is_told() -> None:
    talk = Talk()
    talk.runtime_next()
    talk.send()
    talk.answer()
    told = talk.heard.asked_times
    talk.runtime_next()
    assert talk.heard.asked_times == told + 1


def test_who_asked_before_the_answer_is_not_waited_for() -> None:
    talk = Talk("one")
    one = talk.registered("one", "INVOKE")
    talk.next(one), talk.runtime_next()
    talk.send()
    talk.next(one)
    assert talk.heard.settled_times == 0
    talk.answer()
    assert talk.api.is_settled


def test_what_an_extension_is_told_of_its_function() -> None:
    talk = Talk("one")
    told = talk.register("one", Lambda_Extension_Accept_Feature="x, accountId").told
    assert told == {
        "functionName": "f",
        "functionVersion": "1",
        "handler": "app.handler",
        "accountId": "12",
    }
    internal = talk.register("in").told
    assert "accountId" not in internal


def test_shutdown_goes_to_who_asked_for_it_once() -> None:
    talk = Talk("one", "two")
    one, two = talk.registered("one", "SHUTDOWN"), talk.registered("two", "INVOKE")
    first, other = talk.next(one), talk.next(two)
    talk.runtime_next()
    assert talk.api.shut_down(Shutdown.TIMEOUT, 9)
    assert first.told == {
        "eventType": "SHUTDOWN",
        "shutdownReason": "TIMEOUT",
        "deadlineMs": 9,
    }
    assert other.waits
    assert talk.api.shut_down(Shutdown.TIMEOUT, 9)
    assert talk.next(one).waits


def test_how_long_an_instance_may_take_to_end() -> None:
    assert Talk().api.shutdown_s == 0
    internal = Talk()
    internal.registered("in")
    assert internal.api.shutdown_s == INTERNAL_S
    assert Talk("one").api.shutdown_s == EXTERNAL_S


def test_refusals_have_awss_names() -> None:
    talk = Talk("one")
    assert talk.register("").refused("Extension.InvalidExtensionName")
    assert talk.register("x" * 129).refused("Extension.InvalidExtensionName")
    assert talk.register("one", "SLEEP").refused("Extension.InvalidEventType")
    internal = talk.register("in", "SHUTDOWN")
    assert internal.refused("Extension.InvalidEventType")
    assert "ShutdownEventNotSupportedForInternalExtension" in str(internal.told)
    one = talk.registered("one")
    assert talk.register("one").refused("Extension.InvalidExtensionState")
    talk.registered("in")
    assert talk.register("in").refused("Extension.InvalidExtensionName")
    for body in (b"", b"[]", b'{"events": 1}', b'{"events": [1]}', b"[" * 60_000):
        reply = talk.call(
            "POST", f"{PREFIX}register", body, Lambda_Extension_Name="another"
        )
        assert reply.refused("InvalidRequestFormat")

    path = f"{PREFIX}event/next"
    assert talk.call("GET", path).refused("Extension.MissingExtensionIdentifier")
    assert talk.next("no-uuid").refused("Extension.InvalidExtensionIdentifier")
    unknown = "8f5d0d6c-0000-4000-8000-000000000000"
    assert talk.next(unknown).refused("Extension.UnknownExtensionIdentifier")
    assert talk.next(one).waits
    assert talk.next(one).refused("Extension.InvalidExtensionState")
    talk.runtime_next()
    assert talk.register("late").refused("Extension.RegistrationClosed")


def test_there_are_ten_at_most() -> None:
    talk = Talk("one")
    for number in range(MAX_EXTENSIONS - 1):
        talk.registered(f"in-{number}")
    assert talk.register("more").refused("Extension.TooManyExtensions")
    with pytest.raises(frames.Violation):
        Talk(*map(str, range(MAX_EXTENSIONS + 1)))


def test_errors_of_extensions_end_it() -> None:
    talk = Talk("one")
    one = talk.registered("one")
    gives_up: Callable[..., Pending] = lambda path, **more: talk.call(  # noqa: E731
        *("POST", PREFIX + path, b"{}"), Lambda_Extension_Identifier=one, **more
    )
    assert gives_up("init/error").refused("Extension.MissingHeader")
    type_ = {"Lambda_Extension_Function_Error_Type": "Mine.Broken"}
    reply = gives_up("init/error", **type_).reply
    assert reply is not None
    assert reply.status == 202
    assert talk.heard.failures == [
        ("Extension.InitError", "extension one: Mine.Broken")
    ]
    assert gives_up("exit/error", **type_).refused("Extension.InvalidExtensionState")
    assert talk.next(one).refused("Extension.InvalidExtensionState")

    talk = Talk("one")
    one = talk.registered("one")
    talk.next(one)
    assert gives_up("init/error", **type_).refused("Extension.InvalidExtensionState")
    assert gives_up("exit/error", **type_).reply is not None
    assert talk.heard.failures[0][0] == "Extension.ExitError"


def test_an_event_waits_for_who_lost_its_connection() -> None:
    talk = Talk("one")
    one = talk.registered("one", "INVOKE")
    lost = talk.next(one)
    talk.runtime_next()
    talk.api.forget(lost.take)
    talk.send()
    assert lost.waits
    assert talk.next(one).told["requestId"] == "r-1"


def test_who_takes_its_event_late_was_not_ready_in_between() -> None:
    talk = Talk("one")
    one = talk.registered("one", "INVOKE")
    lost = talk.next(one)
    talk.runtime_next()
    talk.api.forget(lost.take)
    talk.send()
    talk.answer()
    talk.next(one)
    assert (talk.api.is_settled, talk.heard.settled_times) == (False, 0)
    talk.next(one)
    assert talk.heard.settled_times == 1


class Conversation(RuleBasedStateMachine):
    """However they call: one READY, one answer for each event, nothing in between
    init and answer that was not asked for, and nobody settles twice."""

    def __init__(self) -> None:
        super().__init__()
        self.talk = Talk("one", "two")
        self.ids: dict[str, str] = {}
        self.sent = 0

    @property
    def _kinds(self) -> list[int]:
        return self.talk.heard.kinds

    @rule(
        name=st.sampled_from(["one", "two", "in"]),
        events=st.lists(st.sampled_from(["INVOKE", "SHUTDOWN", "X"]), max_size=2),
    )
    def register(self, name: str, events: list[str]) -> None:
        pending = self.talk.register(name, *events)
        assert not pending.waits
        reply = pending.reply
        if reply is not None and reply.status == 200:
            self.ids[name] = pending.header("Lambda-Extension-Identifier")

    @precondition(lambda self: self.ids)
    @rule(name=st.sampled_from(["one", "two", "in"]))
    def extension_asks(self, name: str) -> None:
        if name in self.ids:
            self.talk.next(self.ids[name])

    @rule()
    def runtime_asks(self) -> None:
        self.talk.runtime_next()

    @rule()
    def runtime_answers(self) -> None:
        self.talk.answer()

    @precondition(lambda self: self._may_send())
    @rule()
    def send(self) -> None:
        self.sent += 1
        self.talk.send()

    @precondition(lambda self: self.ids)
    @rule(reason=st.sampled_from(list(Shutdown)))
    def shut_down(self, reason: Shutdown) -> None:
        self.talk.api.shut_down(reason, 1)

    def _may_send(self) -> bool:
        # As an instance does: one at a time, and only where all have settled.
        answered = self._kinds.count(frames.ANSWER) == self.sent
        is_new = self.sent == 0
        return answered and (is_new or self.talk.api.is_settled)

    @invariant()
    def is_consistent(self) -> None:
        kinds, heard = self._kinds, self.talk.heard
        assert kinds.count(frames.READY) <= 1
        assert kinds.count(frames.ANSWER) <= self.sent
        assert heard.settled_times <= kinds.count(frames.ANSWER)
        assert heard.started <= 1
        if kinds:
            assert kinds[0] == frames.READY
            assert {"one", "two"} <= self.ids.keys()


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=60, stateful_step_count=40)


@given(st.binary(max_size=200), st.text(max_size=20))
def test_no_body_and_no_name_harms_anybody(body: bytes, name: str) -> None:
    talk = Talk("one")
    reply = talk.call("POST", f"{PREFIX}register", body, Lambda_Extension_Name=name)
    assert not reply.waits
