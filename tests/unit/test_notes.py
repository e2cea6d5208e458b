"""What a zygote may say: every note once."""

import pytest

from sandlot_sandbox import frames
from sandlot_sandbox.host.notes import Notes

STARTED = frames.encode_note(frames.ZYGOTE_STARTED)
READY = frames.encode_note(frames.ZYGOTE_READY)
UNSAFE = frames.encode_note(frames.ZYGOTE_UNSAFE, text="an open socket")
EXITED = frames.encode_note(frames.INSTANCE_EXITED, instance=1)
OTHER = frames.encode_note(frames.INSTANCE_EXITED, instance=2)


@pytest.mark.parametrize(
    ("before", "undue"),
    [
        ([STARTED], STARTED),
        ([], READY),
        ([STARTED, READY], READY),
        ([STARTED, READY], UNSAFE),
        ([STARTED, READY], OTHER),
        ([STARTED, READY, EXITED], EXITED),
        ([], b"noise"),
    ],
)
async def test_a_note_that_is_not_due_is_a_violation(
    before: list[bytes], undue: bytes
) -> None:
    notes = Notes()
    notes.expect(1)
    for one in before:
        notes.hear(one)

    with pytest.raises(frames.Violation):
        notes.hear(undue)


async def test_what_a_fork_came_to_is_due_until_it_was_said() -> None:
    notes = Notes()

    notes.expect(1)
    due = notes.unreported
    notes.hear(EXITED)

    assert (due, notes.unreported) == (1, 0)
