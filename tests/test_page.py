"""The page's parts, without a server."""

import asyncio
import base64
import functools
import gc
import io
import os
import re
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from app_server import ROOT
from PIL import Image
from profiles import DISPLAY_P3
from visitor import with_glasses

EXAMPLES = ROOT / "spaces" / "examples"


def painted(size, box, name="data:image/png;base64,"):
    """The stage's value with a painted rectangle."""
    layer = Image.new("RGBA", size)
    layer.paste((20, 184, 166, 255), box)
    file = io.BytesIO()
    layer.save(file, "PNG")
    return {"strokes": name + base64.b64encode(file.getvalue()).decode()}


def test_strokes_on_a_smaller_copy_are_scaled_to_the_photo():
    import stage

    mask = stage.read_strokes(painted((512, 600), (230, 180, 307, 240)), (1536, 1800))
    ys, xs = mask.nonzero()
    assert mask.shape == (1800, 1536)
    assert 680 < xs.min() <= 690 and 921 <= xs.max() < 932 and 530 < ys.min() <= 540


@pytest.mark.parametrize(
    "strokes",
    ["data:image/png;base64,AAAA", "data:image/png;base64,?", "data:image/png;base64," + "A" * 9_000_000],
)
def test_strokes_that_no_canvas_makes_are_refused(strokes):
    import stage

    from facesym.errors import ImageError

    with pytest.raises(ImageError, match="paint again"):
        stage.read_strokes({"strokes": strokes}, (320, 320))
    assert not stage.read_strokes({"strokes": 7}, (320, 320)).any()


def test_only_uploads_can_be_taken():
    """The browser names the file: any other of the server's is refused."""
    import stage

    value, shot = asyncio.run(stage.take({"upload": str(EXAMPLES / "astronaut.jpg")}))
    assert shot is None and "upload failed" in value["error"]


def test_photos_and_results_are_deleted_after_an_hour_and_at_the_end(tmp_path):
    """In a process of its own, which ends."""
    code = """
import os, pathlib, sys, time
sys.path.insert(0, "spaces")
import parts
parts.SWEPT = 0.05
old, new = parts.private_folder(), parts.private_folder()
old_upload, upload = (pathlib.Path(parts.CACHE, name) for name in ("old", "upload"))
for folder in (old, old_upload, upload):
    folder.mkdir(exist_ok=True)
    (folder / "photo.jpg").write_bytes(b"someone")
for folder in (old, old_upload):
    os.utime(folder, (time.time() - parts.KEPT - 1,) * 2)
until = time.time() + 20
while (old.exists() or old_upload.exists()) and time.time() < until:
    time.sleep(0.05)
assert new.is_dir() and upload.is_dir() and not old.exists() and not old_upload.exists()
"""
    environment = os.environ | {"GRADIO_TEMP_DIR": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, timeout=120)
    (own,) = (tmp_path / "cache").iterdir()
    assert [path.name for path in own.iterdir()] == ["upload"]


def test_only_images_of_the_page_can_go_on_to_another_tab():
    import parts

    from facesym.errors import ImageError

    example = parts.EXAMPLES / "astronaut.jpg"
    assert parts.file_of(parts.url(example)) == str(example)
    for address in (parts.url("/etc/passwd"), parts.url(parts.EXAMPLES / "../app.py"), "/etc/passwd", ""):
        with pytest.raises(ImageError, match="kept for about an hour"):
            parts.file_of(address)


def test_unexpected_errors_are_logged_not_shown(caplog):
    import parts

    told = parts.wording(RuntimeError("a secret of the server"))
    assert "secret" not in told and "went wrong" in told
    assert "a secret of the server" in caplog.text


def test_a_face_of_unknown_orientation_is_told_to_be_turned_upright(tmp_path, monkeypatch):
    import parts
    import stage

    from facesym.errors import FaceNotFoundError

    monkeypatch.setattr("facesym.faces.find._search", lambda *_, **__: ([object()], [], 0))
    shot = stage.look_at(lambda *_: None, str(parts.EXAMPLES / "astronaut.jpg"))
    assert "Rotate the photo" in shot.missing and "aligned" not in shot.missing
    assert shot.missing in stage.on_stage(shot)["note"]
    assert "larger" in parts.wording(FaceNotFoundError("No face was found."))


