"""Expression, pose and light of aligned faces, as LSSL's attributes: from metadata, from yaw, by relighting."""

import numpy as np

from ..faces.pose import FARTHEST_YAW
from .faces import side_light

UNKNOWN = -1
LEAST_SCORE = 0.85  # of the expression network, for a label to be taken
POSES = {"left 45": -45, "left 20": -20, "frontal": 0, "right 20": 20, "right 45": 45}  # degrees of yaw
_STUDIO = {"neutral": "neutral", "smiling": "happy", "happy": "happy"}


def expression_of(row, names):
    """The index in ``names`` of a face's expression, by its row of metadata.csv: the studio's label where there is a
    ``view``, else the surest of the scores; UNKNOWN if none is sure, or it is another."""
    if row.get("view"):
        name = _STUDIO.get(row.get("expression"))
        return names.index(name) if name in names else UNKNOWN
    scores = [float(row.get(name) or 0) for name in names]
    return int(np.argmax(scores)) if max(scores) >= LEAST_SCORE else UNKNOWN


def pose_of(yaw, names):
    """The index in ``names`` (of POSES) of the pose nearest to a yaw (degrees, negative to the picture's left), or
    UNKNOWN."""
    if not abs(yaw) <= FARTHEST_YAW:
        return UNKNOWN
    return int(np.argmin([abs(POSES[name] - yaw) for name in names]))


def relight(rng, image, name):
    """A picture (SxSx3, [0, 255]) as normally lit, in another light: "normal", "weak" (little contrast), "dark" or
    "side" (from the picture's left); float32 [0, 255]."""
    image = image.astype(np.float32)
    if name == "weak":
        mean = image.mean()
        return np.clip(mean * 0.8 + rng.uniform(0.4, 0.55) * (image - mean), 0, 255)
    if name == "dark":
        return 255 * (image / 255) ** rng.uniform(1.1, 1.4) * rng.uniform(0.3, 0.45)
    if name == "side":
        return side_light(rng, image * 0.8, strength=0.9, least=0.6, ways=(-1,))
    return image
