"""Estimate the attributes that transfer changes, from landmarks and brightness."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from PIL import Image

from .geometry import face_region
from .mouth import mouth_shape
from .pose import find_points_and_pose

# Weights of `mouth_shape` and biases for the logits of the expressions, fitted by train/expression.py.
EXPRESSIONS = {
    "neutral": ((-17.9, -4.8, -8.7, 5.4), 4.1),
    "happy": ((-4.1, 24.5, 11.5, -22.4), -11.7),
    "surprised": ((22.0, -19.6, -2.8, 17.0), 7.6),
}
# Their frequencies in photos from the web (docs/data.md); the fit gives all three the same weight.
FREQUENCIES = {"neutral": 0.467, "happy": 0.519, "surprised": 0.014}
# Grey levels of the face, 0 to 255: a lower mean is dark, a smaller range (5 to 95 %) is weak.
DARK, WEAK = 75, 80
ONE_SIDED = 0.14  # contrast of the medians of the face's halves from which light comes from the side


def degrees_of(pose: str) -> float:
    """Return the yaw in a pose's name: -45 for "left 45", 0 for "frontal"."""
    side, _, degrees = pose.partition(" ")
    return {"left": -1, "right": 1}.get(side, 0) * float(degrees or 0)


def _expression_logits(points):
    """Return the logit of each expression: {name: float}."""
    shape = mouth_shape(points)
    return {name: float(shape @ np.array(weights) + bias) for name, (weights, bias) in EXPRESSIONS.items()}


def expression_scores(points: np.ndarray) -> dict[str, float]:
    """Estimate how probable the expressions are from the mouth's landmarks.

    Other expressions are not recognised: they count as one of these, mostly neutral. Less than half
    of the faces that score high for surprised are surprised (docs/data.md).

    Args:
        points: 68x2, landmarks.

    Returns:
        {expression: score from 0 to 1}; the scores add up to 1.
    """
    logits = _expression_logits(points)
    values = np.array([logits[name] + np.log(frequency) for name, frequency in FREQUENCIES.items()])
    values = np.exp(values - values.max())
    return dict(zip(FREQUENCIES, (values / values.sum()).tolist()))


def estimate_attributes(crop: Image.Image, groups: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Estimate the attributes of a face.

    Expressions are estimated from the mouth's landmarks, the pose from the yaw, the light from the grey levels of the
    face: it is "dark", "weak" (low contrast), "side" (one half is lighter) or "normal". The thresholds do not take the
    skin tone into account.

    Args:
        crop: RGB, an aligned face (FFHQ framing).
        groups: the attributes to choose from, as {group: attributes}; see `facesym.attributes.GROUPS`.

    Returns:
        {group: attribute}, without groups of other names and estimates that are not among the attributes.
    """
    points, (yaw, _) = find_points_and_pose(crop)
    logits = _expression_logits(points)
    estimates = {
        "expression": max(logits, key=logits.__getitem__),
        "pose": min(groups.get("pose", ()), key=lambda name: abs(degrees_of(name) - yaw), default=""),
        "light": _light(np.asarray(crop), points),
    }
    return {group: name for group, name in estimates.items() if name in groups.get(group, ())}


def _light(image, points):
    """Name the light on a face (SxSx3 uint8, landmarks 68x2 in pixels)."""
    size = len(image)
    inside = face_region(points, size) > 0
    if not inside.any():
        return "normal"
    lightness = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    face = lightness[inside]
    if face.mean() < DARK:
        return "dark"
    if np.subtract(*np.percentile(face, [95, 5])) < WEAK:
        return "weak"
    smooth = cv2.GaussianBlur(lightness, (0, 0), 0.024 * size)[inside].astype(float)
    columns = np.nonzero(inside)[1]
    middle = np.median(columns)
    left, right = (np.median(smooth[half]) for half in (columns < middle, columns > middle))
    return "side" if abs(left - right) > ONE_SIDED * (left + right) else "normal"
