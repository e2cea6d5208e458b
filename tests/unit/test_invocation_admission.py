"""How much a tenant, and a function, may run at once."""

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from sandlot_engine.errors import Throttled
from sandlot_engine.invocation.admission import AHEAD_DIVISOR, Admission, Slot

TOTAL = "ConcurrentInvocationLimitExceeded"
SHARE = "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_as_many_as_allowed_are_admitted_and_no_more() -> None:
    admission = Admission()
    for number in range(50):
        admission.admit("acme", f"f{number % 3}", limit=50)

    with pytest.raises(Throttled) as caught:
        admission.admit("acme", "f0", limit=50)

    assert caught.value.message == (
        "tenant 'acme' already has 50 invocations running of 50 allowed"
    )
    assert caught.value.reason == TOTAL
    assert caught.value.limit == 50
    assert caught.value.retry_after_s > 0


def test_a_slot_given_back_can_be_taken_again() -> None:
    admission = Admission()
    slot = admission.admit("acme", "f", limit=1)

    admission.release(slot)
    admission.admit("acme", "g", limit=1)

    assert admission.running("acme") == 1
    assert admission.running_of("acme", "f") == 0


def test_one_tenants_invocations_do_not_count_for_another() -> None:
    admission = Admission()
    admission.admit("acme", "f", limit=1)

    admission.admit("globex", "f", limit=1)

    assert (admission.running("acme"), admission.running("globex")) == (1, 1)


def test_a_limit_of_nought_admits_nothing() -> None:
    with pytest.raises(Throttled, match="0 invocations running of 0 allowed"):
        Admission().admit("acme", "f", limit=0)


def test_a_lowered_limit_holds_at_once() -> None:
    admission = Admission()
    for _ in range(3):
        admission.admit("acme", "f", limit=3)

    with pytest.raises(Throttled):
        admission.admit("acme", "f", limit=2)


# --- reserved concurrency --------------------------------------------------------


def test_a_function_has_no_more_than_is_reserved_for_it() -> None:
    admission = Admission()
    for _ in range(2):
        admission.admit("acme", "f", limit=100, reserved={"f": 2})

    with pytest.raises(Throttled) as caught:
        admission.admit("acme", "f", limit=100, reserved={"f": 2})

    assert caught.value.message == (
        "function 'f' already has 2 invocations running of 2 reserved for it"
    )
    assert (caught.value.reason, caught.value.limit) == (SHARE, 2)


def test_a_function_with_nought_reserved_is_off_even_where_all_is_full() -> None:
    admission = Admission()
    admission.admit("acme", "g", limit=1)

    with pytest.raises(Throttled, match="0 invocations running of 0 reserved") as off:
        admission.admit("acme", "f", limit=1, reserved={"f": 0})

    assert off.value.reason == SHARE


def test_others_leave_a_function_what_is_reserved_for_it() -> None:
    admission = Admission()
    reserved = {"f": 2, "off": 0}
    for name in ("g", "h", "g"):
        admission.admit("acme", name, limit=5, reserved=reserved)

    with pytest.raises(Throttled) as caught:
        admission.admit("acme", "h", limit=5, reserved=reserved)
    for _ in range(2):
        admission.admit("acme", "f", limit=5, reserved=reserved)

    assert caught.value.message == (
        "tenant 'acme' already has 3 invocations running of 3 allowed to functions "
        "without reserved concurrency: 2 of its 5 are reserved for others"
    )
    assert (caught.value.reason, caught.value.limit) == (TOTAL, 3)


def test_what_ran_before_it_was_reserved_counts_for_its_function() -> None:
    admission = Admission()
    for _ in range(3):
        admission.admit("acme", "f", limit=5)

    with pytest.raises(Throttled, match="3 invocations running of 2 reserved"):
        admission.admit("acme", "f", limit=5, reserved={"f": 2})
    admission.admit("acme", "g", limit=5, reserved={"f": 2})

    assert admission.running("acme") == 4


