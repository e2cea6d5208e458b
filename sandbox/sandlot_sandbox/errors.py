"""What goes wrong on our side of a jail; the tenant's failures are values."""


class SandboxError(Exception):
    """Our side broke."""


class LauncherLost(SandboxError):
    """The launcher is gone, and every jail with it. A new one can be waited for."""


class ZygoteLost(SandboxError):
    """A zygote died or could not be started; the message says how."""


class StartFailed(SandboxError):
    """No instance came of a fork; the message says why."""
