"""Sharpen a synthesized face that is softer than the photo it was made from."""

import cv2
import numpy as np

from .pixels import to_uint8

FINE = 1 / 256  # sigma as a fraction of the side: what is sharpened is finer
MAX_AMOUNT = 1.0  # maximum weight of the added detail
RIM = 1 / 64  # sigma of the border of the sharpened region, as a fraction of the side
# Centre and half axes (x, y) of a frontal face in an aligned crop, as fractions of the side.
CENTRE, AXES = (0.5, 0.58), (0.2, 0.26)


def frontal_face(size: int) -> np.ndarray:
    """Return the region of a frontal face in an aligned crop (FFHQ framing): SxS bool, S = ``size``."""
    y, x = ((np.mgrid[:size, :size] + 0.5) / size).astype(np.float32)
    return np.hypot((x - CENTRE[0]) / AXES[0], (y - CENTRE[1]) / AXES[1]) < 1


def roughness(image: np.ndarray, region: np.ndarray) -> float:
    """Return the root mean square of the Laplacian in a region (HxW bool, not empty) of an image (HxWx3)."""
    return _root_mean_square(_laplacian(image)[region])


def sharpen(output: np.ndarray, region: np.ndarray, target: float) -> np.ndarray:
    """Sharpen a region by an unsharp mask, until it reaches a `roughness`.

    The amount of the unsharp mask follows in closed form.

    Args:
        output: SxSx3 uint8, the synthesized face.
        region: SxS bool, where to sharpen.
        target: roughness of the photo's face.

    Returns:
        SxSx3 uint8; unchanged if it is sharp enough, or if the region is empty.
    """
    if not region.any():
        return output
    size, values = len(output), output.astype(np.float32)
    detail = values - cv2.GaussianBlur(values, (0, 0), FINE * size)
    own, added = (_laplacian(x)[region] for x in (values, detail))
    rough, a = _root_mean_square(own), np.square(added).mean()
    if rough >= target or a == 0:
        return output
    # The root of |own + amount · added|² = target².
    b, c = (own * added).mean(), rough**2 - target**2
    amount = min((np.sqrt(b * b - a * c) - b) / a, MAX_AMOUNT)
    weight = amount * cv2.GaussianBlur(region.astype(np.float32), (0, 0), RIM * size)
    return to_uint8(values + weight[..., None] * detail)


def _root_mean_square(values):
    return float(np.sqrt(np.square(values).mean()))


def _laplacian(image):
    return cv2.Laplacian(cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY), cv2.CV_32F)
