"""The photo on the page, in a browser: adding it, painting on it."""

import io
import re

import numpy as np
import pytest
from app_server import start_server
from PIL import Image
from visitor import (
    FACE,
    as_bytes,
    changed,
    choose,
    download,
    open_tab,
    paint,
    press,
    result,
    status,
    upload,
    with_glasses,
)


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
    page.get_by_text("Intermediate results").click()
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
    desk.get_by_text("Or upload a mask").click()
    desk.locator("#mask input[type=file]").set_input_files(
        {"name": "mask.png", "mimeType": "image/png", "buffer": as_bytes(Image.fromarray(mask))}
    )
    desk.locator("#mask img").wait_for()
    press(desk, "Complete")
    image = Image.open(io.BytesIO(download(desk, "Complete")[0])).convert("RGB")
    (x0, y0, x1, y1), count = changed(photo, image)
    assert x0 >= 130 and x1 < 200 and y0 >= 95 and y1 < 120
    assert count > 0.8 * (mask > 0).sum()


def test_a_photo_that_the_server_never_reads_frees_the_buttons(browser, photo):
    page = browser.new_page()
    page.add_init_script("const wait = setTimeout; setTimeout = (f, ms) => wait(f, ms > 1e5 ? 500 : ms)")
    page.goto(start_server())
    page.locator(".drop").wait_for()
    page.route("**/queue/join*", lambda route: route.abort())
    choose(page, as_bytes(photo), "photo.png")
    page.get_by_text("The server does not answer").wait_for()
    assert not page.locator(".stage.busy").count()
    page.close()


PAINTED = (
    "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
    ".filter((v, i) => i % 4 === 3 && v).length"
)


def painted(page):
    """How many pixels of the canvas are painted."""
    return page.locator(".picture canvas").evaluate(PAINTED)


def test_what_hides_the_face_is_found_and_added_to_the_strokes(desk, photo):
    dark = with_glasses(photo, FACE, 34)
    upload(desk, dark)
    paint(desk, photo.size, (40, 290), 10)
    stroke = painted(desk)
    desk.get_by_role("button", name="Find what covers the face").click()
    status(desk, "Complete").get_by_text("of the photo was marked").wait_for()
    desk.wait_for_function(f"n => ({PAINTED})(document.querySelector('.picture canvas')) > n", arg=stroke)
    alpha = "(c, [x, y]) => c.getContext('2d').getImageData(x, y, 1, 1).data[3]"
    canvas = desk.locator(".picture canvas")
    assert canvas.evaluate(alpha, [145, 108]) and canvas.evaluate(alpha, [40, 290])
    assert not canvas.evaluate(alpha, [164, 10])
    assert painted(desk) > stroke + 500
    press(desk, "Complete")
    desk.get_by_role("button", name="Undo").click()
    assert painted(desk) == stroke


def test_visitors_choose_what_is_found_and_read_what_was(desk, photo):
    upload(desk, with_glasses(photo, FACE, 34))
    find = desk.get_by_role("button", name="Find what covers the face")
    desk.get_by_text("Choose what to find").click()
    boxes = desk.locator("#kinds").get_by_role("checkbox")
    boxes.first.wait_for()
    hair = desk.get_by_label("hair", exact=True)
    assert boxes.count() == 6 and not hair.is_checked()
    for box in boxes.all():
        box.uncheck()
    find.click()
    status(desk, "Complete").get_by_text("at least one kind").wait_for()
    hair.check()
    find.click()
    status(desk, "Complete").get_by_text("choose other kinds").wait_for()
    desk.get_by_label("sunglasses", exact=True).check()
    find.click()
    status(desk, "Complete").get_by_text("sunglasses on").wait_for()
    assert re.search(r"marked: sunglasses on [1-3]\d % of the face\.", status(desk, "Complete").inner_text())


