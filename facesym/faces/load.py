"""Read photos and masks, and convert edits back to the photo's own colours."""

import math
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageChops

from ..errors import ImageError
from .colour import apply_tint, convert, find_tint, fits_tint, grey, is_srgb, srgb_profile, to_srgb
from .decode import MAX_DECODED, MAX_PIXELS, READABLE, PictureSource, decode, to_8_bit
from .pixels import to_uint8
from .save import FORMATS, SOURCE_TYPE, mark_edited, save_image

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "READABLE",
    "SOURCE_TYPE",
    "Photo",
    "load_image",
    "load_mask",
    "mark_edited",
    "read_photo",
    "save_image",
]

_MIN_SIDE = 8  # pixels


@dataclass
class Photo:
    """A photo in sRGB for the models, with the data to convert an edit back to its own colours.

    Attributes:
        image: RGB, sRGB, upright, at most 25 megapixels; transparency is composited onto white.
        full_size: (width, height) of the photo before downscaling; masks may have this size too.
        notes: notes for the user, one sentence each.
    """

    image: Image.Image
    full_size: tuple[int, int]
    notes: list[str]
    _own: Image.Image = field(repr=False)  # RGB, in the photo's colour space
    _profile: bytes | None = field(repr=False)  # of that space
    _alpha: Image.Image | None = field(repr=False)
    _tint: np.ndarray | None = field(repr=False)  # see find_tint

    @property
    def transparent(self) -> np.ndarray | None:
        """HxW bool, True = mostly transparent; None if the photo has no transparency."""
        return None if self._alpha is None else np.asarray(self._alpha) < 128

    def restore(self, edited: Image.Image, before: Image.Image | None = None) -> Image.Image:
        """Convert an edit of the whole photo to the photo's own colours.

        Args:
            edited: `image` with some pixels changed; RGB.
            before: RGB, `image` without what the edit removes, which shows where the photo is in colour; default:
                `image`.

        Returns:
            RGB image, or RGBA if the photo has transparency, with the photo's profile in ``info``. Pixels that equal
            `image` keep the photo's values bit for bit. Changed pixels are converted to the photo's profile and, where
            the photo was grey or tinted, get its tint. Photos with CMYK, Lab and grey profiles are returned in sRGB.
        """
        result = self._own.copy()
        box = ImageChops.difference(self.image, edited).getbbox()
        if box is None:
            return self._finish(result, self._alpha)
        old, pixels = (np.asarray(image.crop(box)) for image in (self.image, edited))
        changed = (old != pixels).any(2)
        if self._alpha is not None:
            pixels = _lift_off_white(pixels, np.asarray(self._alpha.crop(box)))
        recoloured = self._recolour(pixels, old if before is None else np.asarray(before.crop(box)), changed)
        result.paste(recoloured, box, Image.fromarray(changed * np.uint8(255)))
        return self._finish(result, self._alpha)

    def restore_crop(self, crop: Image.Image, before: Image.Image | None = None) -> Image.Image:
        """Convert a crop of an edit to the photo's tint and profile, without transparency.

        Args:
            crop: RGB, of any size.
            before: RGB, the crop of the photo that was edited. If it is in colour, the result is too, also in a photo
                that is mostly grey.
        """
        shown = None if before is None else np.asarray(before)
        return self._finish(self._recolour(np.asarray(crop), shown), None)

    def _recolour(self, pixels, before, changed=None):
        image, tint = Image.fromarray(np.ascontiguousarray(pixels)), self._tint
        if tint is not None and before is not None and not fits_tint(before, tint, changed):
            tint = None
        if tint is not None:
            image = apply_tint(image, tint)
        if self._profile and not is_srgb(self._profile):
            image = convert(image, srgb_profile(), self._profile)
            if tint is not None and (tint == tint[:, :1]).all():
                image = grey(image)  # rounding must not add colour to a grey photo
        return image

    def _finish(self, image, alpha):
        if alpha is not None:
            image.putalpha(alpha)
        image.info = {"icc_profile": self._profile} if self._profile else {}
        return image


