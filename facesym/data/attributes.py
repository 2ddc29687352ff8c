"""LSSL's attributes for training: expressions from metadata, poses from the yaw, light by relighting."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..faces.pose import FARTHEST_YAW
from .faces import side_light

UNKNOWN = -1
LEAST_SCORE = 0.85  # minimum score of the expression network that counts as a label
POSES = {"left 45": -45, "left 20": -20, "frontal": 0, "right 20": 20, "right 45": 45}  # degrees of yaw
# Names of expressions in the metadata of studio photos, and ours.
STUDIO = {"neutral": "neutral", "smiling": "happy", "happy": "happy"}


def expression_of(row: dict[str, Any], names: Sequence[str]) -> int:
    """Return the expression of a face.

    Args:
        row: a row of metadata.csv: studio photos (with a "view") have a label, others scores.
        names: names of expressions.

    Returns:
        Index in ``names``; UNKNOWN for another expression or if no score is high enough.
    """
    if row.get("view"):
        name = STUDIO.get(row.get("expression", ""))
        return names.index(name) if name in names else UNKNOWN
    scores = [float(row.get(name) or 0) for name in names]
    return int(np.argmax(scores)) if max(scores) >= LEAST_SCORE else UNKNOWN


def pose_of(yaw: float, names: Sequence[str]) -> int:
    """Return the pose closest to a yaw.

    Args:
        yaw: degrees, negative to the image's left.
        names: keys of POSES.

    Returns:
        Index in ``names``; UNKNOWN beyond `FARTHEST_YAW`.
    """
    if not abs(yaw) <= FARTHEST_YAW:
        return UNKNOWN
    return int(np.argmin([abs(POSES[name] - yaw) for name in names]))


def relight(rng: np.random.Generator, image: np.ndarray, name: str) -> np.ndarray:
    """Relight an image.

    Args:
        rng: numpy Generator.
        image: SxSx3 in [0, 255], normally lit.
        name: "normal", "weak" (low contrast), "dark", or "side" (from the image's left).

    Returns:
        SxSx3 float32 in [0, 255].
    """
    image = image.astype(np.float32)
    if name == "weak":
        mean = image.mean()
        return np.clip(mean * 0.8 + rng.uniform(0.4, 0.55) * (image - mean), 0, 255)
    if name == "dark":
        return 255 * (image / 255) ** rng.uniform(1.1, 1.4) * rng.uniform(0.3, 0.45)
    if name == "side":
        return side_light(rng, image * 0.8, strength=0.9, least=0.6, ways=(-1,))
    return image
