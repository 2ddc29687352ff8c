"""Compose a person whose head was turned by a network over the photo's background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ..faces.geometry import face_region
from ..faces.matte import behind, person_matte
from ..faces.pixels import to_uint8
from .draw import copy_images

BACKGROUND = 0.01  # minimum fraction of a crop that shows background
LEVELS = (64, 160)  # grey values of the images that show how a matte moves; changes of light do not clip them
EDGE = 3 / 256  # fraction of the side that a pixel at the border affects
RIM = 1 / 25  # width, as a fraction of the side, of the rim of the face in which no pixel is synthesized
SOFT = 1 / 60  # standard deviation, as a fraction of the side, of the transition to the face


def compose(
    output: Image.Image,
    output_points: np.ndarray,
    net: Any,
    face: Any,
    steps: Sequence[np.ndarray],
    points: np.ndarray,
) -> Image.Image:
    """Compose a moved person over the photo's background.

    The face is the network's output. Around it, pixels are copied from the photo only: those that the network
    synthesizes there show the backgrounds that it was trained on.

    Args:
        output: RGB, SxS, the network's output.
        output_points: 68x2, its landmarks, pixels.
        net, face, steps: what drew it; see `facesym.pipelines.draw.copy_images`.
        points: 68x2, the landmarks of ``face.crop``, pixels.

    Returns:
        RGB image, SxS.
    """
    if face.layers is None:
        crop = np.asarray(face.crop)
        matte = person_matte(crop, points)
        face.layers = matte, behind(crop, matte, points)
    matte, background = face.layers
    copied, moved = copy_person(matte, net, face, steps)
    inside, moved = inner_face(output_points, output.width)[..., None], moved[..., None]
    mixed = inside * np.asarray(output, np.float32) + (1 - inside) * copied
    if (matte < 0.1).mean() >= BACKGROUND:
        mixed = moved * mixed + (1 - moved) * background
    return Image.fromarray(to_uint8(mixed))


def copy_person(
    matte: np.ndarray, net: Any, face: Any, steps: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Copy a crop and its matte to where a network moves them.

    The network copies pixels from any image of the crop's size. It draws the matte in two grey levels, and each level
    alone, since it also changes their light.

    Args:
        matte: SxS float32 in [0, 1], 1 = person.
        net, face, steps: see `facesym.pipelines.draw.copy_images`; the matte is that of ``face.crop``.

    Returns:
        The crop, SxSx3 float32 in [0, 255], and the matte, SxS float32 in [0, 1].
    """
    low, high = LEVELS
    matte = matte.copy()
    matte[0] = matte[:, 0] = matte[:, -1] = 0  # beyond the image's sides these are repeated: streaks
    levels = (high + (low - high) * matte, np.full(matte.shape, low), np.full(matte.shape, high))
    images = [Image.fromarray(np.repeat(to_uint8(grey)[..., None], 3, 2)) for grey in levels]
    crop, *greys = copy_images(net, face, steps, [face.crop, *images])
    mixed, person, background = (grey.mean(0) for grey in greys)
    shown = np.clip((mixed - person) / np.maximum(background - person, 1e-3), 0, 1)
    moved = 1 - shown.astype(np.float32)
    # The person may have reached the border that was set to 0.
    edge = round(EDGE * len(moved))
    if edge:
        moved = cv2.copyMakeBorder(moved[edge:, edge:-edge], edge, 0, edge, edge, cv2.BORDER_REPLICATE)
    return (crop.transpose(1, 2, 0) + 1) * 127.5, moved


def inner_face(points: np.ndarray, size: int) -> np.ndarray:
    """Return the weight of the face without its rim, SxS float32 in [0, 1], from landmarks (68x2, pixels)."""
    rim = 2 * round(RIM * size / 2) + 1
    inside = cv2.erode(face_region(points, size), np.ones((rim, rim)), borderValue=0)
    return cv2.GaussianBlur(inside, (0, 0), SOFT * size)


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
    return Image.fromarray(to_uint8(mixed))
