"""Geometry of the 68 landmarks: mirroring, turning, the region they enclose, and warps.

On aligned crops (FFHQ framing): images SxSx3, landmarks 68x2 in pixels, the midline at x = (S − 1) / 2.
"""

import sys
from typing import Any

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator

# FLIP_68[k] is the landmark that becomes number k when the image is mirrored (order of iBUG's 68 points).
FLIP_68 = np.array(
    [
        *range(16, -1, -1),  # jaw
        *range(26, 16, -1),  # brows
        *(27, 28, 29, 30, 35, 34, 33, 32, 31),  # nose
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),  # eyes
        *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),  # outer lips
        *(64, 63, 62, 61, 60, 67, 66, 65),  # inner lips
    ]
)

# Depth of each landmark in front of the eye corners, in outer-eye distances: the slope of a landmark's asymmetry on
# sin(yaw) over 24 thousand training faces within ±35°. (With roll it explains 98 % of their asymmetry.)
# Jaw from ear to chin, brow from outside in, nose ridge, nose base, eye, outer lip, inner lip; the other half mirrors
# it.
_DEPTH = {
    **dict(zip(range(9), (-0.65, -0.61, -0.58, -0.54, -0.43, -0.28, -0.11, 0.04, 0.10))),
    **dict(zip(range(17, 22), (-0.13, -0.02, 0.06, 0.14, 0.21))),
    **dict(zip(range(27, 34), (0.24, 0.31, 0.39, 0.47, 0.26, 0.30, 0.33))),
    **dict(zip(range(36, 42), (-0.03, 0.02, 0.03, 0.03, 0.03, 0.01))),
    **dict(zip((48, 49, 50, 51, 57, 58, 59), (0.02, 0.16, 0.25, 0.27, 0.25, 0.23, 0.14))),
    **dict(zip((60, 61, 62, 66, 67), (0.03, 0.24, 0.26, 0.25, 0.24))),
}
DEPTH_68 = np.array([_DEPTH[k] if k in _DEPTH else _DEPTH[int(FLIP_68[k])] for k in range(68)])


def resized_points(points: np.ndarray, times: float) -> np.ndarray:
    """Return the points (…x2, in pixels) of an image that is resized by a factor; pixel centres are integers."""
    return (points + 0.5) * times - 0.5


def ramp(x: Any, low: float, high: float) -> Any:
    """Return, for each number, 0 below ``low`` and 1 above ``high``, linear in between."""
    return np.clip((x - low) / (high - low), 0, 1)


def smooth_ramp(x: Any, low: float = 0.0, high: float = 1.0) -> Any:
    """Like `ramp`, with a slope of 0 at both ends. With ``low`` above ``high``, it falls from 1 to 0."""
    x = ramp(x, low, high)
    return x * x * (3 - 2 * x)


def flip_landmarks(points: np.ndarray, width: float) -> np.ndarray:
    """Mirror landmarks and renumber them, so that k stays the same part of the face.

    Args:
        points: array …x68x2, pixels.
        width: width of the image in pixels.
    """
    return points[..., FLIP_68, :] * np.array([-1, 1], points.dtype) + np.array([width - 1, 0], points.dtype)


def symmetric_landmarks(points: np.ndarray, size: int) -> np.ndarray:
    """Average the landmarks with their mirror image: 68x2, symmetric about the midline."""
    return (points + flip_landmarks(points, size)) / 2


def turn(points: np.ndarray, degrees: float) -> np.ndarray:
    """Turn the landmarks of a head: each moves sideways in proportion to its depth, as in `landmark_asymmetry`.

    Args:
        points: 68x2 in pixels.
        degrees: change of yaw, positive towards the right of the image.
    """
    unit = np.linalg.norm(points[45] - points[36])
    return points + np.stack([unit * DEPTH_68 * np.sin(np.radians(degrees)), np.zeros(68)], 1)


