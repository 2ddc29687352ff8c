"""The face's middle line, and the faces that mirroring one half about it makes."""

import cv2
import numpy as np
from PIL import Image

from .geometry import FLIP_68


def midline(points):
    """The line about which the landmarks are most nearly symmetric, in the sense of least squares: partners' middles
    m lie on it and their differences d across it, so its direction u has the largest Σ (m·u)² − (d·u)².

    Args:
        points: 68x2 in pixels.

    Returns:
        A point on it and its unit direction, pointing down: two arrays of 2.
    """
    middles, halves = (points + points[FLIP_68]) / 2, (points - points[FLIP_68]) / 2
    centre = middles.mean(0)
    spread = (middles - centre).T @ (middles - centre) - halves.T @ halves
    direction = np.linalg.eigh(spread)[1][:, -1]
    return centre, direction * (1 if direction[1] >= 0 else -1)


def reflect(image, points):
    """The picture reflected about the landmarks' middle line: an array of the same shape and dtype."""
    centre, direction = midline(points)
    linear = 2 * np.outer(direction, direction) - np.eye(2)
    matrix = np.column_stack([linear, centre - linear @ centre])
    # A reflection is its own inverse.
    return cv2.warpAffine(
        image,
        matrix,
        image.shape[1::-1],
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )


def mirror_composites(crop, points):
    """What mirroring makes of a face, about the middle line of its landmarks.

    Args:
        crop: RGB image.
        points: its 68 landmarks in pixels.

    Returns:
        A dict of RGB images of the same size: "left" and "right" (that half of the picture and its mirror image),
        "average" (the mean of the picture and its mirror image) and "mirrored" (the mirror image).
    """
    image = np.asarray(crop.convert("RGB"))
    mirrored = reflect(image, points)
    centre, direction = midline(points)
    ys, xs = np.mgrid[: image.shape[0], : image.shape[1]]
    # Left of the line as seen in the picture, antialiased over a pixel.
    across = (xs - centre[0]) * direction[1] - (ys - centre[1]) * direction[0]
    left = np.clip(0.5 - across, 0, 1)[..., None]
    mix = {"left": left, "right": 1 - left, "average": 0.5, "mirrored": 0.0}
    return {
        name: Image.fromarray(np.rint(weight * image + (1 - weight) * mirrored).astype(np.uint8))
        for name, weight in mix.items()
    }
