"""Select faces of a folder by their metadata and landmarks."""

from typing import Any

import numpy as np

from .expressions import mouth_opening

OPEN_MOUTH = 0.07  # the largest `mouth_opening` that counts as closed
LEAST_NEUTRAL = 0.6  # the smallest score in metadata.csv that counts as neutral


def is_frontal_neutral(
    row: dict[str, Any], points: np.ndarray, max_yaw: float = 10.0, max_pitch: float = 12.0
) -> bool:
    """Whether a face is frontal and neutral.

    Args:
        row: of metadata.csv: measured yaw and pitch and the score "neutral", or a studio's labels.
        points: 68x2, its landmarks.
        max_yaw, max_pitch: degrees.
    """
    if row.get("view"):
        closed = mouth_opening(points) <= OPEN_MOUTH
        return closed and row["view"] == "front" and row.get("expression") == "neutral"
    turned = abs(float(row.get("yaw") or 90)) > max_yaw or abs(float(row.get("pitch") or 0)) > max_pitch
    return not turned and _scored_neutral(row, points)


def is_turned_neutral(
    row: dict[str, Any],
    points: np.ndarray,
    least_yaw: float = 6.0,
    max_yaw: float = 45.0,
    max_pitch: float = 25.0,
) -> bool:
    """Whether a photo shows a turned, neutral face that `frontalise` can bring to the front.

    Studio views are excluded: they have real frontal images.

    Args:
        row: of metadata.csv: measured yaw and pitch and the score "neutral".
        points: 68x2, its landmarks.
        least_yaw, max_yaw, max_pitch: degrees.
    """
    if row.get("view"):
        return False
    turned = least_yaw < abs(float(row.get("yaw") or 0)) <= max_yaw
    return turned and abs(float(row.get("pitch") or 0)) <= max_pitch and _scored_neutral(row, points)


def is_expressive(
    row: dict[str, Any], max_yaw: float = 40.0, max_pitch: float = 20.0, most_neutral: float = 0.3
) -> bool:
    """Whether a photo shows a face with an expression that `frontalise` can bring to the front.

    Studio views are excluded: they have real neutral images.

    Args:
        row: of metadata.csv: measured yaw and pitch and the score "neutral".
        max_yaw, max_pitch: degrees.
        most_neutral: the largest score that counts as an expression.
    """
    if row.get("view") or not row.get("neutral"):
        return False
    turned = abs(float(row.get("yaw") or 90)) > max_yaw or abs(float(row.get("pitch") or 0)) > max_pitch
    return not turned and float(row["neutral"]) <= most_neutral


def _scored_neutral(row, points):
    """Whether a face scores as neutral in metadata.csv and has a closed mouth; talking people can score as neutral."""
    return mouth_opening(points) <= OPEN_MOUTH and float(row.get("neutral") or 0) >= LEAST_NEUTRAL
