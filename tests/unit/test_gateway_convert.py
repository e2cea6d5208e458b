"""What the wire says of a function."""

from dataclasses import replace

from sandlot_engine.gateway.rpc.convert import function_out
from tests.fakes.backend import make_function


def test_what_isolates_it_less_stands_beside_why_it_failed() -> None:
    function = replace(make_function("1", "f"), state_reason="It could not start.")

    out = function_out(
        function, region="r", given_up=["seccomp", "landlock"], weaker=["cgroup"]
    )
    fine = function_out(function, region="r", given_up=[], weaker=[])

    assert out.state_reason == (
        "It could not start. Isolated without seccomp, landlock."
        " Isolated more weakly by cgroup."
    )
    assert fine.state_reason == "It could not start."
