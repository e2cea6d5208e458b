"""What strangers at a function URL are told where it does not run."""

import pytest

from sandlot_engine.errors import SUSPENDED, Conflict, PermissionDenied, SandlotError
from sandlot_engine.gateway.urls.refusals import nothing_here, refusal_of


@pytest.mark.parametrize(
    "error",
    [
        Conflict("Tenant 123456789012 is suspended.", reason=SUSPENDED),
        PermissionDenied("tenant 123456789012 may have 'none' at most"),
    ],
    ids=["suspended", "network"],
)
def test_what_is_between_owner_and_operator_is_not_told(error: SandlotError) -> None:
    assert refusal_of(error, "request") == nothing_here()
