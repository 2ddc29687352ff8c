"""Find the requested faces in a photo, with the transforms to their upright aligned crops."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..errors import ImageError, OrientationError
from .align import align_face, ffhq_transform, warp_mask_to_crop
from .detect import (
    Face,
    bring_level,
    check_which,
    detect_boxes,
    from_left_to_right,
    overlap,
    select_faces,
)
from .landmarks import find_points

# Minimum score of a face found only after the mask is filled in: a smooth patch can look like a face.
UNCOVERED_SCORE = 0.7
SEPARATE = 0.1  # maximum overlap of the boxes of two different faces
MIN_CLEAR_SCORE = 0.8  # minimum score of a face that is counted among the others
# A coarse search finds faces whose box has at least this longer side, relative to the photo's.
MIN_COARSE_SIDE = 0.075
MASK_MARGIN = 0.2  # the mask of a face may reach this far beyond its box, relative to the box


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
    photo: Image.Image, faces: str | int, size: int, **options: Any
) -> tuple[list[Face], list[int], list[np.ndarray]]:
    """Find the requested faces and their transforms: `search_faces` without the number of other faces.

    Args:
        photo, faces, size, options: see `search_faces`.

    Returns:
        The faces, the indices of the requested ones, and one 2x3 transform per face.

    Raises:
        FaceNotFoundError, ImageError: see `search_faces`.
    """
    found, chosen, transforms, _ = search_faces(photo, faces, size, **options)
    return found, chosen, transforms


def search_faces(
    photo: Image.Image,
    faces: str | int,
    size: int,
    *,
    aligned: bool = False,
    mask: np.ndarray | None = None,
    uncovered: Image.Image | None = None,
) -> tuple[list[Face], list[int], list[np.ndarray], int]:
    """Find the requested faces and their transforms, and count the others.

    Args:
        photo: RGB image.
        faces: "largest", "all" or an index from left to right.
        size: side of the crops in pixels.
        aligned: the photo is already the crop of a face; skip detection.
        mask: HxW bool, True = missing pixels, which may hide faces.
        uncovered: version of the photo with the mask filled in. Faces found only there are included, and it provides
            the roll of faces that are too covered in the photo; a face without a roll there either is taken as upright.
            Required with a mask.

    Returns:
        The faces in the photo from left to right (none if aligned), the indices of the requested ones, one 2x3
        transform per face, and the number of faces that are clearly visible beside the largest. For "largest", the
        other faces may be missing from the first.

    Raises:
        FaceNotFoundError: no face was found, without a mask no roll could be determined, or the requested face does not
            exist.
        ImageError: ``aligned`` is set and the image is not square, or ``faces`` is invalid.
    """
    check_which(faces)
    if aligned:
        return [], [0], [whole_picture_transform(photo, size)], 0
    coarse = faces == "largest"
    seen, found, others = _search(photo, mask, uncovered, coarse)
    if coarse and not _is_clear(found, photo):
        seen, found, others = _search(photo, mask, uncovered, coarse=False)
    if seen and not found:
        raise OrientationError(
            "A face was found, but not its orientation. Rotate the photo so that the face is upright and try again; "
            "if the image is already an aligned square crop of a face, pass aligned=True."
        )
    chosen = select_faces(found, faces)
    indices = [i for i, face in enumerate(found) if any(face is other for other in chosen)]
    return found, indices, [ffhq_transform(face.points, size) for face in found], others


def _search(photo, mask, uncovered, coarse):
    """Search a photo for faces; coarse: for the largest one, and with a mask also for those beside it.

    Returns:
        The faces that the photo shows; the faces found, without a mask only those whose roll could be determined; and
        the number of clear faces beside the largest.
    """
    boxes = sorted(detect_boxes(photo, coarse), key=lambda face: face.area)
    others = sum(face.score >= MIN_CLEAR_SCORE for face in boxes[:-1])
    if coarse and mask is None:
        boxes = boxes[-1:]
    seen = bring_level(photo, boxes)
    found = [face for face in seen if face.level]
    if uncovered is not None and (len(found) < len(seen) or _reaches_beyond(mask, seen)):
        found = _with_hidden(seen, uncovered, coarse)
    return seen, found, others


def _is_clear(faces, photo):
    """Return whether a coarse search suffices: whether it found a large face and the roll of all faces."""
    least = MIN_COARSE_SIDE * max(photo.size)
    return all(face.level for face in faces) and any(
        np.ptp(np.reshape(face.box, (2, 2)), 0).max() >= least for face in faces
    )


def _reaches_beyond(mask, faces):
    """Return whether a mask (HxW bool) may hide a face other than these: whether it reaches beyond their boxes."""
    rest = mask.copy()
    for face in faces:
        x0, y0, x1, y1 = face.box
        across, down = MASK_MARGIN * (x1 - x0), MASK_MARGIN * (y1 - y0)
        (left, top), (right, bottom) = (
            np.clip(np.rint(corner).astype(int), 0, None)
            for corner in ((x0 - across, y0 - down), (x1 + across, y1 + down))
        )
        rest[top:bottom, left:right] = False
    return bool(rest.any())


def _with_hidden(seen, uncovered, coarse):
    """Merge the faces that a photo shows with those found only in its uncovered version.

    To avoid false positives, the latter need a higher score and must not overlap a face of the photo. Faces whose roll
    cannot be determined keep the detector's points, which are nearly upright: the mask may hide what tells the roll.
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
        [
            face
            for face in detect_boxes(uncovered, coarse)
            if new(face) or any(same(face, other) for other in tilted)
        ],
    )
    faces = []
    for face in seen:
        better = [other for other in shown if other.level and same(face, other)]
        faces.append(face if face.level or not better else better[0])
    return from_left_to_right([*faces, *(face for face in shown if new(face))])


def check_not_inverted(
    mask: np.ndarray, photo: Image.Image, transforms: Sequence[np.ndarray], size: int
) -> None:
    """Refuse a mask that marks most of a photo and its border, unless it leaves all features of a face visible.

    Args:
        mask: HxW bool, True = missing.
        photo: RGB.
        transforms: 2x3 of each face, photo pixel -> pixel of an aligned crop.
        size: side of these crops in pixels.

    Raises:
        ImageError: the mask seems to be inverted.
    """
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    if mask.mean() <= 0.5 or border.mean() <= 0.9:
        return
    for transform in transforms:
        features = find_points(align_face(photo, transform, size))[17:]  # all but the outline
        x, y = features.round().astype(int).clip(0, size - 1).T
        if not warp_mask_to_crop(mask, transform, size)[y, x].any():
            return
    raise ImageError(
        f"The mask seems to be inverted: it marks {mask.mean():.0%} of the photo as missing, with all of its border. "
        "White (or True) means missing: swap black and white."
    )


def touched_faces(chosen: Sequence[int], own: Sequence[np.ndarray]) -> list[int]:
    """Return the chosen faces (indices) that the mask touches.

    Args:
        own: HxW bool for each face: its part of the mask.

    Raises:
        ImageError: the mask touches none of them.
    """
    touched = [i for i, part in enumerate(own) if part.any()]
    kept = [i for i in chosen if i in touched]
    if kept:
        return kept
    if touched:
        numbers = " or ".join(f"faces={i}" for i in touched)
        raise ImageError(f'The mask does not touch the chosen face: try {numbers}, or faces="all".')
    raise ImageError("The mask does not touch any face: mark the missing part of a face.")