def read_photo(source: "PictureSource | Photo", max_pixels: int = MAX_PIXELS) -> Photo:
    """Read a photo.

    Args:
        source: a path; a PIL image; an array: HxWx3 (RGB), HxWx4 (RGBA) or HxW (grey), integers from 0 to 255, uint16
            from 0 to 65535 (if a value exceeds 255), or floats in [0, 1] or [0, 255]; a tensor of the same values,
            CxHxW or HxW; the bytes of an image file; a file object opened in binary mode; or a Photo, which is
            returned unchanged. The EXIF orientation is applied. Only the first frame of an animation is read.
        max_pixels: larger photos are downscaled to this number of pixels, with a note.

    Returns:
        Photo.

    Raises:
        ImageError: the file does not exist, is not an image, is damaged, empty or too large to decode; a side has less
            than 8 or more than 32,766 pixels; or the values of an array are not numbers or out of range.
    """
    if isinstance(source, Photo):
        return source
    decoded = decode(source, "image", max_pixels, max(MAX_DECODED, max_pixels))
    width, height = decoded.image.size
    if min(width, height) < _MIN_SIDE:
        raise ImageError(
            f"The image is {width}x{height} pixels: too small to show a face. Use one of at least "
            f"{_MIN_SIDE}x{_MIN_SIDE} pixels."
        )
    profile = decoded.image.info.get("icc_profile")
    image, alpha = _split(decoded.image, "image")
    own, image, attached = to_srgb(image, profile)
    notes = list(decoded.notes)
    if profile and not attached:
        notes.append("The photo's colour profile is damaged or does not match the image, and was ignored.")
    tint = find_tint(image)
    if alpha is not None:
        white = Image.new("RGB", image.size, "white")
        image = Image.composite(image, white, alpha)
    image.info = {}
    return Photo(image, decoded.full_size, notes, own, attached, alpha, tint)


def load_image(source: "PictureSource | Photo", max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read a photo as an RGB image for the models: sRGB, upright, transparency composited onto white.

    Args:
        source: see `read_photo`.
        max_pixels: see `read_photo`.

    Returns:
        RGB image, a copy.

    Raises:
        ImageError: see `read_photo`.
    """
    image = read_photo(source, max_pixels).image
    return image.copy() if isinstance(source, Photo) else image


def load_mask(
    source: PictureSource, size: tuple[int, int], full_size: tuple[int, int] | None = None
) -> np.ndarray:
    """Read a mask.

    Args:
        source: a path, a PIL image, an array, a tensor, bytes or a file object, as for `read_photo`. White or True
            means missing, as does any colour on transparency, or the brighter of any two values.
        size: (width, height) of the photo.
        full_size: (width, height) of the photo before downscaling, if any: a mask of this size is downscaled too.

    Returns:
        HxW bool array, True = missing.

    Raises:
        ImageError: as for `read_photo`; or the size differs from the photo's.
    """
    largest = max(MAX_DECODED, math.prod(size), math.prod(full_size or size))
    decoded = decode(source, "mask", largest, largest)
    mask = _missing(decoded.image)
    full_size = full_size or size
    if mask.shape != (size[1], size[0]):
        if mask.shape != (full_size[1], full_size[0]):
            raise ImageError(
                f"The mask is {mask.shape[1]}x{mask.shape[0]} pixels and the photo {full_size[0]}x{full_size[1]}: save "
                f"the mask at the photo's size, {full_size[0]}x{full_size[1]}."
            )
        # A pixel that is partly masked counts as missing, since downscaling mixed the photo's pixels too.
        scaled = Image.fromarray(mask * np.uint8(255)).resize(size, Image.Resampling.BILINEAR)
        mask = np.asarray(scaled) > 0
    return mask


def _missing(image):
    """Return the missing pixels that a mask image marks: HxW bool."""
    image, alpha = _split(image, "mask")
    luma = to_srgb(image, None)[1].convert("L")
    values = np.asarray(luma)
    if alpha is not None:
        alpha = np.asarray(alpha)
        drawn = alpha > alpha.max() // 2
        if not drawn.all():
            counts = np.array(luma.histogram(Image.fromarray(drawn)))
            black, white = counts[:16].sum(), counts[240:].sum()
            if min(black, white) < 0.01 * counts.sum() or black + white < 0.95 * counts.sum():
                return drawn  # strokes of any colour, not a partly transparent black and white mask
            values = np.where(drawn, values, 0)
    used = np.flatnonzero(Image.fromarray(values).histogram())
    low, high = int(used[0]), int(used[-1])
    if low == high:
        return values > 0
    if high - low < 16 and len(used) > 2:  # noise
        return values > 127
    return values > (low + high) / 2


def _split(image, name):
    """Split an image into 8-bit colours without transparency and its alpha channel (L, or None)."""
    try:
        image = to_8_bit(image)
        if image.mode == "La":  # which Pillow converts to no other mode
            image = image.convert("LA")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            return image.convert("RGB"), image.getchannel("A")
        if image.mode not in ("L", "RGB", "CMYK", "LAB"):
            image = image.convert("L" if image.mode == "1" else "RGB")
        return image, None
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(
            f"The {name} cannot be converted to RGB ({error}): save it as PNG or JPEG."
        ) from error


def _lift_off_white(pixels, alpha):
    """Compute the colours that give `pixels` when composited onto white with `alpha`."""
    fraction = np.maximum(alpha, 1)[..., None].astype(np.float32) / 255
    return to_uint8(255 - (255 - pixels.astype(np.float32)) / fraction)
