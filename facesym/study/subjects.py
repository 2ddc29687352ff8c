"""A subject's page: measures over time, and movements from rest."""

from collections.abc import Iterable
from datetime import date
from typing import Any

from .measures import MEASURES, SIDES
from .pairs import find_movements
from .plots import Line, line_plot
from .reference import healthy_range
from .series import REST
from .table import MAIN

FEWEST_REPEATS = (
    3  # repeated photos, beyond the first of each day, from which the report gives the repeatability
)
MIN_SPAN = 0.04  # of a plot's vertical axis, in eye distances: 2.5 mm
PLOTTED = [measure for measure in MEASURES if measure.key in MAIN]


def subject_pages(rows: list[dict[str, Any]], repeats: Iterable[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """Make a page for each subject with more than one photo.

    Args:
        rows: of the study's table. Lengths are in millimetres for subjects with a pupillary distance, otherwise in
            percent of the eye distance.
        repeats: from `facesym.study.repeats.measure_repeatability`.

    Returns:
        Dicts: "subject"; "pupillary_distance" in millimetres or None; "plots", dicts of "title", "detectable" (the
        smallest detectable change, ready to print) and "svg"; "moves", the same of movements, without "detectable";
        "pairs", dicts of "condition", "date", "rest",
        "rest_photos", "movement", "flags" and "lines".
    """
    movements = find_movements(rows)
    own_changes = {
        each["measure"]: each
        for each in repeats
        if each["condition"] == REST and each["photos"] - each["groups"] >= FEWEST_REPEATS
    }
    pages = []
    for subject in sorted({row["subject"] for row in rows if "error" not in row}):
        own = [row for row in rows if row["subject"] == subject and "error" not in row]
        distance = own[0].get("pupillary_distance")
        times = distance or 100
        unit = "mm" if distance else "% of eye distance"
        plots = _plots(own, times, unit, own_changes)
        moved = [movement for movement in movements if movement.subject == subject]
        moves, pairs = _move_plots(moved, times, unit), _pairs(moved, times)
        if plots or pairs:
            page = {"subject": subject, "pupillary_distance": distance}
            pages.append(page | {"plots": plots, "moves": moves, "pairs": pairs})
    return pages


def _by_date(items, group, day):
    """Group items with a date by ``group(item)``, in the order of their dates; only groups with several dates.

    Returns:
        {group: [(day, item)]} with the days as ordinals.
    """
    dated = {}
    for item in sorted(items, key=day):
        try:
            ordinal = date.fromisoformat(day(item)).toordinal()
        except ValueError:
            continue
        dated.setdefault(group(item), []).append((ordinal, item))
    return {name: each for name, each in dated.items() if len({ordinal for ordinal, _ in each}) > 1}


def _ticks(days):
    """Return the ticks of a plot's axis, see `line_plot`, for days as ordinals."""
    days = sorted(set(days))
    shown = days[:1]
    for ordinal in days[1:]:
        if ordinal - shown[-1] >= 0.16 * (days[-1] - days[0]):  # the dates' texts must not overlap
            shown.append(ordinal)
    return [(ordinal, date.fromordinal(ordinal).isoformat()) for ordinal in shown]


def _plots(rows, times, unit, repeats):
    """Plot the differences of the sides over time for conditions with photos of several days."""
    dated = _by_date(rows, lambda row: row["condition"] or "no condition", lambda row: row["date"])
    if not dated:
        return []
    ticks = _ticks(day for each in dated.values() for day, _ in each)
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
        if own := repeats.get(measure.key):
            change = times * own["smallest_detectable_change"]
            detectable += f"; in this study, at rest, {change:.1f} {unit}, from {own['photos']} photos"
        plots.append({"title": measure.label, "detectable": detectable, "svg": svg})
    return plots


def _move_plots(movements, times, unit):
    """Plot the movement of each side over time for movements of several days."""
    dated = _by_date(movements, lambda move: (move.condition, move.label), lambda move: move.date)
    plots = []
    for (condition, label), each in dated.items():
        hollow = tuple(i for i, (_, move) in enumerate(each) if move.flags)
        days = [day for day, _ in each]
        lines = [
            Line(side, days, [times * getattr(move, side) for _, move in each], hollow) for side in SIDES
        ]
        svg = line_plot(lines, "", f"from rest, {unit}", ticks=_ticks(days), span=times * MIN_SPAN)
        plots.append({"title": f"{condition.capitalize()}: {label.lower()}", "svg": svg})
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
