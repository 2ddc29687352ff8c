"""The page's server: its API, its limits, its errors, and that no one sees another's pictures."""

import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from app_server import ROOT, start_server
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

EXAMPLES = ROOT / "spaces" / "examples"
PAIRS = [
    (EXAMPLES / "astronaut.jpg", EXAMPLES / "astronaut-half.png"),
    (EXAMPLES / "grace-hopper.jpg", EXAMPLES / "grace-hopper-hand.png"),
]


@pytest.fixture(scope="module")
def url():
    return start_server()


@pytest.fixture
def client(url, tmp_path):
    return Client(url, verbose=False, download_files=tmp_path / "downloads")


def ask(client, photo, mask, faces="all"):
    return client.predict(handle_file(photo), handle_file(mask), faces, api_name="/complete")


def test_two_people_at_once_get_their_own_pictures(url, tmp_path):
    """In many rounds, at the same moment: what is outside the mask is each one's own photo, bit for bit."""
    together = threading.Barrier(2)

    def person(number):
        client = Client(url, verbose=False, download_files=tmp_path / str(number))
        photo, mask = PAIRS[number]
        before, hole = (
            np.asarray(Image.open(photo).convert("RGB")),
            np.asarray(Image.open(mask).convert("L")) > 127,
        )
        for _ in range(3):
            together.wait(60)
            file, _ = ask(client, photo, mask)
            after = np.asarray(Image.open(file).convert("RGB"))
            assert after.shape == before.shape
            assert (after[~hole] == before[~hole]).all()
            assert (after[hole] != before[hole]).any()

    with ThreadPoolExecutor(2) as people:
        list(people.map(person, range(2)))


def test_every_result_has_an_address_of_its_own(url):
    """Even for the same photo: no file is written twice, and no address can be guessed."""
    client = Client(url, verbose=False, download_files=False)
    addresses = {ask(client, *PAIRS[0])[0]["url"] for _ in range(2)}
    assert len(addresses) == 2


def test_result_is_tagged_as_edited(client):
    file, numbers = ask(client, *PAIRS[0])
    assert Path(file).name == "astronaut-completed.png"
    with Image.open(file) as image:
        assert "AI" in image.info["Description"]
        assert "compositeWithTrainedAlgorithmicMedia" in image.info["XML:com.adobe.xmp"]
    assert "1 face" in numbers and "2.0 %" in numbers


def test_rotated_photo_comes_back_upright(client, tmp_path):
    photo, mask = PAIRS[1]
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = Image.open(photo)
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "lying.png", exif=exif)
    file, _ = ask(client, tmp_path / "lying.png", mask)
    after, before = np.asarray(Image.open(file)), np.asarray(upright)
    hole = np.asarray(Image.open(mask).convert("L")) > 127
    assert (after[~hole] == before[~hole]).all()


def test_bad_pictures_are_refused_with_a_reason(client, tmp_path):
    photo, mask = PAIRS[0]
    (tmp_path / "text.jpg").write_text("not a picture")
    Image.new("L", (320, 320)).save(tmp_path / "black.png")
    Image.new("RGB", (320, 320), "grey").save(tmp_path / "wall.png")
    Image.new("1", (13000, 13000)).save(tmp_path / "bomb.png")  # 169 megapixels in some kilobytes
    for picture, hole, reason in [
        (tmp_path / "text.jpg", mask, "text.jpg is not an image"),
        (photo, tmp_path / "text.jpg", "text.jpg is not an image"),
        (photo, PAIRS[1][1], "make the mask on the photo"),
        (photo, tmp_path / "black.png", "mask is empty"),
        (tmp_path / "wall.png", mask, "No face was found"),
        (tmp_path / "bomb.png", mask, "too large"),
        (photo, tmp_path / "bomb.png", "too large"),
    ]:
        with pytest.raises(AppError) as error:
            ask(client, picture, hole)
        assert reason in str(error.value)
        assert str(tmp_path.parent) not in str(error.value) and "cache" not in str(error.value)


def test_too_large_an_upload_is_refused(client, tmp_path):
    (tmp_path / "huge.png").write_bytes(bytes(43_000_000))
    with pytest.raises(Exception, match=r"(?i)413|size|large"):
        ask(client, tmp_path / "huge.png", PAIRS[0][1])


