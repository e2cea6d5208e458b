"""Since when instances serve."""

from sandlot_engine.scheduler.serving import Serving


def test_each_is_known_until_it_is_forgotten() -> None:
    serving = Serving()
    serving.note("resize", 1, 10.0)
    serving.note("resize", 2, 14.0)
    serving.note("mail", 3, 11.0)

    assert sorted(serving.ran("resize", 12.0)) == [-2.0, 2.0]
    serving.forget(1)
    serving.forget(1)
    assert list(serving.ran("resize", 12.0)) == [-2.0]
    assert list(serving.ran("sort", 12.0)) == []


def test_nothing_is_left_of_what_is_over() -> None:
    serving = Serving()
    serving.note("resize", 1, 10.0)
    serving.note("resize", 1, 12.0)
    serving.forget(1)

    assert len(serving) == 0
    assert not serving._since  # noqa: SLF001 - only seen there
