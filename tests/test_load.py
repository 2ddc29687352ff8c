"""Photos and masks in, finished images out."""

import io
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor

import cv2
import heif  # noqa: F401 (registers the writer)
import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from facesym.errors import ImageError
from facesym.faces.load import SOURCE_TYPE, load_image, load_mask, mark_edited, read_photo, save_image

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "I;16", "CMYK", "1", "F"])
def test_every_mode_becomes_rgb_of_about_the_same_look(mode):
    grey = np.linspace(0, 255, 64 * 64).reshape(64, 64)
    if mode == "I;16":
        picture = Image.fromarray((grey * 257).astype(np.uint16))
    elif mode == "F":
        picture = Image.fromarray(grey.astype(np.float32))
    else:
        picture = (
            Image.fromarray(grey.astype(np.uint8)).convert("RGB" if mode == "CMYK" else "L").convert(mode)
        )
    loaded = load_image(picture)
    assert loaded.mode == "RGB" and loaded.size == (64, 64)
    error = np.asarray(loaded.convert("L"), float) - grey
    if mode == "1":  # dithered: right on average only
        error = error.reshape(8, 8, 8, 8).mean((1, 3))
    assert np.abs(error).mean() < 4


def test_transparent_is_white_in_a_photo_and_known_in_a_mask():
    picture = Image.new("RGBA", (8, 8), (255, 255, 255, 0))
    assert np.asarray(load_image(Image.new("RGBA", (8, 8), (0, 0, 0, 0)))).min() == 255
    assert not load_mask(picture, (8, 8)).any()


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg", exif=exif)
    assert load_image(tmp_path / "a.jpg").size == (20, 40)


def test_too_many_pixels_are_refused_before_decoding(tmp_path):
    Image.new("1", (13000, 13000)).save(tmp_path / "bomb.png")
    with pytest.raises(ImageError, match="megapixels"):
        load_image(tmp_path / "bomb.png")


def test_damaged_missing_and_wrong_files(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 255, (64, 64, 3), np.uint8)).save(buffer, "PNG")
    (tmp_path / "cut.png").write_bytes(buffer.getvalue()[:2000])
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").write_bytes(b"")
    Image.new("RGB", (8, 8)).save(tmp_path / "planes.tiff", tiffinfo={284: 2})
    planes = (tmp_path / "planes.tiff").read_bytes().replace(b"\x08\0" * 3, b"\x10\0" * 3)  # bits per sample
    for name, words in [("cut.png", "damaged"), ("text.png", "not an image"), ("empty.png", "is empty")]:
        with pytest.raises(ImageError, match=words):
            load_image(tmp_path / name)
    with pytest.raises(ImageError, match="separate planes"):
        load_image(planes)
    Image.new("L", (8, 8), 77).save(tmp_path / "grey.tiff", tiffinfo={284: 2})
    assert np.asarray(load_image(tmp_path / "grey.tiff")).mean() == 77
    with pytest.raises(ImageError, match="no file"):
        load_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="folder"):
        load_image(tmp_path)
    with pytest.raises(ImageError, match="expected a path"):
        load_image(3)


def test_a_mask_of_another_size_is_explained():
    with pytest.raises(ImageError, match="10x20 pixels and the photo 20x10"):
        load_mask(np.zeros((20, 10), bool), (20, 10))


# --- what an image may come as -------------------------------------------------------------------------------------
PIXELS = RNG.integers(0, 256, (20, 30, 3), np.uint8)


