"""numpy's two kinds of generators, made at the import."""

import time

import numpy

numpy.random.seed(1)
default = numpy.random.default_rng(2)
state = numpy.random.RandomState(3)
sequence = numpy.random.SeedSequence(4)


def handler(event, context):
    began = time.time()
    drawn = {
        "numpy.random": float(numpy.random.random()),
        "default_rng": float(default.random()),
        "RandomState": float(state.normal()),
        "SeedSequence": int(sequence.spawn(1)[0].generate_state(1)[0]),
        "spawned": int(default.bit_generator.seed_seq.spawn(1)[0].generate_state(1)[0]),
    }
    time.sleep(max(0.0, event.get("until", 0.0) - began))
    return {"began": began, "drawn": drawn}
