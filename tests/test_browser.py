"""The page in a browser, on a desktop and on a phone: what a visitor does with it."""

import io
import re

import numpy as np
import pytest
from browser import (
    FACE,
    TABS,
    as_bytes,
    browser,
    changed,
    contexts,
    desk,
    download,
    open_tab,
    page,
    paint,
    photo,
    press,
    result,
    status,
    upload,
)
from PIL import Image

__all__ = ["browser", "contexts", "desk", "page", "photo"]  # fixtures


def test_painted_stroke_is_completed_and_nothing_else_changes(page, photo):
    upload(page, photo)
    paint(page, photo.size, FACE, 25)
    press(page, "Complete")
    data, name = download(page, "Complete")
    image = Image.open(io.BytesIO(data))
    assert name == "photo-completed.png" and "AI" in image.info["Description"]
    (x0, y0, x1, y1), count = changed(photo, image.convert("RGB"))
    assert count > 150
    # The stroke runs from 139 to 189 at height 106; the brush adds its radius.
    assert 105 < x0 < 150 and 178 < x1 < 223 and y0 > 70 and y1 < 142
    assert "1 face" in status(page, "Complete").inner_text()
    page.get_by_text("How it was done").click()
    assert page.locator("#complete-extras figure").count() == 4


def test_large_rotated_photo_comes_back_upright_in_full_size(desk, photo):
    large = photo.resize((1600, 1600), Image.Resampling.BICUBIC).crop((0, 200, 1600, 1000))
    face = (5 * FACE[0], 5 * FACE[1] - 200)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, shown turned by 90 degrees
    upload(desk, large.transpose(Image.Transpose.ROTATE_90), exif=exif)
    paint(desk, large.size, face, 100)
    press(desk, "Complete")
    image = Image.open(io.BytesIO(download(desk, "Complete")[0])).convert("RGB")
    (x0, y0, x1, y1), count = changed(large, image)
    assert count > 4000
    assert face[0] - 250 < x0 < face[0] - 90 and face[0] + 90 < x1 < face[0] + 250
    assert y0 > face[1] - 150 and y1 < face[1] + 150


def test_uploaded_mask_is_completed(desk, photo):
    upload(desk, photo)
    mask = np.zeros((320, 320), np.uint8)
    mask[95:120, 130:200] = 255
    desk.get_by_text("Or use a mask picture").click()
    desk.locator("#mask input[type=file]").set_input_files(
        {"name": "mask.png", "mimeType": "image/png", "buffer": as_bytes(Image.fromarray(mask))}
    )
    desk.locator("#mask img").wait_for()
    press(desk, "Complete")
    image = Image.open(io.BytesIO(download(desk, "Complete")[0])).convert("RGB")
    (x0, y0, x1, y1), count = changed(photo, image)
    assert x0 >= 130 and x1 < 200 and y0 >= 95 and y1 < 120
    assert count > 0.8 * (mask > 0).sum()


def test_the_canvas_lies_on_the_photo_and_strokes_can_be_seen_through_undone_and_cleared(page, photo):
    tall = photo.crop((60, 0, 260, 320))
    upload(page, tall)
    photo_box, canvas_box = (page.locator(f".picture {part}").bounding_box() for part in ("img", "canvas"))
    assert photo_box == canvas_box
    assert photo_box["width"] > 150 and photo_box["x"] + photo_box["width"] <= page.viewport_size["width"]
    assert abs(photo_box["width"] / photo_box["height"] - 200 / 320) < 0.01
    assert 0.3 < float(page.locator(".picture canvas").evaluate("c => getComputedStyle(c).opacity")) < 0.8
    count = (
        "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
        ".filter((v, i) => i % 4 === 3 && v).length"
    )

    def painted():
        return page.locator(".picture canvas").evaluate(count)

    paint(page, tall.size, (104, 80), 20)
    first = painted()
    paint(page, tall.size, (104, 140), 20)
    assert painted() > first > 100
    page.get_by_role("button", name="Undo").click()
    assert painted() == first
    page.get_by_role("button", name="Clear strokes").click()
    assert painted() == 0 and page.locator(".picture img").is_visible()


