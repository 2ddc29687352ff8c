"""The page that runs in the visitor's browser alone (docs/try)."""

import functools
import io
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from browser import DEVICES
from PIL import Image

import facesym
from facesym.faces.align import align_face
from facesym.faces.find import find_faces
from facesym.faces.geometry import turn, warp_points
from facesym.faces.landmarks import find_points
from facesym.faces.pixels import to_uint8

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/try"
PORTRAIT = ROOT / "spaces/examples/astronaut.jpg"
pytestmark = pytest.mark.skipif(
    not (PAGE / "made/symmetrize-256.onnx").exists() or not (PAGE / "made/ort.wasm.min.mjs").exists(),
    reason="the page's networks and onnxruntime-web are not here: make try",
)


DESK = pytest.mark.parametrize(
    "page", ["desktop"], indirect=True
)  # for what has nothing to do with the screen


class Files(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=PAGE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(params=DEVICES)
def page(browser, url, request):
    """The page, opened. It may ask for nothing from elsewhere and send nothing, and nothing may be wider than the
    screen."""
    context = browser.new_context(accept_downloads=True, **DEVICES[request.param])
    page = context.new_page()
    page.set_default_timeout(60_000)
    asked, failed = [], []
    page.on("request", lambda r: asked.append((r.method, r.url)))
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.goto(url)
    yield page
    wide, width = page.evaluate("document.documentElement.scrollWidth"), page.viewport_size["width"]
    context.close()
    assert not failed and wide <= width
    assert all(method == "GET" and at.startswith((url, "blob:", "data:")) for method, at in asked)


def test_symmetrize_gives_what_the_library_gives(page):
    page.set_input_files("#file", PORTRAIT)
    page.locator("#result").wait_for()
    assert "on this device" in page.locator("#status").inner_text()
    expected = facesym.load("symmetrize")(PORTRAIT)
    for cell in page.locator("[data-measure]").all():
        measured = float(cell.inner_text().split()[0]) / 100
        assert measured == pytest.approx(expected.asymmetry[0][cell.get_attribute("data-measure")], abs=0.01)
    with page.expect_download() as download:
        page.get_by_text("Save the photo").click()
    made = Image.open(io.BytesIO(download.value.path().read_bytes()))
    assert "AI" in made.info["Description"] and "compositeWithTrainedAlgorithmicMedia" in str(made.info)
    made, photo, target = (
        np.asarray(image.convert("RGB"), np.float32)
        for image in (made, Image.open(PORTRAIT), expected.images[0])
    )
    changed = np.abs(target - photo).max(2) > 0
    assert np.corrcoef(made[changed].ravel(), target[changed].ravel())[0, 1] > 0.97
    assert np.abs(made - target)[changed].mean() < 9
    assert np.abs(made - photo)[changed].mean() > 5 and np.abs(made - photo)[~changed].mean() < 1


@DESK
def test_a_turned_head_is_warped_as_in_the_library(page, monkeypatch):
    photo = Image.open(PORTRAIT).convert("RGB")
    _, (index,), transforms = find_faces(photo, "largest", 512)
    crop = align_face(photo, transforms[index], 512)
    points = find_points(crop)
    turned, _ = warp_points(np.asarray(crop, np.float32), points, turn(points, 22))
    file = io.BytesIO()
    Image.fromarray(to_uint8(turned)).save(file, "PNG")
    page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": file.getvalue()})
    page.locator("#result").wait_for()
    with page.expect_download() as download:
        page.get_by_text("Save the photo").click()
    made = Image.open(io.BytesIO(download.value.path().read_bytes())).convert("RGB")

    # The page has no parser and mirrors hair, too.
    monkeypatch.setattr(
        "facesym.pipelines.symmetrize.hair_over_face", lambda crop, _: np.zeros(crop.shape[:2])
    )

    def away(straight):
        monkeypatch.setattr("facesym.pipelines.symmetrize.STRAIGHT", straight)
        expected = facesym.load("symmetrize")(Image.open(file)).images[0]
        return np.abs(np.asarray(made, np.float32) - np.asarray(expected, np.float32)).mean()

    assert away(4.0) < 0.6 * away(99.0)


@DESK
def test_what_is_no_photo_and_what_has_no_face(page):
    page.set_input_files("#file", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b"nothing"})
    page.get_by_text("cannot be read as an image").wait_for()
    grey = io.BytesIO()
    Image.new("RGB", (300, 200), "grey").save(grey, "PNG")
    page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": grey.getvalue()})
    page.get_by_text("No face was found").wait_for()
    assert page.locator("#result").is_hidden()
