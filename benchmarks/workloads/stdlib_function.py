"""What a usual function imports, and a little work with it."""

import asyncio
import hashlib
import hmac
import http.client
import ssl
import urllib.request
from datetime import datetime
from decimal import Decimal

USUAL = (asyncio, http.client, ssl, urllib.request)


def handler(event: dict[str, str], context: object) -> dict[str, str]:
    amount = Decimal(event["amount"]) * 2
    message = f"{amount} at {datetime.fromisoformat(event['at']):%d %B %Y}"
    signature = hmac.new(b"key", message.encode(), hashlib.sha256).hexdigest()
    return {"message": message, "signature": signature}
