"""The study's table: one row per photo, as CSV and JSON."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .measures import EYE, MEASURES
from .reference import healthy_range, percentile, region_limit
from .series import REST

# What can be said of a region: the words, and its measures with the sign that makes their difference positive if this
# is true of the subject's left side. The first measure is the region's main one.
LEADING: dict[str, dict[str, dict[str, int]]] = {
    "brow": {"lower on the": {"brow_height": -1}},
    "eye": {"narrower on the": {"palpebral_fissure": -1}},
    "mouth": {
        "lower on the": {"commissure_height": -1, "facial_asymmetry_index": 1, "smile_angle": 1},
        "drawn to the": {"commissure_excursion": 1, "philtrum_deviation": 1},
    },
}
# facesym's own indices, and their labels.
INDICES = {
    "overall": "Overall (without the jaw)",
    "brow": "Brow",
    "eye opening": "Eye opening",
    "mouth corner": "Mouth corner",
    "nose": "Nose",
    "appearance": "Appearance (mean of the heat map)",
}
MAIN = tuple(next(iter(next(iter(findings.values())))) for findings in LEADING.values())


class Leading(NamedTuple):
    """Where a face is most unusual.

    Attributes:
        region: "brow", "eye" or "mouth".
        side: "left" or "right", the subject's: on which it is lower or narrower, or to which it is drawn.
        times: its largest difference, over the one that 95 % of the healthy faces do not exceed.
        finding: what the side means, in words.
    """

    region: str
    side: str
    times: float
    finding: str


def make_row(about: Any, photo: Any, face: Any) -> dict[str, Any]:
    """Make a photo's row.

    Args:
        about: About; with a pupillary distance, the row also has the lengths in millimetres.
        photo: its path in the study's folder.
        face: MeasuredFace.

    Returns:
        A flat dict; numbers are rounded, missing values are None. Percentiles are those of faces at rest, and None for
        other conditions.
    """
    leading, resting = leading_region(face.sides), about.condition in ("", REST)
    row = {
        "photo": photo, "subject": about.subject, "date": about.date, "condition": about.condition,
        "flags": "; ".join(face.flags), "check": face.check,
        "leading_region": leading.region, "leading_side": leading.side,
        "leading_finding": leading.finding, "times_healthy": leading.times,
        "roll": face.roll, "yaw": face.yaw, "pitch": face.pitch, "eye_distance_pixels": face.eye_distance,
    }  # fmt: skip
    distance = about.pupillary_distance
    if distance:
        row["pupillary_distance"] = distance
    for measure in MEASURES:
        sides, key = face.sides[measure.key], measure.key
        values = {"right": sides.right, "left": sides.left, "difference": sides.difference}
        row |= {f"{key}_{name}": value for name, value in values.items() if value is not None}
        row[f"{key}_percentile"] = percentile(key, sides.difference) if resting else None
        if distance and measure.unit == EYE:
            row |= {f"{key}_{name}_mm": value * distance for name, value in values.items()}
    for name, value in face.indices.items():
        key = f"asymmetry_{name.replace(' ', '_')}"
        row |= {key: value, f"{key}_percentile": percentile(name, value) if resting else None}
    row = {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
    return row | dict(about.extra)


def leading_region(sides: Mapping[str, Any]) -> Leading:
    """Find where a face is most unusual.

    The largest of many differences is larger than the largest of a few, also in healthy faces. A region's largest
    difference is therefore compared with the one that 95 % of the healthy faces do not exceed. The side is named by the
    mean of the measures that agree on it, not by the largest alone.

    Args:
        sides: {key of a measure: Sides}.

    Returns:
        Leading.
    """
    times = {m.key: sides[m.key].difference / healthy_range(m.key)[1] for m in MEASURES}
    largest = {
        region: max(abs(times[m.key]) for m in MEASURES if m.region == region) / region_limit(region)
        for region in LEADING
    }
    region = max(largest, key=lambda name: largest[name])
    means = {
        words: float(np.mean([sign * times[key] for key, sign in signs.items()]))
        for words, signs in LEADING[region].items()
    }
    words = max(means, key=lambda name: abs(means[name]))
    side = "left" if means[words] > 0 else "right"
    return Leading(region, side, largest[region], f"{words} {side}")


def failed_row(about: Any, photo: Any, error: Any) -> dict[str, Any]:
    """Make the row of a photo that could not be measured."""
    return {
        "photo": photo, "subject": about.subject, "date": about.date, "condition": about.condition, "error": error,
    } | dict(about.extra)  # fmt: skip