def test_only_the_documented_calls_are_public(client):
    api = client.view_api(return_format="dict", print_info=False)
    assert (
        list(api["named_endpoints"])
        == ["/complete", "/symmetrize", "/generate", "/rotate", "/normalize", "/transfer"]
        and not api["unnamed_endpoints"]
    )
    call = api["named_endpoints"]["/complete"]
    assert [p["parameter_name"] for p in call["parameters"]] == ["photo", "mask", "faces"]
    assert "label the result as edited" in call["description"]


def test_symmetrize_changes_the_face_and_gives_numbers(client, tmp_path):
    photo = PAIRS[0][0]
    file, faces = client.predict(handle_file(photo), "largest", api_name="/symmetrize")
    before, after = np.asarray(Image.open(photo).convert("RGB")), np.asarray(Image.open(file).convert("RGB"))
    changed = (before != after).any(2)
    assert 0.02 < changed.mean() < 0.6 and Path(file).name == "astronaut-symmetric.png"
    (numbers,) = faces
    assert 0 < numbers["overall"] < 0.2 and {"brow", "mouth corner", "yaw"} <= set(numbers)
    Image.new("RGB", (320, 320), "grey").save(tmp_path / "wall.png")
    with pytest.raises(AppError, match="No face was found"):
        client.predict(handle_file(tmp_path / "wall.png"), "all", api_name="/symmetrize")


def test_rotate_gives_a_film_and_numbers(client, tmp_path):
    film, fit = client.predict(handle_file(PAIRS[0][0]), -10, 10, api_name="/rotate")
    assert Path(film).name == "astronaut-turning.mp4" and Path(film).stat().st_size > 1000
    assert fit["psnr"] > fit["psnr_before"] and len(fit["range"]) == 2
    Image.new("RGB", (320, 320), "grey").save(tmp_path / "wall.png")
    with pytest.raises(AppError, match="No face was found"):
        client.predict(handle_file(tmp_path / "wall.png"), -10, 10, api_name="/rotate")


def test_normalize_gives_a_face_a_film_and_numbers(client, tmp_path):
    face, film, numbers = client.predict(handle_file(PAIRS[0][0]), api_name="/normalize")
    with Image.open(face) as picture:
        assert picture.width == picture.height >= 128 and "AI" in picture.info["Description"]
    assert Path(film).stat().st_size > 1000 and "yaw" in numbers
    Image.new("RGB", (200, 200), "grey").save(tmp_path / "wall.png")
    with pytest.raises(AppError, match="No face was found"):
        client.predict(handle_file(tmp_path / "wall.png"), api_name="/normalize")


def test_transfer_gives_a_face_and_numbers(client):
    photo = handle_file(PAIRS[0][0])
    face, numbers = client.predict(photo, "happy, dark", 1, api_name="/transfer")
    with Image.open(face) as picture:
        assert picture.width == picture.height >= 128 and "AI" in picture.info["Description"]
    assert Path(face).name == "astronaut-transfer.png" and " s**" in numbers
    with pytest.raises(AppError, match="exclude each other"):
        client.predict(photo, "happy, neutral", 1, api_name="/transfer")
    with pytest.raises(AppError, match="Say what"):
        client.predict(photo, "", 1, api_name="/transfer")


def test_generated_faces_are_symmetric_in_the_middle(client):
    one, middle, other = (
        np.asarray(Image.open(client.predict(7, symmetry, api_name="/generate")).convert("RGB"), int)
        for symmetry in (0, 1, 2)
    )
    assert abs(middle - middle[:, ::-1]).mean() < 1 < abs(one - one[:, ::-1]).mean()
    assert abs(other - one[:, ::-1]).mean() < 1


# --- without a server -----------------------------------------------------------------------------------------------


