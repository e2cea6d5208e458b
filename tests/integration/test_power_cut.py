"""What was accepted survives a power cut; and a store that does not flush is caught."""

from pathlib import Path

import pytest

from benchmarks.scenarios.chaos import power

pytestmark = pytest.mark.skipif(
    not power.is_possible(), reason="takes root and loop devices"
)


async def test_what_was_accepted_survives_a_power_cut(tmp_path: Path) -> None:
    cut = await power.cut_power(tmp_path, after_s=1.5)

    assert cut.accepted > 100
    assert (cut.lost, cut.is_whole) == (0, True)


async def test_a_store_that_does_not_flush_loses_what_was_accepted(
    tmp_path: Path,
) -> None:
    cut = await power.cut_power(tmp_path, after_s=1.5, has_fsync=False)

    assert cut.lost > 0
