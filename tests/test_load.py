"""Photos and masks in, finished pictures out."""

import io

import numpy as np
import pytest
from PIL import Image

from facesym.errors import ImageError
from facesym.faces.load import SOURCE_TYPE, load_image, load_mask, read_photo, save_image

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
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    for name, words in [("cut.png", "damaged"), ("text.png", "not an image"), ("empty.png", "not an image")]:
        with pytest.raises(ImageError, match=words):
            load_image(tmp_path / name)
    with pytest.raises(ImageError, match="no file"):
        load_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="folder"):
        load_image(tmp_path)
    with pytest.raises(ImageError, match="expected a path"):
        load_image(3)


def test_a_mask_of_another_size_is_explained():
    with pytest.raises(ImageError, match="10x20 pixels and the photo 20x10"):
        load_mask(np.zeros((20, 10), bool), (20, 10))


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


def test_what_an_edit_leaves_alone_stays_the_photos_own():
    astronaut = Image.open("spaces/examples/astronaut.jpg")
    photo = read_photo(astronaut)
    edited = photo.image.copy()
    edited.paste((200, 30, 30), (50, 60, 90, 100))
    done = np.asarray(photo.restore(edited))
    assert (done == np.asarray(edited)).all()
