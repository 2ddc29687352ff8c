"""How far photos of one subject, day and condition differ."""

from collections import defaultdict
from typing import Any

import numpy as np

from .measures import MEASURES


def measure_repeatability(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Estimate the repeatability of each measure's left-right difference from repeated photos.

    The within-subject standard deviation is pooled over the groups of photos; the smallest detectable change is
    1.96 √2 times as large (Bland & Altman, BMJ 1996).

    Args:
        rows: of the study's table. Photos with flags, or without a date or a condition, do not count.

    Returns:
        Dicts of "condition", "measure", "groups", "photos", "within_sd" and "smallest_detectable_change"; none for
        conditions without repeated photos.
    """
    groups: dict[tuple, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if "error" not in row and not row.get("flags") and row["condition"] and row["date"]:
            groups[row["condition"], row["subject"], row["date"]].append(row)
    repeated: dict[str, list[list[dict[str, Any]]]] = defaultdict(list)
    for (condition, *_), own in groups.items():
        if len(own) > 1:
            repeated[condition].append(own)
    found = []
    for condition, each in sorted(repeated.items()):
        photos = sum(map(len, each))
        for measure in MEASURES:
            values = [[row[f"{measure.key}_difference"] for row in own] for own in each]
            squares = sum(float(np.square(np.array(own) - np.mean(own)).sum()) for own in values)
            within = float(np.sqrt(squares / (photos - len(each))))
            found.append(
                {
                    "condition": condition,
                    "measure": measure.key,
                    "groups": len(each),
                    "photos": photos,
                    "within_sd": round(within, 4),
                    "smallest_detectable_change": round(1.96 * 2**0.5 * within, 4),
                }
            )
    return found
