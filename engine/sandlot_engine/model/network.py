"""What a function can reach, and which tenant may have how much of it."""

from enum import StrEnum


class Network(StrEnum):
    """From the least to the most: each member includes those before it."""

    NONE = "none"
    """A loopback of its own, and no way out."""

    EGRESS = "egress"
    """Out to public addresses, and to the private ones that its tenant was allowed."""

    HOST = "host"
    """The machine's own network, local services included. For code one trusts."""

    def exceeds(self, most: "Network") -> bool:
        return _REACH[self] > _REACH[most]


_REACH = {network: number for number, network in enumerate(Network)}