def test_what_is_painted_and_chosen_during_the_search_stays(desk, photo):
    pair = Image.new("RGB", (640, 320))
    pair.paste(with_glasses(photo, FACE, 34), (0, 0))
    pair.paste(photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (320, 0))
    upload(desk, pair)
    open_tab(desk, "Symmetrize")
    faces = desk.locator(".faces button")
    faces.nth(1).wait_for()
    pressed = [faces.nth(i).get_attribute("aria-pressed") for i in (0, 1)]
    open_tab(desk, "Complete")
    held = []
    desk.route("**/queue/join*", lambda route: held.append(route))  # playwright takes no built-in function
    desk.get_by_role("button", name="Find what covers the face").click()
    paint(desk, pair.size, (40, 290), 10)
    stroke = painted(desk)
    open_tab(desk, "Symmetrize")
    faces.nth(pressed.index("false")).click()
    open_tab(desk, "Complete")
    held.pop().continue_()
    desk.unroute("**/queue/join*")
    status(desk, "Complete").get_by_text("of the photo was marked").wait_for()
    desk.wait_for_function(f"n => ({PAINTED})(document.querySelector('.picture canvas')) > n", arg=stroke)
    assert [faces.nth(i).get_attribute("aria-pressed") for i in (0, 1)] == pressed[::-1]
    press(desk, "Complete")  # the stroke alone touches no face
    assert "1 face" in status(desk, "Complete").inner_text()


def test_a_mask_that_is_not_found_is_told_and_strokes_stay(desk, photo):
    find = desk.get_by_role("button", name="Find what covers the face")
    upload(desk, Image.new("RGB", (320, 320), "grey"))
    find.click()
    status(desk, "Complete").get_by_text("No face was found").wait_for()
    upload(desk, photo)
    paint(desk, photo.size, FACE, 25)
    stroke = painted(desk)
    find.click()
    status(desk, "Complete").get_by_text("Paint over what covers the face").wait_for()
    assert desk.get_by_role("button", name="Complete the face").is_visible() and painted(desk) == stroke


def test_the_canvas_lies_on_the_photo_and_strokes_can_be_seen_through_undone_and_cleared(page, photo):
    tall = photo.crop((60, 0, 260, 320))
    upload(page, tall)
    photo_box, canvas_box = (page.locator(f".picture {part}").bounding_box() for part in ("img", "canvas"))
    assert photo_box == canvas_box
    assert photo_box["width"] > 150 and photo_box["x"] + photo_box["width"] <= page.viewport_size["width"]
    assert abs(photo_box["width"] / photo_box["height"] - 200 / 320) < 0.01
    assert 0.3 < float(page.locator(".picture canvas").evaluate("c => getComputedStyle(c).opacity")) < 0.8
    paint(page, tall.size, (104, 80), 20)
    first = painted(page)
    paint(page, tall.size, (104, 140), 20)
    assert painted(page) > first > 100
    page.get_by_role("button", name="Undo").click()
    assert painted(page) == first
    page.get_by_role("button", name="Clear strokes").click()
    assert painted(page) == 0 and page.locator(".picture img").is_visible()


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


def test_a_button_pressed_while_the_photo_is_read_waits_for_it(desk, photo):
    open_tab(desk, "Symmetrize")
    held = []
    desk.route("**/queue/join*", lambda route: held.append(route))
    with desk.expect_request("**/queue/join*"):
        desk.locator("input[aria-label='Choose a photo']").set_input_files(
            {"name": "photo.png", "mimeType": "image/png", "buffer": as_bytes(photo)}
        )
    press(desk, "Symmetrize", wait=False)
    desk.locator(".say").get_by_text("“Make it symmetric” starts when it is there").wait_for()
    assert not status(desk, "Symmetrize").get_by_text("Add a photo").count()
    held.pop().continue_()
    desk.unroute("**/queue/join*")
    result(desk, "Symmetrize").wait_for()


def test_a_photo_that_is_removed_while_it_is_read_does_not_come_back(desk, photo):
    upload(desk, photo)
    held = []
    desk.route("**/gradio_api/upload*", lambda route: held.append(route))
    choose(desk, as_bytes(photo.rotate(180)), "second.png")
    desk.wait_for_timeout(300)
    desk.get_by_role("button", name="Remove photo").click()
    desk.locator(".stage[data-state=empty]").wait_for()
    with desk.expect_response("**/gradio_api/upload*"):
        held.pop().continue_()
    desk.unroute("**/gradio_api/upload*")
    desk.wait_for_timeout(2000)  # by now, it would have been read
    assert desk.locator(".stage[data-state=empty]").count() and not desk.locator(".stage.busy").count()