def test_a_tenants_limit_holds_where_more_is_reserved() -> None:
    admission = Admission()
    reserved = {"f": 5}
    for _ in range(3):
        admission.admit("acme", "f", limit=3, reserved=reserved)

    with pytest.raises(Throttled, match=r"3 invocations running of 3 allowed$"):
        admission.admit("acme", "f", limit=3, reserved=reserved)


NAMES = st.sampled_from(["f", "g", "h"])


# --- provisioned concurrency -----------------------------------------------------

CLAIMS = {"f": {"f-1": 2}}


def test_what_is_provisioned_is_used_first_and_then_spills_over() -> None:
    admission = Admission()
    slots = [
        admission.admit("acme", "f", limit=100, claims=CLAIMS, revision="f-1")
        for _ in range(3)
    ]

    assert [slot.revision for slot in slots] == ["f-1", "f-1", ""]
    assert [slot.is_spillover for slot in slots] == [False, False, True]
    assert (admission.provisioned, admission.spilled) == (2, 1)
    admission.release(slots[0])
    again = admission.admit("acme", "f", limit=100, claims=CLAIMS, revision="f-1")
    assert not again.is_spillover


def test_other_versions_do_not_have_what_is_provisioned_for_one() -> None:
    admission = Admission()

    slot = admission.admit("acme", "f", limit=100, claims=CLAIMS, revision="latest")

    assert (slot.revision, slot.is_spillover) == ("", False)


def test_what_is_provisioned_is_taken_from_what_all_have() -> None:
    admission = Admission()
    for _ in range(3):
        admission.admit("acme", "g", limit=5, claims=CLAIMS)

    with pytest.raises(Throttled, match="of 3 allowed to functions"):
        admission.admit("acme", "g", limit=5, claims=CLAIMS)
    for _ in range(2):
        admission.admit("acme", "f", limit=5, claims=CLAIMS, revision="f-1")


def test_what_spills_over_is_bounded_as_others_are() -> None:
    admission = Admission()
    for _ in range(5):
        admission.admit("acme", "f", limit=5, claims=CLAIMS, revision="f-1")

    with pytest.raises(Throttled) as caught:
        admission.admit("acme", "f", limit=5, claims=CLAIMS, revision="f-1")

    assert caught.value.reason == TOTAL


def test_where_all_that_is_reserved_is_provisioned_other_versions_are_off() -> None:
    admission = Admission()
    shares = {"limit": 100, "reserved": {"f": 2}, "claims": CLAIMS}

    with pytest.raises(Throttled, match="2 of them for its versions") as caught:
        admission.admit("acme", "f", revision="latest", **shares)  # type: ignore[arg-type]
    for _ in range(2):
        admission.admit("acme", "f", revision="f-1", **shares)  # type: ignore[arg-type]
    with pytest.raises(Throttled):
        admission.admit("acme", "f", revision="f-1", **shares)  # type: ignore[arg-type]

    assert (caught.value.reason, caught.value.limit) == (SHARE, 0)


# --- how often -------------------------------------------------------------------


def _again(admission: Admission, times: int, now: float | None, **more: object) -> None:
    """Invocations that take no time."""
    for _ in range(times):
        settings: dict[str, object] = {"limit": 3, "now": now, **more}
        admission.release(admission.admit("acme", "f", **settings))  # type: ignore[arg-type]


def test_ten_a_second_are_admitted_for_each_that_may_run() -> None:
    admission = Admission()
    _again(admission, 30, 0.0)

    with pytest.raises(Throttled, match="10 are allowed for each of the 3") as caught:
        _again(admission, 1, 0.0)

    assert caught.value.reason == "FunctionInvocationRateLimitExceeded"
    assert caught.value.limit == 30
    assert 0 < caught.value.retry_after_s <= 1 / 30 + 1e-6
    _again(admission, 1, caught.value.retry_after_s)
    _again(admission, 30, 60.0)