def face_region(points: np.ndarray, size: int, forehead: float = 0.8) -> np.ndarray:
    """Compute the region of the face with its forehead.

    Below the brows it is the convex hull of the landmarks. A face has three parts of equal height (hairline, brows,
    base of the nose, chin); the forehead extends by a fraction of such a part above the brows.

    Args:
        points: 68x2 in pixels.
        size: side S of the crop.
        forehead: height of the forehead as a fraction of such a part; 0.8 excludes most hair.

    Returns:
        SxS float32, 1 = face.
    """
    brows = points[17:27]
    up = brows.mean(0) - points[30:36].mean(0)
    height = forehead * np.sin(np.linspace(0.22, 0.78, 10) * np.pi)[:, None]  # lower at the temples
    outline = np.concatenate([points[:17], brows + height * up]).astype(np.float32)
    region = np.zeros((size, size), np.uint8)
    hull = cv2.convexHull(outline)
    # sixteenths of a pixel
    cv2.fillConvexPoly(region, np.round(hull * 16).astype(np.int32), 1, cv2.LINE_8, shift=4)
    return region.astype(np.float32)


def face_shown(points: np.ndarray, size: int) -> np.ndarray:
    """Compute where a crop certainly shows the face: SxS float32, the `face_region`, slightly eroded.

    A pasted face has to match the colours of the photo only there.
    """
    return cv2.erode(face_region(points, size), np.ones((size // 64 * 2 + 1,) * 2))


def border_points(size: int) -> list[tuple[float, float]]:
    """Return five points along each side of an image, which a warp keeps fixed: a list of (x, y)."""
    edge = np.linspace(0, size - 1, 5)
    return [(x, y) for x in edge for y in edge if x in (0, size - 1) or y in (0, size - 1)]


def thin_plate(points: np.ndarray, targets: np.ndarray, size: int) -> np.ndarray:
    """Fit a thin-plate spline that moves points and keeps the border of the image fixed.

    Args:
        points: Kx2 in pixels.
        targets: Kx2 in pixels, the new positions.
        size: side S of the image.

    Returns:
        SxSx2 float32, the new coordinates (x, y) of each pixel.
    """
    border = border_points(size)
    spline = RBFInterpolator(
        np.concatenate([points, border]), np.concatenate([targets, border]) / size, smoothing=1e-3
    )
    # The spline is smooth: evaluated on a coarse grid and upsampled, it is the same map at a fraction of the cost.
    coarse = np.linspace(0, size - 1, 33)
    grid = spline(np.stack(np.meshgrid(coarse, coarse), -1).reshape(-1, 2)).reshape(33, 33, 2) * size
    # Linear interpolation by hat functions, one row per pixel.
    hats = np.clip(1 - np.abs(np.arange(size)[:, None] * 32 / (size - 1) - np.arange(33)), 0, None)
    return np.einsum("yi,ijc,xj->yxc", hats, grid, hats, optimize=True).astype(np.float32)


def warp_points(image: np.ndarray, points: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Warp an image by a thin-plate spline that keeps its border fixed.

    Args:
        image: SxSxC uint8 or float32.
        points: Kx2 in pixels.
        targets: Kx2 in pixels, the new positions of the points.

    Returns:
        The warped image, and the map's local area: SxS float32, source pixels per pixel (small where the source is
        stretched, negative where it is folded).
    """
    full = thin_plate(targets, points, len(image))
    x, y = full[..., 0], full[..., 1]
    area = np.gradient(x, axis=1) * np.gradient(y, axis=0) - np.gradient(x, axis=0) * np.gradient(y, axis=1)
    return cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT), area


def heat_map(points: Any, size: int) -> Any:
    """Compute LSSL's condition map s: the maximum over landmarks of Gaussians with sigma 1.5 % of the side.

    Args:
        points: BxKx2 (x, y) in pixels, a tensor or an array.
        size: side S of the map in pixels.

    Returns:
        Bx1xSxS float32 in [0, 1], a tensor or an array like ``points``.
    """
    # NumPy or torch, depending on the points: the pipeline also runs without torch.
    xp = sys.modules[type(points).__module__]
    points = xp.asarray(points, dtype=xp.float32)
    at = xp.arange(size, dtype=xp.float32, device=points.device)
    x, y = (xp.exp(-0.5 * xp.square((at - points[..., axis, None]) / (0.015 * size))) for axis in (0, 1))
    # One landmark at a time: all maps at once would take 68 times the memory.
    best = y[:, 0, :, None] * x[:, 0, None]
    for k in range(1, points.shape[1]):
        best = xp.maximum(best, y[:, k, :, None] * x[:, k, None])
    return best[:, None]
