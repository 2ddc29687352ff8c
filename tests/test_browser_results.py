"""The tabs' results on the page, in a browser: comparing, sliding, saving."""

import io
import re

from PIL import Image
from visitor import changed, download, open_tab, press, result, status, upload


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


def test_close_ups_show_nothing_that_the_photo_does_not(desk, photo):
    """The aligned crop of a close-up reaches beyond the photo; the result has the photo's shape."""
    close = photo.crop((124, 50, 212, 182))
    open_tab(desk, "Transfer")
    upload(desk, close.resize((352, 528)))
    press(desk, "Transfer")
    with Image.open(io.BytesIO(download(desk, "Transfer")[0])) as face:
        assert abs(face.width / face.height - 2 / 3) < 0.06


def test_a_small_face_is_shown_close_up(desk, photo):
    wide = Image.new("RGB", (1000, 1000), "grey")
    wide.paste(photo, (200, 300))
    open_tab(desk, "Symmetrize")
    upload(desk, wide)
    press(desk, "Symmetrize")
    views = result(desk, "Symmetrize").locator(".views button")
    assert views.all_inner_texts() == ["Close-up", "Photo"]
    image = desk.locator("#symmetrize-result .after")
    assert image.evaluate("i => i.decode().then(() => i.naturalWidth)") < 500
    assert download(desk, "Symmetrize", "Faces and maps")[0][:2] == b"PK"


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
    page.locator("#symmetrize-extras").get_by_text("Face 2 from the left").wait_for()
    figures = page.locator("#symmetrize-extras figure")
    assert figures.count() == 8
    extras = page.locator("#symmetrize-extras")
    assert extras.evaluate("box => box.scrollHeight <= box.clientHeight + 1")  # no row is cut in half


def test_transfer_and_its_grid(desk, photo):
    open_tab(desk, "Transfer")
    upload(desk, photo)
    assert desk.locator("#transfer-expression").get_by_label("happy").is_checked()
    desk.locator("#transfer-expression").get_by_text("unchanged").click()
    press(desk, "Transfer", wait=False)
    status(desk, "Transfer").get_by_text("Choose an expression").wait_for()
    desk.locator("#transfer-expression").get_by_text("happy").click()
    desk.get_by_label("Also show each change on its own").check()
    press(desk, "Transfer")
    figures = desk.locator("#transfer-extras figure")
    assert figures.count() == 12
    below = figures.evaluate_all(
        "all => all.every(f => f.querySelector('figcaption').getBoundingClientRect().top >= "
        "f.querySelector('img').getBoundingClientRect().bottom)"
    )
    assert below  # captions cover no mouth
    data, name = download(desk, "Transfer", "Whole photo")
    assert name == "photo-happy-whole-photo.png" and Image.open(io.BytesIO(data)).size == photo.size
    assert download(desk, "Transfer", "All images")[0][:2] == b"PK"


def test_normalize_and_the_way_there(desk, photo):
    open_tab(desk, "Normalize")
    upload(desk, photo)
    press(desk, "Normalize")
    result(desk, "Normalize").get_by_role("button", name="Steps in between").click()
    shown, slider = desk.locator("#normalize-result .turn img"), desk.locator("#normalize-result .turn input")
    before = shown.get_attribute("src")
    slider.focus()
    slider.press("ArrowLeft")
    assert shown.get_attribute("src") != before
    for label in ("Before | after", "Before ⇄ after", "Result"):
        assert b"AI" in download(desk, "Normalize", label)[0]


def test_rotate_turns_in_whole_degrees_and_can_be_stopped(desk, photo):
    open_tab(desk, "Rotate")
    upload(desk, photo)
    press(desk, "Rotate", wait=False)
    # Without waiting until the button is at rest: the fit takes only three seconds here.
    desk.get_by_role("button", name="Cancel").dispatch_event("click")
    status(desk, "Rotate").get_by_text("Stopped.").wait_for()
    desk.wait_for_timeout(1000)  # Gradio ignores a click until it has heard that the run was cancelled
    press(desk, "Rotate", wait=False)
    status(desk, "Rotate").get_by_text("fitted in").wait_for(timeout=120_000)
    labels = []
    slider = desk.locator("#rotate-result .turn input")
    slider.focus()
    slider.press("Home")
    for _ in range(int(slider.get_attribute("max")) + 1):
        labels.append(desk.locator("#rotate-result output").inner_text())
        slider.press("ArrowRight")
    assert len(labels) > 1 and all(re.fullmatch(r"[+-][1-9]\d*°|0°", label) for label in labels)
    data, name = download(desk, "Rotate", "Save this view")
    assert name == f"photo-turning_{labels[-1][:-1]}.webp" and Image.open(io.BytesIO(data)).width > 300
    data, name = download(desk, "Rotate", "Turning head (GIF)")
    assert name == "photo-turning.gif" and b"AI" in Image.open(io.BytesIO(data)).info["comment"]


def test_before_is_shown_by_the_keyboard_too(desk, photo):
    open_tab(desk, "Symmetrize")
    upload(desk, photo)
    press(desk, "Symmetrize")
    compare = desk.locator("#symmetrize-result .compare")
    desk.locator("#symmetrize-result").get_by_role("button", name="Hold to see before").click()
    compare.focus()
    for held in (True, False):
        desk.keyboard.press("Space")
        assert ("held" in compare.get_attribute("class").split()) == held
        assert compare.get_attribute("aria-pressed") == str(held).lower()
    desk.locator("#symmetrize-result").get_by_role("button", name="Slider").click()
    assert compare.get_attribute("role") is None