def test_a_function_with_a_reserve_is_counted_by_that_and_apart() -> None:
    admission = Admission()
    _again(admission, 10, 0.0, reserved={"f": 1})

    with pytest.raises(Throttled) as caught:
        _again(admission, 1, 0.0, reserved={"f": 1})

    assert caught.value.reason == "ReservedFunctionInvocationRateLimitExceeded"
    admission.admit("acme", "g", limit=3, reserved={"f": 1}, now=0.0)


def test_events_have_no_rate() -> None:
    _again(Admission(), 100, None)


def test_rates_can_be_left_uncounted() -> None:
    _again(Admission(requests_per_slot=0), 100, 0.0)


def test_what_is_provisioned_spills_over_where_it_is_asked_too_often() -> None:
    admission = Admission()
    _again(admission, 21, 0.0, limit=9, claims=CLAIMS, revision="f-1")

    assert (admission.provisioned, admission.spilled) == (20, 1)


# --- altogether ------------------------------------------------------------------


class Machine(RuleBasedStateMachine):
    """One tenant with all kinds of shares, and a clock."""

    @initialize(
        limit=st.integers(0, 8),
        reserved=st.dictionaries(NAMES, st.integers(0, 4)),
        claims=st.dictionaries(NAMES, st.integers(1, 3), max_size=2),
    )
    def begin(
        self, limit: int, reserved: dict[str, int], claims: dict[str, int]
    ) -> None:
        self.limit, self.reserved = limit, reserved
        self.claims = {
            name: {f"{name}-1": count}
            for name, count in claims.items()
            # No more than is reserved, as the catalog sees to.
            if count <= reserved.get(name, limit)
        }
        self.admission = Admission()
        self.now = 0.0
        self.slots: list[Slot] = []
        self.admitted: list[tuple[float, str]] = []

    @rule(name=NAMES, is_published=st.booleans(), is_event=st.booleans())
    def admit(self, name: str, is_published: bool, is_event: bool) -> None:
        version = f"{name}-1" if is_published else name
        share = self.claims.get(name, {}).get(version, 0)
        mine = sum(slot.revision == version for slot in self.slots)
        try:
            slot = self.admission.admit(
                "acme",
                name,
                limit=self.limit,
                reserved=self.reserved,
                claims=self.claims,
                revision=version,
                now=None if is_event else self.now,
            )
        except Throttled as refusal:
            self._check_refusal(refusal, name, is_event)
            return
        assert bool(slot.revision) <= (mine < share)
        assert bool(slot.revision) or not is_event or mine >= share
        assert slot.is_spillover == (share > 0 and not slot.revision)
        if not slot.revision:
            assert not self._is_full(name)
        self.slots.append(slot)
        if not is_event and not slot.revision:
            self.admitted.append((self.now, name))

    def _check_refusal(self, refusal: Throttled, name: str, is_event: bool) -> None:
        assert refusal.retry_after_s > 0
        is_rate = "Rate" in refusal.reason
        assert is_rate or self._is_full(name)
        assert not (is_event and is_rate)
        assert ("Reserved" in refusal.reason) <= (name in self.reserved)

    def _is_full(self, name: str) -> bool:
        """Whether it can have no more on demand."""
        on_demand = Counter(each.function for each in self.slots if not each.revision)
        if len(self.slots) >= self.limit:
            return True
        if name in self.reserved:
            provisioned = sum(self.claims.get(name, {}).values())
            return on_demand[name] >= self.reserved[name] - provisioned
        taken = sum(
            count for each, count in on_demand.items() if each not in self.reserved
        )
        return taken >= self._rest()

    def _rest(self) -> int:
        claimed = sum(
            sum(revisions.values())
            for name, revisions in self.claims.items()
            if name not in self.reserved
        )
        return self.limit - sum(self.reserved.values()) - claimed

    @precondition(lambda self: self.slots)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.slots) - 1))
        self.admission.release(self.slots.pop(number))

    @rule(seconds=st.floats(0, 2))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def shares_are_both_a_bound_and_a_guarantee(self) -> None:
        running = Counter(slot.function for slot in self.slots)
        assert self.admission.running("acme") == len(self.slots) <= self.limit
        for name, share in self.reserved.items():
            assert running[name] <= share
        for revisions in self.claims.values():
            for revision, count in revisions.items():
                assert self.admission.provisioned_of("acme", revision) <= count

    @invariant()
    def nobody_is_asked_more_often_than_he_may(self) -> None:
        recent = [name for at, name in self.admitted if self.now - at < 1]
        for name, share in self.reserved.items():
            # A bucket that is full, and what comes into it meanwhile.
            assert recent.count(name) <= 2 * 10 * share
        rest = sum(name not in self.reserved for name in recent)
        assert rest <= 2 * 10 * max(0, self._rest())


