"""A trouble that lasts: whoever asks is told each time, the operator once."""

from collections.abc import Callable


class LastingTrouble:
    """Of one kind. `log` is a method of a logger: what tells the operator."""

    def __init__(self, log: Callable[..., None]) -> None:
        self._log = log
        self._is_told = False

    def tell(self, message: str, *args: object) -> None:
        """It is there: tell, unless that was told since it began."""
        if not self._is_told:
            self._is_told = True
            self._log(message, *args, stacklevel=2)

    def ended(self) -> None:
        """It is over: the next is another."""
        self._is_told = False
