"""Level a face: find its five points at any roll with the landmark network.

The box of a detector does not give the orientation of a face. The landmark network was trained at any roll: its
landmarks in a square around the box give a first alignment, in which they are predicted again until it converges.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ..errors import ImageError
from .align import ffhq_transform, five_points, to_photo, warp_to_crop
from .landmarks import find_points

SIDE = 128  # pixels: side of the crops
GAP = 1.5  # ``reducing_gap`` of PIL.Image.resize: trades quality for speed
FIRST_SIDE = 2.0  # side of the first square, relative to the longer side of the box
MOST_ROUNDS = 8
# Convergence thresholds of an alignment: rotation in degrees, scale, and shift as a fraction of the side.
SETTLED = (0.5, 0.04, 0.02)


def level_points(image: Image.Image, boxes: Sequence[Sequence[float]]) -> list:
    """Find the five points of faces at any roll.

    Args:
        image: RGB photo.
        boxes: boxes of the faces, (x0, y0, x1, y1) in pixels.

    Returns:
        A list with one entry per box: 5x2 float64 in pixels of the photo (see `facesym.faces.detect.Face.points`), or
        None if the alignment does not converge.
    """
    transforms = [_square(box) for box in boxes]
    points: list[np.ndarray | None] = [None] * len(boxes)
    unsettled = list(range(len(boxes)))
    for _ in range(MOST_ROUNDS):
        if not unsettled:
            break
        crops, still = [], []
        for i in unsettled:
            try:
                crops.append(Image.fromarray(warp_to_crop(image, transforms[i], SIDE, GAP)))
                still.append(i)
            except ImageError:  # the crop has left the photo
                pass
        unsettled = []
        for i, landmarks in zip(still, find_points(crops) if crops else ()):
            found = to_photo(five_points(landmarks), transforms[i])
            try:
                moved = ffhq_transform(found, SIDE)
            except ImageError:
                continue
            if _change(transforms[i], moved) <= 1:
                points[i] = found
            else:
                unsettled.append(i)
            transforms[i] = moved
    return points


def _square(box):
    """Return the transform of an upright square around a box."""
    x0, y0, x1, y1 = box
    scale = SIDE / (FIRST_SIDE * max(x1 - x0, y1 - y0))
    centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    return np.column_stack([scale * np.eye(2), (SIDE - 1) / 2 - scale * centre])


def _change(before, after):
    """Return the difference of two transforms: the largest of rotation, scale and shift, in units of ``SETTLED``."""
    step = after[:, :2] @ np.linalg.inv(before[:, :2])
    middle = np.full(2, (SIDE - 1) / 2)
    shift = step @ (middle - before[:, 2]) + after[:, 2] - middle
    degrees = abs(np.degrees(np.arctan2(step[1, 0], step[0, 0])))
    scale = abs(np.log(np.hypot(*step[:, 0])))
    return max(degrees / SETTLED[0], scale / SETTLED[1], np.linalg.norm(shift) / SIDE / SETTLED[2])
