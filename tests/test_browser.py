"""The page in a browser, on a desktop and on a phone: what a visitor sees of it.

With FACESYM_SCREENSHOTS=FOLDER, a screenshot of each tab, light on a desktop and dark on a phone, is written there.
"""

import os

import pytest
from PIL import Image
from visitor import TABS, choose, open_tab, press, result, status, upload


def test_missing_steps_are_told_where_one_looks_for_them(page, photo):
    for name in TABS:
        open_tab(page, name)
        press(page, name, wait=False)
        status(page, name).get_by_text("Add a photo first").wait_for()
    wall = Image.new("RGB", (320, 320), "grey")
    upload(page, wall)
    page.locator(".say").get_by_text("No face was found").wait_for()
    open_tab(page, "Rotate")
    press(page, "Rotate", wait=False)
    status(page, "Rotate").get_by_text("No face was found").wait_for()
    assert "Loading the model" not in status(page, "Rotate").inner_text()
    assert page.locator(".toast-wrap *").count() == 0
    open_tab(page, "Complete")
    press(page, "Complete", wait=False)
    status(page, "Complete").get_by_text("The mask is still empty").wait_for()


def test_the_button_stays_near_the_photo_and_the_result_comes_into_view(page, photo):
    """With a photo the choices shrink, so that on a desktop the photo and the button fit the first screen."""
    upload(page, photo)
    open_tab(page, "Symmetrize")
    page.evaluate("scrollTo(0, 0)")
    height = page.viewport_size["height"]
    box = page.get_by_role("button", name=TABS["Symmetrize"]).bounding_box()
    assert box["y"] + box["height"] <= height
    press(page, "Symmetrize")
    page.wait_for_function(
        "h => document.querySelector('#symmetrize-result .compare').getBoundingClientRect().top < h - 150",
        arg=height,
    )


