"""Libraries that change AWS's runtime to see every invocation see it here."""

import pytest

from sandlot.errors import Unhandled
from tests.e2e.conftest import Deploy


@pytest.mark.parametrize("init_mode", ["auto", "per-instance"])
def test_who_changes_the_runtime_to_watch_sees_every_invocation(
    deploy: Deploy, init_mode: str
) -> None:
    function = deploy("traced", init_mode=init_mode)

    with pytest.raises(Unhandled) as failed:
        function.invoke({"fail": True})
    seen = function.invoke().value

    assert "on purpose" in str(failed.value)
    assert seen == ["began", "on purpose", "post_invocation_error", "began"]
    assert function.invoke().value[-2:] == ["post_invocation_result", "began"]
