"""The SDK for code under asyncio. Its twin is `sandlot.client`."""

from sandlot.aio.client import AsyncClient
from sandlot.aio.handles import AsyncFunctionHandle, AsyncTicket

__all__ = ["AsyncClient", "AsyncFunctionHandle", "AsyncTicket"]
