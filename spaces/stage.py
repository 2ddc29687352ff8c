"""The photo that all tabs share: taking it, finding its faces, painting on it."""

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

MAX_STROKES = 8_000_000  # characters of a painted layer


@dataclass
class Shot:
    """A visitor's photo.

    Attributes:
        path: of the file as uploaded.
        boxes: (x0, y0, x1, y1) of its faces from left to right, pixels of the photo.
        size: (width, height) of the photo as the models see it.
        preview: path of the copy that the page shows.
        notes: about the photo, for the visitor.
    """

    path: str
    boxes: list
    size: tuple
    preview: str
    notes: list

    @property
    def largest(self) -> int:
        areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in self.boxes]
        return areas.index(max(areas)) if areas else 0

    def read(self) -> Photo:
        """The photo.

        Raises:
            ImageError: it is not there any more: uploads are deleted after a while.
        """
        if not Path(self.path).exists():
            raise ImageError(
                "This photo has been deleted from the server, as all are after a while: add it again."
            )
        return read_photo(self.path)


def look_at(tell, path: str) -> Shot:
    """Read a photo, find its faces and write the copy to show.

    Raises:
        ImageError: see `read_photo`.
    """
    photo = read_photo(path)
    notes = list(photo.notes)
    try:
        boxes = [face.box for face in find_faces(photo.image, "all", 64)[0]]
    except FaceNotFoundError:
        boxes = []
    file = parts.private_folder() / "preview.jpg"
    shown = parts.shrink(photo.image, parts.SHOWN)
    shown.save(file, quality=88)
    return Shot(path, boxes, photo.image.size, str(file), notes)


def on_stage(shot: Shot, strokes: str | None = None) -> dict:
    """The stage's value for a photo.

    Args:
        strokes: path of a mask to paint on it.
    """
    width, height = shot.size
    scale = min(1, parts.PAINTED / max(shot.size))
    note = "" if shot.boxes else (
        "No face was found in this photo. If something hides it, paint over that with Complete; otherwise try a photo "
        "in which the face is larger or sharper."
    )  # fmt: skip
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
        "note": parts.without_folders(" ".join([*shot.notes, note])).strip(),
    }


async def take(value: dict, shot):
    """What happens when a photo is added: the stage's value and the `Shot`, or None and the same one with an error."""
    path = os.path.abspath(str((value or {}).get("upload") or ""))
    try:
        if not path.startswith(parts.CACHE + os.sep) or not os.path.exists(path):
            raise ImageError("The upload did not arrive: try again.")
        shot = await parts.QUICK.run(look_at, path)
        return on_stage(shot), shot
    except Exception as error:
        return {**(value or {}), "upload": None, "error": parts.wording(error)}, None


def read_strokes(value: dict, size: tuple[int, int]) -> np.ndarray:
    """What was painted: HxW bool for a photo of `size` (width, height).

    Raises:
        ImageError: it is not a picture that the page's canvas makes.
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
        raise ImageError("What was painted did not arrive whole: clear it and paint again.") from error
    painted = load_mask(raw, own)
    if own != size:
        painted = np.asarray(Image.fromarray(painted).resize(size, Image.Resampling.NEAREST))
    return grow_strokes(painted) if painted.any() else painted


def grow_strokes(painted: np.ndarray) -> np.ndarray:
    """Strokes (HxW bool) made wider by 4 pixels of the copy that is painted on: people stop just short of the edge of
    what they paint over."""
    radius = max(2, round(4 * max(painted.shape) / parts.PAINTED))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    return cv2.dilate(painted.astype(np.uint8), kernel).astype(bool)


def chosen_face(value: dict, shot: Shot) -> int:
    """The index of the face that was clicked; of the largest if none was."""
    number = (value or {}).get("chosen")
    return number if isinstance(number, int) and 0 <= number < len(shot.boxes) else shot.largest


class Stage(gr.HTML):
    """Shows the photo: takes files, pastes, drops and the camera; its faces can be clicked and it can be painted on.

    Its value is a dict, see `on_stage`; from the browser it comes with "strokes", a PNG as a data URL, or "upload",
    the path of a file that was just uploaded.
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
