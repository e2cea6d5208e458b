"""`python -m tests.fuzz [seconds]`: the properties of `tests/unit/test_fuzz.py`, for as
long as you like, each with new examples all the time. 60 seconds unless told."""

import sys
import time
from collections.abc import Callable, Iterator

from tests.unit import test_fuzz


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    properties = dict(_properties())
    for name, property_ in properties.items():
        until = time.monotonic() + seconds / len(properties)
        rounds = 0
        while time.monotonic() < until:
            property_()
            rounds += 1
        print(f"{name}: {rounds * test_fuzz.OFTEN.max_examples} examples")  # noqa: T201
    return 0


def _properties() -> Iterator[tuple[str, Callable[[], None]]]:
    for name, value in vars(test_fuzz).items():
        if hasattr(value, "hypothesis"):
            yield name, value


if __name__ == "__main__":
    sys.exit(main())
