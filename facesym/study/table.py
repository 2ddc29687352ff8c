"""The study's table: one row per photo, as CSV and JSON."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import write_atomic
from .measures import EYE, MEASURES
from .reference import healthy_range, percentile

# The measure that says which side of a region is the lower or narrower one, and the word for it.
LEADING = {
    "brow": ("brow_height", "lower"),
    "eye": ("palpebral_fissure", "narrower"),
    "mouth": ("commissure_height", "lower"),
}


def make_row(about: Any, photo: Any, face: Any, pupillary_distance: float | None = None) -> dict[str, Any]:
    """Make a photo's row.

    Args:
        about: About.
        photo: its path in the study's folder.
        face: MeasuredFace.
        pupillary_distance: of the subject, in millimetres; adds the lengths in millimetres.

    Returns:
        A flat dict; numbers are rounded, missing values are None.
    """
    region, side, times = leading_region(face.sides)
    row = {
        "photo": photo, "subject": about.subject, "date": about.date, "condition": about.condition,
        "flags": "; ".join(face.flags), "leading_region": region, "leading_side": side, "times_healthy": times,
        "roll": face.roll, "yaw": face.yaw, "pitch": face.pitch, "eye_distance_pixels": face.eye_distance,
    }  # fmt: skip
    for measure in MEASURES:
        sides, key = face.sides[measure.key], measure.key
        values = {"right": sides.right, "left": sides.left, "difference": sides.difference}
        row |= {f"{key}_{name}": value for name, value in values.items() if value is not None}
        row[f"{key}_percentile"] = percentile(key, sides.difference)
        if pupillary_distance and measure.unit == EYE:
            row |= {f"{key}_{name}_mm": value * pupillary_distance for name, value in values.items()}
    row |= face.indices
    row |= {f"{name}_percentile": percentile(name, value) for name, value in face.indices.items()}
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}


def leading_region(sides: Mapping[str, Any]) -> tuple[str, str, float]:
    """Find where a face is most unusual.

    Args:
        sides: {key of a measure: Sides}.

    Returns:
        The region ("brow", "eye" or "mouth"); the side ("left" or "right", the subject's) on which it is lower or
        narrower; and how large its largest difference is, in limits of the healthy range.
    """
    times = {
        region: max(_times_healthy(m.key, sides[m.key].difference) for m in MEASURES if m.region == region)
        for region in LEADING
    }
    region = max(times, key=lambda name: times[name])
    side = "right" if sides[LEADING[region][0]].difference > 0 else "left"
    return region, side, times[region]


def _times_healthy(key, difference):
    _, high = healthy_range(key)
    return abs(difference) / high


def failed_row(about: Any, photo: Any, error: Any) -> dict[str, Any]:
    """Make the row of a photo that could not be measured."""
    return {
        "photo": photo, "subject": about.subject, "date": about.date, "condition": about.condition, "error": error,
    }  # fmt: skip


def save_table(rows: list[dict[str, Any]], path: Path, error: Any) -> None:
    """Write rows as ``path`` with .csv and .json appended; columns that a row lacks stay empty.

    Args:
        rows: flat dicts.
        path: of the files, without that ending.
        error: class of the error to raise if a file cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, dict.fromkeys(key for row in rows for key in row), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path.with_name(f"{path.name}.csv"), text.getvalue().encode(errors="backslashreplace"), error)
    write_atomic(path.with_name(f"{path.name}.json"), (json.dumps(rows, indent=1) + "\n").encode(), error)
