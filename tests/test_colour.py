"""Photos keep their colours: profile, grey, tint and transparency come back with the edit."""

import io

import numpy as np
import profiles
import pytest
from PIL import Image, ImageCms, ImageDraw, ImageOps

import facesym
from facesym.faces.load import load_image, read_photo, save_image
from facesym.video import save_video

SKIN = (200, 150, 120)


def in_lab(image):
    """HxWx3: the colours that an image shows by its profile, rounded to whole steps."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(image.info.get("icc_profile") or profiles.SRGB))
    lab = ImageCms.profileToProfile(image, source, ImageCms.createProfile("LAB"), outputMode="LAB")
    lab = np.asarray(lab)
    return np.concatenate([lab[..., :1] / 2.55, lab[..., 1:].view(np.int8)], axis=2)


def edit(photo, colour=SKIN):
    """An edit of the face, restored; and where it is (HxW bool)."""
    edited, mask = photo.image.copy(), Image.new("1", photo.image.size)
    width, height = photo.image.size
    box = (0.4 * width, 0.5 * height, 0.6 * width, 0.7 * height)
    for image, value in ((edited, colour), (mask, 1)):
        ImageDraw.Draw(image).rectangle(box, value)
    return photo.restore(edited), np.asarray(mask)


def chroma(image):
    pixels = np.asarray(image.convert("RGB")).astype(int)
    return pixels.max(2) - pixels.min(2)


@pytest.fixture
def astronaut(astronaut):
    return astronaut.copy()


@pytest.fixture
def sepia(astronaut):
    return ImageOps.colorize(astronaut.convert("L"), (40, 26, 13), (255, 240, 215))


@pytest.mark.parametrize(
    ("mode", "profile"),
    [
        ("RGB", "DISPLAY_P3"),
        ("RGB", "ADOBE_RGB"),
        ("RGB", "SRGB"),
        ("RGB", "SCANNER"),
        ("CMYK", "CMYK"),
        ("L", "GREY"),
    ],
)
def test_a_photo_shows_the_same_colours_after_an_edit(astronaut, mode, profile):
    picture = astronaut.convert(mode)
    picture.info = {"icc_profile": getattr(profiles, profile)}
    photo = read_photo(picture)
    assert not photo.notes and photo.image.mode == "RGB" and not photo.image.info
    assert np.abs(in_lab(photo.image) - in_lab(picture)).mean() < 1  # a little is out of sRGB's range
    done, where = edit(photo)
    off = np.abs(in_lab(done) - in_lab(picture)).max(2)[~where]
    assert off.mean() < 0.8 and np.percentile(off, 95) < 1.2
    if profile in ("DISPLAY_P3", "ADOBE_RGB", "SRGB"):
        assert done.info["icc_profile"] == picture.info["icc_profile"]
        assert (np.asarray(done)[~where] == np.asarray(picture)[~where]).all()
    if mode != "L":
        expected = in_lab(Image.new("RGB", (1, 1), SKIN))
        assert np.abs(in_lab(done)[where] - expected[0]).max() < 2


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_files_keep_the_profile(astronaut, ending, tmp_path):
    astronaut.save(tmp_path / "p3.jpg", icc_profile=profiles.DISPLAY_P3)
    done, _ = edit(read_photo(tmp_path / "p3.jpg"))
    save_image(done, tmp_path / f"done.{ending}", "complete")
    with Image.open(tmp_path / f"done.{ending}") as saved:
        assert saved.info["icc_profile"] == profiles.DISPLAY_P3


@pytest.mark.parametrize(
    "profile", [b"", b"no profile", profiles.DISPLAY_P3[:200], profiles.CMYK, profiles.GREY]
)
def test_a_profile_that_cannot_be_right_is_left_out(astronaut, profile):
    astronaut.info["icc_profile"] = profile
    photo = read_photo(astronaut)
    done, _ = edit(photo)
    assert "icc_profile" not in done.info and (np.asarray(photo.image) == np.asarray(astronaut)).all()
    assert [note for note in photo.notes if "profile" in note] or not profile


@pytest.mark.parametrize(
    "print_, mark", [("grey", (200, 30, 30)), ("sepia", (180, 180, 200)), ("sepia", "white")]
)
def test_marks_on_an_old_print_leave_no_colour(astronaut, sepia, tiny_model, print_, mark):
    """Completion removes the mark, whose colour says nothing of the print's."""
    photo = sepia if print_ == "sepia" else astronaut.convert("L").convert("RGB")
    tint = read_photo(photo)._tint
    mask = Image.new("L", photo.size)
    for image, colour in ((photo, mark), (mask, 255)):
        ImageDraw.Draw(image).rectangle((215, 120, 245, 150), colour)
    done = facesym.load(tiny_model)(photo, mask).images[0]
    pixels = np.asarray(done)[np.asarray(mask) > 0].astype(int)
    wanted = tint[np.asarray(done.convert("L"))[np.asarray(mask) > 0]].astype(int)
    assert np.abs(pixels - wanted).max() <= 2


