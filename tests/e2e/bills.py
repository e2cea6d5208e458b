"""What is owed, whenever it was run: what a test has asked for may be of last month."""

from datetime import UTC, datetime

from sandlot import Bill, Client

_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def bill_of(client: Client) -> Bill:
    """Of all there was. Where nothing is said, a bill begins with this month."""
    return client.bill(since=_LONG_AGO)
