"""The page's section Measure the asymmetry of many photos, in a browser."""

from PIL import Image
from visitor import as_bytes


def test_many_photos_give_a_report_and_a_table(page, photo):
    study = page.locator("#study")
    study.get_by_text("Measure the asymmetry of many photos").click()
    page.get_by_role("button", name="Measure the photos").click()
    refusal = study.get_by_role("alert").get_by_text("Add photos first.")
    assert refusal.evaluate("p => getComputedStyle(p).color") == "rgb(166, 27, 27)"  # like every error
    files = {"anna_rest.png": as_bytes(photo), "wall.png": as_bytes(Image.new("RGB", (64, 64)))}
    study.locator("input[type=file]").first.set_input_files(
        [{"name": name, "mimeType": "image/png", "buffer": data} for name, data in files.items()]
    )
    study.get_by_text("wall").first.wait_for()
    page.get_by_role("button", name="Measure the photos").click()
    study.get_by_text("1 photo measured, 1 failed").wait_for()
    rows = study.locator("#study-table tbody tr")
    assert rows.count() == 2 and rows.nth(0).inner_text().split()[:3] == ["anna_rest.png", "anna", "rest"]
    refusal = rows.nth(1).inner_text()
    assert "No face was found" in refusal and "aligned=True" not in refusal
    with page.expect_download() as saved:
        study.locator("#study-files a").first.click()
    with open(saved.value.path(), "rb") as file:
        assert b"Not a diagnosis" in file.read()