def test_before_and_after_lie_on_each_other(page, photo):
    open_tab(page, "Symmetrize")
    for image in (photo, photo.crop((60, 0, 260, 320))):
        upload(page, image)
        press(page, "Symmetrize")
        shown = result(page, "Symmetrize")
        page.wait_for_function(
            "[...document.querySelectorAll('#symmetrize-result .compare img')].every(image => image.naturalWidth)"
        )
        before, after = (shown.locator(f".compare .{side}").bounding_box() for side in ("before", "after"))
        assert all(abs(before[key] - after[key]) < 0.6 for key in before)
        assert before["width"] > 100
    slider = shown.get_by_label("Before and after")
    slider.focus()
    slider.press("ArrowRight")
    assert shown.locator(".compare").evaluate("box => box.style.getPropertyValue('--at')") == "51%"
    shown.get_by_role("button", name="Side by side").click()
    before, after = (shown.locator(f".compare .{side}").bounding_box() for side in ("before", "after"))
    assert before["x"] + before["width"] <= after["x"] and abs(before["y"] - after["y"]) < 1


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
    assert "Getting the model" not in status(page, "Rotate").inner_text()
    assert page.locator(".toast-wrap *").count() == 0
    open_tab(page, "Complete")
    press(page, "Complete", wait=False)
    status(page, "Complete").get_by_text("Nothing is marked yet").wait_for()


def test_a_file_that_is_no_picture_is_refused_at_once_and_the_photo_stays(desk, photo):
    upload(desk, photo)
    paint(desk, photo.size, FACE, 25)
    src = desk.locator(".picture img").get_attribute("src")
    desk.locator("input[aria-label='Choose a photo']").set_input_files(
        {"name": "text.jpg", "mimeType": "image/jpeg", "buffer": b"not a picture"}
    )
    desk.locator(".say.error").get_by_text("text.jpg is not an image").wait_for()
    assert desk.locator(".picture img").get_attribute("src") == src
    press(desk, "Complete")


def test_heic_is_read(desk, photo):
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_pillow(photo).save(file)
    upload(desk, file.getvalue(), "IMG_0001.HEIC")
    assert desk.locator(".picture img").evaluate("image => image.naturalWidth") == 320


