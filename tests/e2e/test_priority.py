"""Who has processors first where they are short."""

from sandlot_engine.priority import NICE
from tests.e2e import processes
from tests.e2e.conftest import deploy_guest
from tests.e2e.engines import Mode, new_engine
from tests.e2e.processes import Role

WORKERS = 2


def test_only_who_serves_goes_before_others(mode: Mode) -> None:
    with new_engine(mode) as engine:
        engine.start("--workers", str(WORKERS))
        deploy_guest(engine.client(), "counter").invoke({})

        family = processes.family_of(engine.pid)
        serving = [*family.of_role(Role.ENGINE), *family.of_role(Role.WORKER)]
        others = [each for each in family.members.values() if each not in serving]
        of_serving = {processes.nice_of(each) for each in serving}
        of_others = {processes.nice_of(each) for each in others}

    assert len(serving) == 1 + WORKERS
    assert family.of_role(Role.INSTANCE)
    favoured = NICE if mode is Mode.ROOT else 0
    assert of_serving == {(favoured, favoured)}
    assert of_others == {(0, 0)}
