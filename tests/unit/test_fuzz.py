"""Whatever a tenant sends is parsed, or refused in one way, and held within a bound.

What is tried here is made from what is right, and then spoiled: noise alone does not
get far. `python -m tests.fuzz` goes on for longer.
"""

import asyncio
import json
import os
import re
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandlot_engine.invocation.report import outcome_of
from sandlot_engine.model.invocation import (
    MAX_LOG_TAIL,
    Ended,
    Invocation,
    LogLine,
    LogSource,
    Run,
)
from sandlot_sandbox import frames, spec
from sandlot_sandbox.guest import archive, unpacking
from sandlot_sandbox.host import log_pipe
from tests.fakes.things import revision
from tests.fakes.zips import streamed_zip, zip_of

SMALL = 600
"""Bounds are lowered to this, so that they are met."""

NUMBERS = st.sampled_from(
    [
        *(0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x10000),
        *(2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63, 2**64 - 1),
    ]
)
OFTEN = settings(max_examples=400, deadline=None)
FORMS = st.sampled_from(["<B", "<H", "<L", "<Q", ">H", ">L", ">Q"])


@st.composite
def spoiled(draw: st.DrawFn, originals: st.SearchStrategy[bytes]) -> bytes:
    """What is right, after some changes; or untouched."""
    data = bytearray(draw(originals))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["number", "bytes", "cut", "insert", "repeat"])):
            case "number":
                form = draw(FORMS)
                value = draw(NUMBERS) % 2 ** (8 * struct.calcsize(form))
                data[at : at + struct.calcsize(form)] = struct.pack(form, value)
            case "bytes":
                new = draw(st.binary(max_size=4))
                data[at : at + len(new)] = new
            case "cut":
                del data[at : at + draw(st.integers(1, 40))]
            case "insert":
                data[at:at] = draw(st.binary(max_size=20))
            case _:
                data[at:at] = data[at : at + draw(st.integers(1, 200))]
    return bytes(data)


@st.composite
def chunks(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> list[bytes]:
    data = draw(whole)
    size = draw(st.integers(1, max(1, len(data))))
    return [data[at : at + size] for at in range(0, len(data), size)]


# --- answers and notes ----------------------------------------------------------

ANSWERS = st.lists(
    st.builds(
        lambda kind, payload, name: frames.encode_answer(
            kind, payload, error_type=name
        ),
        st.integers(1, 4),
        st.binary(max_size=SMALL),
        st.text(max_size=20),
    ),
    max_size=3,
).map(b"".join)


@OFTEN
@given(chunks(spoiled(ANSWERS)))
def test_an_answer_is_an_answer_or_a_violation_and_the_reader_stays_small(
    parts: list[bytes],
) -> None:
    with patch.object(frames, "MAX_PAYLOAD", SMALL):
        reader = frames.AnswerReader()
        most = 16 + frames.MAX_ERROR_TYPE + SMALL
        for part in parts:
            reader.feed(part)
            try:
                while (answer := reader.take()) is not None:
                    assert len(answer.payload) <= SMALL
                    assert len(answer.error_type) <= frames.MAX_ERROR_TYPE
            except frames.Violation:
                return
            assert len(reader._buffer) < most  # noqa: SLF001 - the bound


NOTES = st.builds(
    lambda kind, number, status, text: frames.encode_note(
        kind, instance=number, status=status, text=text
    ),
    st.integers(0, 10),
    st.integers(0, 2**32 - 1),
    st.integers(-(2**31), 2**31 - 1),
    st.text(max_size=100),
)


@OFTEN
@given(spoiled(NOTES), st.sampled_from([frames.ZYGOTE_NOTES, frames.BUILDER_NOTES]))
def test_a_note_is_a_note_or_a_violation(
    datagram: bytes, kinds: frozenset[int]
) -> None:
    try:
        note = frames.decode_note(datagram, kinds)
    except frames.Violation:
        return
    assert note.kind in kinds
    assert 0 <= note.instance < 2**32
    assert len(note.text) <= frames.MAX_NOTE_TEXT


# --- orders ---------------------------------------------------------------------

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.text(max_size=8)
    | NUMBERS
    | NUMBERS.map(lambda number: -number),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)