@pytest.fixture
def tab(monkeypatch, tmp_path, tiny_model):
    """The module of the tab, with a tiny model."""
    monkeypatch.syspath_prepend(ROOT / "spaces")
    monkeypatch.setenv("FACESYM_COMPLETE_MODEL", str(tiny_model))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    for name in ("complete", "parts"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import complete

    yield complete
    for name in ("complete", "parts"):
        sys.modules.pop(name, None)


def painted(tab, original, layers=(), mask=None):
    return tab.complete_painted(original, list(layers), mask, "all", progress=lambda *_: None)


def test_strokes_on_a_smaller_copy_are_scaled_to_the_photo(tab, tmp_path):
    large = Image.open(PAIRS[1][0]).resize((1536, 1800))
    large.save(tmp_path / "photo.png")
    path, _, editor, *_ = tab.take_upload(str(tmp_path / "photo.png"))
    copy = Image.open(editor["background"])
    assert path == str(tmp_path / "photo.png") and max(copy.size) == 1024
    layer = Image.new("RGBA", copy.size)
    layer.paste(
        "white",
        (int(0.45 * copy.width), int(0.3 * copy.height), int(0.6 * copy.width), int(0.4 * copy.height)),
    )
    layer.save(tmp_path / "layer.png")
    _, download, *_ = painted(tab, path, [str(tmp_path / "layer.png")])
    after, before = np.asarray(Image.open(download.value["path"])), np.asarray(large)
    ys, xs = (after != before).any(2).nonzero()
    assert after.shape == before.shape
    assert xs.min() / 1536 > 0.44 and xs.max() / 1536 < 0.61
    assert ys.min() / 1800 > 0.29 and ys.max() / 1800 < 0.41


def test_a_face_that_does_not_turn_gets_a_slider_that_stands_still(tab, monkeypatch):
    monkeypatch.delitem(sys.modules, "rotate", raising=False)
    import rotate

    still = rotate.slider_over(-0.7, -0.7, -0.7)
    assert not still.interactive and still.minimum < still.maximum
    assert rotate.slider_over(-9.3, 10.2, 0.5).interactive


def test_what_is_missing_is_asked_for(tab):
    with pytest.raises(gr.Error, match="Add a photo first"):
        painted(tab, None)
    with pytest.raises(gr.Error, match="Nothing is marked yet"):
        painted(tab, str(PAIRS[0][0]))
    with pytest.raises(gr.Error, match="Add a photo first"):
        painted(tab, "/no/longer/there.jpg")


def test_paint_beside_the_largest_face_names_the_other_choice(tab, tmp_path):
    pair = Image.new("RGB", (812, 600))
    pair.paste(Image.open(PAIRS[0][0]).resize((300, 300)), (0, 0))
    pair.paste(Image.open(PAIRS[1][0]), (300, 0))
    pair.save(tmp_path / "pair.png")
    mask = np.zeros((600, 812), bool)
    mask[80:120, 120:180] = True  # on the small face
    Image.fromarray(mask).save(tmp_path / "mask.png")
    with pytest.raises(gr.Error, match=tab.EVERY):
        tab.complete_files(str(tmp_path / "pair.png"), str(tmp_path / "mask.png"), "largest", lambda *_: None)


def test_unexpected_errors_are_logged_not_shown(tab, monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("a secret of the server")

    monkeypatch.setattr(tab.pipeline, "get", lambda: fail)
    with pytest.raises(gr.Error) as error:
        painted(tab, str(PAIRS[0][0]), mask=str(PAIRS[0][1]))
    assert "secret" not in str(error.value) and "went wrong" in str(error.value)
    assert "a secret of the server" in caplog.text


def test_without_a_released_model_the_page_opens_and_says_so(tab, monkeypatch):
    import facesym.zoo

    monkeypatch.setattr(facesym.zoo, "list", lambda: [])
    monkeypatch.setattr(tab.pipeline, "_override", None)
    with gr.Blocks() as page:
        tab.build()
    assert any("not released yet" in str(getattr(block, "value", "")) for block in page.blocks.values())
    with pytest.raises(gr.Error, match="not released yet"):
        painted(tab, str(PAIRS[0][0]), mask=str(PAIRS[0][1]))


def test_space_card_is_valid():
    yaml = pytest.importorskip("yaml")
    card = (ROOT / "spaces" / "README.md").read_text()
    meta = yaml.safe_load(card.split("---")[1])
    assert (
        meta["sdk"] == "gradio" and meta["license"] == "apache-2.0" and len(meta["short_description"]) <= 60
    )
    assert (ROOT / "spaces" / meta["app_file"]).exists()
    assert not (ROOT / "spaces" / "__init__.py").exists()  # it would hide Hugging Face's `spaces` package

    def pins(file):
        return dict(re.findall(r"^([\w-]+)==(\S+)", file.read_text(), re.M))

    page, project = pins(ROOT / "spaces" / "requirements.txt"), pins(ROOT / "requirements.txt")
    assert page.items() <= project.items()
    assert meta["sdk_version"] == project["gradio"]
