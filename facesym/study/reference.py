"""The healthy range: quantiles of the measures over healthy, near-frontal, neutral faces, from reference.json.

`facesym evaluate reference` writes that file, which holds numbers only.
"""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("reference.json")
PERCENTS = (
    0.5,
    1,
    2.5,
    5,
    10,
    15,
    20,
    25,
    30,
    35,
    40,
    45,
    50,
    55,
    60,
    65,
    70,
    75,
    80,
    85,
    90,
    95,
    97.5,
    99,
    99.5,
)
HEALTHY = (2.5, 97.5)  # percentiles between which a value is usual
LIMIT = 99.5  # percentile beyond which a photo is flagged


@cache
def reference() -> dict[str, Any]:
    """Read the file: "faces" (their number), "data" (a description), "landmarks" (sha256 of the network's
    weights that found them), "quantiles" {name: values at PERCENTS}."""
    return json.loads(FILE.read_text())


def quantiles(name: str) -> list[float] | None:
    """Return the values of a quantity at PERCENTS over the reference faces, or None."""
    return reference()["quantiles"].get(name)


def percentile(name: str, value: float) -> float | None:
    """Return the percentage of reference faces with a smaller value, between the first and the last of PERCENTS."""
    values = quantiles(name)
    return None if values is None or value is None else float(np.interp(value, values, PERCENTS))


def healthy_range(name: str) -> tuple[float, float]:
    """Return the values of a quantity of the reference at the two percentiles of HEALTHY."""
    values = reference()["quantiles"][name]
    low, high = (values[PERCENTS.index(percent)] for percent in HEALTHY)
    return low, high


def region_limit(region: str) -> float:
    """Return the largest difference of a region ("brow", "eye" or "mouth") that 95 % of the reference faces do not
    exceed, in limits of its measures' healthy ranges."""
    return reference()["quantiles"][f"{region}_largest"][PERCENTS.index(95)]


def limit(name: str) -> float:
    """Return the value below which LIMIT percent of the reference faces are."""
    values = quantiles(name)
    return float("inf") if values is None else values[PERCENTS.index(LIMIT)]


def summarize(values: Sequence[float] | np.ndarray) -> list[float]:
    """Quantiles of some numbers at PERCENTS, rounded for the file."""
    return [round(float(value), 5) for value in np.percentile(np.asarray(values), PERCENTS)]
