"""Damage files at random and read them: every failure must be a FacesymError, within a bounded memory.

    python tests/fuzz.py --pictures 12000 --others 2000

Prints a table of what became of the files and, of each fault, the error and where the file was kept. Exit status 1 if
there was any. The suite runs a short version (test_fuzz.py).
"""

import argparse
import io
import json
import resource
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from pathlib import Path

import heif  # noqa: F401 (registers the writer)
import numpy as np
from PIL import Image, PngImagePlugin

from facesym import zoo
from facesym.errors import ImageError, ZooError
from facesym.faces.load import load_mask, read_photo
from facesym.files import CONFIG_NAME, WEIGHTS_NAME
from facesym.models.base import Model

MEMORY = 1_500  # megabytes that the whole process may ever take: torch alone takes 400
SECONDS = 20  # of a processor that one file may take
SIZE = (96, 64)


def picture_files():
    """One file of each kind, {name: bytes}."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, SIZE[0] * SIZE[1] * 3).reshape(SIZE[1], SIZE[0], 3)
    rgb = Image.fromarray((ramp + rng.normal(0, 8, ramp.shape)).clip(0, 255).astype(np.uint8))
    rgba = rgb.copy()
    rgba.putalpha(rgb.getchannel("R"))
    deep = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A] = 6, "maker", 72.0
    exif.get_ifd(0x8769).update({0x9003: "2026:01:01 00:00:00", 0x829A: 0.01})
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", '<x xmlns:tiff="t" tiff:Orientation="6"/>', zip=True)
    text.add_text("Comment", "words " * 50, zip=True)
    from profiles import CMYK, DISPLAY_P3

    more = dict(save_all=True, append_images=[rgb.rotate(180)])
    files = {
        "jpeg": (rgb, "JPEG", dict(exif=exif, icc_profile=DISPLAY_P3)),
        "jpeg-progressive": (rgb, "JPEG", dict(progressive=True, exif=exif)),
        "jpeg-cmyk": (rgb.convert("CMYK"), "JPEG", dict(icc_profile=CMYK)),
        "jpeg-grey": (rgb.convert("L"), "JPEG", {}),
        "mpo": (rgb, "MPO", more),
        "png": (rgb, "PNG", dict(exif=exif, icc_profile=DISPLAY_P3, pnginfo=text)),
        "png-alpha": (rgba, "PNG", dict(exif=exif)),
        "png-palette": (rgb.quantize(16), "PNG", dict(transparency=3)),
        "png-16": (deep, "PNG", {}),
        "png-animated": (rgba, "PNG", more),
        "webp": (rgb, "WEBP", dict(exif=exif, icc_profile=DISPLAY_P3)),
        "webp-lossless": (rgba, "WEBP", dict(lossless=True)),
        "webp-animated": (rgb, "WEBP", more),
        "tiff": (rgb, "TIFF", dict(exif=exif)),
        "tiff-lzw": (rgba, "TIFF", dict(compression="tiff_lzw")),
        "tiff-jpeg": (rgb, "TIFF", dict(compression="jpeg")),
        "tiff-16": (deep, "TIFF", dict(compression="tiff_adobe_deflate")),
        "tiff-pages": (rgb, "TIFF", more),
        "gif": (rgb, "GIF", {}),
        "gif-animated": (rgb, "GIF", more),
        "avif": (rgb, "AVIF", dict(exif=exif, icc_profile=DISPLAY_P3)),
        "avif-alpha": (rgba, "AVIF", {}),
        "heif": (rgb, "HEIF", dict(exif=exif)),
        "jp2": (rgb, "JPEG2000", {}),
        "bmp": (rgb, "BMP", {}),
    }
    return {name: _encode(*how) for name, how in files.items()}


def mask_files():
    """Masks of every kind, {name: bytes}."""
    mask = Image.new("L", SIZE)
    mask.paste(255, (20, 20, 50, 40))
    strokes = Image.new("RGBA", SIZE)
    strokes.paste("blue", (20, 20, 50, 40))
    files = {
        "grey": (mask, "PNG"),
        "bits": (mask.convert("1"), "PNG"),
        "strokes": (strokes, "PNG"),
        "palette": (mask.convert("P"), "GIF"),
        "jpeg": (mask, "JPEG"),
        "webp": (strokes, "WEBP"),
    }
    return {name: _encode(image, kind, {}) for name, (image, kind) in files.items()}


def _encode(image, kind, options):
    file = io.BytesIO()
    # Copies, since Pillow leaves settings of one file on the image.
    options = options | {"append_images": [page.copy() for page in options.get("append_images", [])]}
    image.copy().save(file, kind, **options)
    return file.getvalue()


def damage(data, other, rng):
    """Bytes with a fault or a few; ``other``: another file, of which parts are spliced in."""
    data = bytearray(data)
    for _ in range(rng.geometric(0.6)):
        if not data:
            break
        start = int(rng.integers(len(data)) if rng.random() < 0.5 else rng.integers(min(len(data), 200)))
        length = int(min(2 ** rng.uniform(0, 10), len(data) - start))
        kind = rng.integers(7)
        if kind == 0:
            del data[start:]
        elif kind == 1:  # bits
            for place in rng.integers(len(data), size=rng.integers(1, 30)):
                data[place] ^= 1 << rng.integers(8)
        elif kind == 2:  # bits near the start, where sizes and kinds are
            for place in rng.integers(min(len(data), 100), size=rng.integers(1, 5)):
                data[place] ^= 1 << rng.integers(8)
        elif kind == 3:
            data[start : start + length] = rng.choice([b"\0", b"\xff", b"\x7f"]) * length
        elif kind == 4:
            del data[start : start + length]
        elif kind == 5:
            data[start:start] = data[start : start + length]
        else:  # another file's beginning, or a part of it
            place = 0 if rng.random() < 0.5 else int(rng.integers(len(other)))
            data[start : start + length] = other[place : place + length]
    if data[:4] == b"\x89PNG" and rng.random() < 0.7:
        _mend_checksums(data)
    return bytes(data)


def _mend_checksums(png):
    """What is wrong in a PNG mostly goes no further than its checksums: correct them."""
    place = 8
    while place + 12 <= len(png):
        end = place + 8 + int.from_bytes(png[place : place + 4], "big")
        if end + 4 > len(png):
            break
        png[end : end + 4] = zlib.crc32(png[place + 4 : end]).to_bytes(4, "big")
        place = end + 4


class Fuzz:
    """Reads files and counts what becomes of them.

    Args:
        folder: where faulty ones are kept.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.counts, self.faults, self.slowest = Counter(), Counter(), 0.0

    def read(self, kind, data, read, expected):
        """Read one file.

        Args:
            kind: what it was before the damage.
            read: (bytes) -> anything.
            expected: the one class of errors that may come.
        """
        start, before = time.process_time(), _memory()
        try:
            read(data)
            self.counts[kind, "read"] += 1
        except expected as error:
            self.counts[kind, "refused"] += 1
            if not str(error):
                self._fault(kind, data, "an error without words")
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            self._fault(kind, data, f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})")
        seconds = time.process_time() - start
        self.slowest = max(self.slowest, seconds)
        if seconds > SECONDS:
            self._fault(kind, data, f"it took {seconds:.0f} s")
        if _memory() > max(MEMORY, before):
            self._fault(kind, data, f"the process grew from {before} to {_memory()} MB")

    def _fault(self, kind, data, words):
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{kind}-{sum(self.faults.values())}"
        file.write_bytes(data)
        self.faults[words] += 1
        print(f"{file}: {words}", flush=True)

    def report(self):
        """Print the counts; returns whether all went well."""
        for kind in dict.fromkeys(kind for kind, _ in self.counts):
            print(f"{kind:18} {self.counts[kind, 'read']:6} read {self.counts[kind, 'refused']:6} refused")
        print(
            f"{sum(self.counts.values())} files without a fault, {sum(self.faults.values())} faults; "
            f"slowest {self.slowest:.1f} s; at most {_memory()} MB"
        )
        return not self.faults


