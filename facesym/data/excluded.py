"""Images excluded from training and evaluation (excluded_images.txt), because they show, or may show, people
under 18.

An image is recognised by the names of its set and file; by its file name in any folder, if that is unique to a set
(LFW, SCUT); and, if the list has its hash, by its content, also recompressed or at another size.

    python -m facesym.data.excluded PICTURE [PICTURE …]      # the lines to add to the list
"""

import re
import sys
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

LIST = Path(__file__).with_name("excluded_images.txt")
# Bits of 256 in which the hashes of one image may differ. Measured on 30,366 aligned faces: saved anew as JPEG of
# quality 40 to 75 or WebP, or at 96 pixels, at most 10 differ, a tenth brighter 20; images of two people differ in
# more than 22.
TOLERANCE = 16
_OWN_NAME = re.compile(r"[A-Z][A-Za-z_-]*_\d{4}|[AC][FM]\d+")  # First_Last_0001, CF739


@cache
def _listed():
    """Read the list.

    Returns:
        names: {"set/file name"}.
        own: file names without suffix that are unique to a set.
        hashes: Nx256 bool.
    """
    lines = [line.strip() for line in LIST.read_text().splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    hashes = [_bits(line.removeprefix("hash:")) for line in lines if line.startswith("hash:")]
    names = {line for line in lines if not line.startswith("hash:")}
    stems = {Path(name).stem for name in names}
    own = {stem for stem in stems if _OWN_NAME.fullmatch(stem)}
    return names, own, np.array(hashes, bool).reshape(-1, 256)


def is_excluded_name(folder: str | Path, file_name: str) -> bool:
    """Whether an image is excluded by its name.

    Args:
        folder: name of the image's folder, which is that of the set.
        file_name: as in metadata.csv. `facesym prepare` prepends the names of subfolders to it.
    """
    names, own, _ = _listed()
    stem = Path(file_name).stem
    words = stem.split("_")
    return (
        f"{folder}/{file_name}" in names
        or f"{folder}/{stem}.webp" in names
        or any("_".join(words[i:]) in own for i in range(len(words)))
    )


def image_hash(image: Image.Image) -> str:
    """Compute the perceptual hash of a PIL image: 64 hexadecimal digits."""
    import imagehash

    return str(imagehash.phash(image.convert("RGB"), hash_size=16))


def is_excluded_image(image: Image.Image) -> bool:
    """Whether a PIL image is excluded by its content."""
    hashes = _listed()[2]
    if not len(hashes):
        return False
    return bool(((hashes != _bits(image_hash(image))).sum(1) <= TOLERANCE).any())


def is_excluded_file(path: str | Path) -> bool:
    """Whether an image file is excluded by its content; False if it cannot be read. Results are cached."""
    if not len(_listed()[2]):
        return False
    try:
        return _of_file(str(path), Path(path).stat().st_mtime_ns)
    except OSError:
        return False


@lru_cache(1_000_000)
def _of_file(path, _):
    with Image.open(path) as image:
        return is_excluded_image(image)


def _bits(digits):
    return np.unpackbits(np.frombuffer(bytes.fromhex(digits), np.uint8)).astype(bool)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        with Image.open(name) as opened:
            print(f"hash:{image_hash(opened)}")
