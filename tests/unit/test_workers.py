"""What core and workers share: boards, a ledger, what is said and what is known."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from sandlot_engine.errors import NotFound, Throttled, Unauthenticated, Unavailable
from sandlot_engine.model.function import (
    Code,
    Function,
    FunctionConfig,
    FunctionState,
    Revision,
)
from sandlot_engine.model.invocation import (
    LogLine,
    LogSource,
    Record,
    Report,
    Status,
)
from sandlot_engine.model.tenant import AccessKey
from sandlot_engine.workers import boards, messages, replica
from sandlot_engine.workers.boards import MAX_LEASES, Epochs, Mark, Marks, new_page
from sandlot_engine.workers.ledger import LedgerReader, LedgerWriter
from sandlot_engine.workers.lessor import without_secrets
from sandlot_engine.workers.messages import Address
from sandlot_engine.workers.replica import NotHere, Replica

WAIT_S = 5.0
NOW = datetime(2026, 11, 24, 10, 0, 0, 123456, tzinfo=UTC)
TENANT, OTHER = "111111111111", "222222222222"
HERE = Address(TENANT, TENANT, "resize", "")
KEY = AccessKey(
    id="AKIAEXAMPLE000000", tenant_id=TENANT, is_operator=False, created=NOW
)


def a_function() -> Function:
    config = FunctionConfig(
        handler="a.b", runtime="python3.11", environment={"SECRET": "word"}
    )
    code = Code(sha256="0" * 64, size=1, unpacked_size=1)
    revision = Revision(id="r-1", code=code, config=config)
    return Function(
        tenant_id=TENANT,
        name="resize",
        revision_id="x",
        serving=revision,
        pending=None,
        state=FunctionState.ACTIVE,
        last_modified=NOW,
    )


def a_record(number: int = 1) -> Record:
    return Record(
        request_id=f"request-{number}",
        tenant_id=TENANT,
        function="resize",
        version="$LATEST",
        time=NOW,
        status=Status.ERROR,
        error_type="ValueError",
        report=Report(
            duration_ms=1.25,
            init_ms=None,
            wait_ms=0.5,
            billed_ms=2,
            memory_mb=128,
            max_memory_used_mb=30,
        ),
    )


LOG = (
    LogLine(time=NOW, request_id="r", source=LogSource.PLATFORM, text=b"START"),
    LogLine(time=NOW, request_id="r", source=LogSource.FUNCTION, text=b"\xff\x00"),
)


# --- the boards ---------------------------------------------------------------------


@dataclass
class Pages:
    """Both ends of the epochs."""

    fd: int = field(default_factory=lambda: new_page("epochs", Epochs.SIZE))

    def __post_init__(self) -> None:
        self.writer = Epochs(self.fd, is_writer=True)
        self.reader = Epochs(self.fd)


@pytest.fixture
def pages() -> Iterator[Pages]:
    pages = Pages()
    yield pages
    pages.writer.close()
    pages.reader.close()
    os.close(pages.fd)


def test_a_change_of_a_tenant_is_seen_at_once_and_by_nobody_else(pages: Pages) -> None:
    before = pages.reader.of(TENANT), pages.reader.of(OTHER)

    pages.writer.bump(TENANT)

    assert pages.reader.of(TENANT) != before[0]
    assert pages.reader.of(OTHER) == before[1]


def test_a_change_of_all_is_one_of_each(pages: Pages) -> None:
    before = pages.reader.of(TENANT), pages.reader.of(OTHER)

    pages.writer.bump("")

    assert pages.reader.of(TENANT) != before[0]
    assert pages.reader.of(OTHER) != before[1]


def test_changes_of_a_tenant_and_of_all_do_not_cancel_each_other(pages: Pages) -> None:
    before = pages.reader.of(TENANT)

    for changed in (TENANT, ""):
        pages.writer.bump(changed)

    assert pages.reader.of(TENANT) == before + 2


def test_tenants_share_all_numbers_but_everybody_s() -> None:
    places = {boards._place(f"{number:012}") for number in range(100_000)}  # noqa: SLF001

    assert places == set(range(8, Epochs.SIZE, 8))


def test_a_reader_cannot_change_an_epoch(pages: Pages) -> None:
    with pytest.raises(TypeError):
        pages.reader.bump(TENANT)


def test_a_mark_says_what_runs_since_when_until_it_has_ended() -> None:
    fd = new_page("marks", Marks.SIZE)
    ours, theirs = Marks(fd), Marks(fd)
    os.close(fd)
    request_id = "0" * 36

    theirs.begin(MAX_LEASES - 1, request_id, 12.5)
    assert ours.is_running(MAX_LEASES - 1)
    assert ours.of(MAX_LEASES - 1) == Mark(request_id, 12.5)
    assert ours.of(0) is None

    theirs.end(MAX_LEASES - 1)
    assert not ours.is_running(MAX_LEASES - 1)
    assert ours.of(MAX_LEASES - 1) is None
    ours.close()
    theirs.close()


# --- the ledger ---------------------------------------------------------------------


@dataclass
class Ledger:
    writer: LedgerWriter
    reader: LedgerReader
    taken: list[tuple[int, Record, tuple[LogLine, ...]]]
    news: asyncio.Event
    theirs: socket.socket


@pytest.fixture
async def ledger() -> AsyncIterator[Ledger]:
    ours, theirs = socket.socketpair()
    taken: list[tuple[int, Record, tuple[LogLine, ...]]] = []
    news = asyncio.Event()

    def take(lease: int, record: Record, log: tuple[LogLine, ...]) -> None:
        taken.append((lease, record, log))
        news.set()

    reader = LedgerReader(ours, take)
    yield Ledger(LedgerWriter(theirs), reader, taken, news, theirs)
    reader.close()
    theirs.close()


async def test_a_record_arrives_as_it_was(ledger: Ledger) -> None:
    ledger.writer.write(7, a_record(), LOG)

    ledger.reader.read_all()

    assert ledger.taken == [(7, a_record(), LOG)]


async def test_records_are_read_though_their_writer_is_dead(ledger: Ledger) -> None:
    for number in range(50):
        ledger.writer.write(number, a_record(number), LOG)
    ledger.theirs.close()

    ledger.reader.read_all()

    assert [lease for lease, *_ in ledger.taken] == list(range(50))


async def test_records_are_read_by_themselves_soon(ledger: Ledger) -> None:
    for number in range(3):
        ledger.writer.write(number, a_record(number), ())
        async with asyncio.timeout(WAIT_S):
            await ledger.news.wait()
        ledger.news.clear()
        assert len(ledger.taken) == number + 1


async def test_half_a_record_is_none(ledger: Ledger) -> None:
    ledger.writer.write(1, a_record(), LOG)
    ledger.theirs.send(b"\xff\x00\x00\x00half")
    ledger.theirs.close()

    ledger.reader.read_all()

    assert len(ledger.taken) == 1


async def test_a_worker_that_cannot_tell_is_told_so(ledger: Ledger) -> None:
    ledger.reader.close()

    with pytest.raises(OSError, match="Broken pipe"):
        ledger.writer.write(1, a_record(), LOG)


# --- what is said -------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        messages.Serving(1, 2),
        messages.AskKey(1, "AKIA"),
        messages.AskTenant(1, TENANT),
        messages.Want(HERE),
        messages.Kill(3, leaves_tmp=True),
        messages.GaveBack(3, is_frozen=True, peak_memory_kb=9, printed=((1.5, b"x"),)),
        messages.Forgot(3),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_worker_s_words_arrive(message: messages.FromWorker) -> None:
    assert messages.decode_from_worker(messages.encode(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        messages.Key(1, KEY, "secret", 4),
        messages.Key(1, None, "secret", 4),
        messages.Tenant(1, is_known=True),
        messages.Route(HERE, without_secrets(a_function()), 1, 2),
        messages.Lend(1, "r", TENANT, 2, 9, 3, 128, True, 1.5, 7, ("channel", "log")),
        messages.Recall(1),
        messages.Exited(1, 9),
        messages.Lost(1, with_launcher=False),
        messages.Killed(1, "memory"),
        messages.Drain(),
    ],
    ids=lambda message: type(message).__name__,
)
def test_the_core_s_words_arrive(message: messages.FromCore) -> None:
    assert messages.decode_from_core(messages.encode(message)) == message


def test_what_is_too_long_is_not_sent() -> None:
    with pytest.raises(ValueError, match="a message of"):
        messages.encode(messages.AskKey(1, "A" * messages.MAX_MESSAGE))


def test_a_worker_does_not_get_a_function_s_environment() -> None:
    told = without_secrets(replace(a_function(), pending=a_function().serving))

    assert told.current.config.environment == {}
    assert told.pending is None


# --- what is known ------------------------------------------------------------------


@dataclass
class Knowing:
    """A replica, and a core that answers as the test says."""

    pages: Pages
    keys: dict[str, AccessKey] = field(default_factory=lambda: {KEY.id: KEY})
    asked: list[messages.FromWorker] = field(default_factory=list)
    is_silent: bool = False

    def __post_init__(self) -> None:
        self.replica = Replica(self.pages.reader, self._tell)

    def _tell(self, message: messages.FromWorker) -> None:
        self.asked.append(message)
        loop = asyncio.get_running_loop()
        if isinstance(message, messages.AskKey) and not self.is_silent:
            key = self.keys.get(message.access_key_id)
            epoch = self.pages.writer.of(TENANT)
            answer = messages.Key(message.number, key, "secret", epoch)
            loop.call_soon(self.replica.hear, answer)
        if isinstance(message, messages.AskTenant):
            is_known = message.tenant_id == TENANT
            loop.call_soon(self.replica.hear, messages.Tenant(message.number, is_known))

    def tell_route(self) -> None:
        epochs = self.pages.writer.of(TENANT), self.pages.writer.of(TENANT)
        self.replica.hear(messages.Route(HERE, without_secrets(a_function()), *epochs))


@pytest.fixture
def knowing(pages: Pages) -> Knowing:
    return Knowing(pages)


async def test_a_key_is_asked_for_once(knowing: Knowing) -> None:
    for _ in range(3):
        assert await knowing.replica.authenticate(KEY.id, "secret") == KEY

    assert len(knowing.asked) == 1


async def test_a_key_that_was_revoked_is_asked_for_again(knowing: Knowing) -> None:
    await knowing.replica.authenticate(KEY.id, "secret")

    knowing.keys.clear()
    knowing.pages.writer.bump("")

    with pytest.raises(Unauthenticated):
        await knowing.replica.authenticate(KEY.id, "secret")


async def test_a_wrong_secret_and_an_unknown_key_are_the_same(knowing: Knowing) -> None:
    for key_id, secret in ((KEY.id, "wrong"), ("AKIANOBODY0000000", "secret")):
        with pytest.raises(Unauthenticated, match="wrong"):
            await knowing.replica.authenticate(key_id, secret)


async def test_an_unknown_key_is_not_remembered(knowing: Knowing) -> None:
    for _ in range(2):
        key, _secret = await knowing.replica.signing_secret("AKIANOBODY0000000")
        assert key is None

    assert len(knowing.asked) == 2


async def test_what_only_begins_with_a_key_s_id_is_no_key(knowing: Knowing) -> None:
    """Of what is too long for one, the core is told no more than to see that."""
    longest = "A" * replica.MAX_KEY_ID
    knowing.keys[longest] = KEY

    assert (await knowing.replica.signing_secret(longest))[0] == KEY
    assert (await knowing.replica.signing_secret(longest + "x" * 99))[0] is None
    assert knowing.asked[-1] == messages.AskKey(2, longest + "x")


async def test_who_was_answered_is_waited_for_no_more(
    knowing: Knowing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "MAX_ASKED", 2)

    for _ in range(3):
        assert (await knowing.replica.signing_secret("AKIANOBODY0000000"))[0] is None


async def test_an_answer_that_comes_too_late_is_passed_over(knowing: Knowing) -> None:
    await knowing.replica.known(TENANT)

    knowing.replica.hear(messages.Tenant(1, is_known=False))

    assert await knowing.replica.known(TENANT) == TENANT


async def test_of_keys_the_one_that_was_used_longest_ago_is_forgotten(
    knowing: Knowing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "MAX_KEYS", 2)
    knowing.keys |= dict.fromkeys(("one", "two", "three"), KEY)

    for used in ("one", "two", "one", "three", "one"):
        await knowing.replica.signing_secret(used)
    assert len(knowing.asked) == 3
    await knowing.replica.signing_secret("two")

    assert len(knowing.asked) == 4


async def test_a_core_that_does_not_answer_is_not_waited_for_for_ever(
    knowing: Knowing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "ASK_S", 0.01)
    knowing.is_silent = True

    with pytest.raises(Unavailable):
        await knowing.replica.signing_secret(KEY.id)


async def test_only_so_many_answers_are_waited_for(
    knowing: Knowing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has the core told more than it reads has it taken for dead."""
    monkeypatch.setattr(replica, "MAX_ASKED", 2)
    knowing.is_silent = True
    async with asyncio.TaskGroup() as group:
        waiting = [
            group.create_task(knowing.replica.signing_secret(f"key-{number}"))
            for number in range(2)
        ]
        await asyncio.sleep(0)

        with pytest.raises(Throttled, match="2 keys are being looked up"):
            await knowing.replica.signing_secret("key-2")
        for each in waiting:
            each.cancel()

    assert len(knowing.asked) == 2


