"""A native dependency, and a little work with it."""

import numpy as np


def handler(event: dict[str, list[float]], context: object) -> dict[str, float]:
    values = np.asarray(event["values"], dtype=np.float64)
    return {"mean": float(values.mean()), "most": float((values * values).max())}
