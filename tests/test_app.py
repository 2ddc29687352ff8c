"""The page's server: its API, its limits, its errors, and that no one sees another's pictures."""

import asyncio
import base64
import io
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from app_server import ROOT, start_server
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from visitor import with_glasses

EXAMPLES = ROOT / "spaces" / "examples"
PAIRS = [
    (EXAMPLES / "astronaut.jpg", EXAMPLES / "astronaut-half.png"),
    (EXAMPLES / "grace-hopper.jpg", EXAMPLES / "grace-hopper-hand.png"),
]


@pytest.fixture(scope="module")
def url():
    return start_server()


@pytest.fixture
def client(url, tmp_path):
    return Client(url, verbose=False, download_files=tmp_path / "downloads")


def ask(client, photo, mask, faces="all"):
    return client.predict(handle_file(photo), handle_file(mask), faces, api_name="/complete")


def test_two_people_at_once_get_their_own_pictures(url, tmp_path):
    """At the same moment, twice: what is outside the mask is each one's own photo, bit for bit."""
    together = threading.Barrier(2)

    def person(number):
        client = Client(url, verbose=False, download_files=tmp_path / str(number))
        photo, mask = PAIRS[number]
        before, hole = (
            np.asarray(Image.open(photo).convert("RGB")),
            np.asarray(Image.open(mask).convert("L")) > 127,
        )
        for _ in range(2):
            together.wait(300)
            file, _ = ask(client, photo, mask)
            after = np.asarray(Image.open(file).convert("RGB"))
            assert after.shape == before.shape
            assert (after[~hole] == before[~hole]).all()
            assert (after[hole] != before[hole]).any()

    with ThreadPoolExecutor(2) as people:
        list(people.map(person, range(2)))


def test_every_result_has_an_address_of_its_own(url):
    """Even for the same photo: no file is written twice, and no address can be guessed."""
    client = Client(url, verbose=False, download_files=False)
    addresses = {ask(client, *PAIRS[0])[0]["url"] for _ in range(2)}
    assert len(addresses) == 2


def test_result_is_tagged_as_edited(client):
    file, numbers = ask(client, *PAIRS[0])
    assert Path(file).name == "astronaut-completed.png"
    with Image.open(file) as image:
        assert "AI" in image.info["Description"]
        assert "compositeWithTrainedAlgorithmicMedia" in image.info["XML:com.adobe.xmp"]
    assert "1 face" in numbers and "2.0 %" in numbers


def test_what_hides_a_face_is_found_for_programs(client, tmp_path):
    photo = Image.open(PAIRS[0][0]).convert("RGB")
    with_glasses(photo, (164, 106), 34).save(tmp_path / "dark.png")
    file = client.predict(handle_file(tmp_path / "dark.png"), api_name="/find_mask")
    with Image.open(file) as mask:
        assert mask.size == photo.size and mask.getpixel((140, 106)) == 255 and mask.getpixel((164, 10)) == 0
    Image.new("RGB", (320, 320), "grey").save(tmp_path / "wall.png")
    for name, reason in ((tmp_path / "wall.png", "No face was found"), (PAIRS[0][0], "Found nothing")):
        with pytest.raises(AppError, match=reason):
            client.predict(handle_file(name), api_name="/find_mask")
    for kinds, reason in (
        (["mask", "hair"], "Found nothing"),
        ([], "at least one kind"),
        (["hat"], "'hat' .*not in the list"),
    ):
        with pytest.raises(AppError, match=reason):
            client.predict(handle_file(tmp_path / "dark.png"), kinds, api_name="/find_mask")
    chosen = client.predict(handle_file(tmp_path / "dark.png"), ["sunglasses"], api_name="/find_mask")
    assert (np.asarray(Image.open(chosen)) == np.asarray(Image.open(file))).mean() > 0.99
    default = client.predict(handle_file(tmp_path / "dark.png"), None, api_name="/find_mask")
    assert Path(default).read_bytes() == Path(file).read_bytes()


def test_rotated_photo_comes_back_upright(client, tmp_path):
    photo, mask = PAIRS[1]
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = Image.open(photo)
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "lying.png", exif=exif)
    file, _ = ask(client, tmp_path / "lying.png", mask)
    after, before = np.asarray(Image.open(file)), np.asarray(upright)
    hole = np.asarray(Image.open(mask).convert("L")) > 127
    assert (after[~hole] == before[~hole]).all()