async def test_tenants_are_the_core_s_to_know(knowing: Knowing) -> None:
    assert await knowing.replica.known(TENANT) == TENANT
    with pytest.raises(NotFound):
        await knowing.replica.known(OTHER)


def test_a_route_holds_until_something_of_its_tenant_changes(knowing: Knowing) -> None:
    with pytest.raises(NotHere) as needs:
        knowing.replica.resolve(TENANT, "resize", "")
    assert needs.value.want == HERE

    knowing.tell_route()
    assert knowing.replica.resolve(TENANT, "resize", "").name == "resize"
    assert knowing.replica.may_invoke(TENANT, "resize", "", TENANT)

    knowing.pages.writer.bump(TENANT)
    with pytest.raises(NotHere):
        knowing.replica.resolve(TENANT, "resize", "")


@pytest.mark.parametrize("changed", [TENANT, OTHER])
def test_a_route_to_another_s_function_holds_until_either_of_them_changes(
    knowing: Knowing, changed: str
) -> None:
    there = Address(OTHER, TENANT, "resize", "")
    caller, owner = (knowing.pages.writer.of(each) for each in (OTHER, TENANT))
    function = without_secrets(a_function())
    knowing.replica.hear(
        messages.Route(there, function, caller_epoch=caller, owner_epoch=owner)
    )
    assert knowing.replica.may_invoke(TENANT, "resize", "", OTHER)

    knowing.pages.writer.bump(changed)

    with pytest.raises(NotHere):
        knowing.replica.may_invoke(TENANT, "resize", "", OTHER)


