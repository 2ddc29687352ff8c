"""Fixtures for the page's tests: a browser on a desktop and on a phone with the page open, and a photo."""

import os
import shutil

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
    "--use-fake-ui-for-media-stream",  # a camera that films a test picture, and no question about it
    "--use-fake-device-for-media-stream",
]
DEVICES = {
    "desktop": {"viewport": {"width": 1366, "height": 768}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}


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
