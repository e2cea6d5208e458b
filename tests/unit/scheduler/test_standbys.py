"""Which revisions have standbys."""

from dataclasses import replace

from sandlot_engine.model.function import Function, Revision
from sandlot_engine.model.network import Network
from sandlot_engine.scheduler.standbys import MAX_WITH_EGRESS, Standbys
from sandlot_engine.scheduler.state import ClusterState
from tests.fakes.things import function, revision

KEEP_S = 300.0


class World:
    """A state in which nothing is ever started."""

    def __init__(self, *, standbys: int = 1_000, known: int = 1_000) -> None:
        self.state = ClusterState(
            max_instances=10_000,
            max_starting=8,
            max_starting_of_tenant=8,
            max_kept=0,
            max_standbys=standbys,
        )
        self.retired: list[int] = []
        self.standbys = Standbys(
            self.state,
            act=lambda decisions: None,
            retire=self.retired.extend,
            keep_s=KEEP_S,
            max_known=known,
        )

    def use(self, name: str, now: float, *, network: Network = Network.NONE) -> None:
        """It is invoked once, and answers."""
        used, its = _function(name, network)
        history = self.standbys.note_arrival(used, its, now)
        history.note_run(run_s=0.01, init_s=None, memory_mb=1.0)
        history.note_end(now)
        self.standbys.review(its.id, now)

    def wanted(self, name: str) -> int:
        return self.state.standbys_of(name)[0]


def _function(name: str, network: Network) -> tuple[Function, Revision]:
    its = revision()
    its = replace(its, id=name, config=replace(its.config, network=network))
    return function(name, serving=its), its


def test_what_was_used_has_one_until_it_is_forgotten() -> None:
    world = World()
    world.use("resize", 0.0)
    assert world.wanted("resize") == 1

    world.standbys.forget("resize")

    assert world.wanted("resize") == 0
    assert not world.state.versions
    world.standbys.review("resize", 0.0)
    assert world.wanted("resize") == 0


def test_what_is_not_used_any_more_gives_it_up() -> None:
    world = World()
    world.use("resize", 0.0)
    world.use("mail", KEEP_S / 2)

    world.standbys.sweep(KEEP_S)

    assert (world.wanted("resize"), world.wanted("mail")) == (0, 1)


def test_where_there_are_few_whoever_was_used_last_has_them() -> None:
    world = World(standbys=2)
    for number, name in enumerate(("resize", "mail", "resize", "sort")):
        world.use(name, float(number))

    assert [world.wanted(n) for n in ("resize", "mail", "sort")] == [1, 0, 1]
    assert repr(world.standbys) == "<Standbys of 2 of 3 revisions>"


def test_no_more_revisions_are_known_than_may_be() -> None:
    world = World(known=3)
    for number in range(5):
        world.use(f"f-{number}", float(number))

    assert [each.revision.id for each in world.standbys] == ["f-2", "f-3", "f-4"]
    assert world.wanted("f-0") == 0
    assert world.state.versions.keys() == {"f-2", "f-3", "f-4"}


def test_few_stand_by_with_a_way_out() -> None:
    world = World()
    for number in range(MAX_WITH_EGRESS + 3):
        world.use(f"f-{number}", 0.0, network=Network.EGRESS)
    world.use("plain", 0.0)
    for _ in range(3):
        world.standbys.note_missing("f-0", 0.0)
        world.standbys.note_missing("plain", 0.0)

    wanted = [world.wanted(f"f-{n}") for n in range(MAX_WITH_EGRESS + 3)]
    assert wanted == [1] * MAX_WITH_EGRESS + [0] * 3
    assert world.wanted("plain") == 8
    world.standbys.forget("f-0")
    world.standbys.sweep(1.0)
    assert world.wanted(f"f-{MAX_WITH_EGRESS}") == 1


def test_whoever_was_given_one_is_counted() -> None:
    world = World()
    world.use("resize", 0.0)

    world.standbys.note_taken("resize", 1.0)
    world.standbys.note_taken("nobody's", 1.0)

    assert world.standbys.taken == 2
    assert world.standbys.there == 0
