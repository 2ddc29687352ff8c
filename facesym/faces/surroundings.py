"""Fill large masked areas around the face from the mirrored half of the photo, without a network.

Far from visible pixels, RecNet blurs hair, ears and background beyond recognition, and it sees only the aligned crop.
There, the mirror image of the photo takes its place: the flow, which is reliable inside the face, is extended as an
affine map, here called the reflection (2x3: pixel -> its mirror pixel). The paper has no such step.
"""

import math

import cv2
import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from .align import align_face, resized_transform, scale_of, warp_mask_to_crop
from .geometry import ramp
from .paste import bounds
from .pixels import to_uint8

# Fraction of visible pixels nearby: the weight falls from 1 to 0 between these.
VISIBLE = (0.1, 0.3)
# Fractions of the aligned crop's side.
NEAR = 3 / 32  # sigma of "nearby" inside the crop, where the network's output is the alternative
BEYOND = 1 / 64  # and outside
RIM = 1 / 100  # this close to what the mirror image lacks, it holds pixels mixed with the missing ones
SOFT = 1 / 32  # the weight rises from 0 to 1 over this distance from what the mirror image lacks
BLUR = 1 / 64  # sigma of the border of the face
# Degrees of yaw: the weight falls from 1 to 0 between these, since the far side of a turned head looks different.
FRONTAL = (30.0, 45.0)
HIDDEN, SEEN = 1.0, 0.1  # weights of masked and visible pixels of the face in the fit of the reflection
MIN_FACE_FRACTION = 0.003  # minimum fraction of the crop that shows the face
# Limits of a fit: how far the centre moves, as a fraction of the side, and how much areas change.
OFF, STRETCH = 0.3, 3.0
# Pixels: around the crop, weights are computed with this side of the crop, or less if the photo would exceed MAX_SIDE.
CROP_SIDE, MAX_SIDE = 64, 1500
OVER = 0.08  # fraction of the crop's side: this far beyond the photo's border, its reflection there is good enough
BACKWARD = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


