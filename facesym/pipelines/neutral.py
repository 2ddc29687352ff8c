"""Remove the expression of a mouth with the zoo's AttributeGenerator: NFGAN alone closes an open smile halfway."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image

from ..faces.landmarks import find_points
from ..onnx import backend, shared_network
from .transfer import TransferPipeline

FARTHEST = 30.0  # degrees of yaw up to which the AttributeGenerator keeps the person's looks


@cache
def _transfer(backend):
    """The zoo's TransferPipeline for a backend."""
    return TransferPipeline(shared_network("transfer", backend))


def neutral_mouth(crop: Image.Image, strengths: Sequence[float] = (1.0,)) -> list[Image.Image]:
    """Replace an expression of the mouth by a neutral one.

    Args:
        crop: RGB, an aligned face.
        strengths: how far, each from 0 (not at all) to 1.

    Returns:
        A list of RGB images of the same size, one per strength. What is above the nose does not change.
    """
    points, pipe = find_points(crop), _transfer(backend())
    small = crop.resize((pipe.size, pipe.size), Image.Resampling.LANCZOS)
    made = pipe.run(small, crop, [{"expression": "neutral"}] * len(strengths), strengths)
    # Fades in from the middle of the nose's ridge to its base.
    top, bottom = points[28, 1], points[33, 1]
    below = np.clip((np.arange(crop.height) - top) / max(bottom - top, 1), 0, 1)[:, None, None]
    photo = (1 - below) * np.asarray(crop, np.float32)
    return [
        Image.fromarray(np.rint(below * np.asarray(x, np.float32) + photo).astype(np.uint8)) for x in made
    ]
