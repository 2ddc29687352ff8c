"""People cut out of photos with a plain background, in front of other backgrounds: their silhouette is known."""

import cv2
import numpy as np

from ..faces.geometry import resized_points
from ..faces.matte import SIDE, find_outline, head_distance, head_size, shoulders
from ..faces.pixels import to_uint8

# Maximum standard deviation of L*, a* and b* of a plain background, in OpenCV's 8-bit units.
PLAIN = (14.0, 7.0, 7.0)
MIN_BACKGROUND = 0.08  # minimum fraction of the image that shows background
ROUNDS = 3  # iterations of GrabCut
# Distances from the centre of the head, relative to the outline of a head with hair: within HEAD is certainly head,
# within HAIR probably hair, beyond FAR certainly background.
HEAD, HAIR, FAR = 0.7, 1.25, 1.75


def silhouette(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Segment the person in an aligned face by colour, starting from the head that the landmarks imply.

    Background that looks like the person is included.

    Args:
        image: SxSx3 uint8.
        points: 68x2, its landmarks in pixels.

    Returns:
        SxS float32 in [0, 1], 1 = person; all 1 if the image shows no background.
    """
    points = np.asarray(points, np.float64)
    return find_outline(image, points, _guess(resized_points(points, SIDE / len(image))), ROUNDS)


def _guess(points):
    """Return GrabCut's initial labels, SIDExSIDE uint8, for landmarks (68x2)."""
    radius = head_distance(points)
    below = np.arange(SIDE)[:, None] - points[8, 1]
    labels = np.full((SIDE, SIDE), cv2.GC_PR_BGD, np.uint8)
    labels[(radius < HAIR) | shoulders(points)] = cv2.GC_PR_FGD
    labels[radius < HEAD] = cv2.GC_FGD
    labels[(radius > FAR) & (below < -0.2 * head_size(points)[0])] = cv2.GC_BGD
    return labels


def cut_person(image: np.ndarray, points: np.ndarray) -> np.ndarray | None:
    """Cut a person out of an image with a plain background.

    Args:
        image: SxSx3 uint8, an aligned face.
        points: 68x2, its landmarks in pixels.

    Returns:
        SxSx4 uint8: the person's colours, without the background's at soft edges, and alpha; None if the background
        is not plain.
    """
    alpha = silhouette(image, points)
    behind = cv2.erode((alpha < 0.02).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    if behind.mean() < MIN_BACKGROUND:
        return None
    if (cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[behind].std(0) > PLAIN).any():
        return None
    weight = behind.astype(np.float32)[..., None]
    sigma = len(image) / 10
    total = cv2.GaussianBlur(np.concatenate([image * weight, weight], 2), (0, 0), sigma)
    colour = image[behind].mean(0)  # far from the background
    around = (total[..., :3] + 1e-3 * colour) / (total[..., 3:] + 1e-3)
    own = (image - (1 - alpha[..., None]) * around) / np.maximum(alpha[..., None], 0.2)
    return np.dstack([np.clip(own, 0, 255), 255 * alpha]).astype(np.uint8)


def backdrop(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Make a background from a photo: a corner of it, or part of it upside down, enlarged and out of focus; or a
    gradient of two of its colours.

    Args:
        rng: numpy Generator.
        image: SxSx3 uint8.

    Returns:
        SxSx3 uint8.
    """
    size, kind = len(image), rng.random()
    if kind < 0.2:
        a, b = image[tuple(rng.integers(0, size, (2, 2)))].astype(np.float32)
        ramp = np.linspace(0, 1, size, dtype=np.float32)
        ramp = (ramp[:, None] if rng.random() < 0.5 else ramp[None]) * np.ones((size, size), np.float32)
        gradient = a + (b - a) * ramp[..., None]
        return np.clip(gradient + rng.normal(0, 2, gradient.shape), 0, 255).astype(np.uint8)
    side = int(size * rng.uniform(0.25, 0.45))
    if kind < 0.65:
        part = image[:side, :side] if rng.random() < 0.5 else image[:side, -side:]
    else:
        y, x = rng.integers(0, size - side, 2)
        part = image[y : y + side, x : x + side][::-1]
    part = cv2.resize(np.ascontiguousarray(part), (size, size), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.5:
        part = cv2.GaussianBlur(part, (0, 0), size * rng.uniform(0.005, 0.04))
    return part[:, ::-1] if rng.random() < 0.5 else part


def compose(person: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Put a person (SxSx4 uint8, from `cut_person`) in front of a background (SxSx3 uint8): SxSx3 uint8."""
    alpha = person[..., 3:].astype(np.float32) / 255
    return to_uint8(alpha * person[..., :3] + (1 - alpha) * background)