def test_a_colour_face_in_a_photo_that_is_mostly_white_stays_in_colour(astronaut):
    """As on a scanned page: the face is less than 1 % of the pixels."""
    page = Image.new("RGB", (2000, 1500), (236, 236, 236))
    ImageDraw.Draw(page).rectangle((900, 760, 1100, 1499), (30, 30, 32))
    head = astronaut.crop((150, 0, 300, 150)).resize((120, 120))
    page.paste(head, (940, 640))
    photo = read_photo(page)
    edited = photo.image.copy()
    edited.paste(head.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (940, 640))
    done = photo.restore(edited)
    face = (940, 640, 1060, 760)
    assert chroma(done.crop(face)).mean() == pytest.approx(chroma(head).mean(), rel=0.05)
    assert chroma(photo.restore_crop(head, head)).mean() == pytest.approx(chroma(head).mean(), rel=0.05)


@pytest.mark.parametrize(
    ("mode", "profile"),
    [("L", None), ("L", "GREY"), ("L", "SRGB"), ("L", "DISPLAY_P3"), ("RGB", None), ("RGB", "DISPLAY_P3"), ("LA", None),
     ("1", None), ("I;16", None)],
)  # fmt: skip
def test_grey_in_grey_out(astronaut, mode, profile):
    picture = astronaut.convert("L")
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
    picture = picture.convert(mode)
    picture.info = {"icc_profile": getattr(profiles, profile)} if profile else {}
    photo = read_photo(picture)
    done, where = edit(photo)
    assert chroma(done).max() == 0
    assert np.asarray(done.convert("RGB"))[where].std() == 0
    assert chroma(photo.restore_crop(Image.new("RGB", (9, 9), SKIN))).max() == 0


def test_grey_survives_the_noise_of_jpeg(astronaut):
    file = io.BytesIO()
    noise = np.random.default_rng(0).normal(0, 2, (512, 512, 3))
    pixels = np.asarray(astronaut.convert("L").convert("RGB")) + noise
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=60)
    done, where = edit(read_photo(file))
    assert chroma(done)[where].max() == 0


@pytest.mark.parametrize("profile", [None, "DISPLAY_P3"])
def test_sepia_keeps_its_tint(sepia, profile):
    sepia.info = {"icc_profile": getattr(profiles, profile)} if profile else {}
    photo = read_photo(sepia)
    done, where = edit(photo, (90, 150, 200))
    # The photo's own pixels of that brightness, by the side of the edit's.
    light, colours = np.asarray(photo.image.convert("L")).astype(int), np.asarray(done)
    brightness = Image.new("RGB", (1, 1), (90, 150, 200)).convert("L").getpixel((0, 0))
    own = np.median(colours[~where & (np.abs(light - brightness) <= 1)], axis=0)
    assert np.abs(colours[where] - own).max() <= 5
    assert np.abs(np.asarray(photo.restore_crop(Image.new("RGB", (9, 9), (90, 150, 200)))) - own).max() <= 5


@pytest.mark.parametrize("name", ["astronaut.jpg", "grace-hopper.jpg"])
def test_a_colour_photo_is_not_taken_for_a_tinted_one(name):
    photo = read_photo(f"spaces/examples/{name}")
    done, where = edit(photo, (90, 150, 200))
    assert (np.asarray(done)[where] == (90, 150, 200)).all()


def test_transparency_comes_back(astronaut):
    alpha = Image.linear_gradient("L").resize(astronaut.size)
    alpha.paste(0, (0, 0, 512, 20))
    picture = astronaut.copy()
    picture.putalpha(alpha)
    photo = read_photo(picture)
    assert (np.asarray(photo.image)[:20] == 255).all()  # on white
    done, where = edit(photo)
    before, after = np.asarray(picture), np.asarray(done)
    assert done.mode == "RGBA" and (after[..., 3] == before[..., 3]).all()
    assert (after[~where] == before[~where]).all()  # also the colours behind transparent pixels
    strong = where & (before[..., 3] > 140)
    on_white = np.asarray(Image.alpha_composite(Image.new("RGBA", done.size, "white"), done))[..., :3]
    assert np.abs(on_white[strong].astype(int) - SKIN).max() <= 2


def test_a_transparent_photo_as_jpeg_lies_on_white(astronaut, tmp_path):
    astronaut.putalpha(0)
    save_image(astronaut, tmp_path / "a.jpg", "complete")
    assert np.asarray(Image.open(tmp_path / "a.jpg")).min() == 255


def test_films_are_srgb(astronaut, tmp_path):
    crop = read_photo(astronaut).restore_crop(Image.new("RGB", (8, 8), SKIN))
    astronaut.info["icc_profile"] = profiles.ADOBE_RGB
    wide = read_photo(astronaut).restore_crop(Image.new("RGB", (8, 8), SKIN))
    assert np.asarray(wide)[0, 0].tolist() != np.asarray(crop)[0, 0].tolist() == list(SKIN)
    save_video([wide, wide], tmp_path / "a.gif", "rotate")
    assert np.abs(np.asarray(Image.open(tmp_path / "a.gif").convert("RGB")).astype(int) - SKIN).max() <= 2


def test_load_image_is_srgb(astronaut):
    expected = ImageCms.profileToProfile(
        astronaut, ImageCms.ImageCmsProfile(io.BytesIO(profiles.DISPLAY_P3)), ImageCms.createProfile("sRGB")
    )
    astronaut.info["icc_profile"] = profiles.DISPLAY_P3
    assert np.abs(np.asarray(load_image(astronaut)).astype(int) - expected).max() <= 1
