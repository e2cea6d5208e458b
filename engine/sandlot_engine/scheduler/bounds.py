"""How much there may be on one machine, and for how long, unless it is told
otherwise."""

MAX_INSTANCES = 3_200
"""Live on one machine."""

OTHERS_SHARE = 16
"""Of those, the part divided by this is left to others by every tenant: whoever has all
the rest, with invocations that take a quarter of an hour, keeps nobody waiting for it.
Beyond that a tenant that has less gets the next place of one that has more."""

MAX_STARTING = 16
"""Being started at once."""

MAX_STARTING_OF_TENANT = MAX_STARTING // 2
"""Of those, one tenant's: its starts may hang, and others must go on."""

KEPT_SHARE = 2
"""Of those that may live, the part divided by this may be kept ahead: others must find
room."""

STANDBYS_SHARE = 8
"""Of those that may live, the part divided by this may stand by; they are the first to
go where there is no room."""

REFILL_S = 0.02
"""A standby that was used is replaced this much later, and no two at once, so that
starting it does not compete with the invocation that it was used for."""

MAX_FAILED_STARTS = 2
"""For one invocation: what was lost under us deserves a second try."""

IDLE_S = 300.0
"""How long an instance stays without an invocation."""

PLACE_S = 10.0
"""How long an invocation waits for an instance, or for a place to start one."""

RETRY_AFTER_S = 5.0
"""What a caller is told who waited for that in vain."""