def _memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _read_picture(data):
    photo = read_photo(data)
    edited = photo.image.copy()
    edited.paste((200, 150, 120), (0, 0, 6, 6))
    photo.restore(edited).load()


def fuzz_pictures(fuzz, count, rng):
    """Damaged photos, through reading and restoring."""
    files = picture_files()
    names = list(files)
    for i in range(count):
        name = names[i % len(names)]
        fuzz.read(name, damage(files[name], files[rng.choice(names)], rng), _read_picture, ImageError)


def fuzz_masks(fuzz, count, rng):
    """Damaged masks."""
    files = mask_files()
    names = list(files)
    for i in range(count):
        name = names[i % len(names)]
        data = damage(files[name], files[rng.choice(names)], rng)
        fuzz.read(f"mask-{name}", data, lambda data: load_mask(data, SIZE, (192, 128)), ImageError)


def fuzz_models(fuzz, count, rng, folder):
    """Damaged zoo.json, config.json and model.safetensors, ``count`` of each."""
    from facesym.models import LandmarkNet, SymmFCNet

    nets = [SymmFCNet.preset("tiny", input_size=128), LandmarkNet()]
    whole = zoo.ZOO_FILE.read_bytes()
    zoo.ZOO_FILE = folder / "zoo.json"
    for _ in range(count):
        data = damage(whole, whole, rng) if rng.random() < 0.5 else _wrong_values(whole, rng)
        fuzz.read("zoo.json", data, lambda data: _read_zoo(zoo.ZOO_FILE, data), ZooError)
    for net in nets:
        home = folder / type(net).__name__
        net.save_pretrained(home)
        for name in (CONFIG_NAME, WEIGHTS_NAME):
            whole = (home / name).read_bytes()
            for i in range(count // len(nets)):
                wrong = name == CONFIG_NAME and i % 2
                data = _wrong_values(whole, rng) if wrong else damage(whole, whole, rng)

                fuzz.read(name, data, lambda data, file=home / name: _read_model(file, data), ZooError)
            (home / name).write_bytes(whole)


def _read_zoo(file, data):
    file.write_bytes(data)
    entries = zoo.list_models()
    for entry in entries[:2]:
        try:
            zoo.load(entry["id"])
        except ZooError:
            continue


def _read_model(file, data):
    file.write_bytes(data)
    Model.from_pretrained(file.parent)


def _wrong_values(data, rng):
    """JSON in which a value or two are of another kind, out of range or missing."""
    whole = json.loads(data)
    for _ in range(rng.integers(1, 3)):
        place = whole
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            key = keys[rng.integers(len(keys))]
            if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.8:
                place = place[key]
                continue
            wrong = [
                None,
                True,
                -1,
                0,
                3,
                1e308,
                10**6,
                10**30,
                "",
                "text",
                "../..",
                [],
                [1, [2]],
                {},
                {"a": 1},
            ]
            place[key] = wrong[rng.integers(len(wrong))]
            break
    return json.dumps(whole).encode()


def run(pictures, others, seed=0, keep="fuzz-faults"):
    """All of it; returns whether all went well."""
    rng = np.random.default_rng(seed)
    fuzz = Fuzz(keep)
    fuzz_pictures(fuzz, pictures, rng)
    fuzz_masks(fuzz, others, rng)
    zoo_file = zoo.ZOO_FILE
    try:
        with tempfile.TemporaryDirectory() as folder:
            fuzz_models(fuzz, others, rng, Path(folder))
    finally:
        zoo.ZOO_FILE = zoo_file
    return fuzz.report()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=12000, help="damaged pictures")
    parser.add_argument(
        "--others", type=int, default=2000, help="damaged masks, and of each of a model's files"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", default="fuzz-faults", help="folder for the files that fail")
    args = parser.parse_args()
    sys.exit(not run(args.pictures, args.others, args.seed, args.keep))