def test_what_was_lent_is_current_until_its_tenant_changes(knowing: Knowing) -> None:
    epoch = knowing.pages.writer.of(TENANT)
    assert knowing.replica.is_current(TENANT, epoch)

    knowing.pages.writer.bump(OTHER)
    assert knowing.replica.is_current(TENANT, epoch)
    knowing.pages.writer.bump(TENANT)
    assert not knowing.replica.is_current(TENANT, epoch)


def test_whether_an_event_may_recurse_the_core_decides(knowing: Knowing) -> None:
    knowing.tell_route()

    with pytest.raises(NotHere):
        knowing.replica.may_recurse(TENANT, "resize")


def test_whom_nothing_is_known_of_the_core_decides_on(knowing: Knowing) -> None:
    knowing.tell_route()

    with pytest.raises(NotHere) as needs:
        knowing.replica.may_invoke(TENANT, "resize", "", OTHER)

    assert needs.value.want == Address(OTHER, TENANT, "resize", "")


def test_routes_are_bounded(knowing: Knowing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica, "MAX_ROUTES", 3)
    for number in range(5):
        address = Address(TENANT, TENANT, f"f{number}", "")
        epoch = knowing.pages.writer.of(TENANT)
        function = without_secrets(a_function())
        knowing.replica.hear(messages.Route(address, function, epoch, epoch))

    with pytest.raises(NotHere):
        knowing.replica.resolve(TENANT, "f1", "")
    for name in ("f2", "f3", "f4"):
        assert knowing.replica.resolve(TENANT, name, "").name == "resize"