def test_a_new_photo_clears_every_tabs_result(page, photo):
    upload(page, photo)
    for name in ("Symmetrize", "Normalize"):
        open_tab(page, name)
        press(page, name)
    upload(page, photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    for name in ("Normalize", "Symmetrize"):
        open_tab(page, name)
        result(page, name).wait_for(state="detached")
        assert status(page, name).inner_text().strip() == ""
    page.get_by_role("button", name="Remove photo").click()
    page.locator(".drop").wait_for()


def test_several_faces_are_clicked_and_named(page, photo):
    pair = Image.new("RGB", (640, 320))
    pair.paste(photo, (0, 0))
    pair.paste(photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (320, 0))
    open_tab(page, "Symmetrize")
    upload(page, pair)
    faces = page.locator(".faces button")
    faces.nth(1).wait_for()
    faces.nth(1).click()
    assert faces.nth(1).get_attribute("aria-pressed") == "true"
    press(page, "Symmetrize")
    (x0, *_), _ = changed(pair, Image.open(io.BytesIO(download(page, "Symmetrize")[0])).convert("RGB"))
    assert x0 >= 320
    page.get_by_label("Every face in the photo").check()
    press(page, "Symmetrize", wait=False)
    page.locator("#symmetrize-extras").get_by_text("Face 2, counted from the left").wait_for()
    figures = page.locator("#symmetrize-extras figure")
    assert figures.count() == 8
    extras = page.locator("#symmetrize-extras")
    assert extras.evaluate("box => box.scrollHeight <= box.clientHeight + 1")  # no row is cut in half


def test_transfer_and_its_grid(page, photo):
    open_tab(page, "Transfer")
    upload(page, photo)
    assert page.locator("#transfer-expression").get_by_label("happy").is_checked()
    page.locator("#transfer-expression").get_by_text("as it is").click()
    press(page, "Transfer", wait=False)
    status(page, "Transfer").get_by_text("Choose an expression").wait_for()
    page.locator("#transfer-expression").get_by_text("happy").click()
    page.get_by_label("Also show each change alone").check()
    press(page, "Transfer")
    figures = page.locator("#transfer-extras figure")
    assert figures.count() == 12
    below = figures.evaluate_all(
        "all => all.every(f => f.querySelector('figcaption').getBoundingClientRect().top >= "
        "f.querySelector('img').getBoundingClientRect().bottom)"
    )
    assert below  # captions cover no mouth
    data, name = download(page, "Transfer", "Whole photo")
    assert name == "photo-happy-whole-photo.png" and Image.open(io.BytesIO(data)).size == photo.size
    assert download(page, "Transfer", "All of them")[0][:2] == b"PK"


def test_normalize_and_the_way_there(desk, photo):
    open_tab(desk, "Normalize")
    upload(desk, photo)
    press(desk, "Normalize")
    result(desk, "Normalize").get_by_role("button", name="The way there").click()
    shown, slider = desk.locator("#normalize-result .turn img"), desk.locator("#normalize-result .turn input")
    before = shown.get_attribute("src")
    slider.focus()
    slider.press("ArrowLeft")
    assert shown.get_attribute("src") != before
    for label in ("Before | after", "Before ⇄ after", "Result"):
        assert b"AI" in download(desk, "Normalize", label)[0]


def test_rotate_turns_in_whole_degrees_and_can_be_stopped(page, photo):
    open_tab(page, "Rotate")
    upload(page, photo)
    press(page, "Rotate", wait=False)
    page.get_by_role("button", name="Cancel").click()
    status(page, "Rotate").get_by_text("Stopped.").wait_for()
    press(page, "Rotate", wait=False)
    status(page, "Rotate").get_by_text("fitted in").wait_for(timeout=120_000)
    labels = []
    slider = page.locator("#rotate-result .turn input")
    slider.focus()
    slider.press("Home")
    for _ in range(int(slider.get_attribute("max")) + 1):
        labels.append(page.locator("#rotate-result output").inner_text())
        slider.press("ArrowRight")
    assert len(labels) > 1 and all(re.fullmatch(r"[+-]\d+°", label) for label in labels)
    data, name = download(page, "Rotate", "Turning head (GIF)")
    assert name == "photo-turning.gif" and b"AI" in Image.open(io.BytesIO(data)).info["comment"]


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


def test_a_result_goes_on_to_another_tab(page, photo):
    open_tab(page, "Symmetrize")
    upload(page, photo)
    press(page, "Symmetrize")
    before = page.locator(".picture img").get_attribute("src")
    result(page, "Symmetrize").get_by_role("button", name="Normalize").click()
    page.wait_for_function(
        "before => document.querySelector('.picture img').getAttribute('src') !== before", arg=before
    )
    assert page.get_by_role("tab", name="Normalize").get_attribute("aria-selected") == "true"
    press(page, "Normalize")


def test_a_photo_is_pasted(desk, photo):
    desk.evaluate(
        """async (bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "pasted.png", {type: "image/png"}));
            document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true}));
        }""",
        list(as_bytes(photo)),
    )
    desk.locator(".stage[data-state=photo]").wait_for()


def test_a_tab_has_an_address_and_reloading_keeps_it(desk):
    open_tab(desk, "Normalize")
    assert desk.url.endswith("#normalize")
    desk.reload()
    desk.locator(".drop").wait_for()
    assert desk.get_by_role("button", name=TABS["Normalize"]).is_visible()
    assert not desk.get_by_role("button", name=TABS["Complete"]).is_visible()
    desk.goto(desk.url.split("#")[0] + "?tab=transfer")
    desk.get_by_role("button", name=TABS["Transfer"]).wait_for()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nobody_is_left_out(page, photo, theme):
    """axe-core finds nothing serious, in any tab, empty or with a result."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    if theme == "dark":
        page.get_by_role("button", name="Switch between light and dark").click()
        page.wait_for_timeout(600)  # colours fade over
    assert page.evaluate("document.body.classList.contains('dark')") == (theme == "dark")

    def check(where):
        found = axe.run(page).response["violations"]
        serious = [
            (violation["id"], [node["html"][:160] for node in violation["nodes"][:3]])
            for violation in found
            if violation["impact"] in ("serious", "critical") or violation["id"] == "heading-order"
        ]
        assert not serious, (where, serious)

    check("at first")
    open_tab(page, "Symmetrize")
    page.locator(".tile:visible").first.click()
    result(page, "Symmetrize").wait_for()
    check("with a result")
    for name in ("Rotate", "Transfer"):
        open_tab(page, name)
        check(name)
    assert page.evaluate("document.documentElement.lang") == "en"