def test_bad_pictures_are_refused_with_a_reason(client, tmp_path):
    photo, mask = PAIRS[0]
    (tmp_path / "text.jpg").write_text("not a picture")
    Image.new("L", (320, 320)).save(tmp_path / "black.png")
    Image.new("RGB", (320, 320), "grey").save(tmp_path / "wall.png")
    Image.new("1", (13000, 13000)).save(tmp_path / "bomb.png")  # 169 megapixels in some kilobytes
    for picture, hole, reason in [
        (tmp_path / "text.jpg", mask, "text.jpg is not an image"),
        (photo, tmp_path / "text.jpg", "text.jpg is not an image"),
        (photo, PAIRS[1][1], "save the mask at the photo's size, 320x320"),
        (photo, tmp_path / "black.png", "mask is empty"),
        (tmp_path / "wall.png", mask, "No face was found"),
        (tmp_path / "bomb.png", mask, "too large"),
        (photo, tmp_path / "bomb.png", "too large"),
    ]:
        with pytest.raises(AppError) as error:
            ask(client, picture, hole)
        assert reason in str(error.value)
        assert str(tmp_path.parent) not in str(error.value) and "cache" not in str(error.value)


def test_too_large_an_upload_is_refused(client, tmp_path):
    (tmp_path / "huge.png").write_bytes(bytes(43_000_000))
    with pytest.raises(Exception, match=r"(?i)413|size|large"):
        ask(client, tmp_path / "huge.png", PAIRS[0][1])


def test_only_the_documented_calls_are_public(client):
    api = client.view_api(return_format="dict", print_info=False)
    assert (
        list(api["named_endpoints"])
        == [
            "/complete",
            "/find_mask",
            "/symmetrize",
            "/generate",
            "/rotate",
            "/normalize",
            "/transfer",
            "/study",
        ]
        and not api["unnamed_endpoints"]
    )
    call = api["named_endpoints"]["/complete"]
    assert [p["parameter_name"] for p in call["parameters"]] == ["photo", "mask", "faces"]
    assert "label the result as edited" in call["description"]


def test_symmetrize_changes_the_face_and_gives_numbers(client):
    photo = PAIRS[0][0]
    file, faces = client.predict(handle_file(photo), "largest", api_name="/symmetrize")
    before, after = np.asarray(Image.open(photo).convert("RGB")), np.asarray(Image.open(file).convert("RGB"))
    changed = (before != after).any(2)
    assert 0.02 < changed.mean() < 0.6 and Path(file).name == "astronaut-symmetric.png"
    (numbers,) = faces
    assert 0 < numbers["overall"] < 0.2 and {"brow", "mouth corner", "yaw"} <= set(numbers)


def test_rotate_gives_a_film_and_numbers(client):
    film, fit = client.predict(handle_file(PAIRS[0][0]), -10, 10, api_name="/rotate")
    assert Path(film).name == "astronaut-turning.mp4" and Path(film).stat().st_size > 1000
    # The first seconds of a fit, all that a slow machine gets done here, may lower the PSNR.
    assert fit["psnr"] > 10 and fit["psnr_before"] > 10 and len(fit["range"]) == 2


def test_normalize_gives_a_face_a_film_and_numbers(client):
    face, film, numbers = client.predict(handle_file(PAIRS[0][0]), api_name="/normalize")
    with Image.open(face) as picture:
        assert picture.width == picture.height >= 128 and "AI" in picture.info["Description"]
    assert Path(film).stat().st_size > 1000 and "The head" in numbers


def test_transfer_gives_a_face_and_numbers(client):
    photo = handle_file(PAIRS[0][0])
    face, numbers = client.predict(photo, "happy, dark", 1, api_name="/transfer")
    with Image.open(face) as picture:
        assert picture.width == picture.height >= 128 and "AI" in picture.info["Description"]
    assert Path(face).name == "astronaut-happy-dark.png" and " s**" in numbers
    with pytest.raises(AppError, match="Choose one expression"):
        client.predict(photo, "happy, neutral", 1, api_name="/transfer")
    with pytest.raises(AppError, match="Name a target"):
        client.predict(photo, "", 1, api_name="/transfer")


