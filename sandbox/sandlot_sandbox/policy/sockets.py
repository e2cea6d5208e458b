"""Which options of sockets may be set: so many that they are a table of their own."""

from sandlot_sandbox.policy.terms import Argument, Rule

_SOL_SOCKET, SO_SNDBUF, SO_RCVBUF, SO_LINGER = 1, 7, 8, 13
_IP, _TCP, _UDP, _IPV6 = 0, 6, 17, 41
_MULTICAST = (*range(32, 41), *range(42, 48))
"""Of IP: MULTICAST_IF, TTL, LOOP, memberships, by source and by group."""

_OPTIONS = {
    _IP: (
        *(1, 2, 6, 7, 8),  # TOS TTL RECVOPTS RETOPTS PKTINFO
        *(10, 12, 13, 20, 24),  # MTU_DISCOVER RECVTTL RECVTOS RECVORIGDSTADDR, ...
        *(*_MULTICAST, 49, 50, 51),  # MULTICAST_ALL UNICAST_IF LOCAL_PORT_RANGE
    ),
    _TCP: (
        *(1, 2, 3, 4, 5, 6, 8),  # NODELAY MAXSEG CORK KEEPIDLE KEEPINTVL, ...
        *(10, 12, 13, 16, 17, 18),  # WINDOW_CLAMP QUICKACK CONGESTION, ...
        *(25, 30, 36),  # NOTSENT_LOWAT FASTOPEN_CONNECT INQ
    ),
    _UDP: (1, 101, 102, 103, 104),  # CORK NO_CHECK6_TX NO_CHECK6_RX SEGMENT GRO
    _IPV6: (
        *(16, 17, 18, 19),  # UNICAST_HOPS MULTICAST_IF MULTICAST_HOPS MULTICAST_LOOP
        *(23, 24, 26),  # MTU_DISCOVER MTU V6ONLY
        *(49, 51, 60, 62, 66, 67),  # RECVPKTINFO RECVHOPLIMIT, ..., TCLASS
        *(70, 72, 76),  # AUTOFLOWLABEL ADDR_PREFERENCES UNICAST_IF
    ),
}
"""Of each level but SOL_SOCKET. Not among them are those by which an answer is lost or
not waited for (see `_HALF_OPEN`), and those of the kernel's less trodden parts: ULP,
MD5, AO, REPAIR, encapsulation, flow labels, headers of one's own, packet filters. Nor
are groups of IPv6, any number of them for each socket, which no group counts."""

_PRETENDED = (
    *((_TCP, 7), (_TCP, 9)),  # SYNCNT, DEFER_ACCEPT
    *((_IP, 11), (_IPV6, 25)),  # RECVERR
)

SOCKET_OPTIONS = (
    *(1, 2, 3, 4, 5, 6),  # DEBUG REUSEADDR TYPE ERROR DONTROUTE BROADCAST
    *(9, 10, 11, 12, 14, 15),  # KEEPALIVE OOBINLINE NO_CHECK PRIORITY, ...
    *(16, 17, 20, 21),  # PASSCRED PEERCRED RCVTIMEO SNDTIMEO
    *(25, 29, 34, 35, 36),  # BINDTODEVICE TIMESTAMP PASSSEC TIMESTAMPNS MARK
    *(40, 42, 46, 66, 67),  # RXQ_OVFL PEEK_OFF BUSY_POLL RCVTIMEO SNDTIMEO
)
OPTIONS_THAT_TAKE_ROOM = (
    *(SO_SNDBUF, SO_RCVBUF, 18, 19),  # RCVLOWAT SNDLOWAT
    *(41, 43, 45, 47, 49),  # WIFI_STATUS SELECT_ERR_QUEUE MAX_PACING_RATE, ...
    *(62, 63, 64),  # BINDTOIFINDEX TIMESTAMP_NEW TIMESTAMPNS_NEW
    *(69, 70, 74, 75, 76),  # PREFER_BUSY_POLL TXREHASH RCVMARK PASSPIDFD, ...
)


def setsockopt(reason: str, options: tuple[int, ...]) -> Rule:
    """That these of SOL_SOCKET are set, and those of the other levels above."""
    known = {_SOL_SOCKET: options, **_OPTIONS}
    alternatives = (
        (Argument(1, level), Argument(2, option))
        for level in known
        for option in known[level]
    )
    return Rule("setsockopt", reason, tuple(alternatives))


def pretended_options(reason: str, *options: int) -> Rule:
    """That these of SOL_SOCKET seem to be set, and those by which answers are lost."""
    of_sockets = ((Argument(1, _SOL_SOCKET), Argument(2, option)) for option in options)
    others = ((Argument(1, level), Argument(2, option)) for level, option in _PRETENDED)
    reason = f"{reason}; and {_HALF_OPEN}; and {_NO_ERRORS}"
    return Rule("setsockopt", reason, (*of_sockets, *others))


_HALF_OPEN = (
    "a connection that is half open is the kernel's, who counts it neither as memory"
    " nor as a socket: it lasts no longer than it does by itself, and nobody who"
    " connects has the answers lost"
)
_NO_ERRORS = (
    "what was sent and came back, or was noted with a time, waits with its sender as"
    " memory that no group counts; libc asks for the former where it looks up names"
)
NOBODY_LINGERS = (
    "a socket that lingers is closed when its peer has taken all, and until then waits"
    " who had it last: that may be us, where it was sent to us, or a thread of the"
    " kernel's that closes for all of the machine"
)
