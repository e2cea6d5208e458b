"""How many of the machine's UDP ports a cell may have. Pure.

slirp4netns takes one of the machine's for each port that a cell sends from, and keeps
it for four minutes after the last datagram, in either direction. There are 28,232 of
them, for everybody: thirty cells with a thousand each, as many as slirp4netns may have
open, would leave none to other cells' questions to DNS, nor to anybody else on the
machine. Of TCP's ports that is not so: connections to different places share them.
"""

from collections.abc import Callable

MOST = 64
"""With these, and with those of all resolvers, as many cells as there may be leave some
to the machine."""

KEPT_S = 250.0
"""Longer than libslirp keeps one (SO_EXPIRE)."""

_IPV4, _UDP = b"\x08\x00", b"\x11"
_ETHERNET = 14
_SHORTEST = _ETHERNET + 20
_TYPE, _LATER, _PROTOCOL = slice(12, 14), slice(20, 22), slice(23, 24)
_SENDER, _RECEIVER = slice(26, 30), slice(30, 34)
_OFFSET = 0x1FFF


class UdpPorts:
    """Those of one cell for which slirp4netns may have one of the machine's."""

    def __init__(self, now: Callable[[], float], *, most: int = MOST) -> None:
        self._now = now
        self._most = most
        self._seen: dict[bytes, float] = {}
        """When each was seen, the longest ago first."""

    def __len__(self) -> int:
        return len(self._seen)

    def lets_out(self, frame: bytes) -> bool:
        """Whether slirp4netns may be given what the cell sends."""
        if frame[_PROTOCOL] != _UDP:
            return True  # nearly always
        port = _port(frame, _SENDER, 0)
        if not port:
            return True
        now = self._now()
        if self._seen.pop(port, None) is None and len(self._seen) >= self._most:
            longest = next(iter(self._seen))
            if now - self._seen[longest] < KEPT_S:
                return False
            del self._seen[longest]
        self._seen[port] = now
        return True

    def note_in(self, frame: bytes) -> None:
        """What the cell is given: by that, too, a port is kept."""
        if frame[_PROTOCOL] == _UDP:
            port = _port(frame, _RECEIVER, 2)
            if self._seen.pop(port, None) is not None:
                self._seen[port] = self._now()


def _port(frame: bytes, address: slice, at: int) -> bytes:
    """Address and port, of a datagram of UDP over IPv4; nothing of all else, as of the
    later parts of a large one, which have no ports."""
    if frame[_TYPE] != _IPV4 or len(frame) < _SHORTEST:
        return b""
    if int.from_bytes(frame[_LATER], "big") & _OFFSET:
        return b""
    start = _ETHERNET + 4 * (frame[_ETHERNET] & 0x0F) + at
    return frame[address] + frame[start : start + 2]
