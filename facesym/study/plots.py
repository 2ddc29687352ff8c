"""Line plots as SVG, for a report in one file."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup, escape

WIDTH, HEIGHT = 640, 190  # pixels
LEFT, RIGHT, TOP, BOTTOM = 60, 36, 20, 34  # margins
COLOURS = ("#1f5fa8", "#c2571a", "#2c7a4b", "#7a3b9a", "#555555")


@dataclass(frozen=True)
class Line:
    """A line of a plot.

    Attributes:
        label: for the legend.
        x, y: numbers; a y of None or NaN leaves a gap.
        hollow: the indices of points that are drawn hollow.
    """

    label: str
    x: list
    y: list
    hollow: tuple[int, ...] = ()


def line_plot(
    lines: Any,
    x_label: str,
    y_label: str,
    *,
    ticks: Any = None,
    band: Any = None,
    marks: Any = (),
    dots: Any = True,
    span: float = 0,
) -> Any:
    """Draw lines.

    Args:
        lines: of Line.
        x_label, y_label: of the axes.
        ticks: [(x, text)] of the horizontal axis; None marks five round places.
        band: (low, high) of y, shaded: the healthy range.
        marks: [(from, to)] of x, shaded: blinks.
        dots: whether to draw the points too.
        span: minimum length of the vertical axis, so that noise does not fill it.

    Returns:
        SVG, markup that needs no escaping.
    """
    xs = np.concatenate([line.x for line in lines]).astype(float)
    ys = np.concatenate([np.array(line.y, float) for line in lines] + ([np.array(band)] if band else []))
    ys = _widen(ys, span)
    place_x = _scale(xs, LEFT, WIDTH - RIGHT, 0.02 if dots else 0)
    place_y = _scale(ys[np.isfinite(ys)], HEIGHT - BOTTOM, TOP, 0.06)
    parts = []
    if band:
        top, bottom = place_y(band[1]), place_y(band[0])
        parts.append(
            f'<rect x="{LEFT}" y="{top:.1f}" width="{WIDTH - LEFT - RIGHT}" height="{bottom - top:.1f}" '
            'fill="#d5eedd"/>'
        )
    for start, end in marks:
        left, width = place_x(start), max(place_x(end) - place_x(start), 2)
        parts.append(
            f'<rect class="mark" x="{left:.1f}" y="{TOP}" width="{width:.1f}" height="{HEIGHT - TOP - BOTTOM}" '
            'fill="#f3d9a4"/>'
        )
    parts += _axes(place_x, place_y, xs, ys, ticks, x_label, y_label)
    legend = []
    for i, line in enumerate(lines):
        colour = COLOURS[i % len(COLOURS)]
        parts += _draw(line, place_x, place_y, colour, dots)
        legend.append(f'<tspan dx="12" fill="{colour}">{escape(line.label)}</tspan>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="12" text-anchor="end">{"".join(legend)}</text>')
    return Markup(
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'font-size="11" aria-label="{escape(y_label)}">{"".join(parts)}</svg>'
    )


def _widen(ys, span):
    """Add the ends of the minimum span around the values' middle."""
    finite = ys[np.isfinite(ys)]
    if not len(finite) or np.ptp(finite) >= span:
        return ys
    middle = (finite.min() + finite.max()) / 2
    return np.append(ys, [middle - span / 2, middle + span / 2])


def _scale(values, start, end, margin):
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    if high - low < 1e-9:
        low, high = low - 1, high + 1
    low, high = low - margin * (high - low), high + margin * (high - low)
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _axes(place_x, place_y, xs, ys, ticks, x_label, y_label):
    bottom = HEIGHT - BOTTOM
    parts = [f'<path d="M{LEFT} {TOP}V{bottom}H{WIDTH - RIGHT}" fill="none" stroke="#888"/>']
    finite = ys[np.isfinite(ys)]
    for value in _round_places(finite.min(), finite.max()) if len(finite) else ():
        y, text = place_y(value), f"{value:g}".replace("-", "−")
        parts.append(
            f'<path d="M{LEFT - 3} {y:.1f}H{WIDTH - RIGHT}" stroke="{"#ddd" if value else "#999"}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
        )
    for value, text in ticks or [(x, f"{x:g}") for x in _round_places(xs.min(), xs.max())]:
        parts.append(
            f'<text x="{place_x(value):.1f}" y="{bottom + 14}" text-anchor="middle">{escape(text)}</text>'
        )
    parts.append(
        f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 4}" text-anchor="middle">{escape(x_label)}</text>'
    )
    middle = (TOP + bottom) / 2
    parts.append(
        f'<text transform="translate(12 {middle}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>'
    )
    return parts


def _round_places(low, high):
    """Round numbers from low to high, at most six."""
    span = max(float(high) - float(low), 1e-9)
    step = 10 ** np.floor(np.log10(span / 5))
    step *= next(times for times in (1, 2, 5, 10) if span / (step * times) <= 5)
    first = np.ceil(low / step - 1e-9) * step
    return [round(float(value), 10) + 0.0 for value in np.arange(first, high + 1e-9 * span, step)]


def _draw(line, place_x, place_y, colour, dots):
    path, pen = [], "M"
    circles = []
    for i, (x, y) in enumerate(zip(line.x, line.y)):
        if y is None or not np.isfinite(y):
            pen = "M"
            continue
        path.append(f"{pen}{place_x(x):.1f} {place_y(y):.1f}")
        pen = "L"
        fill = "#fff" if i in line.hollow else colour
        circles.append(
            f'<circle cx="{place_x(x):.1f}" cy="{place_y(y):.1f}" r="3" fill="{fill}" stroke="{colour}"/>'
        )
    drawn = [f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="1.5"/>']
    return drawn + (circles if dots else [])