def test_generated_faces_are_symmetric_in_the_middle(client):
    one, middle, other = (
        np.asarray(Image.open(client.predict(7, symmetry, api_name="/generate")).convert("RGB"), int)
        for symmetry in (0, 1, 2)
    )
    assert abs(middle - middle[:, ::-1]).mean() < 1 < abs(one - one[:, ::-1]).mean()
    assert abs(other - one[:, ::-1]).mean() < 1
    with pytest.raises(AppError, match="whole number from 0"):
        client.predict(2**64, 0, api_name="/generate")


def test_a_photo_may_come_as_a_data_url(url):
    data = "data:image/jpeg;base64," + base64.b64encode(PAIRS[0][0].read_bytes()).decode()
    asked = {"data": [{"url": data}, "largest"]}
    event = httpx.post(f"{url}gradio_api/call/symmetrize", json=asked, timeout=60).json()["event_id"]
    answer = httpx.get(f"{url}gradio_api/call/symmetrize/{event}", timeout=60).text
    assert "event: complete" in answer and "mouth corner" in answer


def test_a_fit_does_not_hold_up_others(url, tmp_path):
    """Who asks for something quick while a head is turned gets it before the head has turned."""
    fitter, other = (Client(url, verbose=False, download_files=tmp_path / name) for name in "ab")
    quick = handle_file(PAIRS[1][0]), "largest"
    other.predict(*quick, api_name="/symmetrize")  # the model is loaded
    fits = [fitter.submit(handle_file(PAIRS[0][0]), -10, 10, api_name="/rotate") for _ in range(3)]
    other.predict(*quick, api_name="/symmetrize")
    assert not fits[-1].done()
    fits[-1].result(timeout=120)


def test_programs_find_examples_that_work(client):
    """Every parameter of the API's documentation has a default or an example of this page, and every output a name."""
    api = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    for name, call in api.items():
        for parameter in call["parameters"]:
            example = json.dumps(parameter.get("parameter_default") or parameter["example_input"])
            assert "bus" not in example and "Hello" not in example, (name, parameter)
        assert all("_" in output["label"] or output["label"].isalpha() for output in call["returns"])


def test_agents_find_the_tools(url):
    mcp = pytest.importorskip("mcp")
    from mcp.client.streamable_http import streamable_http_client

    async def ask():
        async with (
            streamable_http_client(f"{url}gradio_api/mcp/") as (read, write, *_),
            mcp.ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = [tool.name for tool in (await session.list_tools()).tools]
            return tools, await session.call_tool("generate", {"seed": 5, "symmetry": 1})

    tools, answer = asyncio.run(ask())
    assert set(tools) == {
        "complete",
        "find_mask",
        "symmetrize",
        "generate",
        "rotate",
        "normalize",
        "transfer",
        "study",
    }
    assert not answer.isError and answer.content


def test_links_to_the_page_show_what_it_is(url):
    page = httpx.get(url).text
    assert "Gradio" not in re.findall(r'<meta property="og:title" content="([^"]*)"', page)
    assert re.search(r'<meta name="description" content="Complete the missing part', page)
    (picture,) = re.findall(r'<meta property="og:image" content="([^"]*)"', page)
    with Image.open(io.BytesIO(httpx.get(picture).content)) as image:
        assert image.size == (1200, 630)
    assert httpx.get(f"{url}favicon.ico").headers["content-type"].startswith("image/svg")


def test_many_photos_are_measured(client, tmp_path):
    Image.new("RGB", (300, 300), "grey").save(tmp_path / "wall.png")
    photos = {"anna_2026-03-01_rest.jpg": PAIRS[0][0], "anna_2026-03-01_smile.jpg": PAIRS[1][0]}
    for name, photo in photos.items():
        (tmp_path / name).write_bytes(photo.read_bytes())
    sent = [handle_file(tmp_path / name) for name in [*photos, "wall.png"]]
    files, rows = client.predict(sent, 63, api_name="/study")
    assert [Path(file).name for file in files] == [
        "report.html", *(f"{name}.{kind}" for kind in ("csv", "json") for name in ("columns", "measures", "movements"))
    ]  # fmt: skip
    assert [(row["subject"], row["condition"], "error" in row) for row in rows] == [
        ("anna", "rest", False), ("anna", "smile", False), ("wall", "", True)
    ]  # fmt: skip
    assert "millimetres" in Path(files[0]).read_text()
    for photos, distance, error in [
        (sent[:1] * 2, 0, "rename one"),
        (sent[:1], 630, "between 40 and 85"),
        ([], 0, "Add photos"),
    ]:
        with pytest.raises(AppError, match=error):
            client.predict(photos, distance, api_name="/study")