def test_the_page_finds_the_pipelines_mask_and_says_what_it_is(tmp_path, monkeypatch):
    import complete

    import facesym
    from facesym.faces.load import read_photo
    from facesym.models import SymmFCNet

    SymmFCNet.preset("tiny").save_pretrained(tmp_path)
    pipe = facesym.load(str(tmp_path))
    monkeypatch.setattr(complete.tab.pipeline, "_pipeline", pipe)
    with Image.open(EXAMPLES / "astronaut.jpg") as image:
        alone = with_glasses(image.convert("RGB"), (164, 106), 34)
    pair = Image.new("RGB", (2 * alone.width, alone.height))
    pair.paste(Image.open(EXAMPLES / "astronaut.jpg"), (0, 0))
    pair.paste(alone, (alone.width, 0))
    mask, covered = complete.found_mask(lambda *news: None, read_photo(pair), ["glasses", "hair"])
    assert (np.asarray(mask) == np.asarray(pipe.find_mask(pair, "auto:glasses,hair", faces="all"))).all()
    assert re.fullmatch(r"sunglasses on \*\*\d+ %\*\* of face 2", complete.name_covered(covered))
    few = [{"mask": 0.4, "damage": 0.001}]
    assert complete.name_covered(few) == (
        "face mask on **40 %** of the face, scratches or stains on less than **1 %** of the face"
    )


def test_every_tab_has_examples_with_their_results():
    import examples

    for tab in ("complete", "symmetrize", "rotate", "normalize", "transfer"):
        numbers = [i for i, example in enumerate(examples.LIST) if example["tab"] == tab]
        assert len(numbers) >= 4
        for number in numbers:
            value, shot, outcomes = examples.open_example(number)
            outcome = outcomes[tab]
            files = [shot.path, outcome.result, *(path for _, path in outcome.downloads)]
            files += [
                path for view in outcome.views for path in (view.before, view.after, *view.frames) if path
            ]
            assert all(Path(file).exists() for file in files) and value["faces"]
            with Image.open(outcome.result) as image:
                assert b"AI" in image.info["comment"] and min(image.size) >= 128


def test_a_face_on_black_is_cut_out_with_its_pupils():
    import symmetrize

    face = Image.new("RGB", (64, 64))
    face.paste("pink", (10, 10, 50, 50))
    face.paste("black", (25, 25, 30, 30))
    alpha = symmetrize.cut_out(face).getchannel("A")
    assert alpha.getpixel((2, 2)) == 0 and alpha.getpixel((27, 27)) == alpha.getpixel((40, 40)) == 255


def test_space_card_is_valid():
    yaml = pytest.importorskip("yaml")
    card = (ROOT / "spaces" / "README.md").read_text()
    meta = yaml.safe_load(card.split("---")[1])
    assert meta["sdk"] == "gradio" and meta["license"] == "other" and len(meta["short_description"]) <= 60
    assert (ROOT / "spaces" / meta["app_file"]).exists()
    assert not (ROOT / "spaces" / "__init__.py").exists()  # it would hide Hugging Face's `spaces` package

    def pins(file):
        return dict(re.findall(r"^([\w-]+)==(\S+)", file.read_text(), re.M))

    page, project = pins(ROOT / "spaces" / "requirements.txt"), pins(ROOT / "requirements.txt")
    assert page.items() <= project.items()
    assert meta["sdk_version"] == project["gradio"]


