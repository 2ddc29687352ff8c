"""Fill large masked areas around the face from the mirrored half of the photo, without a network.

Far from visible pixels, RecNet blurs hair, ears and background beyond recognition. There, the flip of the photo
replaces its output: the flow, which is reliable inside the face, is extended over the whole crop as an affine map. The
paper has no such step.
"""

import cv2
import numpy as np

from .geometry import ramp

# Fraction of visible pixels nearby: the weight falls from 1 to 0 between these.
VISIBLE = (0.1, 0.3)
# Fractions of the side.
NEAR = 3 / 32  # sigma of "nearby"
RIM = 1 / 100  # this close to what the flip lacks, it holds pixels mixed with the missing ones
SOFT = 1 / 32  # the weight rises from 0 to 1 over this distance from what the flip lacks
BLUR = 1 / 64  # sigma of the border of the face
# Degrees of yaw: the weight falls from 1 to 0 between these, since the far side of a turned head looks different.
FRONTAL = (30.0, 45.0)
HIDDEN, SEEN = 1.0, 0.1  # weights of masked and visible pixels of the face in the fit of the affine map
LEAST = 0.003  # minimum fraction of the crop that shows the face


def extend_flow(flow: np.ndarray, face: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fit an affine map to the flow inside the face, by least squares.

    Args:
        flow: 2xSxS float32 in [-1, 1], the coordinates (x, y) in the flip that each pixel is copied from.
        face: SxS bool, True = face.
        mask: SxS bool, True = missing.

    Returns:
        2x3 float64: the flow is about A · (x, y, 1), with the pixel's own x and y in [-1, 1].
    """
    ys, xs = np.nonzero(face)
    own = (2 * np.stack([xs, ys, np.ones_like(xs)], 1) + 1.0) / len(face) - 1
    own[:, 2] = 1
    weight = np.sqrt(np.where(mask[face], HIDDEN, SEEN))[:, None]
    return np.linalg.lstsq(weight * own, weight * flow[:, face].T, rcond=None)[0].T


def mirrored(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Warp the flip of an image.

    Args:
        image: KxK or KxKxC, of any size K.
        matrix: from `extend_flow`.

    Returns:
        An array of the same shape and dtype; where the map leaves the image, the closest pixel.
    """
    size = len(image)
    x, y = (((source + 1) * size - 1) / 2 for source in _sources(matrix, size))
    flip = np.ascontiguousarray(image[:, ::-1])
    return cv2.remap(flip, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def mirrored_weight(matrix: np.ndarray, face: np.ndarray, mask: np.ndarray, yaw: float) -> np.ndarray:
    """Compute the weight with which the warped flip replaces the output around the face.

    Args:
        matrix: from `extend_flow`.
        face: SxS bool, True = face.
        mask: SxS bool, True = missing.
        yaw: yaw of the head in degrees.

    Returns:
        SxS float32 in [0, 1]: 1 far from the face and from visible pixels, where the flip shows visible pixels.
    """
    size = len(mask)
    if face.mean() < LEAST or not (mask & ~face).any():
        return np.zeros(mask.shape, np.float32)
    shown = (mirrored((~mask).astype(np.float32), matrix) > 0.99).astype(np.uint8)
    inside = cv2.distanceTransform(shown, cv2.DIST_L2, 5) - RIM * size
    visible = cv2.GaussianBlur((~mask).astype(np.float32), (0, 0), NEAR * size)
    outside = 1 - cv2.GaussianBlur(face.astype(np.float32), (0, 0), BLUR * size)
    weight = (1 - ramp(visible, *VISIBLE)) * ramp(inside / size, 0, SOFT) * outside * mask
    weight *= 1 - cv2.GaussianBlur(_enclosed(matrix, mask), (0, 0), BLUR * size)
    return (weight * (1 - ramp(abs(yaw), *FRONTAL))).astype(np.float32)


def _sources(matrix, size):
    """Return the coordinates x and y in the flip, in [-1, 1], that each pixel is copied from: two of SxS float32."""
    at = (2 * np.arange(size, dtype=np.float32) + 1) / size - 1
    return (a * at + b * at[:, None] + c for a, b, c in matrix.astype(np.float32))


def _enclosed(matrix, mask):
    """Return 1 where visible pixels follow in the same row, away from the midline, and 0 elsewhere: SxS float32.

    There, what is copied would have to fit on both sides, which the output does better.
    """
    x, _ = _sources(matrix, len(mask))
    own = (2 * np.arange(len(mask)) + 1) / len(mask) - 1
    from_left = np.logical_or.accumulate(~mask, 1)
    from_right = np.logical_or.accumulate(~mask[:, ::-1], 1)[:, ::-1]
    return np.where(own < -x, from_left, from_right).astype(np.float32)


def with_surroundings(
    output: np.ndarray, photo: np.ndarray, matrix: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Replace the output around the face with the warped flip of the photo.

    Args:
        output, photo: KxKx3 uint8.
        matrix: from `extend_flow`.
        weight: KxK float32, from `mirrored_weight`, resized if need be.

    Returns:
        KxKx3 uint8.
    """
    if not weight.any():
        return output
    weight = weight[..., None]
    return np.rint(weight * mirrored(photo, matrix) + (1 - weight) * output).astype(np.uint8)
