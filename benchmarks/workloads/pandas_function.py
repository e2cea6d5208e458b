"""A large native dependency. The first DataFrame makes much that an import has not."""

import pandas as pd  # type: ignore[import-untyped]  # where it is installed, too


def handler(event: dict[str, list[float]], context: object) -> dict[str, float]:
    frame = pd.DataFrame(event)
    return {"rows": len(frame), "correlation": float(frame.corr().iloc[0, 1])}
