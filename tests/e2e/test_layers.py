"""Layers: what functions have in common, by the SDK alone."""

import pytest

from sandlot import Client, errors
from tests.e2e.conftest import Deploy
from tests.fakes.zips import zip_of

APP = {"app.py": "import deps\ndef handler(event, context): return deps.ANSWER"}


def answering(number: int) -> bytes:
    return zip_of({"python/deps.py": f"ANSWER = {number}"})


def test_a_function_imports_from_the_layer_that_it_was_given(
    client: Client, deploy: Deploy
) -> None:
    first = client.publish_layer(answering(1), name="answers")
    second = client.publish_layer(answering(2), name="answers")
    function = deploy(APP, layers=[f"answers:{first.version}"])

    one = function.invoke().value
    client.update_function(function.name, layers=[second.arn])
    client.delete_layer_version("answers", second.version)
    two = function.invoke().value

    assert (one, two) == (1, 2)
    assert function.config().layers == (second.arn,)
    with pytest.raises(errors.InvalidParameter, match="does not exist"):
        client.update_function(function.name, layers=[f"answers:{second.version}"])
