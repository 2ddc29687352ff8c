"""The page in a browser: what a visitor does with it."""

import os
import re
import shutil

import numpy as np
import pytest
from app_server import start_server
from PIL import Image

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FACE = (164, 106)  # between the eyes, in the picture of `photo`


@pytest.fixture(scope="module")
def browser():
    if not os.path.exists(CHROMIUM):
        if os.environ.get("CI") == "true":
            pytest.fail("Chromium is not installed; CI needs it for the page's tests.")
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """The page, opened by a new visitor. It may ask for nothing from elsewhere."""
    url = start_server()
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(40_000)  # CI machines are slow at drawing
    elsewhere = []
    page.on(
        "request", lambda r: None if r.url.startswith((url, "data:", "blob:")) else elsewhere.append(r.url)
    )
    page.goto(url)
    page.locator("#photo").wait_for()
    yield page
    context.close()
    assert not elsewhere


@pytest.fixture(scope="module")
def photo():
    """A portrait, 320x320."""
    from skimage import data

    return Image.fromarray(data.astronaut()).crop((60, 0, 380, 320))


def upload(page, image, path, **options):
    image.save(path, **options)
    page.locator("#photo input[type=file]").set_input_files(path)
    wait_for_editor(page)


def wait_for_editor(page):
    """Until the photo stands still: the drop zone is gone, and the zoom to fit has ended."""
    page.locator("#photo").wait_for(state="detached")
    canvas = page.locator("#editor canvas >> nth=0")
    canvas.wait_for()
    same, last = 0, None
    for _ in range(50):
        now = canvas.bounding_box(), zoom(page)
        same, last = (same + 1 if now == last else 0), now
        if same == 5 and now[1] != 1:  # 1 before a photo is there; no photo in these tests fits at that
            return
        page.wait_for_timeout(200)
    pytest.fail("The photo did not appear in the editor.")


def zoom(page) -> float:
    return float(re.search(r"(\d+)\s*%", page.locator("#editor").inner_text())[1]) / 100


def paint(page, size, face, reach):
    """A level stroke over the photo (of that size), `reach` pixels of it to both sides of the point `face`."""
    shown = zoom(page) * min(1, 1024 / max(size))  # screen pixels per pixel of the photo
    box = page.locator("#editor canvas >> nth=0").bounding_box()
    x = box["x"] + box["width"] / 2 + (face[0] - size[0] / 2) * shown
    y = box["y"] + box["height"] / 2 + (face[1] - size[1] / 2) * shown
    page.mouse.move(x - reach * shown, y)
    page.mouse.down()
    page.mouse.move(x + reach * shown, y, steps=3)
    page.mouse.up()


def complete(page) -> Image.Image:
    """Press the button; the downloaded result."""
    page.get_by_role("button", name="Complete the face").click()
    page.locator("#result img").nth(1).wait_for()
    page.wait_for_function("!document.querySelector('#download button, button#download').disabled")
    with page.expect_download() as download:
        page.get_by_role("button", name=re.compile("Download")).click()
    image = Image.open(download.value.path())
    assert "AI" in image.info["Description"]
    return image.convert("RGB")


def changed(before, after):
    """(x0, y0, x1, y1) around the pixels that differ, and how many do."""
    assert before.size == after.size
    differs = (np.asarray(before) != np.asarray(after)).any(2)
    ys, xs = differs.nonzero()
    return (xs.min(), ys.min(), xs.max(), ys.max()), int(differs.sum())


def test_painted_stroke_is_completed_and_nothing_else_changes(page, photo, tmp_path):
    upload(page, photo, tmp_path / "photo.png")
    paint(page, photo.size, FACE, 25)
    (x0, y0, x1, y1), count = changed(photo, complete(page))
    assert count > 150
    # The stroke runs from 139 to 189 at height 106; the brush adds its radius.
    assert 105 < x0 < 150 and 178 < x1 < 223
    assert y0 > 70 and y1 < 142
    assert "1 face" in page.locator("#numbers").inner_text()


def test_large_rotated_photo_comes_back_upright_in_full_size(page, photo, tmp_path):
    large = photo.resize((1600, 1600), Image.Resampling.BICUBIC).crop((0, 200, 1600, 1000))
    face = (5 * FACE[0], 5 * FACE[1] - 200)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, shown turned by 90 degrees
    upload(page, large.transpose(Image.Transpose.ROTATE_90), tmp_path / "photo.png", exif=exif)
    paint(page, large.size, face, 100)
    (x0, y0, x1, y1), count = changed(large, complete(page))
    assert count > 4000
    assert face[0] - 250 < x0 < face[0] - 90 and face[0] + 90 < x1 < face[0] + 250
    assert y0 > face[1] - 150 and y1 < face[1] + 150


def test_uploaded_mask_is_completed(page, photo, tmp_path):
    upload(page, photo, tmp_path / "photo.png")
    mask = np.zeros((320, 320), np.uint8)
    mask[95:120, 130:200] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    page.get_by_text("Or upload a mask picture").click()
    page.locator("#mask input[type=file]").set_input_files(tmp_path / "mask.png")
    page.locator("#mask img").wait_for()
    (x0, y0, x1, y1), count = changed(photo, complete(page))
    assert x0 >= 130 and x1 < 200 and y0 >= 95 and y1 < 120
    assert count > 0.8 * (mask > 0).sum()


