"""Writing files: complete or not at all."""

import pytest
from PIL import Image

from facesym.errors import ImageError
from facesym.faces.load import save_image
from facesym.files import write_atomic
from facesym.video import save_video

LONG = "a" * 245


@pytest.mark.parametrize("write", ["picture", "video", "bytes"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        (f"{LONG}.png", None),
        (f"{LONG}aaaaaaa.png", "name too long"),
        ("file.png/below.png", "Not a directory|File exists"),
        ("/dev/full/a.png", "Not a directory|File exists"),
    ],
)
def test_one_writer_for_all(write, name, words, tmp_path):
    (tmp_path / "file.png").write_bytes(b"before")
    path = tmp_path / name
    calls = {
        "picture": lambda: save_image(Image.new("RGB", (8, 8)), path, "complete"),
        "video": lambda: save_video([Image.new("RGB", (8, 8))] * 2, path.with_suffix(".gif"), "rotate"),
        "bytes": lambda: write_atomic(path, b"data", ImageError),
    }
    if words:
        with pytest.raises(ImageError, match=f"Cannot write .*({words}).*unchanged"):
            calls[write]()
    else:
        calls[write]()
        assert len(list(tmp_path.iterdir())) == 2
    assert (tmp_path / "file.png").read_bytes() == b"before"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
@pytest.mark.parametrize("fps", [0, -1, 101, float("nan")])
def test_a_frame_rate_that_no_video_has(suffix, fps, tmp_path):
    with pytest.raises(ImageError, match=r"fps must be a number from 0\.1 to 100"):
        save_video([Image.new("RGB", (8, 8))] * 2, tmp_path / f"a{suffix}", "rotate", fps=fps)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fps", [0.1, 100])
def test_a_gif_of_the_extreme_frame_rates(fps, tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("black", "white")]
    save_video(frames, tmp_path / "a.gif", "rotate", fps=fps)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.info["duration"] == 1000 / fps


def test_a_picture_too_large_for_its_format(tmp_path):
    with pytest.raises(ImageError, match="Use PNG"):
        save_image(Image.new("RGB", (16500, 8)), tmp_path / "a.webp", "complete")
    assert not list(tmp_path.iterdir())