@pytest.fixture
def no_collection():
    """Python's collection of cycles turned off."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("yaws", [[50.0], [50.0, 0.0]])
def test_frontal_faces_of_heads_turned_far_are_compared_with_their_own_crops(tmp_path, monkeypatch, yaws):
    import parts
    import symmetrize

    import facesym
    from facesym.faces.load import read_photo
    from facesym.models import SymmetrizerVAE

    SymmetrizerVAE(widths=(8, 8, 16), latent=4, input_size=128).save_pretrained(tmp_path / "model")
    monkeypatch.setattr(symmetrize.tab.pipeline, "_pipeline", facesym.load(str(tmp_path / "model")))
    monkeypatch.setattr(parts, "CACHE", str(tmp_path))
    turned = list(yaws)
    monkeypatch.setattr("facesym.faces.pose._both_ways", lambda pose: (turned.pop(0), 0.0))
    with Image.open(EXAMPLES / "astronaut.jpg") as image:
        photo = Image.new("RGB", (image.width * len(yaws), image.height))
        for i in range(len(yaws)):
            photo.paste(image, (i * image.width, 0))
        photo.save(tmp_path / "photo.png")
    photo = read_photo(tmp_path / "photo.png")
    outcome, rows = symmetrize.finish(lambda *_: None, photo, "photo", "all")
    labels = [view.label for view in outcome.views if not view.label.startswith("Close-up")]
    assert labels == ["Photo", "Frontal face"][-len(yaws) :] and len(rows) == len(yaws)
    with Image.open(outcome.result) as result:
        assert result.size == (photo.image.size if len(yaws) > 1 else (128, 128))


def test_nothing_of_a_request_stays_in_memory(tmp_path, monkeypatch, no_collection):
    """Its photo goes at once, no queue keeps it, and no cache grows with the number of photos."""
    import parts
    import symmetrize

    import facesym
    from facesym.faces.load import read_photo
    from facesym.models import SymmetrizerVAE

    SymmetrizerVAE(widths=(8, 8, 16), latent=4, input_size=128).save_pretrained(tmp_path / "model")
    monkeypatch.setattr(symmetrize.tab.pipeline, "_pipeline", facesym.load(str(tmp_path / "model")))
    monkeypatch.setattr(parts, "CACHE", str(tmp_path))
    kept, cached = [], []
    for number in range(3):
        with Image.open(EXAMPLES / "astronaut.jpg") as image:
            image.rotate(2 * number).save(tmp_path / f"{number}.png")

        def work(tell, path):
            photo = read_photo(path)
            kept.append(weakref.ref(photo))
            return symmetrize.finish(tell, photo, "photo", "largest")

        asyncio.run(parts.MODELS.run(work, tmp_path / f"{number}.png"))
        caches = [each for each in gc.get_objects() if type(each) is functools._lru_cache_wrapper]
        cached.append({each.__qualname__: each.cache_info().currsize for each in caches if is_ours(each)})
    assert not parts.MODELS._jobs and not any(ref() for ref in kept)
    assert cached[2] == cached[1]


def is_ours(function):
    """Whether a function is of facesym or of its page."""
    module = sys.modules.get(function.__module__)
    return str(getattr(module, "__file__", "")).startswith(str(ROOT))


@pytest.fixture
def fitted(monkeypatch):
    """A photo, and the progress that a visitor sees during its fit: two strangers, then two portraits of the person;
    the fit reaches -11.3 to +5.7 degrees."""
    import rotate

    from facesym.faces.align import align_face
    from facesym.faces.find import find_faces
    from facesym.faces.load import read_photo

    photo = read_photo(EXAMPLES / "astronaut.jpg")
    faces, (index, *_), transforms = find_faces(photo.image, "largest", 128)
    face = align_face(photo.image, transforms[index], 128)
    alike = iter([[0.1], [0.2], [0.7], [0.9]])
    monkeypatch.setattr("facesym.identity.identity_similarity", lambda *images: next(alike))

    def fit(photo, progress, **options):
        for step in range(12):
            progress(step / 12, face)
        yaws = np.linspace(-11.3, 5.7, 25)
        limit = "the model turns heads no further than 12°"
        quality = {"yaw": 2.4, "identity": 0.97, "seconds": 20.0, "limit": limit}
        return SimpleNamespace(
            yaws=[yaws], frames=[[face] * 25], fit=[quality], faces=[faces[index]], crop=[face],
            notes=["The face is small.", f"Turned from -11° to 6° instead of -24° to 24°: {limit}."],
        )  # fmt: skip

    monkeypatch.setattr(rotate.tab.pipeline, "_pipeline", fit)
    told = []
    outcome, _ = rotate.finish(lambda *news: told.append(news), photo, "photo", "largest", -24, 24)
    return outcome, told


def test_results_of_photos_with_a_profile_keep_their_colours(tmp_path, monkeypatch):
    import results

    from facesym.faces.align import align_face, ffhq_transform
    from facesym.faces.detect import detect_faces
    from facesym.faces.load import load_image, read_photo

    monkeypatch.setattr("parts.CACHE", str(tmp_path))
    picture = Image.open(EXAMPLES / "astronaut.jpg")
    picture.info["icc_profile"] = DISPLAY_P3
    photo = read_photo(picture)
    (face,) = detect_faces(photo.image)
    crop = photo.restore_crop(align_face(photo.image, ffhq_transform(face.points, 256), 256))
    whole = results.put_back(photo, SimpleNamespace(faces=[face], images=[crop]))
    assert whole.info["icc_profile"] == DISPLAY_P3
    assert np.abs(np.subtract(*np.float32([load_image(whole), photo.image]))).mean((0, 1)).max() < 0.3
    downloads = dict(results.Files("transfer", "photo", "happy").downloads(photo.image, whole))
    with Image.open(downloads["Before | after (JPEG)"]) as both:
        height = both.height - max(22, both.height // 17)
        width = round(photo.image.width * height / photo.image.height)
        before, after = (np.asarray(both)[:height, part] for part in (np.s_[:width], np.s_[-width:]))
    assert np.abs(before.mean((0, 1)) - after.mean((0, 1))).max() < 1


@pytest.mark.parametrize(("strength", "same"), [(0, True), (1, False)])
def test_an_unchanged_face_leaves_the_photo_as_it_is(tmp_path, monkeypatch, saved, strength, same):
    import transfer

    import facesym
    from facesym.faces.load import read_photo

    monkeypatch.setattr(transfer.tab.pipeline, "_pipeline", facesym.load(saved("AttributeGenerator")))
    monkeypatch.setattr("parts.CACHE", str(tmp_path))
    photo = read_photo(EXAMPLES / "astronaut.jpg")
    outcome = transfer.finish(lambda *_: None, photo, "photo", "largest", ["happy"], strength, False)
    with Image.open(outcome.result) as whole:
        assert (np.asarray(whole) == np.asarray(photo.image)).all() == same


def test_a_fit_shows_the_photo_until_the_fit_looks_like_it(fitted):
    _, told = fitted
    shown = [Path(news[2]["views"][0]["after"]).name for news in told if len(news) > 2]
    assert shown[0] == "1-photo.jpg" and len(shown) == 13
    assert shown[1:9] == ["1-photo.jpg"] * 8  # strangers at the third and sixth report
    assert shown[9:11] == ["2-fit.webp"] * 2 and shown[-1] == "3-fit.webp"


def test_a_fit_offers_what_it_reached_in_whole_degrees(fitted):
    outcome, _ = fitted
    turn = outcome.views[0]
    assert turn.labels == [f"{angle:+d}°" if angle else "0°" for angle in range(-11, 6)]
    assert len(turn.frames) == 17 and turn.labels[turn.start] == "-11°"
    assert "from **-11°** to **+5°**: the model turns heads no further than 12°" in outcome.numbers
    assert outcome.notes == ["The face is small."]
    assert "turned by **2°** to the right" in outcome.numbers
    assert "Turned left 11° (PNG)" in dict(outcome.downloads)
    assert [view.label for view in outcome.views[1:]] == ["Whole photo, -11°", "Whole photo, +5°"]


def test_an_idle_page_rarely_looks_at_its_queue():
    """Gradio's own settings have these names: with others it would look 1,000 times a second."""
    import app
    import gradio as gr

    gradio, ours = (page._queue for page in (gr.Blocks().queue(), app.build()))
    for name in ("sleep_when_free", "progress_update_sleep_when_free"):
        assert getattr(ours, name) >= max(0.05, getattr(gradio, name))
