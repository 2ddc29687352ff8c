"""A photo's own pixels on the head turned elsewhere, and their fine detail on a generator's picture of it."""

import cv2
import numpy as np

from .geometry import face_region, flip_landmarks, turn, warp_points

COARSE = (
    0.04  # sigma, as a share of the side: coarser than this the generator's picture counts, finer the photo
)
LARGEST = (
    25.0  # levels by which its light may differ: more than that is not light but another place of the face
)
SEAM = 0.06  # as a share of the side: where the photo and its mirror image fade into each other
FADE = 0.2  # share of the way on which hair and background go over
_MIDDLE = [27, 28, 29, 30, 33, 51, 57, 8]  # landmarks on the face's middle line


def turned_photo(image, points, yaw, to, mirror):
    """The photo warped to a head turned elsewhere.

    A turned head's photo shows little of one side. On the way to the opposite yaw a seam travels over the face from
    that side to the other: what it has passed is the mirror image's, warped to the same landmarks. Halfway, at yaw 0,
    the seam is the face's middle line; at the opposite yaw all is the mirror image. Hair and background, which have no
    landmarks, fade from the one into the other at once, about halfway.

    Args:
        image: SxSx3 uint8. points: its landmarks, 68x2. yaw: of the head in it, degrees.
        to: the yaw wanted.
        mirror: whether there is the mirror image on the way; else the photo alone.

    Returns:
        SxSx3 float32 in [0, 255]; where the face is in it (SxS float32, 1 = face); and how far it is to be trusted:
        SxS float32 in [0, 1], 0 where a few pixels were stretched far or folded.
    """
    size = len(image)
    share = np.clip((1 - to / yaw) / 2, 0, 1) if mirror else 0.0  # of the way to the opposite yaw
    mirrored = flip_landmarks(points, size)
    goal = (1 - share) * turn(points, to - yaw) + share * turn(mirrored, to + yaw)
    warped, trust = _warped(image, points, goal)
    region = face_region(goal, size)
    if share == 0:
        return warped, region, trust
    other, other_trust = _warped(np.ascontiguousarray(image[:, ::-1]), mirrored, goal)
    # The seam's way from one border to the other leads over the face's middle at its half.
    middle = goal[_MIDDLE, 0].mean()
    wide = 0.5 * SEAM * size
    place = np.interp(share, [0, 0.5, 1], [size + wide, middle, -wide])  # it comes from the right …
    x = np.arange(size, dtype=np.float32)
    if yaw < 0:  # … but where that is the side that is seen
        place = np.interp(share, [0, 0.5, 1], [-wide, middle, size + wide])
        x, place = -x, -place
    seam = np.clip((x - place) / (2 * wide) + 0.5, 0, 1)[None]
    face = cv2.GaussianBlur(region, (0, 0), 0.015 * size)
    weight = face * seam + (1 - face) * np.clip((share - 0.5) / FADE + 0.5, 0, 1)
    trust = weight * other_trust + (1 - weight) * trust
    weight = weight[..., None]
    return weight * other + (1 - weight) * warped, region, trust


def _warped(image, points, goal):
    warped, area = warp_points(image.astype(np.float32), points, goal)
    return warped, cv2.GaussianBlur(np.clip((area - 0.15) / 0.3, 0, 1), (0, 0), 0.01 * len(image))


def with_detail(made, photo, region, trust):
    """A generator's picture with the fine detail of the photo warped to the same pose.

    Args:
        made: sxsx3 uint8, enlarged to the photo's size. photo, region, trust: from `turned_photo`.

    Returns:
        SxSx3 uint8: in the face coarse light and colour of ``made``, the rest of ``photo``, as all about the face;
        ``made`` alone where the photo is not to be trusted.
    """
    size = len(photo)
    made = cv2.resize(made, (size, size), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    blur = lambda x: cv2.GaussianBlur(x, (0, 0), COARSE * size)  # noqa: E731
    # Within the face alone: about it the two differ in more than light.
    inside = cv2.erode(region, np.ones((3, 3), np.uint8), iterations=round(COARSE * size))[..., None]
    weight = blur(inside)[..., None]
    light = blur(inside * (made - photo)) / (weight + 1e-3)
    mixed = photo + weight * np.clip(light, -LARGEST, LARGEST)
    trust = trust[..., None]
    return np.clip(np.rint(trust * mixed + (1 - trust) * made), 0, 255).astype(np.uint8)
