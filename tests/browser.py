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
def devices(browser):
    """A page of each device, in German. The tests of a module share it: a new one would load the scripts again."""
    contexts = {
        name: browser.new_context(accept_downloads=True, locale="de-DE", reduced_motion="reduce", **device)
        for name, device in DEVICES.items()
    }
    yield {name: context.new_page() for name, context in contexts.items()}
    for context in contexts.values():
        context.close()


@pytest.fixture(params=DEVICES)
def page(devices, request):
    """The page, opened by a visitor. It may ask for nothing from elsewhere, no script may fail, and nothing may be
    wider than the screen."""
    yield from visit(devices[request.param])


@pytest.fixture
def desk(devices):
    """The same, on a desktop alone: for what has nothing to do with the screen."""
    yield from visit(devices["desktop"])


def visit(page):
    url = start_server()
    page.set_default_timeout(
        int(os.environ.get("FACESYM_TEST_WAIT", 40_000))
    )  # CI machines are slow at drawing
    elsewhere, failed = [], []

    def hear(request):
        if not request.url.startswith((url, "data:", "blob:")):
            elsewhere.append(request.url)

    def fail(error):
        failed.append(str(error))

    page.on("request", hear)
    page.on("pageerror", fail)
    page.goto(url)
    page.locator(".drop").wait_for()
    yield page
    wide = page.evaluate("document.documentElement.scrollWidth")
    width = page.viewport_size["width"]
    page.evaluate("localStorage.clear()")
    page.goto("about:blank")  # ends what still runs
    page.remove_listener("request", hear)
    page.remove_listener("pageerror", fail)
    assert not elsewhere and not failed
    assert wide <= width


@pytest.fixture(scope="module")
def photo():
    """A portrait, 320x320."""
    from skimage import data

    return Image.fromarray(data.astronaut()).crop((60, 0, 380, 320))
