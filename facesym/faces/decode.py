"""Read images of any supported type: decoded, upright, of bounded size."""

import contextlib
import io
import math
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import numpy as np
import pi_heif
from PIL import Image, ImageFile

from ..errors import ImageError
from .pixels import to_uint8

if TYPE_CHECKING:
    import torch

PictureSource: TypeAlias = "str | os.PathLike | Image.Image | np.ndarray | torch.Tensor | bytes | BinaryIO"

MAX_PIXELS = 25_000_000  # pixels; larger photos are downscaled to this
MAX_SIDE = 32_766  # pixels; longer images are no photos, and OpenCV cannot warp them
MAX_DECODED = 64_000_000  # pixels; limit for decoding: a file of a few kilobytes can hold gigabytes of pixels

_MAX_STREAM = 256_000_000  # bytes read from a file object without seek
_KINDS = (
    "a path, a PIL image, an array (HxWx3, HxWx4 or HxW), a tensor (CxHxW), the bytes of an image file, or a file "
    "object opened in binary mode"
)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

pi_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
Image.init()
# Formats of photos. Others that Pillow reads are not for photos or, like EPS, can run programs.
FORMATS: list[str] = [
    kind
    for kind in ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
    if kind in Image.OPEN
]
READABLE = sorted(suffix for suffix, kind in Image.EXTENSION.items() if kind in FORMATS)  # suffixes of files


@dataclass
class Decoded:
    """A decoded image, upright.

    Attributes:
        image: PIL image of any mode, with the ``info`` of the file.
        full_size: (width, height) before downscaling, upright.
        notes: notes for the user, one sentence each.
    """

    image: Image.Image
    full_size: tuple[int, int]
    notes: list[str] = field(default_factory=list)


