"""The midline of a face and composites of its mirrored halves."""

import cv2
import numpy as np
from PIL import Image

from .geometry import FLIP_68
from .pixels import to_uint8


def midline(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit the midline, about which the landmarks are most symmetric, by least squares.

    The midpoints m of partners lie on it and their differences d are normal to it, so its direction u maximises
    Σ (m·u)² − (d·u)².

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


def reflect(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Reflect an image about the midline of the landmarks.

    Args:
        image: HxWxC.
        points: 68x2 in pixels.

    Returns:
        An array of the same shape and dtype.
    """
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


def mirror_composites(crop: Image.Image, points: np.ndarray) -> dict[str, Image.Image]:
    """Mirror the halves of a face about the midline of its landmarks.

    Args:
        crop: RGB image.
        points: 68x2 in pixels.

    Returns:
        A dict of RGB images of the same size: "left" and "right" (that half of the image and its mirror image),
        "average" (the mean of the image and its mirror image) and "mirrored" (the mirror image).
    """
    image = np.asarray(crop.convert("RGB"))
    mirrored = reflect(image, points)
    centre, direction = midline(points)
    ys, xs = np.mgrid[: image.shape[0], : image.shape[1]]
    # Left of the line in the image, antialiased over a pixel.
    across = (xs - centre[0]) * direction[1] - (ys - centre[1]) * direction[0]
    left = np.clip(0.5 - across, 0, 1)[..., None]
    mix = {"left": left, "right": 1 - left, "average": 0.5, "mirrored": 0.0}
    return {
        name: Image.fromarray(to_uint8(weight * image + (1 - weight) * mirrored))
        for name, weight in mix.items()
    }