START = {
    "is": "StartZygote",
    "zygote": 1,
    "runtime": "python3.11",
    "code": "0" * 64,
    "opt": "",
    "memory_mb": 128,
    "tmp_mb": 512,
    "network": "none",
    "allow": "",
    "as_program": 0,
}
ORDERS = st.sampled_from(
    [
        START,
        {**START, "opt": "1" * 64},
        {"is": "StartBuilder", "zygote": 1, "runtime": "python3.11", "place": "opt"},
        {"is": "MakeCell", "zygote": 1, "cell": 2},
        {"is": "KillCell", "zygote": 1, "cell": 2},
        {"is": "KillZygote", "zygote": 1},
    ]
)


@st.composite
def orders(draw: st.DrawFn) -> bytes:
    order = {**draw(ORDERS)}
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from([*START, *order, "cell"]) | st.text(max_size=8))
        order[name] = draw(VALUES)
    return json.dumps(order).encode()


@OFTEN
@given(orders() | spoiled(orders()))
def test_an_order_is_of_its_types_or_no_order(datagram: bytes) -> None:
    try:
        order = spec.decode_order(datagram)
    except spec.BadMessage:
        return
    for name, value in vars(order).items():
        assert type(value) in (int, str), name
        assert not isinstance(value, int) or 0 <= value < 2**53
    if isinstance(order, spec.StartZygote):
        assert re.fullmatch("[0-9a-f]{64}", order.code)
        assert re.fullmatch("([0-9a-f]{64})?", order.opt)
        assert order.network in spec.NETWORKS


# --- logs -----------------------------------------------------------------------

PRINTED = st.lists(
    st.binary(max_size=40)
    | st.sampled_from([b"\n", b"\n" * 50, b"x" * 300, b"\r\n", b"\0"]),
    max_size=20,
)


@OFTEN
@given(PRINTED)
def test_of_what_is_printed_a_bounded_part_is_kept_and_the_rest_is_counted(
    parts: list[bytes],
) -> None:
    with patch.multiple(log_pipe, MAX_KEPT=SMALL, MAX_LINES=30):
        lines, dropped = asyncio.run(_printed(parts))

    whole = b"".join(parts)
    kept = sum(len(text) + 1 for _, text in lines)
    assert len(lines) <= 30
    assert kept <= SMALL + 1
    # The last line may have no end.
    assert kept + dropped - len(whole) in (0, 1)
    assert b"\n".join(text for _, text in lines) == whole[: max(0, kept - 1)]


async def _printed(parts: list[bytes]) -> tuple[tuple[log_pipe.Line, ...], int]:
    read, write = os.pipe2(os.O_CLOEXEC)
    heard = asyncio.Event()
    pipe = log_pipe.LogPipe(read, on_chunk=heard.set)
    try:
        for part in filter(None, parts):
            heard.clear()
            os.write(write, part)
            await heard.wait()
        return pipe.take()
    finally:
        pipe.close()
        os.close(write)


ID = "8f5a1c9e-0000-4000-8000-000000000001"
NOW = datetime(2026, 5, 17, 12, 30, tzinfo=UTC)
REPORT = re.compile(
    rf"REPORT RequestId: {ID}\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\t"
    r"Memory Size: \d+ MB\tMax Memory Used: \d+ MB\t"
    r"(Init Duration: \d+\.\d\d ms\t)?"
    r"(Status: (timeout|error)\t)?(Error Type: [\w.:$-]{1,128}\t)?"
)
FORGED = st.sampled_from(
    [
        f"REPORT RequestId: {ID}\tBilled Duration: 0 ms\t".encode(),
        b"START RequestId: x Version: $LATEST",
        b"\x1b[2J\r",
        b"x" * MAX_LOG_TAIL,
    ]
)
RUNS = st.builds(
    Run,
    ended=st.sampled_from(list(Ended)),
    payload=st.binary(max_size=30),
    error_type=st.text(max_size=30)
    | st.sampled_from(["A\tBilled Duration: 0 ms", "\n"]),
    duration_s=st.floats(-1, 1e6),
    wait_s=st.floats(0, 10),
    init_s=st.none() | st.floats(0, 10),
    max_memory_mb=st.integers(0, 10**6),
    exit_code=st.none() | st.integers(-300, 300),
    signal=st.none() | st.integers(-10, 300),
    log=st.lists(
        st.builds(
            LogLine,
            time=st.just(NOW),
            request_id=st.sampled_from(["", ID]),
            source=st.just(LogSource.FUNCTION),
            text=(st.binary(max_size=40) | FORGED).map(lambda t: t.replace(b"\n", b"")),
        ),
        max_size=6,
    ).map(tuple),
    log_bytes_dropped=st.integers(0, 10**12),
)


