"""Separate the person in an aligned crop (head, hair and shoulders) from the background."""

import cv2
import numpy as np

from .geometry import face_region, resized_points
from .grain import with_grain
from .parse import parse
from .paste import diffuse, reaching_border
from .pixels import resized, to_uint8
from .texture import borrow_texture, find_texture

SIDE = 128  # pixels: crops are segmented at this size
ROUNDS = 2  # iterations of GrabCut
SURE = 3.0  # difference from the threshold, in logits, from which a pixel is certainly the person or the background
SPLIT = (0.0, 6.0)  # bounds of the threshold
GROW = 0.03  # fraction of the side by which the person is dilated before the background is filled in
FINEST = 256  # maximum side, in pixels, at which texture for the background is searched
HEAD = 1.1  # distance, see `head_distance`, within which a smaller difference than SURE is certain
NEARNESS = 0.15  # weight of a horizontal distance of a pixel of SIDE, in levels of OpenCV's 8-bit Lab
ALIKE = 10.0  # maximum distance of pixels that look alike, in these levels
SAMPLES = 1000  # number of pixels of the background that the others are compared with
DRAWN = 8  # visible pixels drawn, of which the one with the most similar surroundings gives its detail


def person_matte(crop: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Segment the person in an aligned crop: the zoo's parser finds the region, the colours (GrabCut) its outline.

    Args:
        crop: SxSx3 uint8.
        points: 68x2, its landmarks in pixels.

    Returns:
        SxS float32 in [0, 1], 1 = person. Other people in the background count as background.

    Raises:
        ZooError: see `facesym.faces.parse.parse`.
    """
    logits = parse(crop)
    person = resized(np.logaddexp.reduce(logits[1:], axis=0) - logits[0], SIDE)
    return find_outline(crop, points, _labels(person, resized_points(points, SIDE / len(crop))), ROUNDS)


def _labels(person, points):
    """Return GrabCut's initial labels, SIDExSIDE uint8.

    The parser gives textured backgrounds a higher logit than plain ones, but a lower one than hair. The threshold is
    therefore the image's own (Otsu's).

    Args:
        person: SIDExSIDE float32, logits of the person.
        points: 68x2 landmarks, in pixels of SIDE.
    """
    face = face_region(points, SIDE) > 0
    beside = person[(np.arange(SIDE)[:, None] < points[8, 1]) & ~face]
    low, high = -6.0, 14.0  # the range that Otsu's 256 bins cover
    bins = np.clip((beside - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    found = cv2.threshold(bins.reshape(-1, 1), 0, 255, cv2.THRESH_OTSU)[0] if len(bins) else 0
    under = beside[bins <= found]
    split, sure = SPLIT[0], -np.inf
    if len(under):
        split = np.clip(under.max(), *SPLIT)
        sure = max(split - SURE, np.percentile(under, 10))  # some of it is background
    labels = np.select(
        [person > split + np.where(head_distance(points) < HEAD, 1.0, SURE), person > split, person > sure],
        [cv2.GC_FGD, cv2.GC_PR_FGD, cv2.GC_PR_BGD],
        cv2.GC_BGD,
    )
    # The parser sees clothes less clearly than heads, so the colours decide there.
    body = shoulders(points)
    labels[body & (labels == cv2.GC_PR_BGD)] = cv2.GC_PR_FGD
    labels[body & (labels == cv2.GC_BGD)] = cv2.GC_PR_BGD
    return labels.astype(np.uint8)


def shoulders(points: np.ndarray) -> np.ndarray:
    """Return the pixels below the chin where shoulders are expected.

    Args:
        points: 68x2 landmarks, in pixels of an image with the side SIDE.

    Returns:
        SIDExSIDE bool.
    """
    chin, height, width = points[8], *head_size(points)
    y, x = np.mgrid[:SIDE, :SIDE]
    below = y - chin[1]
    reach = 0.25 * width + 0.8 * np.clip(below - 0.15 * height, 0, None)
    return (below > 0) & (np.abs(x - chin[0]) < reach)


def head_size(points: np.ndarray) -> tuple[float, float]:
    """Return the distance from the chin to the brows and the width of the head, in pixels of the landmarks (68x2).

    The jaw of a turned head appears narrow, so the width is at least 1.1 times the height.
    """
    height = float(np.linalg.norm(points[17:27].mean(0) - points[8]))
    return height, max(float(np.linalg.norm(points[0] - points[16])), 1.1 * height)


def head_distance(points: np.ndarray) -> np.ndarray:
    """Return the distance of each pixel from the centre of the head, 1 = the outline of a head with hair.

    Args:
        points: 68x2 landmarks, in pixels of an image with the side SIDE.

    Returns:
        SIDExSIDE float64.
    """
    brows, chin, (height, width) = points[17:27].mean(0), points[8], head_size(points)
    x, y = (brows + chin) / 2 + 0.15 * (brows - chin)
    x = (x + points[[0, 16], 0].mean()) / 2
    ys, xs = np.mgrid[:SIDE, :SIDE]
    return np.hypot((xs - x) / (0.62 * width), (ys - y) / (0.98 * height))


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
    colours, models = cv2.cvtColor(resized(crop, SIDE), cv2.COLOR_RGB2LAB), np.zeros((2, 1, 65))
    # OpenCV's type stubs do not accept NumPy's types here.
    cv2.grabCut(colours, labels, None, *models, rounds, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    person = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
    person = cv2.morphologyEx(person, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    person[face] = 1
    _, parts = cv2.connectedComponents(person)
    person = ~reaching_border(parts != np.bincount(parts[face]).argmax())  # without holes
    return _soft(cv2.resize(person.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR), crop)


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
    """Replace the person by a continuation of the background around the head.

    The colours are continued smoothly. Then, from coarse to fine, each scale takes its texture from similar visible
    pixels; grain is added last. Pixels below the mouth are continued only if they look like those above, since they may
    show clothes.

    Args:
        crop: SxSx3 uint8.
        matte: SxS float32 in [0, 1], from `person_matte`.
        points: 68x2, the landmarks of ``crop`` in pixels.

    Returns:
        SxSx3 uint8; ``crop`` if it shows hardly any background.
    """
    size = len(crop)
    reach = max(1, round(GROW * size))
    person = cv2.dilate((matte > 0.1).astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8))
    known = person == 0
    if not known.any():
        return crop
    filled = _continued(crop, _background(crop, known, points))
    weight = cv2.GaussianBlur(person.astype(np.float32), (0, 0), reach / 3)[..., None]
    mixed = to_uint8(weight * filled + (1 - weight) * crop)
    return with_grain(mixed, person > 0, np.ones_like(known))


def _background(crop, visible, points):
    """Return which visible pixels (SxS bool) are certainly background: those above the mouth, and those below that look
    like them. The others may show clothes."""
    size = len(crop)
    above = visible & (np.arange(size)[:, None] < points[48:68, 1].mean())
    sampled = cv2.resize(above.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA) > 0.99
    if not sampled.any():
        return above if above.any() else visible
    colours = cv2.cvtColor(resized(crop, SIDE), cv2.COLOR_RGB2LAB).astype(np.float32)
    colours = cv2.GaussianBlur(colours, (0, 0), 1)
    values = np.dstack([colours, np.broadcast_to(NEARNESS * np.arange(SIDE, dtype=np.float32), (SIDE, SIDE))])
    samples = np.random.default_rng(0).permutation(values[sampled])[:SAMPLES]
    # |a - b|² = |a|² - 2 a · b + |b|²
    distances = np.square(samples).sum(1) - 2 * values @ samples.T
    alike = np.square(values).sum(2) + distances.min(2) < ALIKE**2
    alike = cv2.resize(alike.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST) > 0
    return above | (visible & alike)


def _continued(image, known):
    """Continue the known pixels (SxS bool) of an image (SxSx3 uint8) over the others."""
    size = len(image)
    times = -(-size // FINEST)
    finest = size // times
    filled, matches, rng = None, (), np.random.default_rng(0)
    for part in (8, 4, 2, 1):
        side = 2 * max(1, finest // part // 2)  # even, as find_texture requires
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        visible = cv2.resize(known.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA) > 0.99
        if not visible.any():  # a strip narrower than a pixel
            continue
        if filled is None:
            filled = diffuse(small.astype(np.float32), visible)
        filled = _enlarged(filled, side)
        filled += _random_detail(filled, small, visible, rng)
        filled = _laid_over(filled, small, visible)
        face = np.zeros_like(visible)
        matches = find_texture(filled, ~visible, face)
        filled = borrow_texture(filled, ~visible, face, *matches)
    if filled is None:
        return diffuse(image.astype(np.float32), known)
    if len(filled) < size:
        filled = _laid_over(_enlarged(filled, size), image, known)
        if side * times == size and visible.any():
            filled = borrow_texture(filled, ~known, np.zeros_like(known), *matches, times=times)
    return filled


def _random_detail(filled, image, visible, rng):
    """Draw detail for each pixel from visible ones (SxS bool) of an image (SxSx3 uint8) in similar surroundings.

    Without it, only flat parts of the background would resemble a smooth fill (SxSx3 float32), and neighbouring pixels
    the same one.

    Returns:
        SxSx3 float32.
    """
    weight = visible.astype(np.float32)
    around = cv2.GaussianBlur(image * weight[..., None], (0, 0), 2)
    around /= np.maximum(cv2.GaussianBlur(weight, (0, 0), 2), 1e-3)[..., None]
    detail = image - around
    detail -= cv2.GaussianBlur(detail * weight[..., None], (0, 0), 2)
    around, detail = around[visible], detail[visible]
    drawn = rng.integers(0, len(detail), (DRAWN, *visible.shape))
    nearest = np.square(around[drawn] - filled).sum(-1).argmin(0)
    return detail[np.take_along_axis(drawn, nearest[None], 0)[0]]


def _enlarged(image, side):
    return cv2.resize(image.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)


def _laid_over(filled, image, known):
    """Replace the known pixels of a filled image (SxSx3 float32): SxSx3 uint8."""
    return np.where(known[..., None], image, to_uint8(filled))
