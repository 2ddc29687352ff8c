"""Apply a network's change of light to the photo's own pixels."""

import cv2
import numpy as np
from PIL import Image

from .geometry import face_region
from .paste import diffuse

COARSE = 0.06  # sigma of the neighbourhood of equal light, as a fraction of the side
LEAST = 100.0  # variance, in levels of 255 squared, below which a change of contrast is not measured
NEAR, FAR = 0.12, 0.42  # distances from the face, as fractions of the side, between which local light fades


def relight(image: Image.Image, small: Image.Image, lit: Image.Image, points: np.ndarray) -> Image.Image:
    """Light a crop the way a network lit a small version of it.

    Each pixel is scaled and shifted, so that all detail is the photo's. Scale and shift are a least-squares fit to the
    change of the small face around that pixel. Their mean over the face, such as a darker photo, applies to the whole
    crop; the rest, such as light from one side, applies to the head and fades with the distance from the face.

    Args:
        image: RGB, an aligned crop.
        small: RGB, the same crop at the network's size.
        lit: RGB, ``small`` in another light.
        points: 68x2, the landmarks of ``small`` in pixels.

    Returns:
        RGB image of the crop's size.
    """
    size, side = image.width, small.width
    face = face_region(points, side)
    inside = cv2.erode(face, np.ones((3, 3)), iterations=max(1, side // 64))
    if not inside.any():
        return image
    before, after = np.asarray(small, np.float32), np.asarray(lit, np.float32)
    total = np.maximum(_blur(inside), 1e-3)

    def mean(values):
        return _blur(values * inside[..., None]) / total[..., None]

    mean_before, mean_after = mean(before), mean(after)
    variance = mean((before - mean_before) ** 2).sum(2)
    covariance = mean((before - mean_before) * (after - mean_after)).sum(2)
    brighter = mean_after.sum(2) / np.maximum(mean_before.sum(2), 1)
    # In flat regions a scale and a shift are the same: prefer the scale.
    scale = (covariance + LEAST * brighter) / (variance + LEAST)
    change = np.dstack([scale, mean_after - scale[..., None] * mean_before])
    whole = change[inside > 0].mean(0)
    change = _blur(diffuse(change, inside > 0), 0.4)
    away = cv2.distanceTransform((face < 0.5).astype(np.uint8), cv2.DIST_L2, 5) / side
    nearness = np.clip((FAR - away) / (FAR - NEAR), 0, 1)
    nearness = (nearness * nearness * (3 - 2 * nearness))[..., None]
    change = whole + nearness * (change - whole)
    change = cv2.resize(change.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    relit = change[..., :1] * np.asarray(image) + change[..., 1:]
    return Image.fromarray(np.clip(np.rint(relit), 0, 255).astype(np.uint8))


def _blur(values, times=1.0):
    return cv2.GaussianBlur(values, (0, 0), times * COARSE * len(values))