@OFTEN
@given(RUNS)
def test_a_report_is_ours_whatever_the_function_says(run: Run) -> None:
    invocation = Invocation(
        request_id=ID,
        tenant_id="111111111111",
        function="f",
        payload=b"{}",
        tail_log=True,
        arrived=0.0,
    )

    outcome = outcome_of(invocation, revision(), run, ended=NOW)

    ours = [line for line in outcome.log if line.source is LogSource.PLATFORM]
    reports = [line for line in ours if line.text.startswith(b"REPORT ")]
    assert reports == [outcome.log[-1]]
    assert REPORT.fullmatch(reports[0].text.decode())
    assert all(b"\n" not in line.text for line in ours)
    assert len(outcome.log_tail) <= MAX_LOG_TAIL
    assert outcome.log_tail.endswith(reports[0].text + b"\n")
    assert outcome.report.billed_ms >= 0


# --- packages -------------------------------------------------------------------

FILES = {
    "app.py": b"def handler(event, context): ...\n" * 20,
    "lib/data.bin": b"\0" * 300,
    "lib/": b"",
}
ZIPS = st.sampled_from(
    [
        zip_of(FILES),
        zip_of(FILES, method=zipfile.ZIP_STORED),
        streamed_zip(FILES),
        zip_of({"../up": b"x", "link": b"/etc/passwd"}, modes={"link": 0o120777}),
    ]
)


@OFTEN
@given(spoiled(ZIPS))
def test_a_zip_is_read_or_refused_and_holds_no_more_than_it_says(data: bytes) -> None:
    view = memoryview(data)
    try:
        entries = archive.read_entries(view)
    except archive.BadArchive:
        return
    assert len(entries) <= archive.MAX_ENTRIES
    for entry in entries:
        parts = entry.path.split("/")
        assert not {"", ".", ".."} & set(parts)
        assert 0 <= entry.start <= len(data) - entry.packed_size
        try:
            size = sum(map(len, archive.inflated(view, entry)))
        except archive.BadArchive:
            continue
        assert size == entry.size


@OFTEN
@given(st.lists(spoiled(ZIPS) | ZIPS, min_size=1, max_size=3))
def test_zips_are_unpacked_below_their_folder_or_refused(zips: list[bytes]) -> None:
    with _folder() as (above, inside):
        root = os.open(inside, unpacking.OPEN_FOLDER)
        try:
            unpacking.unpack(zips, root)
        except unpacking.Refused:
            pass
        finally:
            os.close(root)
        assert os.listdir(above) == ["code"]  # noqa: PTH208
        for path in inside.rglob("*"):
            assert path.is_dir() or path.is_file()
            assert not path.is_symlink()


@contextmanager
def _folder() -> Iterator[tuple[Path, Path]]:
    with TemporaryDirectory() as folder:
        inside = Path(folder, "code")
        inside.mkdir()
        yield Path(folder), inside


@pytest.mark.parametrize("bound", ["MAX_PAYLOAD", "MAX_ERROR_TYPE", "MAX_NOTE_TEXT"])
def test_the_bounds_are_those_of_the_contract(bound: str) -> None:
    wanted = {"MAX_PAYLOAD": 6_291_556, "MAX_ERROR_TYPE": 256, "MAX_NOTE_TEXT": 8192}

    assert getattr(frames, bound) == wanted[bound]
