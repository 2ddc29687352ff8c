"""Compose a person whose head was turned by a network over the photo's background."""

import cv2
import numpy as np
from PIL import Image

from ..faces.geometry import face_region
from ..faces.landmarks import find_points
from ..faces.matte import behind, person_matte

BACKGROUND = 0.01  # minimum fraction of a crop that shows background


def compose(person: Image.Image, crop: Image.Image, points: np.ndarray) -> Image.Image:
    """Compose a moved person over the photo's background.

    Args:
        person: RGB, SxS, the network's output.
        crop: RGB, SxS, the photo's crop.
        points: 68x2, the crop's landmarks, pixels.

    Returns:
        RGB image, SxS; ``person`` if the crop shows no background.
    """
    own = person_matte(np.asarray(crop), points)
    if (own < 0.1).mean() < BACKGROUND:
        return person
    matte = person_matte(np.asarray(person), find_points(person))[..., None]
    background = behind(np.asarray(crop), own, points)
    mixed = matte * np.asarray(person, np.float32) + (1 - matte) * background
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def keep_outside_face(
    output: Image.Image, output_points: np.ndarray, crop: Image.Image, points: np.ndarray
) -> Image.Image:
    """Restore the pixels outside the face after a change of expression.

    Args:
        output: RGB, the edited crop.
        output_points: 68x2, its landmarks.
        crop: RGB, the input crop, of the same size.
        points: 68x2, the landmarks of the crop.
    """
    side = crop.width
    region = np.maximum(face_region(points, side), face_region(output_points, side))
    region = cv2.dilate(region, np.ones((side // 40 * 2 + 1,) * 2, np.uint8))
    weight = cv2.GaussianBlur(region, (0, 0), side / 50)[..., None]
    mixed = weight * np.asarray(output, np.float32) + (1 - weight) * np.asarray(crop, np.float32)
    return Image.fromarray(np.rint(mixed).astype(np.uint8))
