"""What lasts is told once."""

from sandlot_engine.troubles import LastingTrouble


def test_a_trouble_is_told_once_until_it_has_ended() -> None:
    told: list[str] = []
    trouble = LastingTrouble(lambda message, *args, **_: told.append(message % args))

    for number in (1, 2):
        trouble.tell("disk %d is full", number)
    trouble.ended()
    trouble.tell("disk %d is full", 3)

    assert told == ["disk 1 is full", "disk 3 is full"]
