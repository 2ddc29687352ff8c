"""The photo that all tabs share: upload, face detection and mask painting."""

import base64
import binascii
import json
import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import gradio as gr
import numpy as np
import parts
from PIL import Image

from facesym.errors import FaceNotFoundError, ImageError
from facesym.faces.find import find_faces
from facesym.faces.load import Photo, load_mask, read_photo

MAX_STROKES = 2_000_000  # maximum length of a painted layer's data URL


DELETED = "This photo has been deleted: uploads are kept for about an hour. Add it again."


@dataclass
class Shot:
    """A visitor's photo.

    Attributes:
        path: path of the uploaded file.
        boxes: (x0, y0, x1, y1) of each face from left to right, in pixels of the photo.
        size: (width, height) of the photo as the models see it.
        preview: path of the copy shown on the page.
        notes: notes on the photo for the visitor.
        missing: why no face was found, or "".
    """

    path: str
    boxes: list
    size: tuple
    preview: str
    notes: list
    missing: str = ""

    @property
    def largest(self) -> int:
        areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in self.boxes]
        return areas.index(max(areas)) if areas else 0

    def read(self) -> Photo:
        """Read the photo.

        Raises:
            ImageError: the upload has been deleted.
        """
        if not Path(self.path).exists():
            raise ImageError(DELETED)
        return read_photo(self.path)


def need(shot: Shot | None, value: dict | None) -> Shot:
    """Return a visitor's photo.

    Args:
        shot: the photo, or None.
        value: the stage's value.

    Raises:
        ImageError: there is none, or its state has been deleted while the page was open.
    """
    if shot is None:
        shown = (value or {}).get("photo")
        raise ImageError(
            DELETED if shown else "Add a photo first: drop it into the box, or click an example."
        )
    return shot


def look_at(tell, path: str) -> Shot:
    """Read a photo, find its faces and write a copy to display.

    Raises:
        ImageError: see `read_photo`.
    """
    photo = read_photo(path)
    notes = list(photo.notes)
    try:
        boxes, missing = [face.box for face in find_faces(photo.image, "all", 64)[0]], ""
    except FaceNotFoundError as error:
        boxes, missing = [], parts.wording(error)
    file = parts.private_folder() / "preview.jpg"
    shown = parts.shrink(photo.image, parts.SHOWN)
    shown.save(file, quality=88)
    return Shot(path, boxes, photo.image.size, str(file), notes, missing)


def on_stage(shot: Shot, strokes: str | None = None) -> dict:
    """Return the stage's value for a photo.

    Args:
        strokes: path of a mask to paint on it.
    """
    width, height = shot.size
    scale = min(1, parts.PAINTED / max(shot.size))
    return {
        "photo": parts.url(shot.preview),
        "width": round(width * scale),
        "height": round(height * scale),
        "faces": [
            [round(v, 4) for v in (x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height)]
            for x0, y0, x1, y1 in shot.boxes
        ],
        "chosen": shot.largest,
        "strokes": parts.url(strokes) if strokes else None,
        "error": "",
        "note": parts.without_folders(" ".join([*shot.notes, shot.missing])).strip(),
    }


async def take(value: dict):
    """Take an uploaded photo; return the stage's value and the `Shot`, which is None after an error."""
    path = os.path.abspath(str((value or {}).get("upload") or ""))
    try:
        if not path.startswith(parts.CACHE + os.sep) or not os.path.exists(path):
            raise ImageError("The upload failed: try again.")
        shot = await parts.QUICK.run(look_at, path)
        return on_stage(shot) | {"of": path}, shot  # which upload this answers
    except Exception as error:
        return {**(value or {}), "upload": None, "of": path, "error": parts.wording(error)}, None


def read_strokes(value: dict, size: tuple[int, int]) -> np.ndarray:
    """Decode the painted mask to an HxW bool array for a photo of `size` (width, height).

    Raises:
        ImageError: the data is not a PNG of the page's canvas.
    """
    data = (value or {}).get("strokes")
    if not isinstance(data, str) or not data.startswith("data:image/png;base64,"):
        return np.zeros((size[1], size[0]), bool)
    try:
        if len(data) > MAX_STROKES:
            raise ValueError("too large")
        raw = base64.b64decode(data.split(",", 1)[1], validate=True)
        with Image.open(BytesIO(raw), formats=["PNG"]) as layer:
            own = layer.size
        if max(own) > parts.PAINTED:
            raise ValueError("too large")
    except (ValueError, OSError, binascii.Error) as error:
        raise ImageError("The painted mask could not be read: clear it and paint again.") from error
    painted = load_mask(raw, own)
    if own != size:
        painted = np.asarray(Image.fromarray(painted).resize(size, Image.Resampling.NEAREST))
    return grow_strokes(painted) if painted.any() else painted


def grow_strokes(painted: np.ndarray) -> np.ndarray:
    """Dilate strokes (HxW bool) by 4 canvas pixels, because people stop just short of the edge of what they paint
    over."""
    radius = max(2, round(4 * max(painted.shape) / parts.PAINTED))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    return cv2.dilate(painted.astype(np.uint8), kernel).astype(bool)


def chosen_face(value: dict, shot: Shot) -> int:
    """Return the index of the selected face, or of the largest face if none is selected."""
    number = (value or {}).get("chosen")
    return number if isinstance(number, int) and 0 <= number < len(shot.boxes) else shot.largest


class Stage(gr.HTML):
    """Shows the photo. Visitors add one by file, paste, drop or camera, click a face, and paint a mask.

    Its value is a dict, see `on_stage`. The browser adds "strokes", a PNG as a data URL, or "upload", the path of a new
    upload.
    """

    is_template = True

    def __init__(self, **options):
        super().__init__(
            None,
            html_template=parts.static("stage.html"),
            js_on_load=parts.static("stage.js"),
            apply_default_css=False,
            elem_id="stage",
            **options,
        )

    def postprocess(self, value):
        return value

    def preprocess(self, payload):
        if isinstance(payload, str):
            try:
                payload = json.loads(payload)
            except ValueError:
                payload = None
        return payload if isinstance(payload, dict) else {}
