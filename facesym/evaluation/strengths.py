"""Measure whether expressions grow with the requested strength, for `facesym evaluate transfer`."""

from typing import Any

import numpy as np

from ..faces.landmarks import find_points
from ..faces.mouth import mouth_shape
from ..logging import progress_bar
from .smiles import change

STRENGTHS = (0, 0.25, 0.5, 0.75, 1, 1.25, 1.5)
# The length of `mouth_shape` that each expression changes most, and its name.
LENGTHS = {
    "neutral": (2, "height of the mouth's corners"),
    "happy": (2, "height of the mouth's corners"),
    "surprised": (0, "opening of the lips"),
}
NOISE = 0.004  # of the landmarks, in distances of the outer eye corners: a step back by less is none

COLUMNS = {f"{strength:g}": f"{{means[{i}]:.3f}}" for i, strength in enumerate(STRENGTHS)}
COLUMNS["steps in one direction"] = "{steps:.0%}"


def measure_strengths(pipes: dict[str, Any], images: np.ndarray) -> list[dict[str, Any]]:
    """Change the expressions of faces with growing strength.

    Args:
        pipes: {name: TransferPipeline}.
        images: NxSxSx3 uint8, aligned faces.

    Returns:
        A row for each model and expression: the mean of its length of LENGTHS at each of STRENGTHS, in distances of the
        outer eye corners, and the fraction of steps in the direction of the mean.
    """
    table = []
    for name, pipe in pipes.items():
        for expression in pipe.groups.get("expression", ()):
            index, label = LENGTHS[expression]
            found = []
            for image in progress_bar(images, desc=f"{name}: {expression}"):
                outputs = change(pipe, image, {"expression": expression}, STRENGTHS)
                found.append([mouth_shape(find_points(output))[index] for output in outputs])
            values = np.array(found)
            direction = np.sign(values[:, -1].mean() - values[:, 0].mean())
            table.append({
                "row": f"{name}: {expression}, {label}", "means": values.mean(0).round(4).tolist(),
                "steps": float((direction * np.diff(values, axis=1) > -NOISE).mean()),
            })  # fmt: skip
    return table