def test_of_two_photos_the_later_one_stays_whichever_arrives_first(desk, photo):
    wide, held = Image.new("RGB", (400, 200), "grey"), []
    desk.route("**/gradio_api/upload*", lambda route: held.append(route))
    choose(desk, as_bytes(wide), "first.png")
    desk.wait_for_timeout(300)
    choose(desk, as_bytes(photo), "second.png")
    desk.wait_for_timeout(300)
    first, second = held
    second.continue_()
    desk.wait_for_function("document.querySelector('.picture img').naturalWidth === 320")
    with desk.expect_response("**/gradio_api/upload*"):
        first.continue_()
    desk.unroute("**/gradio_api/upload*")
    desk.wait_for_timeout(2000)
    assert desk.locator(".picture img").evaluate("image => image.naturalHeight") == 320


def test_after_a_reload_the_page_says_what_to_do(desk, photo):
    """As Gradio reloads it after a lost connection."""
    upload(desk, photo)
    desk.reload()
    desk.locator(".say").get_by_text("The page was reloaded: add the photo again.").wait_for()
    desk.reload()
    desk.locator(".drop").wait_for()
    assert not desk.locator(".say").inner_text().strip()


def test_two_fingers_do_not_paint(desk, photo):
    upload(desk, photo)
    fire = (
        "(canvas, [type, options]) => canvas.dispatchEvent(new PointerEvent(type,"
        " { bubbles: true, cancelable: true, pointerType: 'touch', ...options }))"
    )
    box = desk.locator(".picture canvas").bounding_box()
    first = {"clientX": box["x"] + 40, "clientY": box["y"] + 40, "pointerId": 1, "isPrimary": True}
    second = {"clientX": box["x"] + 160, "clientY": box["y"] + 160, "pointerId": 2, "isPrimary": False}
    for kind, options in (
        ("pointerdown", first), ("pointerdown", second), ("pointermove", second), ("pointercancel", first),
    ):  # fmt: skip
        desk.locator(".picture canvas").evaluate(fire, [kind, options])
    assert painted(desk) == 0 and desk.locator("button.undo").is_disabled()


def test_heic_is_read(desk, photo):
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_pillow(photo).save(file)
    upload(desk, file.getvalue(), "IMG_0001.HEIC")
    assert desk.locator(".picture img").evaluate("image => image.naturalWidth") == 320


def test_a_mask_that_is_no_picture_is_refused_at_once_and_nothing_offers_to_share_it(desk, photo):
    upload(desk, photo)
    desk.get_by_text("Or upload a mask").click()
    choose = desk.locator("#mask input[type=file]")
    choose.set_input_files({"name": "mask.png", "mimeType": "image/png", "buffer": b"not a picture"})
    refusal = desk.locator("#mask-refusal").get_by_text("mask.png is not an image")
    refusal.wait_for()
    choose.set_input_files({"name": "good.png", "mimeType": "image/png", "buffer": as_bytes(photo)})
    desk.locator("#mask img").wait_for()
    refusal.wait_for(state="detached")
    assert desk.get_by_label("Share").count() == 0


def test_a_photo_that_was_scaled_down_is_named_without_the_servers_folders(page):
    width = page.viewport_size["width"]
    upload(
        page,
        Image.new("RGB", (6000, 5000), "grey"),
        "a-very-long-name-" + 8 * "0123456789" + ".jpg",
        kind="JPEG",
    )
    page.locator(".say").get_by_text("was scaled down from 6000x5000").wait_for()
    assert page.locator(".say").inner_text().startswith("a-very-long-name")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_photo_is_taken_with_the_camera(desk):
    desk.get_by_role("button", name="Use the camera").click()
    desk.locator(".stage[data-state=camera]").wait_for()
    desk.wait_for_function("document.querySelector('.picture video').videoWidth")
    desk.get_by_role("button", name="Take the photo").click()
    desk.locator(".stage[data-state=photo]").wait_for()
    assert desk.locator(".picture img").get_attribute("src").startswith("gradio_api/")


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