def as_file(pixels, kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    file.seek(0)
    return file


@pytest.mark.parametrize(
    "make",
    [
        lambda p: p,
        lambda p: p.astype(np.int64),
        lambda p: (p.astype(np.uint16) * 257).astype(">u2"),
        lambda p: torch.from_numpy(p.astype(np.uint16) * 257).permute(2, 0, 1),
        lambda p: cv2.imencode(".png", p[..., ::-1].astype(np.uint16) * 257)[1].tobytes(),
        lambda p: p / 255,
        lambda p: p.astype(np.float32),
        lambda p: p / np.float16(255),
        lambda p: np.asfortranarray(p),
        lambda p: torch.from_numpy(p.copy()).permute(2, 0, 1),
        lambda p: (torch.from_numpy(p / 255).permute(2, 0, 1)).requires_grad_(),
        lambda p: Image.fromarray(p),
        lambda p: as_file(p),
        lambda p: as_file(p).getvalue(),
        lambda p: bytearray(as_file(p).getvalue()),
        lambda p: io.BufferedReader(Pipe(as_file(p))),
    ],
)
def test_every_kind_of_source_gives_the_same_picture(make):
    assert (np.asarray(load_image(make(PIXELS))) == PIXELS).all()


class Pipe(io.RawIOBase):
    """A stream that cannot seek."""

    def __init__(self, file):
        self.file = file

    def readable(self):
        return True

    def readinto(self, buffer):
        return self.file.readinto(buffer)


def test_bfloat16_and_grey_tensors():
    grey = torch.linspace(0, 1, 400, dtype=torch.bfloat16).reshape(1, 20, 20)
    assert np.asarray(load_image(grey)).shape == (20, 20, 3)
    assert (np.asarray(load_image(grey)) == np.asarray(load_image(grey[0]))).all()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (PIXELS / 255 * 2 - 1, r"from -1 to 1; expected floats in \[0, 1\]"),
        (PIXELS * 3.0, "expected floats"),
        (np.full((20, 20, 3), np.nan), "from nan to nan"),
        (PIXELS.astype(np.int32) - 1, "expected integers from 0 to 255"),
        (PIXELS.astype(np.int32) * 257, "int32 from 0 to 65535; expected .*uint16 from 0 to 65535"),
        (PIXELS.astype(complex), "complex128"),
        (PIXELS.transpose(2, 0, 1), r"shape \(3, 20, 30\)"),
        (PIXELS[None], "one image"),
        (torch.zeros(2, 3, 20, 20), "CxHxW"),
        (np.zeros((0, 20, 3), np.uint8), "empty"),
        (np.zeros((1, 20, 3), np.uint8), "20x1 pixels: too small"),
        (np.zeros((32_767, 8), np.uint8), "too long .*the limit is 32766 per side"),
        (np.full((10, 10), "a"), "values of type <U1; expected numbers"),
        (np.full((10, 10), None), "values of type object; expected numbers"),
        (b"no image", "not an image"),
        (io.StringIO("text"), 'mode "rb"'),
        (None, "NoneType; expected a path"),
        ("a" * 300 + ".png", "name too long"),
        ("a\0.png", "null"),
        ("https://example.com/a.png", "https://example.com/a.png is a URL: download"),
    ],
)
def test_other_sources_are_refused_with_words(source, words):
    with pytest.raises(ImageError, match=words):
        load_image(source)


def test_a_file_object_stays_open_and_a_photo_stays_itself():
    file = as_file(PIXELS)
    photo = read_photo(file)
    assert not file.closed and read_photo(photo) is photo
    assert load_image(photo) is not photo.image


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "HEIF", "JPEG2000", "PPM"]
)
def test_formats(kind, astronaut):
    loaded = np.asarray(load_image(as_file(np.asarray(astronaut), kind)), int)
    assert np.abs(loaded - np.asarray(astronaut)).mean() < 12