def test_a_new_photo_clears_every_tabs_result(desk, photo):
    upload(desk, photo)
    for name in ("Symmetrize", "Normalize"):
        open_tab(desk, name)
        press(desk, name)
    upload(desk, photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    for name in ("Normalize", "Symmetrize"):
        open_tab(desk, name)
        result(desk, name).wait_for(state="detached")
        assert status(desk, name).inner_text().strip() == ""
    desk.get_by_role("button", name="Remove photo").click()
    desk.locator(".drop").wait_for()


def test_a_rejected_photo_lets_a_job_finish_and_a_new_one_ends_it(desk, photo):
    open_tab(desk, "Rotate")
    upload(desk, photo)
    press(desk, "Rotate", wait=False)
    desk.locator("#rotate-cancel").wait_for()
    choose(desk, b"not a photo", "broken.png")
    desk.locator(".say").get_by_text("is not an image").wait_for()
    status(desk, "Rotate").get_by_text("fitted in").wait_for(timeout=120_000)
    press(desk, "Rotate", wait=False)
    desk.locator("#rotate-cancel").wait_for()
    upload(desk, photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    desk.locator("#rotate-cancel").wait_for(state="hidden")
    desk.wait_for_timeout(4000)  # the fit would have ended by now
    result(desk, "Rotate").wait_for(state="detached")
    assert status(desk, "Rotate").inner_text().strip() == ""


def test_an_example_shows_its_result_at_once_and_can_be_run(page):
    tiles = page.locator(".tile:visible")
    assert tiles.count() >= 4
    tiles.first.click()
    result(page, "Complete").wait_for(timeout=10_000)
    assert "1 face" in status(page, "Complete").inner_text()
    page.wait_for_function("!document.querySelector('button.wipe').disabled")  # its mask is painted on
    press(page, "Complete", wait=False)
    page.locator("#complete-cancel").wait_for(state="hidden")
    result(page, "Complete").wait_for()
    for name in ("Symmetrize", "Rotate", "Normalize", "Transfer"):
        open_tab(page, name)
        assert tiles.count() >= 4
        names = tiles.evaluate_all("all => all.map(tile => tile.innerText.trim())")
        assert all(names)


def test_a_result_goes_on_to_another_tab(desk, photo):
    open_tab(desk, "Symmetrize")
    upload(desk, photo)
    press(desk, "Symmetrize")
    before = desk.locator(".picture img").get_attribute("src")
    result(desk, "Symmetrize").get_by_role("button", name="Normalize").click()
    desk.wait_for_function(
        "before => document.querySelector('.picture img').getAttribute('src') !== before", arg=before
    )
    assert desk.get_by_role("tab", name="Normalize").get_attribute("aria-selected") == "true"
    press(desk, "Normalize")


def test_a_tab_has_an_address_and_reloading_keeps_it(desk):
    open_tab(desk, "Normalize")
    assert desk.url.endswith("#normalize")
    desk.reload()
    desk.locator(".drop").wait_for()
    assert desk.get_by_role("button", name=TABS["Normalize"]).is_visible()
    assert not desk.get_by_role("button", name=TABS["Complete"]).is_visible()
    desk.goto(desk.url.split("#")[0] + "?tab=transfer")
    desk.get_by_role("button", name=TABS["Transfer"]).wait_for()


def test_the_chosen_tab_lies_on_the_screen(page, photo):
    page.goto(page.url.split("#")[0] + "?tab=transfer")
    card = page.get_by_role("tab", name="Transfer")
    upload(page, photo)  # the cards shrink
    page.wait_for_function(
        "card => { const { left, right } = card.getBoundingClientRect(); return left >= 0 && right <= innerWidth; }",
        arg=card.element_handle(),
    )


def test_a_generated_face_goes_on_to_another_tab_and_the_api_is_documented(desk):
    open_tab(desk, "Rotate")
    desk.get_by_role("button", name="Generate a face").click()
    made = desk.locator("#rotate-made")
    made.get_by_role("button", name="Symmetrize").click()
    desk.wait_for_function("document.querySelector('.picture img').naturalWidth")
    assert desk.get_by_role("button", name=TABS["Symmetrize"]).is_visible()
    desk.locator("footer").get_by_role("button", name="API").click()
    desk.get_by_text("/gradio_api/mcp/").first.wait_for()


CUT = """() => [...document.querySelectorAll("button, label, h1, h2, h3, p, span, a, figcaption, th, td, summary")]
    .filter((e) => e.checkVisibility({ visibilityProperty: true }) && e.closest(".gradio-container")
        && getComputedStyle(e).overflowX !== "visible" && e.clientWidth > 1 && e.scrollWidth > e.clientWidth + 1)
    .map((e) => e.outerHTML.slice(0, 120))"""


def test_every_tab_can_be_read_by_everybody(page, request):
    """Light on a desktop, dark on a phone: axe-core finds nothing serious, in any tab, empty or with a result; no text
    is cut off, and nothing is wider than the screen."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    dark = request.node.callspec.id == "phone"
    if dark:
        page.get_by_role("button", name="Switch between light and dark").click()
        page.wait_for_timeout(600)  # colours fade over
    assert page.evaluate("document.body.classList.contains('dark')") == dark

    def check(where):
        found = axe.run(page).response["violations"]
        serious = [
            (violation["id"], [node["html"][:160] for node in violation["nodes"][:3]])
            for violation in found
            if violation["impact"] in ("serious", "critical") or violation["id"] == "heading-order"
        ]
        assert not serious, (where, serious)
        assert not page.evaluate(CUT), where
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"], where
        if folder := os.environ.get("FACESYM_SCREENSHOTS"):
            name = f"{request.node.callspec.id}-{where.replace(' ', '-')}.png"
            page.screenshot(path=os.path.join(folder, name), full_page=True)

    check("at first")
    for name in TABS:
        open_tab(page, name)
        page.locator(".tile:visible").first.click()
        result(page, name).wait_for()
        if name == "Complete":
            page.get_by_text("Choose what to find").click()
            page.locator("#kinds").wait_for()
        if name == "Rotate":
            page.get_by_role("button", name="Generate a face").click()
            page.locator("#rotate-made .turn img[src]").wait_for()
        if name == "Transfer":
            page.get_by_text("Measure the asymmetry of many photos").click()
            page.get_by_role("button", name="Measure the photos").wait_for()
        check(name)
    assert page.evaluate("document.documentElement.lang") == "en"