def decode(
    source: PictureSource, name: str = "image", max_pixels: int = MAX_PIXELS, max_decoded: int = MAX_DECODED
) -> Decoded:
    """Read an image.

    Args:
        source: a path; a PIL image; an array: HxWx3 (RGB), HxWx4 (RGBA) or HxW (grey), integers from 0 to 255, uint16
            from 0 to 65535 (if a value exceeds 255), bool, or floats in [0, 1] or [0, 255]; a tensor of the same
            values, CxHxW or HxW; the bytes of an image file; or a file object opened in binary mode. The EXIF
            orientation is applied. Only the first frame of an animation is read.
        name: name of an image without a path in messages, e.g. "mask".
        max_pixels: larger images are downscaled to this number of pixels.
        max_decoded: files with more pixels are rejected before decoding. JPEGs are decoded at half their width and
            height if they are then within the limit.

    Returns:
        Decoded. Its image may be `source` itself: change a copy.

    Raises:
        ImageError: the file does not exist, is not an image, is damaged, empty or too large, or values are
            out of range.
    """
    name = f"The {name}"
    with contextlib.ExitStack() as stack:
        if isinstance(source, Image.Image):
            return _finish(source, name, max_pixels, max_decoded)
        if isinstance(source, np.ndarray) or _is_tensor(source):
            return _finish(_from_array(source, name), name, max_pixels, max_decoded)
        file, name = _open_file(source, name, stack)
        try:
            image = stack.enter_context(Image.open(file, formats=FORMATS))
        except Image.DecompressionBombError:
            raise ImageError(f"{name} is too large; {_bound(max_decoded)}.") from None
        except Image.UnidentifiedImageError:
            if not file.seek(0, io.SEEK_END):
                raise ImageError(f"{name} is empty (0 bytes): copy or download the file again.") from None
            raise ImageError(
                f"{name} is not an image or not in a supported format: save it as JPEG, PNG or WebP."
            ) from None
        except Exception as error:
            raise _damaged(name, error) from error
        if _try(name, _is_planar_16_bit, image):
            raise ImageError(
                f"{name} is a TIFF with more than 8 bits per channel in separate planes, which is not supported: save "
                "it as PNG."
            )
        half = (image.width // 2, image.height // 2)
        if math.prod(image.size) > max_decoded and "progressive" not in image.info:
            size = image.size  # a progressive JPEG would need the full memory anyway
            _try(name, image.draft, None, half)
            return _finish(image, name, max_pixels, max_decoded, size)
        return _finish(image, name, max_pixels, max_decoded)


def _is_planar_16_bit(image):
    """Return whether an image is of a kind that Pillow reads as noise, without an error."""
    tags = getattr(image, "tag_v2", {})
    planar_configuration, bits_per_sample = tags.get(284, 1), tags.get(258, (8,))
    separate = planar_configuration == 2 and len(bits_per_sample) > 1
    return image.format == "TIFF" and separate and max(bits_per_sample) > 8


def to_8_bit(image: Image.Image) -> Image.Image:
    """Convert an image of 16 or 32 bits per pixel to 8-bit grey; return others unchanged."""
    if not (image.mode.startswith("I") or image.mode == "F"):
        return image
    values = np.asarray(image)
    if image.mode == "F":
        return Image.fromarray(_from_floats(values, "The image"))
    if not image.mode.startswith("I;16") and values.max() <= 255:
        return Image.fromarray(values.clip(0).astype(np.uint8))
    return Image.fromarray(_from_16_bits(values))


def _finish(image, name, max_pixels, max_decoded, drafted=None):
    """Check, decode, rotate upright and downscale. ``drafted``: full size of an image decoded at a smaller one."""
    lazy = isinstance(image, ImageFile.ImageFile)  # others are already in memory
    _check_size(image.size, drafted or image.size, name, max_decoded if lazy else None)
    _try(name, image.load)
    full_size = drafted or image.size
    _check_size(image.size, full_size, name, max_decoded if lazy else None)  # some files declare a wrong size
    turn = _orientation(image)
    if turn in _TURNS:
        image = _try(name, image.transpose, _TURNS[turn])
        full_size = full_size[::-1] if turn >= 5 else full_size
    if math.prod(image.size) > max_pixels:
        image = _try(name, _scale_down, image, max_pixels)
    notes = []
    if image.size != full_size:
        notes.append(
            f"{name} was scaled down from {full_size[0]}x{full_size[1]} to {image.width}x{image.height} pixels: "
            f"facesym processes at most {max_pixels / 1e6:.3g} megapixels."
        )
    return Decoded(image, full_size, notes)


def _orientation(image):
    """Return the EXIF orientation, 1 to 8. Photos with malformed metadata count as upright."""
    try:
        turn = image.getexif().get(0x0112)
    except Exception:
        return 1
    return turn if isinstance(turn, int) else 1


def _scale_down(image, max_pixels):
    scale = math.sqrt(max_pixels / math.prod(image.size))
    size = [max(1, math.floor(side * scale)) for side in image.size]
    info = image.info
    if image.mode in ("P", "PA", "1") or (image.mode in ("L", "RGB") and image.has_transparency_data):
        # Pillow resizes the first three without antialiasing; in the others, one colour is transparent.
        image = image.convert("RGBA" if image.has_transparency_data else "L" if image.mode == "1" else "RGB")
    image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    image.info = {key: value for key, value in info.items() if key == "icc_profile"}
    return image


def _try(name, function, *args):
    """Call a decoding function; turn any exception that a damaged file raises into an ImageError."""
    try:
        return function(*args)
    except ImageError:
        raise
    except Exception as error:
        raise _damaged(name, error) from error


def _damaged(name, error):
    return ImageError(f"{name} is damaged or truncated ({error}): copy or download the file again.")


def _bound(max_decoded):
    return f"the limit is {max_decoded / 1e6:.3g} megapixels: downscale it first"


def _check_size(size, full_size, name, max_decoded):
    if min(size) < 1:
        raise ImageError(f"{name} is empty ({size[0]}x{size[1]} pixels).")
    if max(size) > MAX_SIDE:
        raise ImageError(
            f"{name} is too long ({size[0]}x{size[1]} pixels): the limit is {MAX_SIDE} per side. Crop it first."
        )
    if max_decoded and math.prod(size) > max_decoded:
        width, height = full_size
        raise ImageError(
            f"{name} is too large ({width}x{height} is {width * height / 1e6:.3g} megapixels); {_bound(max_decoded)}."
        )


def _open_file(source, name, stack):
    """Return a seekable file object and its name for messages."""
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source), name
    if hasattr(source, "read"):
        return _try(name, _rewindable, source, name), name
    try:
        path = Path(source)
    except TypeError:
        raise ImageError(f"{name} is of type {type(source).__name__}; expected {_KINDS}.") from None
    try:
        return stack.enter_context(open(path, "rb")), str(path)
    except FileNotFoundError:
        if "://" in str(source):
            raise ImageError(f"{source} is a URL: download the image and pass its bytes or path.") from None
        raise ImageError(f"There is no file {path}.") from None
    except IsADirectoryError:
        raise ImageError(f"{path} is a folder: name an image.") from None
    except PermissionError:
        raise ImageError(f"{path} cannot be read: check its permissions.") from None
    except (OSError, ValueError) as error:  # a name that is too long or contains a null character
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{path} cannot be opened: {reason}.") from error


