"""The columns of a study's tables, with their units and meanings."""

from .measures import DEGREES, MEASURES
from .table import INDICES

LENGTH = "eye distance"
PERCENT = "percent of the healthy reference faces at rest"
_SIDES = "right and left are the subject's own"
_PHOTO = {
    "photo": ("", "path of the photo in the study's folder"),
    "subject": ("", "subject, from the CSV file or the file name"),
    "date": ("YYYY-MM-DD", "date of the photo"),
    "condition": ("", "rest, smile, eye closure, brow raise, another word of the CSV file, or empty"),
}
_MEASURES = _PHOTO | {
    "flags": ("", "reasons why the measures may be unreliable; empty if there are none"),
    "check": ("", "what only a look at the photo can decide"),
    "leading_region": ("", "most unusual region: brow, eye or mouth"),
    "leading_side": ("", "side on which it is lower or narrower, or to which it is drawn; not always the weak side"),
    "leading_finding": ("", "what the side means"),
    "times_healthy": (
        "limits of the healthy range",
        "largest difference of the leading region over the limit that 95 % of the healthy faces do not exceed at rest: "
        "above 1, it is outside the healthy range",
    ),
    "roll": (DEGREES, "tilt of the head; positive: clockwise in the image"),
    "yaw": (DEGREES, "turn of the head; negative: the nose points to the image's left"),
    "pitch": (DEGREES, "nod of the head; negative: the nose points up"),
    "eye_distance_pixels": ("pixels", "distance between the eye centres in the photo"),
    "pupillary_distance": ("mm", "the subject's pupillary distance, by which eye distances become millimetres"),
    "error": ("", "why the photo was not measured"),
}  # fmt: skip
_MOVEMENTS = {
    "subject": _PHOTO["subject"],
    "date": ("YYYY-MM-DD", "date of the movement"),
    "condition": ("", "the movement"),
    "rest": ("", "path of the photo at rest"),
    "rest_date": ("YYYY-MM-DD", "its date"),
    "rest_photos": ("photos", "number of photos at rest of that date, of which it is one"),
    "movement": ("", "path of the photo of the movement"),
    "measure": ("", "measure whose change is the movement, as in measures.csv"),
    "label": ("", "name of the movement"),
    "right": (LENGTH, "movement of the right side from rest; negative: against the expected direction"),
    "left": (LENGTH, "movement of the left side from rest; negative: against the expected direction"),
    "difference": (LENGTH, "left minus right"),
    "ratio": ("", "smaller movement over the larger: 1 = equal, 0 = one side does not move, or moves the other way"),
    "ratio_note": ("", "why there is no ratio"),
    "flags": ("", "reasons why the movement may be unreliable; empty if there are none"),
}  # fmt: skip
_REPEATABILITY = {
    "condition": ("", "of the photos"),
    "measure": ("", "measure whose left-right difference is compared"),
    "groups": ("", "number of days of a subject with several photos of the condition without flags"),
    "photos": ("photos", "their number"),
    "within_sd": (
        "unit of the measure",
        "standard deviation of the difference between photos of one subject, day and condition",
    ),
    "smallest_detectable_change": ("unit of the measure", "1.96 √2 times within_sd"),
}


def describe_columns() -> list[dict[str, str]]:
    """Describe the columns of a study's tables: dicts of "table", "column", "unit" and "meaning"."""
    found = [_line("measures", name, *about) for name, about in _MEASURES.items()]
    for measure in MEASURES:
        unit = DEGREES if measure.unit == DEGREES else LENGTH
        for side in ("right", "left") if measure.right else ():
            meaning = (
                f"{measure.label} of the subject's {side} side: {measure.formula} (numbers of the right side)"
            )
            found += _with_millimetres("measures", f"{measure.key}_{side}", unit, meaning)
        meaning = (
            f"{measure.label}, left minus right" if measure.right else f"{measure.label}: {measure.formula}"
        )
        found += _with_millimetres("measures", f"{measure.key}_difference", unit, meaning)
        found.append(_percentile(f"{measure.key}_percentile", "a smaller difference"))
    for name in INDICES:
        unit = "mean of the heat map" if name == "appearance" else "distance between the outer eye corners"
        key = f"asymmetry_{name.replace(' ', '_')}"
        found.append(_line("measures", key, unit, f"facesym's asymmetry index: {name}; 0 = symmetric"))
        found.append(_percentile(f"{key}_percentile", "a smaller index"))
    for name, (unit, meaning) in _MOVEMENTS.items():
        found += _with_millimetres("movements", name, unit, meaning)
    return found + [_line("repeatability", name, *about) for name, about in _REPEATABILITY.items()]


def _line(table, column, unit, meaning):
    return {"table": table, "column": column, "unit": unit, "meaning": meaning}


def _with_millimetres(table, column, unit, meaning):
    lines = [_line(table, column, unit, meaning)]
    if unit == LENGTH:
        lines.append(_line(table, f"{column}_mm", "mm", f"the same, times the pupillary distance: {meaning}"))
    return lines


def _percentile(column, less):
    meaning = f"reference faces with {less}; 0.5 and 99.5 are the ends of the scale; only of photos at rest"
    return _line("measures", column, PERCENT, meaning)
