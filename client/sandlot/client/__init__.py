"""The SDK for code that waits. Its twin is `sandlot.aio`."""

from sandlot.client.client import Client
from sandlot.client.handles import FunctionHandle, Ticket

__all__ = ["Client", "FunctionHandle", "Ticket"]
