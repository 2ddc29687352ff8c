"""Select faces of a folder by their metadata and landmarks."""

from typing import Any

import numpy as np

from .expressions import mouth_opening

OPEN_MOUTH = 0.07  # maximum `mouth_opening` that counts as closed
LEAST_NEUTRAL = 0.6  # minimum score "neutral" in metadata.csv that counts as neutral
MOST_NEUTRAL = 0.3  # maximum score that counts as an expression


def is_frontal_neutral(row: dict[str, Any], points: np.ndarray, max_yaw: float = 10.0) -> bool:
    """Whether a face is frontal and neutral.

    Args:
        row: of metadata.csv: measured yaw and pitch and the score "neutral", or a studio's labels.
        points: 68x2, its landmarks.
        max_yaw: degrees.
    """
    if row.get("view"):
        closed = mouth_opening(points) <= OPEN_MOUTH
        return closed and row["view"] == "front" and row.get("expression") == "neutral"
    turned = abs(float(row.get("yaw") or 90)) > max_yaw or abs(float(row.get("pitch") or 0)) > 12
    return not turned and _scored_neutral(row, points)


def is_turned_neutral(row: dict[str, Any], points: np.ndarray) -> bool:
    """Whether a photo shows a neutral face, turned by 6 to 45 degrees, that `frontalize` can bring to the front.

    Studio views are excluded: they have real frontal images.

    Args:
        row: of metadata.csv: measured yaw and pitch and the score "neutral".
        points: 68x2, its landmarks.
    """
    if row.get("view"):
        return False
    turned = 6 < abs(float(row.get("yaw") or 0)) <= 45
    return turned and abs(float(row.get("pitch") or 0)) <= 25 and _scored_neutral(row, points)


def is_expressive(row: dict[str, Any]) -> bool:
    """Whether a photo shows a face with an expression that `frontalize` can bring to the front.

    Studio views are excluded: they have real neutral images.

    Args:
        row: of metadata.csv: measured yaw and pitch and the score "neutral".
    """
    if row.get("view") or not row.get("neutral"):
        return False
    turned = abs(float(row.get("yaw") or 90)) > 40 or abs(float(row.get("pitch") or 0)) > 20
    return not turned and float(row["neutral"]) <= MOST_NEUTRAL


def _scored_neutral(row, points):
    """Whether a face scores as neutral in metadata.csv and has a closed mouth; talking people can score as neutral."""
    return mouth_opening(points) <= OPEN_MOUTH and float(row.get("neutral") or 0) >= LEAST_NEUTRAL
