"""A photo's own colours and sRGB, in which the models work: profiles, grey and tinted photos."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

_INTENT = ImageCms.Intent.PERCEPTUAL
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """An sRGB profile, to attach to pictures that were converted to sRGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, Image.Image, bytes | None]:
    """Convert a picture to sRGB.

    Args:
        image: without transparency, 8 bits a channel.
        profile: its ICC profile; None counts as sRGB. A damaged profile, or one for another kind of picture, is left
            out, as browsers do.

    Returns:
        The picture in its own RGB space, the picture in sRGB (the same image if that is its space), and the profile of
        the first; None if it had none. Pictures that are not RGB (CMYK, Lab, grey with a grey profile) come as sRGB.
    """
    space = _colour_space(profile)
    if space == "RGB" and image.mode not in ("CMYK", "LAB"):
        own = image.convert("RGB")
        if is_srgb(profile):
            return own, own, profile
        return own, convert(own, profile, srgb_profile()), profile
    if image.mode == "LAB":
        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
        own = convert(image, lab, srgb_profile())
    elif (space, image.mode) in (("CMYK", "CMYK"), ("GRAY", "L")):
        own = convert(image, profile, srgb_profile())
    else:
        own = image.convert("RGB")
        return own, own, None
    return own, own, srgb_profile()


def convert(image: Image.Image, source: bytes, target: bytes) -> Image.Image:
    """A picture of one profile as an RGB picture of another."""
    return ImageCms.applyTransform(image, _transform(source, target, image.mode))


@lru_cache(maxsize=8)
def is_srgb(profile: bytes) -> bool:
    """Whether an RGB profile is sRGB but for rounding."""
    steps = np.linspace(0, 255, 18, dtype=np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(18 * 18, 18, 3)
    converted = np.asarray(convert(Image.fromarray(grid), profile, srgb_profile()))
    return bool(np.abs(converted.astype(int) - grid).max() <= 3)


def find_tint(image: Image.Image) -> np.ndarray | None:
    """The one colour that a monochrome photo has at each brightness.

    Args:
        image: RGB, sRGB.

    Returns:
        256x3 uint8, brightness -> colour, for a grey, sepia or otherwise tinted photo; None for a colour photo.
    """
    small = image.copy()
    small.thumbnail((256, 256), Image.Resampling.BOX)
    pixels = np.asarray(small, np.float32).reshape(-1, 3)
    luma = pixels @ _LUMA
    levels = np.arange(256, dtype=np.float32)
    if _mostly_within(pixels - luma[:, None], 6):
        return np.repeat(levels[:, None], 3, axis=1).astype(np.uint8)
    bins = (luma / 16).astype(int)
    used = [i for i in range(16) if (bins == i).sum() >= 8]
    centres = np.array([luma[bins == i].mean() for i in used])
    colours = np.array([np.median(pixels[bins == i] - luma[bins == i, None], axis=0) for i in used])
    if not used:
        return None
    curve = np.stack([np.interp(levels, centres, colours[:, k]) for k in range(3)], axis=1)
    tint = levels[:, None] + curve
    if not _mostly_within(pixels - tint[luma.round().astype(int)], 6):
        return None
    return np.rint(tint).clip(0, 255).astype(np.uint8)


def apply_tint(image: Image.Image, tint: np.ndarray) -> Image.Image:
    """A picture (RGB) in the colours of `find_tint`."""
    return Image.fromarray(tint[np.asarray(image.convert("L"))])


def _mostly_within(difference, most):
    return np.quantile(np.abs(difference).max(1), 0.995) <= most


def _colour_space(profile):
    """ "RGB", "CMYK", "GRAY" …; None without a profile that can be read."""
    if not profile:
        return None
    try:
        parsed = _parse(profile)
        space = parsed.profile.xcolor_space.strip()
        if space == "RGB":
            is_srgb(profile)  # a header can be whole, and the tables behind it not
        return space
    except Exception:
        return None


def _parse(profile):
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


@lru_cache(maxsize=8)
def _transform(source, target, mode):
    return ImageCms.buildTransform(_parse(source), _parse(target), mode, "RGB", _INTENT)
