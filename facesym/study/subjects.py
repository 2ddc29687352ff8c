"""A subject's page: measures over time, and movements from rest."""

from datetime import date
from typing import Any

from .measures import MEASURES
from .pairs import find_movements
from .plots import Line, line_plot
from .reference import healthy_range
from .series import REST
from .table import MAIN

MIN_SPAN = 0.04  # of a plot's vertical axis, in eye distances: 2.5 mm
PLOTTED = [measure for measure in MEASURES if measure.key in MAIN]


def subject_pages(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Make a page for each subject with more than one photo.

    Args:
        rows: of the study's table. Lengths are in millimetres for subjects with a pupillary distance, otherwise in
            percent of the eye distance.

    Returns:
        Dicts: "subject"; "pupillary_distance" in millimetres or None; "plots", dicts of "title", "detectable" (the
        smallest detectable change, ready to print) and "svg"; "pairs", dicts of "condition", "date", "rest",
        "rest_photos", "movement", "flags" and "lines".
    """
    movements = find_movements(rows)
    pages = []
    for subject in sorted({row["subject"] for row in rows if "error" not in row}):
        own = [row for row in rows if row["subject"] == subject and "error" not in row]
        distance = own[0].get("pupillary_distance")
        times = distance or 100
        plots = _plots(own, times, "mm" if distance else "% of eye distance")
        pairs = _pairs([movement for movement in movements if movement.subject == subject], times)
        if plots or pairs:
            page = {"subject": subject, "pupillary_distance": distance, "plots": plots, "pairs": pairs}
            pages.append(page)
    return pages


def _plots(rows, times, unit):
    """Plot the differences of the sides over time for conditions with photos of several days."""
    dated = {}
    for row in sorted(rows, key=lambda row: row["date"]):
        try:
            day = date.fromisoformat(row["date"]).toordinal()
        except ValueError:
            continue
        dated.setdefault(row["condition"] or "no condition", []).append((day, row))
    dated = {condition: each for condition, each in dated.items() if len({day for day, _ in each}) > 1}
    if not dated:
        return []
    days = sorted({day for each in dated.values() for day, _ in each})
    shown = days[:1]
    for day in days[1:]:
        if day - shown[-1] >= 0.16 * (days[-1] - days[0]):  # the dates' texts must not overlap
            shown.append(day)
    ticks = [(day, date.fromordinal(day).isoformat()) for day in shown]
    plots = []
    for measure in PLOTTED:
        lines = [
            Line(
                condition,
                [day for day, _ in each],
                [times * row[f"{measure.key}_difference"] for _, row in each],
                tuple(i for i, (_, row) in enumerate(each) if row.get("flags")),
            )
            for condition, each in dated.items()
        ]
        band = [times * value for value in healthy_range(measure.key)] if REST in dated else None
        svg = line_plot(lines, "", f"left − right, {unit}", ticks=ticks, band=band, span=times * MIN_SPAN)
        detectable = f"{times * measure.detectable:.1f} {unit}"
        plots.append({"title": measure.label, "detectable": detectable, "svg": svg})
    return plots


def _pairs(movements, times):
    pairs = {}
    for movement in movements:
        key = movement.rest, movement.movement
        pair = pairs.setdefault(
            key,
            {
                "condition": movement.condition,
                "date": movement.date,
                "rest": key[0],
                "rest_photos": movement.rest_photos,
                "movement": key[1],
                "flags": movement.flags,
                "lines": [],
            },
        )
        pair["lines"].append(
            {
                "label": movement.label,
                "right": _signed(times * movement.right),
                "left": _signed(times * movement.left),
                "difference": _signed(times * movement.difference),
                "ratio": "too small" if movement.ratio is None else f"{movement.ratio:.2f}",
            }
        )
    return list(pairs.values())


def _signed(value):
    return f"{round(value, 1) + 0.0:+.1f}".replace("-", "−")
