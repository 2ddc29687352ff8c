"""Photos and masks in, finished pictures out."""

import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin

from ..errors import ImageError

MAX_PIXELS = 25_000_000
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


def load_image(source, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read a photo.

    Args:
        source: a path, a PIL image, or an array, uint8: HxWx3 (RGB), HxWx4 (RGBA) or HxW (grey). Files are turned
            upright by their EXIF orientation; transparency is laid onto white; 16-bit pictures become 8-bit; of
            an animation, the first frame counts.
        max_pixels: larger pictures are refused before they are decoded, since a small file can hold gigabytes.

    Returns:
        RGB image, a copy; its `info` keeps the colour profile, if any, and nothing else.

    Raises:
        ImageError: no such file, not an image, damaged, empty, too large, or an array of another kind.
    """
    if isinstance(source, np.ndarray):
        return _lay_on(_from_array(source, max_pixels), "white")
    if isinstance(source, Image.Image):
        return _finish(source, "the image", max_pixels, "white")
    return _open(source, max_pixels, "white")


def load_mask(source, size: tuple[int, int]) -> np.ndarray:
    """Read a mask.

    Args:
        source: a path, a PIL image, or an array: HxW bool (True = missing), or uint8 as for `load_image` (white,
            above 127, = missing; transparent = known).
        size: (width, height) of the photo it belongs to.

    Returns:
        HxW bool array, True = missing.

    Raises:
        ImageError: as for `load_image`, or another size than the photo's.
    """
    bound = max(MAX_PIXELS, size[0] * size[1])
    if isinstance(source, np.ndarray) and source.dtype == bool and source.ndim == 2:
        mask = source.copy()
    else:
        if isinstance(source, np.ndarray):
            if source.dtype == np.uint8 and source.size and source.max() == 1:
                raise ImageError(
                    "The mask's values are 0 and 1: pass it as bool, or use 255 for what is missing."
                )
            image = _lay_on(_from_array(source, bound, "mask"), "black")
        elif isinstance(source, Image.Image):
            image = _finish(source, "the mask", bound, "black")
        else:
            image = _open(source, bound, "black")
        mask = np.asarray(image.convert("L")) > 127
    if mask.shape != (size[1], size[0]):
        raise ImageError(
            f"The mask is {mask.shape[1]}x{mask.shape[0]} pixels and the photo {size[0]}x{size[1]}: make the mask "
            "on the photo as it is displayed (upright), at its full size."
        )
    return mask


def save_image(image: Image.Image, path, task: str) -> None:
    """Write a result, marked as edited by AI (IPTC digital source type in XMP, and a plain description).

    The file appears whole or not at all: it is written under another name first. A colour profile in the image's
    `info` is kept.

    Args:
        image: RGB image.
        path: .png, .jpg, .jpeg or .webp; its folder is made if need be. PNG keeps every pixel as it is.
        task: what facesym did, e.g. "complete".

    Raises:
        ImageError: another file type, a folder that cannot be written, or a full disk.
    """
    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ImageError(f"Cannot write {path.name}: use one of {', '.join(FORMATS)}.")
    about = f"Face edited with AI by facesym (task: {task})"
    xmp = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
        f' Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}"><dc:description><rdf:Alt>'
        f'<rdf:li xml:lang="x-default">{about}</rdf:li></rdf:Alt></dc:description></rdf:Description>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )
    options = {"icc_profile": image.info.get("icc_profile")}
    if kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text("Software", "facesym")
        options["pnginfo"].add_text("Description", about)
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp)
    else:
        exif = Image.Exif()
        exif[0x010E], exif[0x0131] = about, "facesym"  # ImageDescription, Software
        options |= {"exif": exif, "xmp": xmp.encode(), "quality": 95}
        if kind == "JPEG":
            options["subsampling"] = 0  # full colour resolution: faces are full of red edges
    partial = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "xb") as file:
            image.save(file, kind, **options)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"Could not write {path}: {reason}. Nothing was changed there.") from error
    finally:
        partial.unlink(missing_ok=True)


def _open(source, max_pixels, background):
    try:
        path = Path(source)
    except TypeError:
        raise ImageError(
            f"Expected a path, a PIL image or a uint8 array, got {type(source).__name__}."
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the bound below is ours
            with Image.open(path) as image:
                return _finish(image, str(path), max_pixels, background)
    except FileNotFoundError:
        raise ImageError(f"There is no file {path}.") from None
    except IsADirectoryError:
        raise ImageError(f"{path} is a folder: give one picture.") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{path} is too large; {_bound(max_pixels)}.") from None
    except Image.UnidentifiedImageError:
        raise ImageError(f"{path} is not an image that can be read: save it as JPEG, PNG or WebP.") from None
    except PermissionError:
        raise ImageError(f"{path} may not be read: check its permissions.") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(f"{path} is damaged ({error}): get the file again.") from error


def _bound(max_pixels):
    return f"at most {max_pixels / 1e6:.3g} megapixels are taken: scale it down first"


def _check_size(width, height, name, max_pixels):
    if width < 1 or height < 1:
        raise ImageError(f"{name} is empty ({width}x{height} pixels).")
    if width * height > max_pixels:
        raise ImageError(
            f"{name} is too large ({width}x{height} is {width * height / 1e6:.3g} megapixels); "
            f"{_bound(max_pixels)}."
        )


def _from_array(array, max_pixels, name="image"):
    kinds = "uint8 array: HxWx3 (RGB), HxWx4 (RGBA) or HxW (grey)"
    if array.dtype != np.uint8:
        hint = " Multiply by 255 and round." if array.dtype.kind == "f" else ""
        raise ImageError(f"The {name} is an array of {array.dtype}; expected a {kinds}.{hint}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ImageError(f"The {name} is an array of shape {array.shape}; expected a {kinds}.")
    _check_size(array.shape[1], array.shape[0], f"The {name}", max_pixels)
    return Image.fromarray(np.ascontiguousarray(array))


def _finish(image, name, max_pixels, background):
    """Check, decode, turn upright, and bring to RGB."""
    _check_size(*image.size, name[0].upper() + name[1:] if name.startswith("the ") else name, max_pixels)
    try:
        image.load()
        image = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(f"{name} is damaged or cut short ({error}): get the file again.") from error
    return _lay_on(image, background)


def _lay_on(image, background):
    """RGB copy of an image of any mode, its transparent parts showing `background`."""
    profile = image.info.get("icc_profile") if image.mode in ("RGB", "RGBA") else None
    if image.mode.startswith("I") or image.mode == "F":  # 16 or 32 bits a pixel, which convert() would clip
        values = np.asarray(image).astype(np.float64)
        if image.mode.startswith("I;16") or values.max() > 255:
            values = values / 257.0
        elif image.mode == "F" and values.max() <= 1:
            values = values * 255.0
        image = Image.fromarray(np.clip(np.rint(np.nan_to_num(values)), 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, background)
        image = Image.alpha_composite(ground, image)
    image = image.convert("RGB") if image.mode != "RGB" else image.copy()
    image.info = {"icc_profile": profile} if profile else {}
    return image
