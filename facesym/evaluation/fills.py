"""Classical rows of `facesym evaluate complete`: fill a masked image without a network.

Each takes an image (SxSx3 uint8, grey where masked), a mask (SxS bool, True = missing) and the landmarks of the face
(68x2, pixels), and returns an image.
"""

import cv2
import numpy as np
from scipy.interpolate import LinearNDInterpolator

from ..faces.geometry import flip_landmarks


def fill_none(picture: np.ndarray, mask: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    return picture


def fill_telea(picture: np.ndarray, mask: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    return cv2.inpaint(picture, mask.astype(np.uint8), 3, cv2.INPAINT_TELEA)


def fill_navier_stokes(picture: np.ndarray, mask: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    return cv2.inpaint(picture, mask.astype(np.uint8), 3, cv2.INPAINT_NS)


def fill_mirror(picture: np.ndarray, mask: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Copy what the mirrored face shows and match its light; Telea for the rest.

    The mirrored face is warped onto the face triangle by triangle, by the 68 landmarks of the unhidden
    image: better ones than could be found in the input, so the row shows what copying can do at most.
    """
    size = len(picture)
    x, y = warp_by_landmarks(landmarks, flip_landmarks(landmarks, size), size)
    # Not at the rim, where the landmarks' errors let the background in, nor where the turned-away side would
    # have to be stretched over the other (the determinant is the warp's local change of area).
    det = np.gradient(x, axis=1) * np.gradient(y, axis=0) - np.gradient(x, axis=0) * np.gradient(y, axis=1)
    inside = np.isfinite(x) & (det > 1 / 3) & (det < 3)
    inside = cv2.erode(inside.astype(np.uint8), np.ones((3, 3)), iterations=size // 32, borderValue=0) > 0
    flipped = cv2.remap(picture[:, ::-1].copy(), x, y, cv2.INTER_LINEAR)
    missing = cv2.remap(mask[:, ::-1].astype(np.float32), x, y, cv2.INTER_LINEAR, borderValue=1)
    known = inside & (missing == 0)  # no part of the mixture is from the mirrored mask

    # The ratio of light between the two halves, from pixels near by that are known in both.
    both = (known & ~mask)[..., None].astype(np.float32)
    here, there = (cv2.GaussianBlur(x * both, (0, 0), size / 25) + 0.25 for x in (picture, flipped))
    flipped = np.clip(flipped * np.clip(here / there, 0.5, 2), 0, 255).round().astype(np.uint8)
    copied = mask & known
    return fill_telea(np.where(copied[..., None], flipped, picture), mask & ~copied, landmarks)


def warp_by_landmarks(points: np.ndarray, partners: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel's partner lies, linear in every triangle of ``points``: two SxS float32 maps (x, y) as
    for cv2.remap, NaN outside the points' hull."""
    xs, ys = np.meshgrid(np.arange(size), np.arange(size))
    partner = LinearNDInterpolator(points, partners)(xs, ys).astype(np.float32)
    return np.ascontiguousarray(partner[..., 0]), np.ascontiguousarray(partner[..., 1])


CLASSICAL = {
    "input": fill_none,
    "Telea": fill_telea,
    "Navier-Stokes": fill_navier_stokes,
    "mirror + Telea": fill_mirror,
}
