"""What the symmetrizer is to learn, made from landmarks: the face region, the symmetric face; and simulated palsy.

All on aligned crops (FFHQ framing): SxSx3 uint8, landmarks 68x2 in pixels, the middle line at x = (S − 1) / 2.
The network that learns from these pictures sees no landmarks.
"""

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator

from .faces import flip_landmarks

BLEND = (
    0.012  # sigma, as a share of the side: coarser than this both halves count, finer the chosen one alone
)


def face_region(points, size, forehead=0.8):
    """The face with its forehead: SxS float32, 1 = face.

    Down from the brows it is the landmarks' hull. A face is three equal parts high (hairline, brows, base of the
    nose, chin): the forehead goes ``forehead`` of such a part up from the brows; 0.8 leaves most hair out.
    """
    brows = points[17:27]
    up = brows.mean(0) - points[30:36].mean(0)
    share = forehead * np.sin(np.linspace(0.22, 0.78, 10) * np.pi)[:, None]  # less at the temples
    outline = np.concatenate([points[:17], brows + share * up]).astype(np.float32)
    region = np.zeros((size, size), np.uint8)
    hull = cv2.convexHull(outline)
    # sixteenths of a pixel
    cv2.fillConvexPoly(region, np.round(hull * 16).astype(np.int32), 1, cv2.LINE_8, shift=4)
    return region.astype(np.float32)


def symmetric_landmarks(points, size):
    """The landmarks' mean with their mirror image's: 68x2, symmetric about the middle line."""
    return (points + flip_landmarks(points, size)) / 2


def border_points(size):
    """Five places along each side of a picture, which a warp is to leave where they are: a list of (x, y)."""
    edge = np.linspace(0, size - 1, 5)
    return [(x, y) for x in edge for y in edge if x in (0, size - 1) or y in (0, size - 1)]


def thin_plate(points, targets, size):
    """The thin-plate spline that takes ``points`` to ``targets`` (Kx2 each, pixels) and leaves the picture's border:
    SxSx2 float32, for each pixel where it goes."""
    border = border_points(size)
    spline = RBFInterpolator(
        np.concatenate([points, border]), np.concatenate([targets, border]) / size, smoothing=1e-3
    )
    # The spline is smooth: a coarse grid of it, enlarged, is the same map at a fraction of the cost.
    coarse = np.linspace(0, size - 1, 33)
    places = spline(np.stack(np.meshgrid(coarse, coarse), -1).reshape(-1, 2)).reshape(33, 33, 2) * size
    # Linear between the grid's points: hat functions, a row for each pixel.
    hats = np.clip(1 - np.abs(np.arange(size)[:, None] * 32 / (size - 1) - np.arange(33)), 0, None)
    return np.einsum("yi,ijc,xj->yxc", hats, places, hats, optimize=True).astype(np.float32)


def warp_points(image, points, targets):
    """Move what is at ``points`` to ``targets`` (Kx2 each) by a thin-plate spline; the picture's border stays.

    Args:
        image: SxSxC uint8 or float32.

    Returns:
        The warped picture, and the map's local area: SxS float32, source pixels per pixel (small where the source
        was stretched, negative where it is folded).
    """
    full = thin_plate(targets, points, len(image))
    x, y = full[..., 0], full[..., 1]
    area = np.gradient(x, axis=1) * np.gradient(y, axis=0) - np.gradient(x, axis=0) * np.gradient(y, axis=1)
    return cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT), area


def symmetric_faces(image, points):
    """The two symmetric faces of a picture: SxSx3 uint8 each, by its left half and by its right half.

    The face is warped so that its landmarks are symmetric; then the halves fit on each other, where flipping the
    picture in place would show each feature twice. Light, colour and coarse shape are both halves' mean (finer than
    ``BLEND`` they would blur what does not fit: gaze, hair, wrinkles); fine detail is one half's and its mirror's.
    """
    size = len(image)
    warped, _ = warp_points(image, points, symmetric_landmarks(points, size))
    warped = warped.astype(np.float32)
    coarse = cv2.GaussianBlur(warped, (0, 0), BLEND * size)
    detail = warped - coarse
    coarse = (coarse + coarse[:, ::-1]) / 2
    # Over 2 % of the side about the middle one half's detail fades into the other's.
    x = (np.arange(size) - (size - 1) / 2) / (0.01 * size)
    left = (1 / (1 + np.exp(x)))[None, :, None].astype(np.float32)
    faces = []
    for weight in (left, 1 - left):
        one = coarse + weight * detail + (1 - weight) * detail[:, ::-1]
        # weight's mirror image is 1 − weight: `one` is symmetric but for rounding
        faces.append(np.clip(np.rint((one + one[:, ::-1]) / 2), 0, 255).astype(np.uint8))
    return faces


def droop(points, side, strength):
    """The landmarks of a face with a palsy of one side, as graded in the clinic: brow, lids and mouth corner hang,
    the mouth is drawn to the other side.

    Args:
        points: 68x2.
        side: "left" or "right" of the picture.
        strength: 0 none, 1 marked.

    Returns:
        68x2, moved.
    """
    size = 1000.0  # any: only for mirroring and back
    points = np.asarray(points, np.float64)
    if side == "right":
        return flip_landmarks(droop(flip_landmarks(points, size), "left", strength), size)
    moved = points.copy()
    between = points[42:48].mean(0) - points[36:42].mean(0)
    unit = strength * np.linalg.norm(between)
    across = between / np.linalg.norm(between)  # towards the healthy side
    down = np.array([-across[1], across[0]])
    moved[17:22] += unit * np.array([0.10, 0.14, 0.15, 0.12, 0.07])[:, None] * down  # brow
    moved[37:39] += unit * 0.06 * down  # upper lid
    moved[40:42] += unit * 0.015 * down  # lower lid
    for k, fall in {48: 0.16, 60: 0.15, 49: 0.10, 59: 0.11, 61: 0.07, 67: 0.08, 50: 0.04, 58: 0.05}.items():
        moved[k] += unit * fall * down
    moved[48:68] += unit * 0.07 * across
    moved[3:7] += unit * np.array([0.02, 0.05, 0.05, 0.02])[:, None] * down  # cheek
    moved[31:33] += unit * np.array([0.03, 0.02])[:, None] * (down + across)  # wing of the nose
    return moved


def simulate_palsy(image, points, side, strength):
    """A picture with ``droop``'s face, and its landmarks."""
    moved = droop(points, side, strength)
    return warp_points(image, points, moved)[0], moved
