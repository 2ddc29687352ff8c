"""From a photo to the faces asked for, each with the transform to its upright aligned crop."""

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

# Of a face that shows only once the mask is smoothed over: a smooth patch can look like a face.
UNCOVERED_SCORE = 0.7
SEPARATE = 0.1  # overlap of two boxes up to which they are two faces


def whole_picture_transform(photo: Image.Image, size: int) -> np.ndarray:
    """The transform of an image that is an aligned crop already: a change of scale (2x3, pixel centres).

    Args:
        photo: RGB image.
        size: side of the crop in pixels.

    Raises:
        ImageError: the image is not square.
    """
    if photo.width != photo.height:
        raise ImageError(
            f"With aligned=True the image must be a square crop of a face, not {photo.width}x{photo.height}; "
            "leave aligned out, and the face will be found in the photo."
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
    """The faces asked for, with their transforms.

    Args:
        photo: RGB image.
        faces: "largest", "all" or an index from left to right.
        size: side of the crops in pixels.
        aligned: the photo is one face's crop already; nothing is looked for.
        uncovered: another version of the photo, in which what hides a face is gone: faces that show only there
            count too, and a face that is too hidden to tell its roll is taken for upright.

    Returns:
        All faces of the photo from left to right (none if aligned), the indices of those chosen, and one 2x3 transform
        per face.

    Raises:
        FaceNotFoundError: there is no face, none that can be brought upright, or not the one asked for.
        ImageError: aligned, and not square; or ``faces`` is something else.
    """
    check_which(faces)
    if aligned:
        return [], [0], [whole_picture_transform(photo, size)]
    seen = detect_all(photo)
    level = [face for face in seen if face.level]
    found = level if uncovered is None else _with_hidden(seen, uncovered)
    if seen and not found:
        raise FaceNotFoundError(
            "A face was found, but not which way is up in it. Turn the photo so that the face is upright and try "
            "again; if the image already is an aligned square crop of a face, pass aligned=True."
        )
    chosen = select_faces(found, faces)
    indices = [i for i, face in enumerate(found) if any(face is other for other in chosen)]
    return found, indices, [ffhq_transform(face.points, size) for face in found]


def _with_hidden(seen, uncovered):
    """The faces of a photo (from `detect_all`), together with those that show only in its uncovered version.

    A phantom must not join: a face that shows only there overlaps none that is there, and the detector is surer of it.
    """

    def same(face, other):
        return overlap(face.box, other.box) > 0.5

    def new(face):
        return face.score >= UNCOVERED_SCORE and all(
            overlap(face.box, other.box) <= SEPARATE for other in seen
        )

    tilted = [face for face in seen if not face.level]
    # The others are known already, and need not be brought upright once more.
    shown = bring_level(
        uncovered,
        [face for face in detect_boxes(uncovered) if new(face) or any(same(face, other) for other in tilted)],
    )
    faces = []
    for face in seen:
        better = [other for other in shown if other.level and same(face, other)]
        faces.append(face if face.level or not better else better[0])
    return from_left_to_right([*faces, *(face for face in shown if new(face))])
