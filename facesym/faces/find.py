"""Find the requested faces in a photo, with the transforms to their upright aligned crops."""

import numpy as np
from PIL import Image

from ..errors import FaceNotFoundError, ImageError
from .align import ffhq_transform
from .detect import (
    Face,
    bring_level,
    check_which,
    detect_all,
    detect_boxes,
    from_left_to_right,
    overlap,
    select_faces,
)

# Minimum score of a face found only after the mask is filled in: a smooth patch can look like a face.
UNCOVERED_SCORE = 0.7
SEPARATE = 0.1  # maximum overlap of the boxes of two different faces


def whole_picture_transform(photo: Image.Image, size: int) -> np.ndarray:
    """Return the transform of an image that is already an aligned crop: a scaling (2x3, pixel centres).

    Args:
        photo: RGB image.
        size: side of the crop in pixels.

    Raises:
        ImageError: the image is not square.
    """
    if photo.width != photo.height:
        raise ImageError(
            f"With aligned=True the image must be a square crop of a face, not {photo.width}x{photo.height}; "
            "without aligned=True, facesym detects the face in the photo."
        )
    scale = size / photo.width
    return np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2]])


def find_faces(
    photo: Image.Image,
    faces: str | int,
    size: int,
    *,
    aligned: bool = False,
    uncovered: Image.Image | None = None,
) -> tuple[list[Face], list[int], list[np.ndarray]]:
    """Find the requested faces and their transforms.

    Args:
        photo: RGB image.
        faces: "largest", "all" or an index from left to right.
        size: side of the crops in pixels.
        aligned: the photo is already the crop of a face; skip detection.
        uncovered: version of the photo with masked pixels filled in. Faces found only there are included, and it
            provides the roll of faces that are too covered in the photo.

    Returns:
        All faces in the photo from left to right (none if aligned), the indices of the requested ones, and one 2x3
        transform per face.

    Raises:
        FaceNotFoundError: no face was found, no roll could be determined, or the requested face does not exist.
        ImageError: ``aligned`` is set and the image is not square, or ``faces`` is invalid.
    """
    check_which(faces)
    if aligned:
        return [], [0], [whole_picture_transform(photo, size)]
    seen = detect_all(photo)
    level = [face for face in seen if face.level]
    found = level if uncovered is None else _with_hidden(seen, uncovered)
    if seen and not found:
        raise FaceNotFoundError(
            "A face was found, but not its orientation. Rotate the photo so that the face is upright and try again; "
            "if the image is already an aligned square crop of a face, pass aligned=True."
        )
    chosen = select_faces(found, faces)
    indices = [i for i, face in enumerate(found) if any(face is other for other in chosen)]
    return found, indices, [ffhq_transform(face.points, size) for face in found]


def _with_hidden(seen, uncovered):
    """Merge the faces of a photo (from `detect_all`) with those found only in its uncovered version.

    To avoid false positives, the latter need a higher score and must not overlap a face of the photo.
    """

    def same(face, other):
        return overlap(face.box, other.box) > 0.5

    def new(face):
        return face.score >= UNCOVERED_SCORE and all(
            overlap(face.box, other.box) <= SEPARATE for other in seen
        )

    tilted = [face for face in seen if not face.level]
    # The roll of the other faces is known already.
    shown = bring_level(
        uncovered,
        [face for face in detect_boxes(uncovered) if new(face) or any(same(face, other) for other in tilted)],
    )
    faces = []
    for face in seen:
        better = [other for other in shown if other.level and same(face, other)]
        faces.append(face if face.level or not better else better[0])
    return from_left_to_right([*faces, *(face for face in shown if new(face))])
