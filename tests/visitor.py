"""What a visitor does on the page, for its tests in a browser."""

import io

import numpy as np
from PIL import ImageDraw

TABS = {
    "Complete": "Complete the face",
    "Symmetrize": "Make it symmetric",
    "Rotate": "Turn the head",
    "Normalize": "Make it frontal",
    "Transfer": "Change the face",
}
FACE = (164, 106)  # between the eyes, in the picture of `photo`


def as_bytes(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def choose(page, data, name):
    """Choose a photo's file: its bytes and name."""
    page.locator("input[aria-label='Choose a photo']").set_input_files(
        {"name": name, "mimeType": "image/png", "buffer": data}
    )


def upload(page, image, name="photo.png", **options):
    """Add a photo (an image, or a file's bytes) and wait until it is there."""
    before = page.locator(".picture img").get_attribute("src")
    choose(page, image if isinstance(image, bytes) else as_bytes(image, **options), name)
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


def with_glasses(image, face, reach):
    """A photo with sunglasses: `reach` pixels to both sides of the point `face` between the eyes."""
    image, (x, y) = image.copy(), face
    draw = ImageDraw.Draw(image)
    for middle in (x - 0.55 * reach, x + 0.55 * reach):
        box = middle - 0.45 * reach, y - 0.3 * reach, middle + 0.45 * reach, y + 0.35 * reach
        draw.rounded_rectangle(box, 0.15 * reach, "black")
    draw.line((x - reach, y - 0.2 * reach, x + reach, y - 0.2 * reach), "black", round(0.15 * reach))
    return image


def changed(before, after):
    """(x0, y0, x1, y1) around the pixels that differ, and how many do."""
    assert before.size == after.size
    differs = (np.asarray(before) != np.asarray(after)).any(2)
    ys, xs = differs.nonzero()
    return (xs.min(), ys.min(), xs.max(), ys.max()), int(differs.sum())
