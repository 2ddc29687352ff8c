"""Separate the person in an aligned crop (head, hair and shoulders) from the background."""

import cv2
import numpy as np
from scipy.special import softmax

from ..errors import ZooError
from ..onnx import backend, run_network, shared_network
from .geometry import face_region, resized_points
from .paste import diffuse

SIDE = 128  # pixels: crops are segmented at this size
ROUNDS = 2  # iterations of GrabCut
CLASSES = 7  # of the parser, the background first; before, clothes counted as background
SURE = 0.95  # probability from which a pixel is certainly the person, or the background
GROW = 0.03  # fraction of the side by which the person is dilated before the background is filled in


def person_matte(crop: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Segment the person in an aligned crop: the zoo's parser finds the region, the colours (GrabCut) its outline.

    Args:
        crop: SxSx3 uint8.
        points: 68x2, its landmarks in pixels.

    Returns:
        SxS float32 in [0, 1], 1 = person. Other people in the background count as background.

    Raises:
        ZooError: the zoo has no parser with all of CLASSES, or its weights are unavailable.
    """
    net = shared_network("parse", backend())
    small = _resized(crop, net.config.input_size).astype(np.float32)
    logits = run_network(net, small.transpose(2, 0, 1)[None] / np.float32(127.5) - 1, "logits")[0]
    if len(logits) < CLASSES:
        raise ZooError(
            f"The zoo's parser has {len(logits)} classes, not {CLASSES}: update the zoo and its weights."
        )
    person = _resized(1 - softmax(logits, axis=0)[0], SIDE)
    labels = np.select(
        [person > SURE, person > 0.5, person > 1 - SURE],
        [cv2.GC_FGD, cv2.GC_PR_FGD, cv2.GC_PR_BGD],
        cv2.GC_BGD,
    )
    return find_outline(crop, points, labels.astype(np.uint8), ROUNDS)


def find_outline(crop: np.ndarray, points: np.ndarray, labels: np.ndarray, rounds: int) -> np.ndarray:
    """Find the outline of a person by colour (GrabCut).

    Args:
        crop: SxSx3 uint8.
        points: 68x2, its landmarks in pixels; the face is certainly the person.
        labels: SIDExSIDE uint8, GrabCut's initial labels.
        rounds: iterations of GrabCut.

    Returns:
        SxS float32 in [0, 1]: the region with the face, without holes, refined along edges in the image; all 1 if no
        label is certain to be background.
    """
    size = len(crop)
    face = face_region(resized_points(points, SIDE / size), SIDE) > 0
    labels = np.where(face, np.uint8(cv2.GC_FGD), labels)
    if not face.any() or not (labels == cv2.GC_BGD).any():
        return np.ones((size, size), np.float32)
    cv2.setRNGSeed(0)
    colours, models = cv2.cvtColor(_resized(crop, SIDE), cv2.COLOR_RGB2LAB), np.zeros((2, 1, 65))
    # OpenCV's type stubs do not accept NumPy's types here.
    cv2.grabCut(colours, labels, None, *models, rounds, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    person = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
    person = cv2.morphologyEx(person, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    person[face] = 1
    _, parts = cv2.connectedComponents(person)
    person = _without_holes(parts == np.bincount(parts[face]).argmax())
    return _soft(cv2.resize(person.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR), crop)


def _resized(image, side):
    how = cv2.INTER_AREA if len(image) > side else cv2.INTER_LINEAR
    return cv2.resize(image, (side, side), interpolation=how)


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
