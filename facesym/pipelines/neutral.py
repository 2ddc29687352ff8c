"""Remove the expression of a mouth with the zoo's AttributeGenerator: NFGAN alone closes an open smile halfway."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image

from ..faces.pixels import to_uint8
from ..onnx import backend, shared_network
from .transfer import TransferPipeline

FARTHEST = 30.0  # degrees of yaw up to which the AttributeGenerator keeps the person's looks


@cache
def _transfer(backend):
    """The zoo's TransferPipeline for a backend."""
    return TransferPipeline(shared_network("transfer", backend))


def neutral_mouth(crop: Image.Image, strengths: Sequence[float]) -> list[Image.Image]:
    """Replace the expression of the mouth with a neutral one.

    Args:
        crop: RGB, an aligned face.
        strengths: strengths of the change, each from 0 (none) to 1.

    Returns:
        A list of RGB images of the same size, one per strength. Pixels above the nose do not change.
    """
    pipe = _transfer(backend())
    face = pipe.view(crop)
    (edits,) = pipe.change([face], [{"expression": "neutral"}] * len(strengths), strengths)
    # Fades in from the middle of the nose's ridge to its base.
    top, bottom = face.small_points[[28, 33], 1] * (crop.height / face.small.height)
    below = np.clip((np.arange(crop.height) - top) / max(bottom - top, 1), 0, 1)[:, None, None]
    photo = (1 - below) * np.asarray(crop, np.float32)
    return [Image.fromarray(to_uint8(below * np.asarray(edit.crop, np.float32) + photo)) for edit in edits]
