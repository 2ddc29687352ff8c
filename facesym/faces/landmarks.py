"""The 68 landmarks of an aligned face, by the zoo's landmark network."""

from functools import lru_cache

import numpy as np
from PIL import Image

from .geometry import flip_landmarks


@lru_cache(maxsize=1)
def _net():
    from .. import zoo

    return zoo.load("landmarks")


def detect_landmarks(crop: Image.Image) -> np.ndarray:
    """Find the landmarks of an aligned face.

    Args:
        crop: RGB, a square crop in the FFHQ framing, of any size.

    Returns:
        68x2 float32, (x, y) in pixels of that crop, in the order of iBUG's 68 points.

    Raises:
        ZooError: the zoo has no landmark network or its weights cannot be had.
    """
    import torch

    net = _net()
    side = net.config.input_size
    small = np.asarray(crop.convert("RGB").resize((side, side), Image.Resampling.BICUBIC))
    image = torch.from_numpy(small.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        points = net(image)[0].float().numpy()
    return points * np.array(crop.size, np.float32) - 0.5  # pixel centres


def find_points(crop):
    """The 68 landmarks of an aligned face (RGB image) by the zoo's network, in the crop and in its mirror image,
    averaged, so that the network's own preference for a side falls out: 68x2 float32, pixels.

    Raises:
        ZooError: the zoo's landmark network cannot be had.
    """
    mirrored = detect_landmarks(Image.fromarray(np.ascontiguousarray(np.asarray(crop)[:, ::-1])))
    return ((detect_landmarks(crop) + flip_landmarks(mirrored, crop.width)) / 2).astype(np.float32)
