"""Turn the head in a photo by warping its pixels, and transfer their detail to the output of a generator."""

import cv2
import numpy as np

from .geometry import FLIP_68, face_region, flip_landmarks, ramp, turn, warp_points
from .pixels import to_uint8

COARSE = 0.04  # sigma, as a fraction of the side; detail finer than this comes from the photo
MAX_LIGHT_DIFFERENCE = 25.0  # levels of 255; larger differences are misalignments, not illumination
# A pixel is not trusted at all, and trusted fully, from these numbers of source pixels per pixel of a warp.
STRETCHED = (0.15, 0.45)
MIRRORED = (0.4, 0.8)  # the same, where the mirror image replaces pixels that are not trusted
SEAM = 0.06  # half width of the blend between the photo and its mirror image, as a fraction of the side
# Points of the ear and of the forehead on the left of the image: the landmark that they move with, their distances
# outwards and upwards from it, in distances between the outer eye corners, and by what fraction of its displacement.
_AROUND = (
    (0, 0.12, 0.3, 1), (0, 0.3, 0.25, 1), (0, 0.3, 0, 1), (1, 0.28, 0, 1), (2, 0.2, 0, 1),
    (17, 0, 0.25, 1), (19, 0, 0.25, 1), (17, 0, 0.55, 0.9), (19, 0, 0.55, 0.9),
)  # fmt: skip
_MIDDLE = [27, 28, 29, 30, 33, 51, 57, 8]  # landmarks on the face's midline


