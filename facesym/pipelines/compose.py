"""Compose a person whose head was turned by a network over the photo's background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ..faces.geometry import face_region
from ..faces.matte import behind, person_matte
from .crops import to_array
from .draw import draw

BACKGROUND = 0.01  # minimum fraction of a crop that shows background
LEVELS = (64, 160)  # grey values of the images that show how a matte moves; changes of light do not clip them
EDGE = 3 / 256  # fraction of the side that a pixel at the border affects
SEEN = 0.25  # minimum fraction of a pixel that is copied, for its matte to be known


def compose(
    person: Image.Image, net: Any, face: Any, steps: Sequence[np.ndarray], points: np.ndarray
) -> Image.Image:
    """Compose a moved person over the photo's background.

    Args:
        person: RGB, SxS, the network's output.
        net, face, steps: what drew it; see `facesym.pipelines.draw.draw`, for one face.
        points: 68x2, the landmarks of ``face.crop``, pixels.

    Returns:
        RGB image, SxS; ``person`` if the crop shows no background.
    """
    if face.layers is None:
        crop = np.asarray(face.crop)
        own = person_matte(crop, points)
        face.layers = own, behind(crop, own, points)
    own, background = face.layers
    if (own < 0.1).mean() < BACKGROUND:
        return person
    matte = move_matte(own, net, face, steps)[..., None]
    mixed = matte * np.asarray(person, np.float32) + (1 - matte) * background
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def move_matte(matte: np.ndarray, net: Any, face: Any, steps: Sequence[np.ndarray]) -> np.ndarray:
    """Move a matte as a network moves the crop that it belongs to.

    The network copies pixels from any image of the crop's size, so it draws the matte in two grey levels, and each
    level alone. Their differences cancel what it adds by itself.

    Args:
        matte: SxS float32 in [0, 1], 1 = person.
        net, face, steps: see `facesym.pipelines.draw.draw`; the matte is that of ``face.crop``.

    Returns:
        SxS float32 in [0, 1]; 1 where the network copies hardly anything.
    """
    low, high = LEVELS
    matte = matte.copy()
    matte[0] = matte[:, 0] = matte[:, -1] = 0  # beyond the image's sides these are repeated: streaks
    drawn = [
        replace(face, crop=Image.fromarray(np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, 2)))
        for grey in (high + (low - high) * matte, np.full(matte.shape, low), np.full(matte.shape, high))
    ]
    _, images = draw(net, drawn, [np.repeat(y, 3, 0) for y in steps], larger=True)
    mixed, person, background = (to_array(image)[0].mean(0) for image in images)
    copied = 2 * (high - low) / 255
    shown = np.clip((mixed - person) / np.maximum(background - person, SEEN * copied), 0, 1)
    moved = 1 - shown.astype(np.float32)
    # The person may have reached the border that was set to 0.
    edge = round(EDGE * len(moved))
    inner = moved[edge:, edge:-edge]
    return cv2.copyMakeBorder(inner, edge, 0, edge, edge, cv2.BORDER_REPLICATE) if edge else moved


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
