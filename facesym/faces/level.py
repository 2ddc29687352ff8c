"""Bring a face upright: its five points at any roll, from the landmark network.

A detector's box says where a face is, not which way is up. The landmark network has learned every roll: its landmarks
in a square about the box give a first alignment, in which they are found again, until the alignment no longer moves.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ..errors import ImageError
from .align import ffhq_transform, five_points, warp_to_crop
from .landmarks import find_points

SIDE = 128  # of the crops that are looked at
AROUND = 2.0  # side of the first square, in longer sides of the box
MOST_ROUNDS = 8
# An alignment has settled once a round turns it by fewer degrees, scales it by less and moves it by a smaller fraction
# of the side.
SETTLED = (0.5, 0.04, 0.02)


def level_points(image: Image.Image, boxes: Sequence[Sequence[float]]) -> list:
    """The five points of faces at any roll.

    Args:
        image: RGB photo.
        boxes: of the faces, (x0, y0, x1, y1) in pixels.

    Returns:
        A list, one entry a box: 5x2 float64 in pixels of the photo (see `facesym.faces.detect.Face.points`), or None
        where no alignment settles.
    """
    transforms = [_square(box) for box in boxes]
    points = [None] * len(boxes)
    unsettled = list(range(len(boxes)))
    for _ in range(MOST_ROUNDS):
        if not unsettled:
            break
        crops, still = [], []
        for i in unsettled:
            try:
                crops.append(Image.fromarray(warp_to_crop(image, transforms[i], SIDE)))
                still.append(i)
            except ImageError:  # it has left the photo
                pass
        unsettled = []
        for i, landmarks in zip(still, find_points(crops) if crops else ()):
            found = _on_photo(five_points(landmarks), transforms[i])
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
    """The transform of an upright square about a box."""
    x0, y0, x1, y1 = box
    scale = SIDE / (AROUND * max(x1 - x0, y1 - y0))
    centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    return np.column_stack([scale * np.eye(2), (SIDE - 1) / 2 - scale * centre])


def _on_photo(points, transform):
    """Crop pixels to photo pixels."""
    return (points - transform[:, 2]) @ np.linalg.inv(transform[:, :2]).T


def _change(before, after):
    """How far two transforms of one face differ, the largest of roll, scale and place, in units of ``SETTLED``."""
    step = after[:, :2] @ np.linalg.inv(before[:, :2])
    middle = np.full(2, (SIDE - 1) / 2)
    shift = step @ (middle - before[:, 2]) + after[:, 2] - middle
    degrees = abs(np.degrees(np.arctan2(step[1, 0], step[0, 0])))
    scale = abs(np.log(np.hypot(*step[:, 0])))
    return max(degrees / SETTLED[0], scale / SETTLED[1], np.linalg.norm(shift) / SIDE / SETTLED[2])