def turned_photo(
    image: np.ndarray, points: np.ndarray, yaw: float, to: float, mirror: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Warp a photo to another yaw of the head.

    The photo of a turned head shows little of one side. On the path to the opposite yaw, a seam moves across the face
    from that side to the other; behind it, the mirror image is shown, warped to the same landmarks. Halfway, at yaw 0,
    the seam lies on the midline of the face; at the opposite yaw, only the mirror image remains. Hair and background,
    which have no landmarks and do not fit each other, come from the photo in the first half of the path and from the
    mirror image in the second.

    Args:
        image: SxSx3 uint8.
        points: 68x2, its landmarks in pixels.
        yaw: yaw of the head in the image in degrees.
        to: target yaw in degrees.
        mirror: whether to use the mirror image; False warps only the photo.

    Returns:
        image: SxSx3 float32 in [0, 255].
        region: SxS float32, 1 = face.
        trust: SxS float32 in [0, 1], 0 where pixels are stretched far or folded.
    """
    size = len(image)
    fraction = np.clip((1 - to / yaw) / 2, 0, 1) if mirror else 0.0  # of the path to the opposite yaw
    mirrored = flip_landmarks(points, size)
    goal = (1 - fraction) * turn(points, to - yaw) + fraction * turn(mirrored, to + yaw)
    warped, area = _warped(image, points, goal)
    trust, region = _trust(area), face_region(goal, size)
    if fraction == 0:
        return warped, region, trust
    other, area = _warped(np.ascontiguousarray(image[:, ::-1]), mirrored, goal)
    # The seam starts at one border, crosses the midline of the face halfway and ends at the other border.
    middle = goal[_MIDDLE, 0].mean()
    wide = 0.5 * SEAM * size
    position = np.interp(fraction, [0, 0.5, 1], [size + wide, middle, -wide])  # from the right …
    x = np.arange(size, dtype=np.float32)
    if yaw < 0:  # … or from the left, if that is the averted side
        position = np.interp(fraction, [0, 0.5, 1], [-wide, middle, size + wide])
        x, position = -x, -position
    seam = np.clip((x - position) / (2 * wide) + 0.5, 0, 1)[None]
    face = cv2.GaussianBlur(region, (0, 0), 0.015 * size)
    weight = face * seam + (1 - face) * (fraction > 0.5)
    trust = weight * _trust(area) + (1 - weight) * trust
    weight = weight[..., None]
    return weight * other + (1 - weight) * warped, region, trust


def to_front(image: np.ndarray, points: np.ndarray, yaw: float) -> tuple[np.ndarray, np.ndarray]:
    """Warp a turned face to yaw 0, with its midline in the middle of the image.

    Where the warp stretches the averted side, the mirror image shows it.

    Args:
        image: SxSx3 uint8.
        points: 68x2, its landmarks in pixels.
        yaw: yaw of the head in degrees.

    Returns:
        SxSx3 uint8, and its landmarks: 68x2 float32.
    """
    size, goal = len(image), turn(points, -yaw).astype(np.float32)
    goal[:, 0] += (size - 1) / 2 - goal[:, 0].mean()
    warped, area = _warped(image, points, goal)
    trust = _trust(area, MIRRORED)[..., None]
    mirrored = np.ascontiguousarray(image[:, ::-1])
    other, _ = _warped(mirrored, flip_landmarks(points, size), goal)
    return to_uint8(trust * warped + (1 - trust) * other), goal


def turn_back(image: np.ndarray, points: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Warp an image of a face at the front to the pose of a turned head: the opposite way of `to_front`.

    Args:
        image: SxS or SxSxC, at most four channels.
        points: 68x2, the landmarks at the front, from `to_front`.
        goal: 68x2, those of the turned head.

    Returns:
        An array of the same shape, float32.
    """
    return _warped(image, points, goal)[0]


def _warped(image, points, goal):
    """Warp an image (SxS or SxSxC) from landmarks to others (68x2); return it and the map's local area (SxS)."""
    near, offsets, fractions = _around(points)
    more = points[near] + offsets
    moved = more + fractions * (goal[near] - points[near])
    return warp_points(
        image.astype(np.float32), np.concatenate([points, more]), np.concatenate([goal, moved])
    )


def _trust(area, bounds=STRETCHED):
    """Return the trust in the pixels of a warp: SxS in [0, 1]."""
    return cv2.GaussianBlur(ramp(area, *bounds), (0, 0), 0.01 * len(area))


def _around(points):
    """Locate the ears and the forehead, which have no landmarks: without points of their own, the spline stretches
    ears and folds hair at the end of the averted brow.

    Returns:
        The landmarks (N indices) with which N points of them move, the offsets of these points (Nx2) in pixels, and the
        fractions (Nx1) of the landmarks' displacements by which they move.
    """
    unit, outwards, up = (
        np.linalg.norm(points[45] - points[36]),
        points[0] - points[16],
        points[27] - points[8],
    )
    outwards, up = (unit * vector / np.linalg.norm(vector) for vector in (outwards, up))
    near = [i for i, *_ in _AROUND] + [int(FLIP_68[i]) for i, *_ in _AROUND]
    offsets = [side * out * outwards + above * up for side in (1, -1) for _, out, above, _ in _AROUND]
    fractions = [fraction for *_, fraction in _AROUND] * 2
    return near, np.array(offsets, points.dtype), np.array(fractions, points.dtype)[:, None]


def with_detail(output: np.ndarray, photo: np.ndarray, region: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Combine the output of a generator with the detail of the photo warped to the same pose.

    Args:
        output: sxsx3 uint8; resized to the size of the photo.
        photo, region, trust: from `turned_photo`.

    Returns:
        SxSx3 uint8. Inside the face, illumination and colour come from the output and detail from the photo. Outside,
        all pixels come from the photo. Where ``trust`` is 0, all come from the output.
    """
    size = len(photo)
    output = cv2.resize(output, (size, size), interpolation=cv2.INTER_CUBIC).astype(np.float32)

    def blur(x):
        return cv2.GaussianBlur(x, (0, 0), COARSE * size)

    # Inside the face only: around it, the two differ in more than illumination.
    inside = cv2.erode(region, np.ones((3, 3), np.uint8), iterations=round(COARSE * size))[..., None]
    weight = blur(inside)[..., None]
    light = blur(inside * (output - photo)) / (weight + 1e-3)
    mixed = photo + weight * np.clip(light, -MAX_LIGHT_DIFFERENCE, MAX_LIGHT_DIFFERENCE)
    trust = trust[..., None]
    return to_uint8(trust * mixed + (1 - trust) * output)