# --- metadata -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_photos_are_turned_upright(orientation, kind):
    picture = np.full((40, 80, 3), 128, np.uint8)
    picture[:20, :40] = 255  # the corner that is to stay above and to the left
    turned = Image.fromarray(picture)
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the inverse of what a reader has to do
    if orientation in back:
        turned = turned.transpose(Image.Transpose(back[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    loaded = load_image(as_file(np.asarray(turned), kind, exif=exif))
    assert loaded.size == (80, 40) and np.asarray(loaded)[5:15, 5:35].mean() > 240


def exif_with(entry, tail=b""):
    """EXIF that says orientation 6, and one more entry."""
    tags = struct.pack("<H", 2) + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + entry + struct.pack("<I", 0)
    return b"Exif\0\0II*\0\x08\0\0\0" + tags + tail


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif",
    [
        exif_with(struct.pack("<HHII", 0x011A, 10, 1, 38), struct.pack("<ii", -1, 0)),  # a fraction over zero
        exif_with(struct.pack("<HHII", 0x8769, 2, 4, 1)),  # text where a table should be
        exif_with(struct.pack("<HHII", 0x9003, 7, 1 << 30, 1 << 30)),  # a place outside the file
        exif_with(struct.pack("<HHII", 0x8825, 4, 1, 8)),  # a table in itself
    ],
)
def test_malformed_exif_is_no_reason_to_refuse_a_photo(exif, kind):
    assert load_image(as_file(PIXELS, kind, exif=exif)).size == (20, 30)


@pytest.mark.parametrize(
    "exif", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0" + bytes(range(99))]
)
def test_exif_that_cannot_be_read_counts_as_upright(exif):
    assert load_image(as_file(PIXELS, "JPEG", exif=exif)).size == (30, 20)


def test_whatever_decoding_raises_is_an_image_error(monkeypatch):
    def load(self):
        raise RuntimeError("from below")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(ImageError, match="damaged or truncated \\(from below"):
        load_image(as_file(PIXELS))


# --- large photos ---------------------------------------------------------------------------------------------------
def test_a_large_photo_is_scaled_down_with_its_mask(tmp_path):
    picture = Image.new("L", (8000, 6000), "white")
    picture.paste("black", (4000, 0, 8000, 6000))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "48mp.jpg", exif=exif)
    photo = read_photo(tmp_path / "48mp.jpg")
    assert photo.full_size == (6000, 8000) and 24_900_000 < np.prod(photo.image.size) <= 25_000_000
    assert abs(photo.image.width / photo.image.height - 0.75) < 0.001
    assert len(photo.notes) == 1 and "6000x8000" in photo.notes[0]
    mask = Image.new("1", (6000, 8000))
    mask.paste(1, (0, 4000, 6000, 4001))  # one line, which must not get lost
    mask.save(tmp_path / "mask.png")
    scaled = load_mask(tmp_path / "mask.png", photo.image.size, photo.full_size)
    assert scaled.shape == photo.image.size[::-1]
    assert scaled.any(1).sum() in (1, 2, 3) and scaled[round(4000 * photo.image.height / 8000)].all()
    assert (load_mask(scaled, photo.image.size, photo.full_size) == scaled).all()


def test_a_jpeg_above_the_bound_on_decoding_is_decoded_smaller(tmp_path):
    Image.new("L", (10000, 9000), 200).save(tmp_path / "90mp.jpg")
    photo = read_photo(tmp_path / "90mp.jpg")
    assert photo.image.size == (5000, 4500) and photo.full_size == (10000, 9000) and photo.notes
    Image.new("L", (10000, 9000), 200).save(tmp_path / "progressive.jpg", progressive=True)
    with pytest.raises(ImageError, match="90 megapixels"):
        read_photo(tmp_path / "progressive.jpg")


@pytest.mark.parametrize("mode", ["P", "LA", "RGBA", "1", "CMYK", "I;16", "F"])
def test_large_pictures_of_every_mode(mode):
    picture = Image.new(mode, (300, 200))
    photo = read_photo(picture, max_pixels=15000)
    assert photo.image.size == (150, 100) and photo.restore(photo.image).size == (150, 100)


# --- masks ----------------------------------------------------------------------------------------------------------
STROKE = np.zeros((40, 60), bool)
STROKE[10:20, 15:40] = True


def painted(colour, ground=(0, 0, 0, 0)):
    image = Image.new("RGBA", (60, 40), ground)
    image.paste(colour, (15, 10, 40, 20))
    return image


@pytest.mark.parametrize(
    "mask",
    [
        STROKE,
        STROKE.astype(np.uint8),
        STROKE.astype(np.int64) * 255,
        STROKE * np.uint16(65535),
        STROKE.astype(float),
        STROKE * np.float32(255),
        STROKE[..., None].repeat(3, 2) * np.uint8(255),
        np.where(STROKE, 7, 3).astype(np.uint16),  # of 8 bits
        np.where(STROKE, 255, 200).astype(np.uint8),
        np.where(STROKE, 100, 0).astype(np.uint8),
        torch.from_numpy(STROKE),
        torch.from_numpy(STROKE)[None].float(),
        Image.fromarray(STROKE),
        painted("blue"),
        painted("black"),
        painted("white"),
        painted((255, 255, 255, 90)),  # a brush that covers a third
        painted((0, 0, 255), "black").convert("RGB"),
        painted("white", "black").convert("P"),
    ],
)
def test_what_marks_a_mask(mask):
    assert (load_mask(mask, (60, 40)) == STROKE).all()


def test_strokes_of_several_colours_and_black_and_white_with_parts_left_out():
    strokes = painted("blue")
    strokes.paste("yellow", (15, 30, 40, 35))
    strokes.paste("black", (50, 0, 60, 10))
    assert load_mask(strokes, (60, 40)).sum() == STROKE.sum() + 125 + 100
    black_and_white = painted("white")
    black_and_white.paste("black", (0, 25, 60, 40))
    assert (load_mask(black_and_white, (60, 40)) == STROKE).all()


def test_a_jpeg_of_a_mask():
    assert (load_mask(as_file(STROKE * np.uint8(255), "JPEG", quality=50), (60, 40)) != STROKE).mean() < 0.01


@pytest.mark.parametrize("value", [0, 1, 255])
def test_a_mask_of_one_value(value):
    assert load_mask(np.full((40, 60), value, np.uint8), (60, 40)).all() == bool(value)


# --- writing --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_saved_pictures_say_that_they_are_edited(ending, tmp_path):
    save_image(Image.new("RGB", (32, 32), "red"), tmp_path / "new" / f"a.{ending}", "complete")
    data = (tmp_path / "new" / f"a.{ending}").read_bytes()
    assert SOURCE_TYPE.encode() in data and b"facesym" in data
    assert [p.name for p in (tmp_path / "new").iterdir()] == [f"a.{ending}"]


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    save_image(Image.new("RGB", (8, 8), "red"), path, "complete")
    before = path.read_bytes()

    def full(image, file, *args, **kwargs):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(ImageError, match="No space left"):
        save_image(Image.new("RGB", (8, 8)), path, "complete")
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(ImageError, match="use one of"):
        save_image(Image.new("RGB", (8, 8)), tmp_path / "a.txt", "complete")


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "avif"])
def test_pillows_own_save_writes_the_mark_of_a_marked_image(ending, tmp_path):
    image = mark_edited(Image.new("RGB", (32, 32), "red"), "complete")
    image.save(tmp_path / f"a.{ending}")
    assert SOURCE_TYPE.encode() in (tmp_path / f"a.{ending}").read_bytes()


def test_reading_in_threads_leaves_the_warnings_of_the_process_as_they_are(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read_photo, [tmp_path / "a.png"] * 200))
    assert warnings.filters == before


def test_a_transparent_colour_stays_transparent_in_a_downscaled_photo(tmp_path):
    image = Image.new("RGB", (300, 300), "red")
    image.paste("blue", (0, 0, 300, 150))
    image.save(tmp_path / "a.png", transparency=(0, 0, 255))
    photo = read_photo(tmp_path / "a.png", max_pixels=10_000)
    assert photo.image.getpixel((50, 10)) == (255, 255, 255) and photo.transparent[:40].all()


def test_an_empty_file_is_called_empty(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    for source in (tmp_path / "a.jpg", b"", io.BytesIO()):
        with pytest.raises(ImageError, match=r"is empty \(0 bytes\): copy"):
            read_photo(source)


def test_every_mode_with_transparency_is_read():
    for mode in ("LA", "La", "RGBA", "RGBa", "PA"):
        assert read_photo(Image.new(mode, (64, 64))).transparent.all(), mode
