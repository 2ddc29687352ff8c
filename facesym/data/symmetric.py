"""The symmetric faces that the symmetrizer learns from, made from landmarks; and simulated palsy.

All on aligned crops (FFHQ framing): SxSx3 uint8, landmarks 68x2 in pixels, the middle line at x = (S − 1) / 2.
The network that learns from these pictures sees no landmarks.
"""

import cv2
import numpy as np

from ..faces.geometry import flip_landmarks, symmetric_landmarks, warp_points

BLEND = (
    0.012  # sigma, as a share of the side: coarser than this both halves count, finer the chosen one alone
)


def symmetric_faces(image, points):
    """The two symmetric faces of a picture: SxSx3 uint8 each, by its left half and by its right half.

    The face is warped so that its landmarks are symmetric; then the halves fit on each other, where flipping the
    picture in place would show each feature twice. Light, colour and coarse shape are both halves' mean (finer than
    ``BLEND`` they would blur what does not fit: gaze, hair, wrinkles); fine detail is one half's and its mirror's.
    """
    size = len(image)
    warped, _ = warp_points(image, points, symmetric_landmarks(points, size))
    warped = warped.astype(np.float32)
    coarse = cv2.GaussianBlur(warped, (0, 0), BLEND * size)
    detail = warped - coarse
    coarse = (coarse + coarse[:, ::-1]) / 2
    # Over 2 % of the side about the middle one half's detail fades into the other's.
    x = (np.arange(size) - (size - 1) / 2) / (0.01 * size)
    left = (1 / (1 + np.exp(x)))[None, :, None].astype(np.float32)
    faces = []
    for weight in (left, 1 - left):
        one = coarse + weight * detail + (1 - weight) * detail[:, ::-1]
        # weight's mirror image is 1 − weight: `one` is symmetric but for rounding
        faces.append(np.clip(np.rint((one + one[:, ::-1]) / 2), 0, 255).astype(np.uint8))
    return faces


def droop(points, side, strength):
    """The landmarks of a face with a palsy of one side, as graded in the clinic: brow, lids and mouth corner hang,
    the mouth is drawn to the other side.

    Args:
        points: 68x2.
        side: "left" or "right" of the picture.
        strength: 0 none, 1 marked.

    Returns:
        68x2, moved.
    """
    size = 1000.0  # any: only for mirroring and back
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


def simulate_palsy(image, points, side, strength):
    """A picture with ``droop``'s face, and its landmarks."""
    moved = droop(points, side, strength)
    return warp_points(image, points, moved)[0], moved
