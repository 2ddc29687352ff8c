"""Write results to files, tagged as edited by AI."""

import os
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from ..errors import ImageError
from ..files import atomic_file

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
SOFTWARE = 0x0131  # tag in Exif
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
DESCRIPTION = "Face edited with AI by facesym"


def description(task: str) -> str:
    """Return the description written to the metadata of every result."""
    return f"{DESCRIPTION} (task: {task})"


def mark_edited(image: Image.Image, task: str) -> Image.Image:
    """Make Pillow's own `save` write the same tag as `save_image`.

    ``image.save("a.png")`` (also JPEG, WebP and AVIF) then tags the image as edited. Copies of the image lose the tag,
    so prefer `save_image`.

    Args:
        image: a result; changed in place.
        task: name of the task, e.g. "complete".

    Returns:
        The same image.
    """
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Software", "facesym")
    chunks.add_text("Description", description(task))
    chunks.add_itxt("XML:com.adobe.xmp", _xmp(task))
    image.encoderinfo = {"pnginfo": chunks, "xmp": _xmp(task).encode()}
    if profile := image.info.get("icc_profile"):
        image.encoderinfo["icc_profile"] = profile  # WebP reads it only from here
    image.info["comment"] = description(task)  # for JPEG and GIF
    return image


def save_image(image: Image.Image, path: str | os.PathLike, task: str | None) -> None:
    """Write a result, tagged as edited by AI (IPTC digital source type in XMP, and a plain description).

    The file is written atomically. A colour profile in the image's ``info`` is kept. For JPEG, transparency is
    composited onto white.

    Args:
        image: RGB or RGBA image.
        path: .png, .jpg, .jpeg or .webp; its folder is created if needed. PNG is lossless.
        task: name of the task, e.g. "complete"; None writes an image that is not edited, tagged only as made by
            facesym.

    Raises:
        ImageError: the file type is not supported or cannot hold the image, the folder is not writable, or the disk is
            full.
    """
    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ImageError(f"Cannot write {path.name}: use one of {', '.join(FORMATS)}.")
    profile = image.info.get("icc_profile")
    if image.mode == "RGBA" and kind == "JPEG":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    else:
        image = image.copy()
    image.info = {"icc_profile": profile} if profile else {}
    options: dict[str, Any] = {} if kind == "PNG" else {"quality": 95}
    if kind == "JPEG":
        options["subsampling"] = 0  # full colour resolution: faces are full of red edges
    if task is not None:
        mark_edited(image, task)
    elif kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text("Software", "facesym")
    if kind != "PNG":
        exif = options["exif"] = Image.Exif()
        exif[SOFTWARE] = "facesym"
        if task is not None:
            exif[0x010E] = description(task)  # ImageDescription
    with atomic_file(path, ImageError) as file:
        try:
            image.save(file, kind, **options)
        except OSError:
            raise
        except Exception as error:  # for example, WebP is limited to 16,383 pixels per side
            raise ImageError(f"Cannot write {path}: {error}. Use PNG.") from error


def is_own_result(path: str | os.PathLike) -> bool:
    """Return whether facesym made an image or an MP4 file, by the tags of `save_image`, `mark_edited` and
    `facesym.video.save_video`; False if it cannot be read."""
    try:
        if Path(path).suffix.lower() == ".mp4":
            return DESCRIPTION.encode() in _movie_box(path)
        with Image.open(path) as image:
            programs = image.info.get("Software"), image.getexif().get(SOFTWARE)
            texts = image.info.get("comment"), image.info.get("xmp")
    except Exception:  # Pillow raises many kinds on damaged files
        return False
    return "facesym" in programs or DESCRIPTION in str(texts)


def _movie_box(path):
    """Return the "moov" box of an MP4 file, which holds its metadata."""
    with open(path, "rb") as file:
        while len(head := file.read(8)) == 8:
            size, start = int.from_bytes(head[:4], "big"), 8
            if size == 1:  # the size follows, in 64 bits
                size, start = int.from_bytes(file.read(8), "big"), 16
            if head[4:] == b"moov":
                return file.read(size - start)
            if size < start:  # the last box
                break
            file.seek(size - start, os.SEEK_CUR)
    return b""


def _xmp(task):
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
        f' Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}"><dc:description><rdf:Alt>'
        f'<rdf:li xml:lang="x-default">{description(task)}</rdf:li></rdf:Alt></dc:description></rdf:Description>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )
