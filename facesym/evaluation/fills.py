"""Classical baselines of `facesym evaluate complete`, which fill a masked image without a network.

Each function takes an image (SxSx3 uint8, grey where masked), a mask (SxS bool, True = missing) and the landmarks of
the face (68x2, pixels), and returns an image.
"""

import cv2
import numpy as np
from scipy.interpolate import LinearNDInterpolator

from ..faces.geometry import flip_landmarks


def fill_none(image: np.ndarray, mask: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    return image


def fill_telea(image: np.ndarray, mask: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    return cv2.inpaint(image, mask.astype(np.uint8), 3, cv2.INPAINT_TELEA)


def fill_navier_stokes(image: np.ndarray, mask: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    return cv2.inpaint(image, mask.astype(np.uint8), 3, cv2.INPAINT_NS)


def fill_mirror(image: np.ndarray, mask: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Copy visible pixels of the mirrored face and match their light; fill the rest with Telea's method.

    The mirrored face is warped onto the face triangle by triangle, by the 68 landmarks of the unmasked image. These are
    better than landmarks of the input, so the row is an upper bound for copying.
    """
    size = len(image)
    x, y = warp_by_landmarks(landmarks, flip_landmarks(landmarks, size), size)
    # Skip the rim, where landmark errors would copy background, and places where the averted side would be stretched
    # (the determinant is the warp's local change of area).
    det = np.gradient(x, axis=1) * np.gradient(y, axis=0) - np.gradient(x, axis=0) * np.gradient(y, axis=1)
    inside = np.isfinite(x) & (det > 1 / 3) & (det < 3)
    inside = cv2.erode(inside.astype(np.uint8), np.ones((3, 3)), iterations=size // 32, borderValue=0) > 0
    flipped = cv2.remap(image[:, ::-1].copy(), x, y, cv2.INTER_LINEAR)
    missing = cv2.remap(mask[:, ::-1].astype(np.float32), x, y, cv2.INTER_LINEAR, borderValue=1)
    known = inside & (missing == 0)  # no part of the mixture is from the mirrored mask

    # The ratio of light between the halves, from nearby pixels that are visible in both.
    both = (known & ~mask)[..., None].astype(np.float32)
    here, there = (cv2.GaussianBlur(x * both, (0, 0), size / 25) + 0.25 for x in (image, flipped))
    flipped = np.clip(flipped * np.clip(here / there, 0.5, 2), 0, 255).round().astype(np.uint8)
    copied = mask & known
    return fill_telea(np.where(copied[..., None], flipped, image), mask & ~copied, landmarks)


def warp_by_landmarks(points: np.ndarray, partners: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate each pixel's partner linearly in the triangles of ``points``.

    Returns:
        Two SxS float32 maps (x, y) for cv2.remap; NaN outside the points' hull.
    """
    xs, ys = np.meshgrid(np.arange(size), np.arange(size))
    partner = LinearNDInterpolator(points, partners)(xs, ys).astype(np.float32)
    return np.ascontiguousarray(partner[..., 0]), np.ascontiguousarray(partner[..., 1])


CLASSICAL = {
    "input": fill_none,
    "Telea": fill_telea,
    "Navier-Stokes": fill_navier_stokes,
    "mirror + Telea": fill_mirror,
}