def _rewindable(file, name):
    if isinstance(file, io.TextIOBase):
        raise ImageError(f'{name} is a file opened as text: open it with mode "rb".')
    if hasattr(file, "seekable") and file.seekable():
        return file
    data = file.read(_MAX_STREAM + 1)
    if len(data) > _MAX_STREAM:
        raise ImageError(f"{name} is larger than {_MAX_STREAM // 1_000_000} megabytes: save a smaller file.")
    return io.BytesIO(data)


def _is_tensor(source):
    torch = sys.modules.get("torch")  # a tensor exists only if torch is imported
    return torch is not None and isinstance(source, torch.Tensor)


def _from_array(source, name):
    if not isinstance(source, np.ndarray):
        source = source.detach().cpu()
        if source.is_floating_point():
            source = source.float()  # NumPy has no bfloat16
        array, kinds = source.numpy(), "tensor: CxHxW with 1, 3 or 4 channels, or HxW"
        if array.ndim == 3:
            array = np.moveaxis(array, 0, -1)
    else:
        array, kinds = source, "array: HxWx3 (RGB), HxWx4 (RGBA) or HxW (grey)"
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ImageError(f"{name} has the shape {tuple(source.shape)}; expected one image as {kinds}.")
    if not array.size:
        raise ImageError(f"{name} is empty ({array.shape[1]}x{array.shape[0]} pixels).")
    if array.dtype.kind not in "biuf":
        raise ImageError(
            f"{name} has values of type {array.dtype}; expected numbers: convert it to uint8 first."
        )
    if array.dtype == bool:
        array = array * np.uint8(255)
    elif array.dtype.kind == "f":
        array = _from_floats(array, name)
    elif array.dtype.kind == "u" and array.itemsize == 2 and array.max() > 255:  # of either byte order
        array = _from_16_bits(array)
    elif array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255:
        raise ImageError(
            f"{name} has values of {array.dtype} from {array.min()} to {array.max()}; expected integers from 0 to 255, "
            "uint16 from 0 to 65535, or floats in [0, 1]: convert it to one of these first."
        )
    return Image.fromarray(np.ascontiguousarray(array, np.uint8))


def _from_16_bits(values):
    """Convert values from 0 to 65535 to uint8."""
    pixels = np.empty(values.shape, np.uint8)
    for row, line in enumerate(values):  # by rows, since float images would take gigabytes
        pixels[row] = np.rint(line.clip(0, 65535) / 257)
    return pixels


def _from_floats(values, name):
    """Convert floats in [0, 1] or, if they exceed 2, [0, 255] to uint8; interpolation may overshoot slightly."""
    low, high = values.min(), values.max()  # NaN if any value is
    scale = 255 if high <= 2 else 1
    slack = 8 / scale
    if not (low >= -slack and high <= 255 / scale + slack):
        raise ImageError(
            f"{name} has values from {low:.4g} to {high:.4g}; expected floats in [0, 1] or [0, 255]: scale and "
            "clip them first."
        )
    return to_uint8(values * np.float32(scale))
