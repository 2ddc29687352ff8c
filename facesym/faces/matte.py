"""Separate the person in an aligned crop (head, hair and shoulders) from the background."""

import cv2
import numpy as np

from .geometry import face_region
from .paste import diffuse

SIDE = 128  # pixels: the crop is segmented at this size
ROUNDS = 3  # iterations of GrabCut
# Distances from the centre of the head, relative to the outline of a head with hair: within HEAD is certainly head,
# within HAIR probably hair, beyond FAR certainly background.
HEAD, HAIR, FAR = 0.7, 1.25, 1.75
GROW = 0.03  # fraction of the side by which the person is dilated before the background is filled in


def person_matte(crop: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Segment the person in an aligned crop by colour (GrabCut), starting from the head that the landmarks imply.

    Background that looks like the person is included.

    Args:
        crop: SxSx3 uint8.
        points: 68x2, the landmarks of ``crop`` in pixels.

    Returns:
        SxS float32 in [0, 1], 1 = person; all 1 if the crop shows no background.
    """
    size = len(crop)
    small = cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    points = (points + 0.5) * (SIDE / size) - 0.5
    face = face_region(points, SIDE) > 0
    labels = _guess(points, face)
    if not (labels == cv2.GC_BGD).any():
        return np.ones((size, size), np.float32)
    cv2.setRNGSeed(0)
    colours, models = cv2.cvtColor(small, cv2.COLOR_RGB2LAB), np.zeros((2, 1, 65))
    # OpenCV's type stubs do not accept NumPy's types here.
    cv2.grabCut(colours, labels, None, *models, ROUNDS, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    person = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
    person = cv2.morphologyEx(person, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    person[face] = 1
    _, parts = cv2.connectedComponents(person)
    person = _without_holes(parts == np.bincount(parts[face]).argmax())
    matte = cv2.resize(person.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    return _soft(matte, crop)


def _guess(points, face):
    """Return GrabCut's initial labels, SIDExSIDE uint8, for landmarks (68x2) and the face region (SIDExSIDE bool)."""
    brows, chin = points[17:27].mean(0), points[8]
    up = brows - chin
    height = np.linalg.norm(up)
    # The jaw of a turned head appears narrow.
    width = max(np.linalg.norm(points[0] - points[16]), 1.1 * height)
    middle = (brows + chin) / 2 + 0.15 * up
    middle[0] = (middle[0] + points[[0, 16], 0].mean()) / 2
    y, x = np.mgrid[:SIDE, :SIDE]
    radius = np.hypot((x - middle[0]) / (0.62 * width), (y - middle[1]) / (0.98 * height))
    below = y - chin[1]
    body = (below > 0) & (np.abs(x - chin[0]) < 0.25 * width + 0.8 * np.clip(below - 0.15 * height, 0, None))
    labels = np.full((SIDE, SIDE), cv2.GC_PR_BGD, np.uint8)
    labels[(radius < HAIR) | body] = cv2.GC_PR_FGD
    labels[face | (radius < HEAD)] = cv2.GC_FGD
    labels[(radius > FAR) & (below < -0.2 * height)] = cv2.GC_BGD
    return labels


def _without_holes(person):
    """Fill the holes of a region (HxW bool)."""
    _, parts = cv2.connectedComponents((~person).astype(np.uint8))
    border = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    return person | ~np.isin(parts, border)


def _soft(matte, crop):
    """Soften the matte along the crop's edges with a guided filter (He et al., 2010)."""
    size = len(crop)
    reach = max(2, round(0.02 * size))
    guide = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255

    def mean(values):
        return cv2.blur(values, (2 * reach + 1, 2 * reach + 1))

    slope = (mean(guide * matte) - mean(guide) * mean(matte)) / (
        mean(guide * guide) - mean(guide) ** 2 + 4e-4
    )
    offset = mean(matte) - slope * mean(guide)
    return np.clip(mean(slope) * guide + mean(offset), 0, 1)


def behind(crop: np.ndarray, matte: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Replace the person by a smooth continuation of the background around the head.

    Pixels below the chin are not continued: they may show clothes.

    Args:
        crop: SxSx3 uint8.
        matte: SxS float32 in [0, 1], from `person_matte`.
        points: 68x2, the landmarks of ``crop`` in pixels.

    Returns:
        SxSx3 uint8.
    """
    size = len(crop)
    reach = round(GROW * size)
    person = cv2.dilate((matte > 0.1).astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8))
    shown = person == 0
    above = shown & (np.arange(size)[:, None] < points[8, 1])
    filled = diffuse(crop.astype(np.float32), above if above.any() else shown)
    filled = cv2.GaussianBlur(filled, (0, 0), reach / 2)
    weight = cv2.GaussianBlur(person.astype(np.float32), (0, 0), reach / 3)[..., None]
    mixed = weight * filled + (1 - weight) * crop
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
