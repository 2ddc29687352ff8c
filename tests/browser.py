"""A browser on a desktop and on a phone, and what a visitor does in it; for the page's tests."""

import io
import os
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
TABS = {
    "Complete": "Complete the face",
    "Symmetrize": "Make it symmetric",
    "Rotate": "Turn the head",
    "Normalize": "Make it frontal",
    "Transfer": "Change the face",
}
DEVICES = {
    "desktop": {"viewport": {"width": 1366, "height": 768}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}
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


@pytest.fixture(scope="module")
def contexts(browser):
    """A browser's window for each device, in German; shared, so that the page's scripts are loaded once."""
    made = {
        name: browser.new_context(accept_downloads=True, locale="de-DE", reduced_motion="reduce", **device)
        for name, device in DEVICES.items()
    }
    yield made
    for context in made.values():
        context.close()


@pytest.fixture(params=DEVICES)
def page(contexts, request):
    """The page, opened by a visitor. It may ask for nothing from elsewhere, no script may fail, and nothing may be
    wider than the screen."""
    yield from visit(contexts[request.param])


@pytest.fixture
def desk(contexts):
    """The same, on a desktop alone: for what has nothing to do with the screen."""
    yield from visit(contexts["desktop"])


def visit(context):
    url = start_server()
    page = context.new_page()
    page.set_default_timeout(
        int(os.environ.get("FACESYM_TEST_WAIT", 40_000))
    )  # CI machines are slow at drawing
    elsewhere, failed = [], []
    page.on(
        "request", lambda r: None if r.url.startswith((url, "data:", "blob:")) else elsewhere.append(r.url)
    )
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.goto(url)
    page.locator(".drop").wait_for()
    yield page
    wide = page.evaluate("document.documentElement.scrollWidth")
    page.evaluate("localStorage.clear()")
    width = page.viewport_size["width"]
    page.close()
    assert not elsewhere and not failed
    assert wide <= width


@pytest.fixture(scope="module")
def photo():
    """A portrait, 320x320."""
    from skimage import data

    return Image.fromarray(data.astronaut()).crop((60, 0, 380, 320))


def as_bytes(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def upload(page, image, name="photo.png", **options):
    """Add a photo (an image, or a file's bytes) and wait until it is there."""
    data = image if isinstance(image, bytes) else as_bytes(image, **options)
    before = page.locator(".picture img").get_attribute("src")
    page.locator("input[aria-label='Choose a photo']").set_input_files(
        {"name": name, "mimeType": "image/png", "buffer": data}
    )
    page.wait_for_function(
        "before => { const image = document.querySelector('.picture img');"
        " return image.getAttribute('src') && image.getAttribute('src') !== before && image.naturalWidth; }",
        arg=before,
    )


def open_tab(page, name):
    page.get_by_role("tab", name=name).click()


def press(page, name, wait=True):
    """Press a tab's button; wait for its result."""
    page.get_by_role("button", name=TABS[name]).click()
    if wait:
        result(page, name).wait_for()


def result(page, name):
    return page.locator(f"#{name.lower()}-result .viewer:not([hidden])")


def status(page, name):
    return page.locator(f"#{name.lower()}-status")


def paint(page, size, face, reach):
    """A level stroke over the photo (of that size), `reach` pixels of it to both sides of the point `face`."""
    canvas = page.locator(".picture canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    shown = box["width"] / size[0]
    x, y = box["x"] + face[0] * shown, box["y"] + face[1] * shown
    page.mouse.move(x - reach * shown, y)
    page.mouse.down()
    page.mouse.move(x + reach * shown, y, steps=3)
    page.mouse.up()


def download(page, name, label="Result (PNG)"):
    """Save a file of a tab's result: (its bytes, its name)."""
    with page.expect_download() as saved:
        result(page, name).get_by_role("link", name=label).click()
    with open(saved.value.path(), "rb") as file:
        return file.read(), saved.value.suggested_filename


def changed(before, after):
    """(x0, y0, x1, y1) around the pixels that differ, and how many do."""
    assert before.size == after.size
    differs = (np.asarray(before) != np.asarray(after)).any(2)
    ys, xs = differs.nonzero()
    return (xs.min(), ys.min(), xs.max(), ys.max()), int(differs.sum())
