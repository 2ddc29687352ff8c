"""Paste an edited crop back into its photo without a visible seam."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from .align import crop_corners, scale_of
from .geometry import face_region, face_shown, smooth_ramp
from .landmarks import find_points
from .pixels import to_uint8

# Larger steps between photo and crop at the border of a mask (in levels of 255) are not differences of illumination but
# mostly remainders of the glasses or the hand. They are not spread into the mask.
_OUTLIER = 48.0
_BLACK = 8.0  # levels added to colours before they are scaled: near 0, their ratio is unreliable


def paste_completion(
    photo: Image.Image,
    crop: Image.Image,
    transform: ArrayLike,
    mask: np.ndarray,
    own: np.ndarray | None = None,
) -> Image.Image:
    """Fill the masked part of a photo from a completed crop.

    The difference between photo and crop along the border of the mask is interpolated into the mask (Laplace equation),
    so that colours agree at the border. All other pixels remain bit for bit the same.

    Args:
        photo: RGB.
        crop: RGB, S x S, completed.
        transform: 2x3, photo pixel -> crop pixel.
        mask: HxW bool, True = missing.
        own: HxW bool, the part of the mask to write; default: all of it. Pixels outside the aligned square are never
            written.

    Returns:
        RGB image of the photo's size.
    """
    square = inside_square(transform, crop.width, mask.shape)
    own = (mask if own is None else own & mask) & square
    rim_width = max(1, round(1 / scale_of(transform)))  # photo pixels per crop pixel
    box = bounds(own, 4 + 2 * rim_width)
    if box is None:
        return photo.copy()
    part = np.s_[box[1] : box[3], box[0] : box[2]]
    pixels = np.array(photo)
    filled = crop_on_photo(np.asarray(crop), transform, box).astype(np.float32)
    missing = mask[part]
    near = cv2.dilate(own[part].astype(np.uint8), np.ones((2 * rim_width + 1,) * 2, np.uint8)).astype(bool)
    rim = near & ~missing & square[part]
    if rim.any():
        step = pixels[part].astype(np.float32) - filled
        middle = np.median(step[rim], axis=0)
        if np.abs(middle).max() > _OUTLIER:  # the whole border differs in content
            middle = np.zeros(3)
        step -= middle
        step /= 1 + (np.abs(step).max(2, keepdims=True) / _OUTLIER) ** 4
        filled += diffuse(step, rim) + middle
    np.copyto(pixels[part], to_uint8(filled), where=own[part][..., None])
    return Image.fromarray(pixels)


def paste_edit(
    photo: Image.Image, output: Image.Image, transform: ArrayLike, points: np.ndarray
) -> Image.Image:
    """Paste an edited face into its photo within the region of the output's face. Colours are matched where the photo
    shows the face too.

    Args:
        photo: RGB.
        output: RGB, the edited aligned crop, S x S.
        transform: 2x3, photo pixel -> crop pixel.
        points: 68x2, the landmarks of the crop before the edit, in pixels.

    Returns:
        RGB image of the photo's size.
    """
    region = face_region(find_points(output), output.width)
    return paste_face(photo, output, transform, region, face_shown(points, output.width) * region)


def paste_face(
    photo: Image.Image,
    crop: Image.Image,
    transform: ArrayLike,
    mask: np.ndarray,
    same: np.ndarray | None = None,
) -> Image.Image:
    """Blend an edited face into the photo.

    The colours of the crop are matched to the photo at the border of the mask, and the crop fades in from there. Where
    the photo is darker, colours are scaled, and where it is brighter, shifted. Shifting would turn the dark parts of a
    face in side light black on its shadowed half.

    Args:
        photo: RGB.
        crop: RGB, S x S, the edited face.
        transform: 2x3, photo pixel -> crop pixel.
        mask: S x S float in [0, 1] or bool, 1 = face.
        same: S x S float or bool, 1 = the photo shows the face there too, so colours must match; default: everywhere.
            Where the new face covers background, matching would bleed the background into the face.

    Returns:
        RGB image of the photo's size; pixels outside the mask equal the photo's bit for bit.
    """
    size = crop.width
    mask = np.asarray(mask, np.float32).clip(0, 1)
    # Fade inside the mask and towards the edge of the crop, over 5 % of the crop, so that nothing outside changes.
    reach = max(2.0, 0.05 * size)
    solid = np.zeros((size + 2, size + 2), np.uint8)
    solid[1:-1, 1:-1] = mask > 0.5
    depth = cv2.distanceTransform(solid, cv2.DIST_L2, 5)[1:-1, 1:-1]
    alpha = (smooth_ramp(depth, 0, reach) * 255).astype(np.uint8)

    corners = crop_corners(transform, size)
    low = np.maximum(np.floor(corners.min(0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(corners.max(0)).astype(int) + 2, photo.size)
    if (low >= high).any() or not alpha.any():
        return photo.copy()
    box = (*low.tolist(), *high.tolist())
    part = np.s_[box[1] : box[3], box[0] : box[2]]
    pixels = np.array(photo)
    weight = crop_on_photo(alpha, transform, box, outside=0).astype(np.float32) / 255
    edited = crop_on_photo(np.asarray(crop), transform, box).astype(np.float32)
    before = pixels[part].astype(np.float32)
    # Both must agree where the crop fades in: their colours there are interpolated over the whole face.
    seam = (weight > 0) & (weight < 0.5)
    if same is not None:
        agrees = crop_on_photo(np.asarray(same, np.float32), transform, box, outside=0)
        seam &= agrees > 0.5
    if seam.any():
        width = max(1.0, 0.01 * size / scale_of(transform))
        colours = [cv2.GaussianBlur(image, (0, 0), width) for image in (before, edited)]
        wanted, own = np.split(diffuse(np.dstack(colours), seam), 2, axis=2)
        darker = (edited + _BLACK) * (wanted + _BLACK) / (own + _BLACK) - _BLACK
        edited = np.where(wanted < own, darker, edited + wanted - own)
    mixed = before + weight[..., None] * (edited - before)
    np.copyto(pixels[part], to_uint8(mixed), where=(weight > 0)[..., None])
    return Image.fromarray(pixels)


def fill_smoothly(photo: Image.Image, mask: np.ndarray) -> Image.Image:
    """Fill the masked part of a photo smoothly from the colours around it.

    Args:
        photo: RGB.
        mask: HxW bool, True = missing.
    """
    box = bounds(mask, 4)
    if box is None:
        return photo.copy()
    part = np.s_[box[1] : box[3], box[0] : box[2]]
    pixels = np.array(photo)
    filled = diffuse(pixels[part].astype(np.float32), ~mask[part])
    np.copyto(pixels[part], to_uint8(filled), where=mask[part][..., None])
    return Image.fromarray(pixels)


def diffuse(values: np.ndarray, known: np.ndarray, sweeps: int = 8) -> np.ndarray:
    """Interpolate known values smoothly by solving the Laplace equation from coarse to fine.

    Args:
        values: HxWxC float32; ignored where not known.
        known: HxW bool.
        sweeps: relaxations per level.

    Returns:
        HxWxC float32, equal to ``values`` where known, smooth elsewhere; 0 if nothing is known.
    """
    height, width = known.shape
    if known.all():
        return values.copy()
    if not known.any():
        return np.zeros_like(values)
    if max(height, width) <= 2:
        result = np.broadcast_to(values[known].mean(0), values.shape).astype(np.float32)
    else:
        half = ((height + 1) // 2, (width + 1) // 2)
        pad = ((0, height % 2), (0, width % 2))
        weight = np.pad(known, pad).astype(np.float32)
        total = np.pad(np.where(known[..., None], values, 0), (*pad, (0, 0)))
        blocks, count = (x[::2, ::2] + x[::2, 1::2] + x[1::2, ::2] + x[1::2, 1::2] for x in (total, weight))
        coarse = diffuse(blocks / np.maximum(count, 1)[..., None], count > 0, sweeps)
        result = cv2.resize(coarse, (2 * half[1], 2 * half[0]), interpolation=cv2.INTER_LINEAR)
        result = result.reshape(2 * half[0], 2 * half[1], -1)[:height, :width]
    kernel = np.array([[1, 2, 1], [2, 0, 2], [1, 2, 1]], np.float32) / 12
    fixed = known.astype(np.uint8)
    result = np.where(known[..., None], values, result)
    for _ in range(sweeps):
        result = cv2.filter2D(result, -1, kernel, borderType=cv2.BORDER_REPLICATE)
        result = cv2.copyTo(values, fixed, result)
    return result.reshape(values.shape)


def crop_on_photo(
    crop: np.ndarray, transform: ArrayLike, box: tuple[int, int, int, int], outside: float | None = None
) -> np.ndarray:
    """Resample a crop onto the photo's pixels, antialiased.

    Args:
        crop: SxS or SxSxC, uint8 or float32.
        transform: 2x3, photo pixel -> crop pixel.
        box: (x0, y0, x1, y1), the part of the photo to render.
        outside: value outside the crop; default: the crop's nearest pixel.

    Returns:
        Array of the box's size, of the crop's dtype.
    """
    transform = np.asarray(transform, np.float64)
    size, scale = crop.shape[0], scale_of(transform)
    linear = transform[:, :2]
    offset = linear @ np.array(box[:2], np.float64) + transform[:, 2]
    if scale > 1:  # the face is smaller in the photo
        small = max(1, round(size / scale))
        crop = cv2.resize(crop, (small, small), interpolation=cv2.INTER_AREA)
        ratio = small / size
        linear, offset = linear * ratio, (offset + 0.5) * ratio - 0.5
    return cv2.warpAffine(
        crop,
        np.column_stack([linear, offset]),
        (box[2] - box[0], box[3] - box[1]),
        flags=(cv2.INTER_CUBIC if outside is None else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT,
        borderValue=outside or 0,
    )


def inside_square(transform: ArrayLike, size: int, shape: tuple[int, int]) -> np.ndarray:
    """Return the pixels of the photo inside the aligned square: HxW bool."""
    square = np.zeros(shape, np.uint8)
    # Corners in sixteenths of a pixel, drawn as a filled polygon.
    corners = np.rint(crop_corners(transform, size) * 16).astype(np.int32)
    cv2.fillConvexPoly(square, corners, 1, cv2.LINE_8, shift=4)
    return square.astype(bool)


def nearest_face(mask: np.ndarray, transforms: Sequence[ArrayLike], size: int) -> np.ndarray:
    """Assign each masked pixel of a photo to the face whose centre is closest.

    Distances are in units of the crop, so that a large face in the foreground reaches further than a small one behind
    it.

    Args:
        mask: HxW bool.
        transforms: N of 2x3, photo pixel -> crop pixel; N ≥ 1.
        size: side of the crops.

    Returns:
        HxW int16, indices of transforms; -1 outside the mask.
    """
    nearest = np.where(mask, np.int16(0), np.int16(-1))
    if len(transforms) > 1:
        ys, xs = np.nonzero(mask)
        distances = [_squared_distance(xs, ys, np.asarray(t, np.float32), size) for t in transforms]
        nearest[ys, xs] = np.argmin(distances, axis=0)
    return nearest


def _squared_distance(xs, ys, transform, size):
    """Return the squared distances of photo pixels from the centre of a crop, in its pixels: N float32."""
    (a, b, c), (d, e, f) = transform
    centre = np.float32((size - 1) / 2)
    xs, ys = xs.astype(np.float32), ys.astype(np.float32)
    return (a * xs + b * ys + c - centre) ** 2 + (d * xs + e * ys + f - centre) ** 2


def reaching_border(mask: np.ndarray) -> np.ndarray:
    """Return the connected regions of a mask (HxW bool) that reach the image's border: HxW bool."""
    _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    border = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    return mask & np.isin(parts, border)


def bounds(mask: np.ndarray, margin: int) -> tuple[int, int, int, int] | None:
    """Return the box around the True pixels of a mask (HxW bool) and ``margin`` pixels: (x0, y0, x1, y1), or None."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return None
    return (
        max(int(columns[0]) - margin, 0),
        max(int(rows[0]) - margin, 0),
        min(int(columns[-1]) + 1 + margin, mask.shape[1]),
        min(int(rows[-1]) + 1 + margin, mask.shape[0]),
    )