def test_missing_steps_are_told(page, photo, tmp_path):
    button = page.get_by_role("button", name="Complete the face")
    button.click()
    page.get_by_text("Add a photo first").wait_for()
    upload(page, photo, tmp_path / "photo.png")
    button.click()
    page.get_by_text("Nothing is marked yet").wait_for()


def open_tab(page, name, photo, folder):
    """Open a tab and add a photo to it."""
    page.get_by_role("tab", name=name).click()
    photo.save(folder / "photo.png")
    page.locator(f"#{name.lower()}-photo input[type=file]").set_input_files(folder / "photo.png")
    page.locator(f"#{name.lower()}-photo img").wait_for()


@pytest.mark.parametrize(
    "name, button",
    [("Symmetrize", "Make it symmetric"), ("Rotate", "2 · Fit"), ("Normalize", "2 · Make it frontal")],
)
def test_a_tab_without_a_photo_asks_for_one(page, name, button):
    page.get_by_role("tab", name=name).click()
    page.get_by_role("button", name=button).click()
    page.get_by_text("Add a photo first").wait_for()


def test_symmetrize_tab(page, photo, tmp_path):
    open_tab(page, "Symmetrize", photo, tmp_path)
    page.get_by_role("button", name="Make it symmetric").click()
    page.locator("#symmetrize-result img").nth(1).wait_for()
    page.wait_for_function(
        "!document.querySelector('#symmetrize-download button, button#symmetrize-download').disabled"
    )
    with page.expect_download() as download:
        page.locator("#symmetrize-download").click()
    image = Image.open(download.value.path())
    assert "AI" in image.info["Description"]
    _, count = changed(photo, image.convert("RGB"))
    assert count > 2000
    page.locator("#symmetrize-table").get_by_text("Mouth corners").last.wait_for()
    page.locator("#symmetrize-pictures img").nth(3).wait_for()


def test_normalize_tab(page, photo, tmp_path):
    open_tab(page, "Normalize", photo, tmp_path)
    page.get_by_role("button", name="2 · Make it frontal").click()
    page.locator("#normalize-result img").nth(1).wait_for()
    shown, slider = page.locator("#normalize-shown img"), page.locator("#normalize-step input[type=range]")
    shown.wait_for()
    before = shown.evaluate("image => image.src")
    slider.focus()
    slider.press("ArrowLeft")
    page.wait_for_function(
        "before => document.querySelector('#normalize-shown img').src != before", arg=before
    )
    page.wait_for_function(
        "!document.querySelector('#normalize-download button, button#normalize-download').disabled"
    )
    with page.expect_download() as download:
        page.locator("#normalize-download").click()
    assert "AI" in Image.open(download.value.path()).info["Description"]


def test_transfer_tab(page, photo, tmp_path):
    open_tab(page, "Transfer", photo, tmp_path)
    assert page.locator("#transfer-expression").get_by_label("happy").is_checked()
    page.locator("#transfer-expression").get_by_text("as it is").click()
    page.get_by_role("button", name="3 · Change").click()
    page.get_by_text("Choose an expression").wait_for()
    page.locator("#transfer-expression").get_by_text("happy").click()
    page.locator("#transfer-light").get_by_text("dark").click()
    page.get_by_role("button", name="3 · Change").click()
    page.locator("#transfer-result img").nth(1).wait_for()
    page.wait_for_function(
        "!document.querySelector('#transfer-download button, button#transfer-download').disabled"
    )
    with page.expect_download() as download:
        page.locator("#transfer-download").click()
    assert "AI" in Image.open(download.value.path()).info["Description"]
    page.get_by_role("button", name="Everything at once").click()
    page.locator("#transfer-grid img").nth(11).wait_for()


def test_rotate_tab(page, photo, tmp_path):
    """Fit, turn the head with the slider, download the film; and a face that nobody has."""
    open_tab(page, "Rotate", photo, tmp_path)
    page.get_by_role("button", name="2 · Fit").click()
    page.get_by_text("fitted in").wait_for(timeout=120_000)
    face, slider = page.locator("#rotate-face img"), page.locator("#rotate-yaw input[type=range]")
    before = face.evaluate("image => image.src")
    slider.focus()
    for _ in range(60):  # to its left end
        slider.press("ArrowLeft")
    page.wait_for_function("before => document.querySelector('#rotate-face img').src != before", arg=before)
    with page.expect_download() as download:
        page.locator("#rotate-gif").click()
    film = Image.open(download.value.path())
    assert film.n_frames == 48 and b"AI" in film.info["comment"]
    page.get_by_role("button", name="Another face").click()
    page.locator("#rotate-made img").wait_for()


def test_a_fit_can_be_stopped(page, photo, tmp_path):
    open_tab(page, "Rotate", photo, tmp_path)
    page.get_by_role("button", name="2 · Fit").click()
    page.get_by_text(re.compile("Getting the model ready|Fitting to your photo")).first.wait_for()
    page.get_by_role("button", name="Stop").last.click()
    page.get_by_text("Stopped.").wait_for()
    page.wait_for_timeout(1500)  # it would have told more by now
    assert page.get_by_text("Stopped.").is_visible()
    page.get_by_role("button", name="2 · Fit").click()  # and it can be started anew
    page.get_by_text("fitted in").wait_for(timeout=120_000)


def test_example_needs_two_clicks(page):
    page.locator("#examples button").first.click()
    wait_for_editor(page)
    after = complete(page)
    assert after.size == (320, 320)
    page.get_by_text("How it was done").click()
    page.locator("#how img").nth(3).wait_for()