def fit_reflection(flow: np.ndarray, face: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fit an affine map to the flow inside the face, by least squares.

    Args:
        flow: 2xSxS float32 in [-1, 1], the coordinates (x, y) in the flip that each pixel is copied from.
        face: SxS bool, True = face.
        mask: SxS bool, True = missing.

    Returns:
        The reflection in the crop; about its vertical midline if hardly any face is found, or the fit cannot be right.
    """
    size = len(face)
    midline = np.array([[-1.0, 0, size - 1], [0, 1, 0]])
    if face.mean() < MIN_FACE_FRACTION:
        return midline
    ys, xs = np.nonzero(face)
    own = np.column_stack([xs, ys, np.ones(len(xs))])
    mirrored_x, mirrored_y = ((flow[:, face] + 1) * size - 1) / 2
    mirror = np.column_stack([size - 1 - mirrored_x, mirrored_y])
    weight = np.sqrt(np.where(mask[face], HIDDEN, SEEN))[:, None]
    fit = np.linalg.lstsq(weight * own, weight * mirror, rcond=None)[0].T
    centre = (size - 1) / 2
    off = np.abs(fit @ (centre, centre, 1) - centre).max() / size
    stretch = -np.linalg.det(fit[:, :2])
    return fit if off < OFF and 1 / STRETCH < stretch < STRETCH else midline


def mirrored_transform(reflection: np.ndarray, transform: ArrayLike) -> np.ndarray:
    """Return the transform (2x3) to the mirror image of a crop.

    Args:
        reflection: 2x3, in the crop.
        transform: 2x3, photo pixel -> crop pixel.
    """
    return _product(_inverse(reflection), transform)


def mirrored_weight(
    reflection: np.ndarray,
    shown: np.ndarray,
    face: np.ndarray,
    mask: np.ndarray,
    yaw: float,
    side: float | None = None,
    near: float = NEAR,
) -> np.ndarray:
    """Compute the weight of the mirror image.

    Args:
        reflection: 2x3.
        shown: HxW bool, True = the mirror image shows a visible pixel.
        face: HxW bool, True = face.
        mask: HxW bool, True = missing.
        yaw: yaw of the head in degrees.
        side: side of the aligned crop in these pixels; default: W.
        near: sigma, as a fraction of ``side``, of the window in which visible pixels are counted.

    Returns:
        HxW float32 in [0, 1]: 1 far from the face and from visible pixels, where the mirror image shows visible pixels.
    """
    unit = mask.shape[1] if side is None else side
    if not (mask & ~face & shown).any():
        return np.zeros(mask.shape, np.float32)
    inside = cv2.distanceTransform(shown.astype(np.uint8), cv2.DIST_L2, 5) - RIM * unit
    visible, around, enclosed = (
        cv2.GaussianBlur(x.astype(np.float32), (0, 0), sigma * unit)
        for x, sigma in ((~mask, near), (face, BLUR), (_enclosed(reflection, mask), BLUR))
    )
    weight = (
        (1 - ramp(visible, *VISIBLE)) * (1 - around) * (1 - enclosed) * ramp(inside / unit, 0, SOFT) * mask
    )
    return (weight * (1 - ramp(abs(yaw), *FRONTAL))).astype(np.float32)


def _enclosed(reflection, mask):
    """Return where visible pixels follow in the same row, away from the midline: HxW bool.

    There, what is copied would have to fit on both sides, which the output does better.
    """
    (a, b, c), (ys, xs) = reflection[0], np.indices(mask.shape)
    from_left = np.logical_or.accumulate(~mask, 1)
    from_right = np.logical_or.accumulate(~mask[:, ::-1], 1)[:, ::-1]
    return np.where(xs < a * xs + b * ys + c, from_left, from_right)


def with_surroundings(
    output: np.ndarray, photo: Image.Image, transform: ArrayLike, weight: np.ndarray
) -> np.ndarray:
    """Replace the output around the face with the mirror image of the photo.

    Args:
        output: KxKx3 uint8, a crop of any size K.
        photo: RGB.
        transform: 2x3, from `mirrored_transform`, for a crop of S pixels.
        weight: SxS float32, from `mirrored_weight`.

    Returns:
        KxKx3 uint8.
    """
    if not weight.any():
        return output
    size = len(output)
    mirror = align_face(photo, resized_transform(transform, size / len(weight)), size)
    weight = cv2.resize(weight, (size, size))[..., None]
    return to_uint8(weight * np.asarray(mirror) + (1 - weight) * output)


def shown_in_mirror(hidden: np.ndarray, transform: ArrayLike, size: int) -> np.ndarray:
    """Return where the mirror image of a crop shows the photo: SxS bool.

    Args:
        hidden: HxW bool, the pixels of the photo that are masked or transparent.
        transform: 2x3, from `mirrored_transform`.
        size: side S of the crop.
    """
    inside = _inside_photo(hidden.shape, transform, (size, size), OVER * size)
    return inside & ~warp_mask_to_crop(hidden, transform, size)


def mirror_beyond(
    photo: Image.Image,
    hidden: np.ndarray,
    beyond: np.ndarray,
    reflection: np.ndarray,
    transform: ArrayLike,
    size: int,
    yaw: float,
) -> tuple[Image.Image, np.ndarray]:
    """Fill what is missing outside the aligned crop from the mirror image of the photo, where that shows the photo.

    Args:
        photo: RGB, completed inside the crop.
        hidden: HxW bool, the pixels of the original photo that are masked or transparent.
        beyond: HxW bool, the part of the mask to write.
        reflection: 2x3, in the crop.
        transform: 2x3, photo pixel -> crop pixel.
        size: side of the crop.
        yaw: yaw of the head in degrees.

    Returns:
        RGB image of the photo's size, and which pixels were filled: HxW bool.
    """
    filled, found = np.zeros_like(beyond), bounds(beyond, 0)
    if found is None:
        return photo, filled
    x0, y0, x1, y1 = found
    box, at = (x1 - x0, y1 - y0), np.array([[1.0, 0, x0], [0, 1, y0]])

    def sample(image, there, border):
        """Sample an image in the box; ``there``: 2x3, photo pixel -> pixel of the image."""
        return cv2.warpAffine(image, _product(there, at), box, flags=BACKWARD, borderMode=border)

    weight, upright = _weight_beyond(hidden, reflection, transform, size, yaw)
    pixels, part = np.array(photo), np.s_[y0:y1, x0:x1]
    in_photo = _product(_inverse(transform), _product(reflection, transform))
    filled[part] = beyond[part] & (sample(weight, upright, cv2.BORDER_REPLICATE) > 0.5)
    mirror = sample(pixels, in_photo, cv2.BORDER_REFLECT)
    np.copyto(pixels[part], mirror, where=filled[part][..., None])
    return Image.fromarray(pixels), filled


def _weight_beyond(hidden, reflection, transform, size, yaw):
    """Compute the weight of the mirror image in a small upright image of the whole photo.

    Args: see `mirror_beyond`.

    Returns:
        float32 in [0, 1], and the transform (2x3) from photo pixels to its pixels.
    """
    height, width = hidden.shape
    corners = (
        np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]]) @ np.asarray(transform).T
    )
    low, extent = corners.min(0) - OVER * size, np.ptp(corners, axis=0) + 2 * OVER * size
    scale = min(CROP_SIDE / size, MAX_SIDE / extent.max())
    from_crop = scale * np.column_stack([np.eye(2), -low])
    upright = _product(from_crop, transform)
    small = (math.ceil(scale * extent[0]), math.ceil(scale * extent[1]))
    covered = _warped(hidden, upright, small)
    inside, nearly = (_inside_photo(hidden.shape, upright, small, over * scale * size) for over in (0, OVER))
    there = _product(from_crop, _product(reflection, _inverse(from_crop)))
    shown = cv2.warpAffine((nearly & ~covered).astype(np.uint8), there, small, flags=BACKWARD) > 0
    nowhere, visible = np.zeros_like(shown), inside & ~covered
    weight = mirrored_weight(there, shown, nowhere, ~visible, yaw, scale * size, near=BEYOND)
    return weight, upright


def _warped(mask, transform, size):
    """Warp a mask (HxW bool) to a smaller image of ``size`` (width, height): True where the mask touches a pixel."""
    scale = min(scale_of(transform), 1.0)
    shape = tuple(max(1, round(scale * side)) for side in mask.shape[::-1])
    reduced = cv2.resize(mask * np.uint8(255), shape, interpolation=cv2.INTER_AREA)
    ratio = np.array(shape) / mask.shape[::-1]
    to_reduced = np.column_stack([np.diag(ratio), ratio / 2 - 0.5])
    there = _product(transform, _inverse(to_reduced))
    return cv2.warpAffine(reduced, there, size, borderMode=cv2.BORDER_REFLECT) > 0


def _inside_photo(shape, transform, size, over):
    """Return which pixels of an image of ``size`` (width, height) lie in the photo, or within ``over`` pixels of it.

    Args:
        shape: of the photo, (H, W).
        transform: 2x3, photo pixel -> pixel.
    """
    height, width = shape
    corners = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]]) - [0.5, 0.5, 0]
    inside = np.zeros(size[::-1], np.uint8)
    at = np.rint(corners @ np.asarray(transform).T * 16).astype(np.int32)
    cv2.fillConvexPoly(inside, at, 1, cv2.LINE_8, shift=4)
    if over >= 1:
        inside = cv2.dilate(inside, np.ones((2 * round(over) + 1,) * 2, np.uint8))
    return inside > 0


def _product(last, first):
    """Return the affine map (2x3) that applies ``first`` and then ``last``."""
    return np.asarray(last) @ np.vstack([first, [0, 0, 1]])


def _inverse(affine):
    return cv2.invertAffineTransform(np.asarray(affine, np.float64))
