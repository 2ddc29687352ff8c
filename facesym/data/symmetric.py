"""Training targets of the symmetrizer, synthesized from landmarks, and simulated palsy.

On aligned crops (FFHQ framing): images SxSx3 uint8, landmarks 68x2 in pixels, the midline at x = (S − 1) / 2. The
network itself sees no landmarks.
"""

import cv2
import numpy as np

from ..faces.geometry import flip_landmarks, symmetric_landmarks, warp_points
from ..faces.pixels import to_uint8

BLEND = 0.012  # sigma, as a fraction of the side: coarser structure comes from both halves, finer from one


def symmetric_faces(image: np.ndarray, points: np.ndarray) -> list[np.ndarray]:
    """Synthesize the two symmetric faces of an image, from its left half and from its right half.

    The face is warped so that its landmarks are symmetric and the halves fit each other; flipping the image in place
    would double each feature. Light, colour and coarse shape are averaged over both halves. Detail finer than ``BLEND``
    comes from one half, since averaging would blur what does not fit: gaze, hair, wrinkles.

    Args:
        image: SxSx3 uint8.
        points: 68x2, its landmarks in pixels.

    Returns:
        A list of two SxSx3 uint8.
    """
    size = len(image)
    warped, _ = warp_points(image, points, symmetric_landmarks(points, size))
    warped = warped.astype(np.float32)
    coarse = cv2.GaussianBlur(warped, (0, 0), BLEND * size)
    detail = warped - coarse
    coarse = (coarse + coarse[:, ::-1]) / 2
    # One half's detail blends into the other's over 2 % of the side around the middle.
    x = (np.arange(size) - (size - 1) / 2) / (0.01 * size)
    left = (1 / (1 + np.exp(x)))[None, :, None].astype(np.float32)
    faces = []
    for weight in (left, 1 - left):
        one = coarse + weight * detail + (1 - weight) * detail[:, ::-1]
        # weight's mirror image is 1 − weight: `one` is symmetric but for rounding
        faces.append(to_uint8((one + one[:, ::-1]) / 2))
    return faces


def droop(points: np.ndarray, side: str, strength: float) -> np.ndarray:
    """Simulate a palsy of one side on landmarks, following clinical grading.

    Brow, lids and mouth corner droop, and the mouth is pulled to the other side.

    Args:
        points: 68x2 in pixels.
        side: "left" or "right" of the image.
        strength: 0 for none, 1 for a marked palsy.

    Returns:
        68x2.
    """
    size = 1000.0  # arbitrary: only for mirroring and back
    points = np.asarray(points, np.float64)
    if side == "right":
        return flip_landmarks(droop(flip_landmarks(points, size), "left", strength), size)
    moved = points.copy()
    between = points[42:48].mean(0) - points[36:42].mean(0)
    unit = strength * np.linalg.norm(between)
    across = between / np.linalg.norm(between)  # towards the healthy side
    down = np.array([-across[1], across[0]])
    moved[17:22] += unit * np.array([0.10, 0.14, 0.15, 0.12, 0.07])[:, None] * down  # brow
    moved[37:39] += unit * 0.06 * down  # upper lid
    moved[40:42] += unit * 0.015 * down  # lower lid
    for k, fall in {48: 0.16, 60: 0.15, 49: 0.10, 59: 0.11, 61: 0.07, 67: 0.08, 50: 0.04, 58: 0.05}.items():
        moved[k] += unit * fall * down
    moved[48:68] += unit * 0.07 * across
    moved[3:7] += unit * np.array([0.02, 0.05, 0.05, 0.02])[:, None] * down  # cheek
    moved[31:33] += unit * np.array([0.03, 0.02])[:, None] * (down + across)  # wing of the nose
    return moved


def simulate_palsy(
    image: np.ndarray, points: np.ndarray, side: str, strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """Simulate a palsy on an image. See `droop` for the arguments.

    Returns:
        The image SxSx3 uint8, and its landmarks 68x2.
    """
    moved = droop(points, side, strength)
    return warp_points(image, points, moved)[0], moved
