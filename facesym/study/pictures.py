"""Images and plots of a report, encoded for HTML."""

import base64
import warnings
from io import BytesIO
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image, ImageDraw

from ..asymmetry import draw_heatmap
from ..faces.geometry import resized_points

STRIP = 110, 14  # pixels


def data_uri(image: Image.Image) -> str:
    """Encode an RGB image as a data URI (JPEG)."""
    file = BytesIO()
    image.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def mark_sides(image: Image.Image) -> Image.Image:
    """Write R and L at the subject's right and left side of a crop (RGB): the image's left and right."""
    image, size = image.copy(), image.width / 14
    draw = ImageDraw.Draw(image)
    style: dict[str, Any] = {
        "font_size": size, "fill": "white", "stroke_width": round(size / 10), "stroke_fill": "black"
    }  # fmt: skip
    draw.text((size / 2, size / 2), "R", anchor="lt", **style)
    draw.text((image.width - size / 2, size / 2), "L", anchor="rt", **style)
    return image


def draw_landmarks(crop: Image.Image, points: np.ndarray) -> Image.Image:
    """Draw the landmarks on the crop at twice its size."""
    image = crop.resize((crop.width * 2, crop.height * 2), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(image)
    for x, y in resized_points(np.asarray(points), 2):
        draw.ellipse([x - 2.5, y - 2.5, x + 2.5, y + 2.5], fill=(0, 230, 120), outline=(0, 60, 30))
    return image


def face_pictures(face: Any, pipe: Any) -> list[tuple[str, str]]:
    """Make the images of a photo's page.

    Args:
        face: MeasuredFace.
        pipe: facesym.pipelines.SymmetrizePipeline.

    Returns:
        Pairs of a caption and a data URI; the first is the large one, with the landmarks.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the face's flags report it
        result = pipe(face.crop, aligned=True, composites=True)
    (composites,) = result.composites
    images = {
        "Landmarks (R, L: the subject's right and left)": mark_sides(draw_landmarks(face.crop, face.points)),
        "Photo": mark_sides(face.crop),
        "Where the halves differ": mark_sides(draw_heatmap(face.crop, face.heatmap)),
        "Symmetric self (computed)": result.images[0],
        "Right side, mirrored (computed)": composites["left"],  # the subject's right is the image's left
        "Left side, mirrored (computed)": composites["right"],
    }
    return [(caption, data_uri(image)) for caption, image in images.items()]


def strip(value: float, span: tuple[float, float]) -> Any:
    """Draw a value on a scale as SVG; the healthy range (low, high) is a third of the scale."""
    width, height = STRIP
    (low, high), middle = span, sum(span) / 2
    half = 3 * max(high - low, 1e-9) / 2

    def place(x: float) -> float:
        return width * (np.clip((x - middle) / half, -1, 1) + 1) / 2

    left, right, at = place(low), place(high), np.clip(place(value), 4, width - 4)
    usual = low <= value <= high
    return Markup(
        f'<svg class="strip" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{"within" if usual else "outside"} the healthy range">'
        f'<rect x="0" y="6" width="{width}" height="2" fill="#ccc"/>'
        f'<rect x="{left:.1f}" y="3" width="{right - left:.1f}" height="8" fill="#bfe3cb"/>'
        f'<circle cx="{at:.1f}" cy="7" r="4" fill="{"#1b6e3c" if usual else "#b3261e"}"/></svg>'
    )
