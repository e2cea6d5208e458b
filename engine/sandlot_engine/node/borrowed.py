"""An instance of another process of the engine, in the engine's words."""

from collections.abc import Awaitable, Callable

from sandlot_engine.node.instances import HostedInstance
from sandlot_sandbox.host.lending import BorrowedInstance, Loan
from sandlot_sandbox.host.log_pipe import Line
from sandlot_sandbox.host.minder import Minder


class Borrowed:
    """What is borrowed; see `lending.BorrowedInstance`."""

    def __init__(self, instance: BorrowedInstance, *, region: str) -> None:
        self._borrowed = instance
        self.instance = HostedInstance(
            instance,
            region=region,
            # These are of one that is new.
            is_clone=False,
            note_late_init=lambda: None,
            printed=lambda _: None,
        )

    def give_back(self) -> tuple[bool, int, tuple[Line, ...]] | None:
        """Let go of it: whether it is frozen, the most memory it used, in kB, and what
        it has printed since its last answer. None where it is not idle, and so cannot
        be given back."""
        is_frozen, peak_kb = self._borrowed.is_frozen, self._borrowed.peak_memory_kb
        printed = self._borrowed.give_back()
        return None if printed is None else (is_frozen, peak_kb, printed)

    @property
    def leaves_tmp(self) -> bool:
        """Whether its /tmp may be the next one's, now that it is to end."""
        return self._borrowed.leaves_tmp

    def note_exit(self, status: int) -> None:
        self._borrowed.note_exit(status)

    def note_zygote_lost(self, *, with_launcher: bool) -> None:
        self._borrowed.note_zygote_lost(with_launcher=with_launcher)


def borrow(
    *,
    descriptors: dict[str, int],
    memory_mb: int,
    is_frozen: bool,
    idle_since: float,
    peak_memory_kb: int,
    minder: Minder,
    region: str,
    kill: Callable[[], Awaitable[str]],
    on_death: Callable[[], None],
) -> Borrowed:
    """Of what a loan said, and of its descriptors, which are owned from now on."""
    loan = Loan(
        memory_mb=memory_mb,
        is_frozen=is_frozen,
        idle_since=idle_since,
        peak_memory_kb=peak_memory_kb,
    )
    instance = BorrowedInstance(
        loan, descriptors, minder=minder, kill=kill, on_death=lambda _: on_death()
    )
    return Borrowed(instance, region=region)