TestAdmission = Machine.TestCase
TestAdmission.settings = settings(max_examples=100, stateful_step_count=60)


def test_whoever_has_nothing_running_any_more_is_forgotten() -> None:
    admission = Admission()
    slots = []
    for number in range(100):
        tenant_id, claims = f"tenant-{number}", {"f": {"v": 1}}
        slots.append(admission.admit(tenant_id, "g", limit=9))
        slots.append(
            admission.admit(tenant_id, "f", limit=9, claims=claims, revision="v")
        )

    for slot in slots:
        admission.release(slot)

    # Nothing else shows it.
    assert not admission._on_demand  # noqa: SLF001
    assert not admission._provisioned  # noqa: SLF001
    assert not admission._totals  # noqa: SLF001


def test_a_slot_for_many_invocations_counts_for_all_of_them() -> None:
    admission = Admission(requests_per_slot=10)
    slot = admission.admit("acme", "resize", limit=10, now=0.0)
    ahead = admission.take_ahead(slot, most=1_000)
    assert ahead == 99 // AHEAD_DIVISOR

    for _ in range(99 - ahead):
        admission.release(admission.admit("acme", "resize", limit=10, now=0.0))
    with pytest.raises(Throttled, match="within a second"):
        admission.admit("acme", "resize", limit=10, now=0.0)

    admission.give_ahead(slot, ahead)
    admission.release(admission.admit("acme", "resize", limit=10, now=0.0))


def test_where_rates_are_not_counted_a_slot_is_good_for_as_many_as_are_wanted() -> None:
    admission = Admission(requests_per_slot=0)
    slot = admission.admit("acme", "resize", limit=10, now=0.0)

    assert admission.take_ahead(slot, most=77) == 77


def test_a_slot_for_many_on_what_is_provisioned_counts_there() -> None:
    admission = Admission()
    slot = admission.admit("acme", "f", limit=9, claims=CLAIMS, revision="f-1", now=0.0)

    ahead = admission.take_ahead(slot, most=1_000)
    admission.release(slot)
    _again(admission, 19 - ahead, 0.0, limit=9, claims=CLAIMS, revision="f-1")

    assert 0 < ahead < 19
    assert admission.spilled == 0
    _again(admission, 1, 0.0, limit=9, claims=CLAIMS, revision="f-1")
    assert admission.spilled == 1


def test_each_use_of_a_slot_for_many_is_noted_where_it_was_taken() -> None:
    admission = Admission()
    share = {"limit": 9, "claims": {"f": {"f-1": 1}}, "revision": "f-1"}
    first = admission.admit("acme", "f", **share)  # type: ignore[arg-type]
    second = admission.admit("acme", "f", **share)  # type: ignore[arg-type]

    admission.note_use(first, -1)
    for slot in (first, first, second):
        admission.note_use(slot)

    assert (admission.provisioned, admission.spilled) == (2, 2)
