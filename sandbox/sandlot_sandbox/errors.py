"""What goes wrong on our side of a jail; the tenant's failures are values."""


class SandboxError(Exception):
    """Our side broke."""


class LauncherLost(SandboxError):
    """The launcher is gone, and every jail with it. A new one can be waited for."""


class ZygoteLost(SandboxError):
    """A zygote died or could not be started; the message says how."""

    def __init__(
        self, message: str, *, started: bool = True, killed: bool = False
    ) -> None:
        super().__init__(message)
        self.started = started
        """False where its interpreter had not begun: our failure, not the tenant's."""

        self.killed = killed
        """By SIGKILL, which may be for want of memory, and may be an accident."""


class StartFailed(SandboxError):
    """No instance came of a fork; the message says why."""

    def __init__(self, message: str, *, said: str = "") -> None:
        super().__init__(message)
        self.said = said
        """What the zygote gave as the reason. The tenant's word, for its own log."""
