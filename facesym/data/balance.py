"""Sampling weights that keep every kind of face frequent in batches."""

import cv2
import numpy as np

from .faces import FaceFolders

SMALLEST = 0.05  # minimum fraction of the samples for each kind
MAX_WEIGHT = 12.0  # maximum sampling weight of an image, relative to uniform sampling
DARK, LIGHT = 50.0, 70.0  # CIE L* of the cheek


def cheek_lightness(image: np.ndarray, points: np.ndarray) -> float:
    """Compute CIE L* of the lighter inner cheek, 0 to 100: an estimate of skin tone, robust to shadow on one side.

    Args:
        image: SxSx3 uint8.
        points: 68x2 landmarks in pixels.
    """
    radius = max(1, round(0.02 * len(image)))
    values = []
    for eye, mouth in (((40, 41), 48), ((46, 47), 54)):
        x, y = np.rint(0.5 * points[list(eye)].mean(0) + 0.5 * points[mouth]).astype(int)
        patch = image[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1]
        if patch.size:
            lab = cv2.cvtColor(patch.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
            values.append(float(np.median(lab[..., 0])))
    return max(values, default=0.0)


def kinds(faces: FaceFolders) -> dict[str, np.ndarray]:
    """Group faces by set, yaw, expression and skin tone, as far as ``metadata.csv`` has the columns.

    Returns:
        {kind: N bool}.
    """
    sets = np.array([row["path"].parent.name for row in faces.rows])
    found = {f"set {name}": sets == name for name in np.unique(sets)}

    def column(name):
        return np.array([float(row.get(name) or "nan") for row in faces.rows])

    yaw = column("yaw")
    for name, low, high in (
        ("left", -90, -20),
        ("half left", -20, -10),
        ("half right", 10, 20),
        ("right", 20, 90),
    ):
        found[f"turned {name}"] = (yaw >= low) & (yaw < high)
    for name in ("happy", "surprised", "sad", "angry"):
        found[name] = column(name) > 0.5
    light = np.array([cheek_lightness(x, p) for x, p in zip(faces.images, faces.landmarks)])
    return found | {"dark skin": light < DARK, "light skin": light > LIGHT}


def balanced_weights(
    kinds: dict[str, np.ndarray], smallest: float = SMALLEST, most: float = MAX_WEIGHT
) -> np.ndarray:
    """Return the sampling probability of each image.

    Rare kinds are raised in turn until each has the fraction ``smallest`` (raking). A kind with very few images stays
    below it, because no image gets more than ``most`` times its uniform probability.

    Args:
        kinds: {name: N bool array}; an image may be of several.
        smallest: fraction of the draws.
        most: bound on an image's weight, in units of 1/N.

    Returns:
        N float64, summing to 1.
    """
    groups = [group for group in kinds.values() if group.any()]
    n = len(groups[0])
    weights = np.full(n, 1 / n)
    for _ in range(100):
        for group in groups:
            fraction = weights[group].sum()
            if fraction < smallest:
                weights[group] = np.minimum(weights[group] * smallest / fraction, most / n)
                weights /= weights.sum()
    return weights
