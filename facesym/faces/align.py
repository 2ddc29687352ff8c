"""Cut a face out of a photo in the framing of FFHQ and CelebA-HQ."""

import math

import cv2
import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from ..errors import ImageError

FINEST = 4  # maximum size of a crop, in multiples of the network's input size


def ffhq_transform(points: ArrayLike, size: int) -> np.ndarray:
    """Compute the similarity transform from photo pixels to pixels of an aligned square crop.

    With eyes e and mouth m: x = (e_left → e_right) − rot90(eyes → mouth), scaled to
    max(2.0·|e_left → e_right|, 1.8·|eyes → mouth|), is half the square's upper side; its centre is
    eyes + 0.1·(eyes → mouth).

    Args:
        points: 5x2: image-left eye, other eye, nose, mouth corners (see `Face.points`).
        size: side of the crop in pixels.

    Returns:
        2x3 float64 matrix on pixel centres: crop = M[:, :2] @ photo + M[:, 2].

    Raises:
        ImageError: the points coincide.
    """
    points = np.asarray(points, np.float64)
    eyes, mouth = points[:2].mean(0), points[3:5].mean(0)
    across, down = points[1] - points[0], mouth - eyes
    x = across - np.array([-down[1], down[0]])
    length = np.linalg.norm(x)
    half = max(2.0 * np.linalg.norm(across), 1.8 * np.linalg.norm(down))
    if not (np.isfinite(length) and length > 1e-6 and half > 1e-6):
        raise ImageError("The five facial points do not define a crop: pass the image as an aligned crop.")
    x *= half / length
    centre = eyes + 0.1 * down
    # Rows of the rotation are the crop's axes in the photo, x and its perpendicular, over the square's side.
    linear = np.array([[x[0], x[1]], [-x[1], x[0]]]) * (size / (2.0 * half * half))
    return np.column_stack([linear, (size - 1) / 2.0 - linear @ centre])


def five_points(landmarks: ArrayLike) -> np.ndarray:
    """Compute the 5x2 points of `ffhq_transform` from 68 landmarks (68x2)."""
    p = np.asarray(landmarks)
    return np.stack([p[36:42].mean(0), p[42:48].mean(0), p[30], p[48], p[54]])


def scale_of(transform: ArrayLike) -> float:
    """Return the number of crop pixels per photo pixel."""
    return float(math.sqrt(abs(np.linalg.det(np.asarray(transform)[:, :2]))))


def resized_transform(transform: ArrayLike, times: float) -> np.ndarray:
    """Return the transform (2x3) to the same crop at ``times`` its size."""
    larger = np.array(transform, np.float64) * times
    # Pixel centres: crop pixel c is pixel times·(c + ½) − ½ of the larger crop.
    larger[:, 2] += (times - 1) / 2
    return larger


def finer_transform(transform: np.ndarray, size: int) -> tuple[np.ndarray, int]:
    """Return the transform of the same crop at the photo's resolution: ``size`` times an integer of at most `FINEST`.

    Args:
        transform: 2x3, photo pixel -> pixel of a crop of side ``size``.

    Returns:
        The transform to the larger crop, and its side.
    """
    times = max(1, min(int(1 / scale_of(transform)), FINEST))
    return resized_transform(transform, times), times * size


def crop_corners(transform: ArrayLike, size: int) -> np.ndarray:
    """Return the corners of the crop in photo pixels, clockwise from the upper left: 4x2."""
    return to_photo(np.array([[0, 0], [size, 0], [size, size], [0, size]]) - 0.5, transform)


def to_photo(points: np.ndarray, transform: ArrayLike) -> np.ndarray:
    """Convert points (…x2) from crop pixels to photo pixels.

    Args:
        points: crop pixels.
        transform: 2x3, photo pixel -> crop pixel.
    """
    transform = np.asarray(transform)
    return (points - transform[:, 2]) @ np.linalg.inv(transform[:, :2]).T


def crop_bounds(
    transform: ArrayLike, size: int, margin: int, within: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return the box of a crop and ``margin`` pixels around it, cut to a photo of size ``within``: (x0, y0, x1, y1)."""
    corners = crop_corners(transform, size)
    x0, y0 = np.maximum(np.floor(corners.min(0)).astype(int) - margin, 0)
    x1, y1 = np.minimum(np.ceil(corners.max(0)).astype(int) + margin, within)
    return int(x0), int(y0), int(x1), int(y1)


def align_face(image: Image.Image, transform: ArrayLike, size: int) -> Image.Image:
    """Cut the aligned crop; beyond its border, the photo is padded by reflection.

    Args:
        image: RGB photo.
        transform: 2x3, from `ffhq_transform`.
        size: side of the crop in pixels.

    Returns:
        RGB image, size x size, antialiased.

    Raises:
        ImageError: the crop lies outside the photo.
    """
    return Image.fromarray(warp_to_crop(image, transform, size))


def warp_to_crop(
    image: Image.Image, transform: ArrayLike, size: int, reducing_gap: float | None = None
) -> np.ndarray:
    """`align_face` for images of mode RGB or L, as a size x size (x3) uint8 array.

    Args:
        reducing_gap: for speed, see ``PIL.Image.resize``.
    """
    transform = np.asarray(transform, np.float64)
    scale = scale_of(transform)
    margin = 4 + math.ceil(4 / scale)  # support of the kernels
    x0, y0, x1, y1 = crop_bounds(transform, size, margin, image.size)
    if x0 >= x1 or y0 >= y1:
        raise ImageError("The aligned square lies outside the photo.")
    if scale < 1:
        # Downscale with Lanczos first, which weighs every pixel, then warp at about 1:1.
        small = (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale)))
        part = image.resize(small, Image.Resampling.LANCZOS, (x0, y0, x1, y1), reducing_gap)
        ratio = np.array([(x1 - x0) / small[0], (y1 - y0) / small[1]])
    else:
        part, ratio = image.crop((x0, y0, x1, y1)), np.ones(2)
    # part pixel -> photo pixel -> crop pixel
    linear = transform[:, :2] * ratio
    offset = transform[:, :2] @ (np.array([x0, y0]) + ratio * 0.5 - 0.5) + transform[:, 2]
    return cv2.warpAffine(
        np.asarray(part),
        np.column_stack([linear, offset]),
        (size, size),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT,
    )


def warp_mask_to_crop(mask: np.ndarray, transform: ArrayLike, size: int, margin: int = 1) -> np.ndarray:
    """Warp the photo's mask (HxW bool, True = missing) to the crop: size x size bool.

    A crop pixel is missing if the mask touches it, plus a margin of ``margin`` pixels, so that no pixel of the
    covering object reaches the network. Beyond its border, the mask is padded by reflection, as in `align_face`.
    """
    transform = np.asarray(transform, np.float64)
    reach = math.ceil(1 / scale_of(transform))  # photo pixels in a crop pixel
    if reach > 1:
        # The warp below samples single photo pixels: dilate, so that it meets even the smallest masked region.
        mask = cv2.dilate(mask.astype(np.uint8), np.ones((reach | 1, reach | 1), np.uint8))
    warped = cv2.warpAffine(
        np.asarray(mask, np.uint8) * 255,
        transform,
        (size, size),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    return cv2.dilate((warped > 0).astype(np.uint8), np.ones((2 * margin + 1,) * 2, np.uint8)).astype(bool)
