"""Apply a network's change of light to the photo's own pixels."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from .align import crop_bounds
from .geometry import face_region, smooth_ramp
from .paste import crop_on_photo, diffuse
from .pixels import to_uint8

COARSE = 0.06  # sigma of the neighbourhood of equal light, as a fraction of the side
MIN_VARIANCE = 100.0  # variance, in levels of 255 squared, below which a change of contrast is not measured
# Distances from the face, as fractions of the side, between which local light fades.
FADE_START, FADE_END = 0.12, 0.42
EDGE = 0.1  # width, as a fraction of the side, of the crop's border in which local light fades into the photo


class LightChange:
    """The change of light between two images of a face: a scale and a shift per pixel.

    They are a least-squares fit to the change around each pixel of the face. Their mean over the face, such as a darker
    photo, applies to the whole photo; the rest, such as light from one side, applies to the head and fades with the
    distance from the face.

    Args:
        before: RGB, an aligned crop.
        after: RGB, the same in another light.
        points: 68x2, the landmarks of ``before`` in pixels.

    Attributes:
        whole: 4 float32, the scale and the shifts of the three channels for the whole photo.
        local: SxSx4 float32, added to ``whole`` near the face.
    """

    def __init__(self, before: Image.Image, after: Image.Image, points: np.ndarray):
        side = before.width
        self.whole = np.array([1, 0, 0, 0], np.float32)
        self.local = np.zeros((side, side, 4), np.float32)
        face = face_region(points, side)
        inside = cv2.erode(face, np.ones((3, 3)), iterations=max(1, side // 64)) > 0
        if not inside.any():
            return
        change = _fit(np.asarray(before, np.float32), np.asarray(after, np.float32), inside)
        self.whole = change[inside].mean(0)
        away = cv2.distanceTransform((face < 0.5).astype(np.uint8), cv2.DIST_L2, 5) / side
        nearness = smooth_ramp(away, FADE_END, FADE_START)[..., None]
        self.local = nearness * (_blur(diffuse(change, inside), 0.4) - self.whole)


def relight(crop: Image.Image, light: LightChange) -> Image.Image:
    """Apply a change of light to an aligned crop, RGB of any size. Pixels are scaled and shifted, so detail remains."""
    size = (crop.width, crop.width)
    change = light.whole + cv2.resize(light.local, size, interpolation=cv2.INTER_CUBIC)
    return Image.fromarray(to_uint8(change[..., :1] * np.asarray(crop) + change[..., 1:]))


def relight_photo(
    photo: Image.Image, lights: Sequence[LightChange], transforms: Sequence[np.ndarray]
) -> Image.Image:
    """Apply the changes of light of the faces to their photo.

    Args:
        photo: RGB.
        lights: one per face; the mean of their ``whole`` applies to the photo.
        transforms: 2x3 per face, photo pixel -> pixel of ``local``.

    Returns:
        RGB image of the photo's size.
    """
    before = np.asarray(photo)
    whole = np.mean([light.whole for light in lights], 0)
    levels = np.arange(256, dtype=np.float32)[:, None] * whole[0] + whole[1:]
    out = cv2.LUT(before, to_uint8(levels)[None])
    for light, transform in zip(lights, transforms):
        side = len(light.local)
        ramp = np.clip((np.arange(side) + 0.5) / side / EDGE, 0, 1)
        ramp = ramp * ramp[::-1]
        local = (light.local + light.whole - whole) * (ramp[:, None] * ramp)[..., None]
        x0, y0, x1, y1 = crop_bounds(transform, side, 1, photo.size)
        if x1 > x0 and y1 > y0:
            part = np.s_[y0:y1, x0:x1]
            change = crop_on_photo(local.astype(np.float32), transform, (x0, y0, x1, y1), outside=0)
            lit = out[part] + change[..., :1] * before[part] + change[..., 1:]
            out[part] = to_uint8(lit)
    return Image.fromarray(out)


def _fit(before, after, inside):
    """Fit a scale and three shifts around each pixel: SxSx4 float32."""
    total = np.maximum(_blur(inside.astype(np.float32)), 1e-3)

    def mean(values):
        return _blur(values * inside[..., None]) / total[..., None]

    mean_before, mean_after = mean(before), mean(after)
    variance = mean((before - mean_before) ** 2).sum(2)
    covariance = mean((before - mean_before) * (after - mean_after)).sum(2)
    brighter = mean_after.sum(2) / np.maximum(mean_before.sum(2), 1)
    # In flat regions a scale and a shift are the same: prefer the scale.
    scale = (covariance + MIN_VARIANCE * brighter) / (variance + MIN_VARIANCE)
    return np.dstack([scale, mean_after - scale[..., None] * mean_before])


def _blur(values, times=1.0):
    return cv2.GaussianBlur(values, (0, 0), times * COARSE * len(values))
