"""Render the report of a study: a self-contained, printable HTML file."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment
from markupsafe import Markup, escape

from .measures import DEGREES, MEASURES
from .pictures import strip
from .reference import healthy_range, percentile, reference
from .series import REST
from .table import INDICES

NOTICE = (
    "Not a diagnosis. These measures depend on the pose, light, lens and expression of each photo, and no face is "
    "perfectly symmetric. They do not show whether a person is ill."
)


def measure_lines(face: Any, pupillary_distance: float | None, resting: bool = True) -> list[dict[str, Any]]:
    """Return the lines of the table of measures: dicts with "label", "right", "left", "difference", "usual",
    "percentile" (only of a face at rest) and "strip", ready to print."""
    lines = []
    for measure in MEASURES:
        sides, span = face.sides[measure.key], healthy_range(measure.key)
        show = _printer(measure.unit, pupillary_distance)
        lines.append(
            {
                "label": measure.label,
                "right": show(sides.right),
                "left": show(sides.left),
                "difference": show(sides.difference, sign=True),
                "usual": f"{show(span[0], sign=True)} to {show(span[1], sign=True)}",
                "percentile": _percent(percentile(measure.key, sides.difference)) if resting else "",
                "strip": strip(sides.difference, span),
                "outside": not span[0] <= sides.difference <= span[1],
            }
        )
    return lines


def index_lines(face: Any, resting: bool = True) -> list[dict[str, Any]]:
    """Return the lines of the table of facesym's own indices; see `measure_lines`."""
    lines = []
    for name, label in INDICES.items():
        value, high = face.indices[name], healthy_range(name)[1]
        lines.append(
            {
                "label": label,
                "value": f"{value:.3f}",
                "usual": f"up to {high:.3f}",
                "percentile": _percent(percentile(name, value)) if resting else "",
                "strip": strip(value, (0, high)),
                "outside": value > high,
            }
        )
    return lines


def describe_leading(row: dict[str, Any]) -> str:
    """Describe in a sentence where a face is most unusual, from its row of the table."""
    text = f"{row['leading_region']}, {row['leading_finding']}"
    if row["times_healthy"] <= 1:
        return f"No region is outside the healthy range. Closest to its limit: {text}."
    return f"Most unusual: {text} ({row['times_healthy']:.2f} times the limit of the healthy range)."


def summarize_leading(row: dict[str, Any]) -> str:
    """Shorten `describe_leading` for the list of photos; empty within the healthy range."""
    if row["times_healthy"] <= 1:
        return ""
    return f"{row['leading_region']}, {row['leading_finding']} ({row['times_healthy']:.2f}×)"


def render(
    pages: Sequence[dict],
    failed: Sequence[dict],
    settings: dict[str, Any],
    *,
    subjects: Sequence[dict] = (),
    videos: Sequence[dict] = (),
) -> str:
    """Render the report.

    Args:
        pages: dicts, one per photo: "row" of the table, "pictures" [(caption, data URI)], "measures" and "indices"
            (lines).
        failed: rows of photos that could not be measured.
        settings: dict: "folder", "pupillary_distance" (the study's default in millimetres, or None), "version",
            "today" (YYYY-MM-DD) and "doubts" (sentences on subjects without a photo at rest, or whose names look
            misread).
        subjects: dicts from `facesym.study.subjects.subject_pages`.
        videos: dicts from `facesym.study.video.video_page`.

    Returns:
        HTML.
    """
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "leading": describe_leading,
        "summary": summarize_leading,
        "degrees": lambda value: f"{round(value)}°".replace("-", "−"),
        "breakable": lambda name: escape(name).replace("_", Markup("_<wbr>")),
    }
    environment.globals |= {"unit": _unit, "detectable": _detectable}
    template = environment.from_string(
        files("facesym.study").joinpath("report.html.jinja").read_text("utf-8")
    )
    return template.render(
        pages=pages, failed=failed, subjects=subjects, videos=videos, measures=MEASURES, notice=NOTICE,
        reference=reference(), units=_units(pages, settings), resting=("", REST), **settings,
    )  # fmt: skip


def _unit(pupillary_distance):
    return "millimetres" if pupillary_distance else "% of the distance between the eyes"


def _units(pages, settings):
    """Return the units of length in words, for all subjects."""
    rows = [page["row"] for page in pages] or [settings]
    distances = {row.get("pupillary_distance") for row in rows}
    if None in distances and len(distances) > 1:
        return f"{_unit(1)} if the pupillary distance is known, otherwise in {_unit(None)}"
    (distance, *others) = distances
    return _unit(distance) + (f" (pupillary distance: {distance:g} mm)" if distance and not others else "")


def _detectable(measure):
    """Return the smallest detectable change of a measure, ready to print."""
    if measure.unit == DEGREES:
        return f"{measure.detectable:.1f}°"
    return f"{100 * measure.detectable:.1f} % of the eye distance"


def _printer(unit, pupillary_distance):
    """Return a function that formats a value of a measure in degrees, millimetres or percent of the eye distance."""
    times = 1 if unit == DEGREES else pupillary_distance or 100
    end = "°" if unit == DEGREES else ""

    def show(value, sign=False):
        if value is None:
            return ""
        text = f"{round(value * times, 1) + 0.0:{'+' if sign else ''}.1f}{end}"  # no negative zero
        return text.replace("-", "−")

    return show


def _percent(value):
    if value is None:
        return ""
    if value <= 0.5 or value >= 99.5:
        return "< 1" if value < 50 else "> 99"
    return f"{value:.0f}"
