"""Conversion between a photo's own colours and sRGB: ICC profiles, grey and tinted photos."""

import io
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageCms

from .pixels import to_uint8

_INTENT = ImageCms.Intent.PERCEPTUAL
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """Return an sRGB profile for images converted to sRGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, Image.Image, bytes | None]:
    """Convert an image to sRGB.

    Args:
        image: without transparency, 8 bits per channel.
        profile: its ICC profile; None means sRGB. A damaged profile, or one for another image mode, is ignored, as in
            browsers.

    Returns:
        The image in its own RGB space, the image in sRGB (the same object if that is its space), and the profile of
        the first, or None if it has none. Images that are not RGB (CMYK, Lab, grey with a grey profile) or whose
        profile is one-way (such as a scanner's) are sRGB in both.
    """
    space = _colour_space(profile)
    if profile and space == "RGB" and image.mode not in ("CMYK", "LAB"):
        own = image.convert("RGB")
        if is_srgb(profile):
            return own, own, profile
        in_srgb = convert(own, profile, srgb_profile())
        return (own, in_srgb, profile) if _leads_back(profile) else (in_srgb, in_srgb, srgb_profile())
    if image.mode == "LAB":
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    elif not profile or (space, image.mode) not in (("CMYK", "CMYK"), ("GRAY", "L")):
        own = image.convert("RGB")
        return own, own, None
    own = convert(image, profile, srgb_profile())
    if image.mode == "L":
        own = grey(own)
    return own, own, srgb_profile()


def grey(image: Image.Image) -> Image.Image:
    """Make the channels of an RGB image equal, for images that are grey up to rounding."""
    return image.getchannel("G").convert("RGB")


def convert(image: Image.Image, source: bytes, target: bytes) -> Image.Image:
    """Convert an image from one profile to RGB in another."""
    converted = ImageCms.applyTransform(image, _transform(source, target, image.mode))
    assert converted is not None  # it is not done in place
    return converted


@lru_cache(maxsize=8)
def is_srgb(profile: bytes) -> bool:
    """Whether an RGB profile is sRGB up to rounding."""
    steps = np.linspace(0, 255, 18, dtype=np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(18 * 18, 18, 3)
    converted = np.asarray(convert(Image.fromarray(grid), profile, srgb_profile()))
    return bool(np.abs(converted.astype(int) - grid).max() <= 3)


def find_tint(image: Image.Image) -> np.ndarray | None:
    """Find the colour of a monochrome photo at each brightness.

    Args:
        image: RGB, sRGB.

    Returns:
        256x3 uint8, brightness -> colour, for a grey, sepia or otherwise tinted photo; None for a colour photo.
    """
    small, scale = image, 128 / max(image.size)
    if scale < 1:  # reduces film grain and JPEG noise
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        small = image.resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    pixels = np.asarray(small, np.float32).reshape(-1, 3)
    # A few pixels suffice to recognise most colour photos.
    if len(pixels) >= 8192 and _tint_of(pixels[::7], 2.0) is None:
        return None
    return _tint_of(pixels, 1.0)


def _tint_of(pixels, tolerance):
    """Find the tint of pixels (Nx3 float32), see `find_tint`, with multiples of the usual tolerance."""
    luma = pixels @ _LUMA
    levels = np.arange(256, dtype=np.float32)[:, None]
    if _mostly_below(np.abs(pixels - luma[:, None]).max(1), 8 * tolerance):
        return np.repeat(levels, 3, axis=1).astype(np.uint8)
    bins = (luma / 4).astype(int)
    used = np.flatnonzero(np.bincount(bins, minlength=64) >= 8)
    if not len(used):
        return None
    order = np.argsort(bins, kind="stable")
    ends = np.cumsum(np.bincount(bins, minlength=64))
    members = [order[end - count : end] for end, count in zip(ends, np.diff(ends, prepend=0))]
    centres = np.array([luma[members[i]].mean() for i in used])
    departures = pixels - luma[:, None]
    chroma = np.array([np.median(departures[members[i]], axis=0) for i in used])
    tint = levels + np.stack([np.interp(levels[:, 0], centres, chroma[:, k]) for k in range(3)], axis=1)
    off = np.abs(pixels - tint[luma.round().astype(int)]).max(1)
    clipped = pixels.max(1) >= 250  # there, a tint fades to white
    if not _mostly_below(off[~clipped] if clipped.mean() < 0.9 else off, 9 * tolerance):
        return None
    return to_uint8(tint)


def fits_tint(image: np.ndarray, tint: np.ndarray, region: np.ndarray | None = None) -> bool:
    """Whether an image, or a region of it, has the colours of a tint: a colour face in a photo that is mostly grey or
    white does not.

    Args:
        image: HxWx3 uint8.
        tint: from `find_tint`.
        region: HxW bool; default: all pixels.
    """
    soft = cv2.blur(image, (5, 5)).astype(np.float32)  # reduces film grain and JPEG noise
    pixels = soft.reshape(-1, 3) if region is None else soft[region]
    off = np.abs(pixels - tint[(pixels @ _LUMA).round().astype(int)]).max(1)
    off = off[(pixels.max(1) < 250) | (pixels.min(1) < 200)]  # near white, a tint fades
    return not len(off) or bool(np.quantile(off, 0.9) <= 12)


def apply_tint(image: Image.Image, tint: np.ndarray) -> Image.Image:
    """Apply the tint of `find_tint` to an RGB image."""
    return Image.fromarray(tint[np.asarray(image.convert("L"))])


def _mostly_below(values, most):
    return np.quantile(values, 0.99) <= most


def _colour_space(profile):
    """Return "RGB", "CMYK", "GRAY" …, or None without a readable profile."""
    if not profile:
        return None
    try:
        space = _parse(profile).profile.xcolor_space.strip()  # type: ignore
        mode = {"RGB": "RGB", "CMYK": "CMYK", "GRAY": "L"}[space]
        _transform(profile, srgb_profile(), mode)  # the header may be intact while the tables are not
        return space
    except Exception:
        return None


def _leads_back(profile):
    """Whether colours can be converted to a profile, not only from it."""
    try:
        _transform(srgb_profile(), profile, "RGB")
    except ImageCms.PyCMSError:
        return False
    return True


def _parse(profile):
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


@lru_cache(maxsize=8)
def _transform(source, target, mode):
    return ImageCms.buildTransform(_parse(source), _parse(target), mode, "RGB", _INTENT)
