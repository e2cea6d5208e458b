"""No step of building a jail is left out by oversight."""

from tests.isolation import steps


def test_every_step_is_tried_or_its_exception_explained() -> None:
    found = {(s.file, s.line): s for s in steps.all_of("launcher", "guest")}
    tried = {
        (step.file, step.line)
        for step in steps.TRIED
        if step.text not in steps.EXPLAINED_TEXTS
    }
    left = [step for place, step in found.items() if place not in tried]

    unexplained = [
        step.name
        for step in left
        if f"{step.file}:{step.function}" not in steps.EXPLAINED
        and step.text not in steps.EXPLAINED_TEXTS
    ]
    needed = {f"{step.file}:{step.function}" for step in left}
    assert unexplained == []
    assert steps.EXPLAINED.keys() - needed == set(), "nothing is left to explain there"
