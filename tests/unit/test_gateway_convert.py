"""What the wire says of a function."""

from dataclasses import replace

from sandlot.v1 import functions_pb2 as wire
from sandlot_engine.gateway.rpc.convert import changes_of, config_of, function_out
from sandlot_engine.model.function import IMAGE, ImageConfig
from tests.fakes.functions import make_function


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


def test_what_is_run_of_an_image_travels_both_ways() -> None:
    wanted = ImageConfig(
        entry_point=("/run", ""), command=("a b",), working_directory="/srv"
    )
    function = make_function("1", "f", runtime=IMAGE, handler="", image_config=wanted)

    out = function_out(function, region="r", given_up=[], weaker=[])
    back = config_of(out.config, is_image=True)

    assert out.config.entry_point == ["/run", ""]
    assert back.image_config == wanted


def test_no_words_are_told_from_nothing_said() -> None:
    request = wire.UpdateFunctionConfigurationRequest(
        command=wire.Words(), working_directory=""
    )

    assert changes_of(request) == {
        "image_config": {"command": (), "working_directory": ""}
    }
    assert changes_of(wire.UpdateFunctionConfigurationRequest()) == {}
