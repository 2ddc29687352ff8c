"""The 68 landmarks of an aligned face, by the zoo's landmark network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from .geometry import flip_landmarks

if TYPE_CHECKING:
    import torch


@lru_cache(maxsize=1)
def network() -> Any:
    import torch

    from .. import zoo

    return zoo.load("landmarks").to(memory_format=torch.channels_last)


def to_input(crops: Sequence[Image.Image]) -> torch.Tensor:
    """RGB images to an Nx3xSxS tensor in [-1, 1] of the network's size."""
    import torch

    side = network().config.input_size
    pixels = [
        np.asarray(crop.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)) for crop in crops
    ]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


def find_points(crops: Image.Image | Sequence[Image.Image]) -> np.ndarray:
    """Find the landmarks of aligned faces, in each crop and in its mirror image, averaged, so that the network's own
    preference for a side falls out.

    Args:
        crops: an RGB image, or a list of them: square crops of one face each, of any size.

    Returns:
        68x2 float32 (or Nx68x2 for a list), (x, y) in pixels of the crop, in the order of iBUG's 68 points.

    Raises:
        ZooError: the zoo has no landmark network, or its weights are unavailable.
    """
    import torch

    if isinstance(crops, Image.Image):
        return find_points([crops])[0]
    found = []
    for start in range(0, len(crops), 16):
        part = to_input(crops[start : start + 16])
        with torch.inference_mode():
            found.append(both_ways(network()(torch.cat([part, part.flip(-1)]))))
    sides = np.array([crop.size for crop in crops], np.float32)[:, None]
    return to_pixels(np.concatenate(found), sides)


def both_ways(predicted: torch.Tensor) -> np.ndarray:
    """The network's landmarks of images, averaged with those of their mirror images: 2Nx68x2 to Nx68x2."""
    plain, mirrored = predicted.float().numpy().reshape(2, -1, 68, 2)
    return (plain + flip_landmarks(mirrored, 1.0) + [1, 0]) / 2


def to_pixels(fractions: np.ndarray, side: float | np.ndarray) -> np.ndarray:
    """Fractions of a crop's side to pixels, whose centres are at whole numbers: float32."""
    return (fractions * side - 0.5).astype(np.float32)
