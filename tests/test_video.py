"""Videos of turning heads: GIF and MP4."""

import subprocess
import time

import numpy as np
import pytest
from PIL import Image

from facesym import ImageError
from facesym.video import save_video


@pytest.fixture(scope="module")
def frames():
    return [Image.new("RGB", (64, 64), (40 * i, 0, 255 - 40 * i)) for i in range(5)]


def test_a_gif_plays_there_and_back_and_says_that_it_is_edited(frames, tmp_path):
    save_video(frames, tmp_path / "a" / "x.gif", "rotate")
    with Image.open(tmp_path / "a" / "x.gif") as film:
        assert film.n_frames == 8 and film.size == (64, 64) and b"AI" in film.info["comment"]
        film.seek(7)
        assert abs(film.convert("RGB").getpixel((5, 5))[0] - 40) < 10  # the last is the second again


@pytest.mark.parametrize("fps", [12, 30, 40, 60, 100])
def test_a_gif_plays_at_its_rate(frames, tmp_path, fps):
    """Its frames last whole hundredths of a second."""
    save_video(frames * 5, tmp_path / "x.gif", "rotate", fps)
    with Image.open(tmp_path / "x.gif") as film:
        seconds = 0.0
        for i in range(film.n_frames):
            film.seek(i)
            seconds += film.info["duration"] / 1000
    assert film.n_frames / seconds == pytest.approx(fps, rel=0.03)


def test_a_gif_of_a_photo_is_written_fast_and_looks_like_it(astronaut, tmp_path):
    start = time.process_time()
    save_video([astronaut] * 9, tmp_path / "x.gif", "rotate")
    assert time.process_time() - start < 2
    with Image.open(tmp_path / "x.gif") as film:
        error = np.abs(np.asarray(film.convert("RGB"), float) - np.asarray(astronaut)).mean()
    assert error < 4


def test_an_mp4_plays_and_says_that_it_is_edited(frames, tmp_path):
    import imageio_ffmpeg

    save_video(frames, tmp_path / "x.mp4", "rotate")
    count, _ = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "x.mp4"))
    assert count == 8
    told = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-i", tmp_path / "x.mp4"], capture_output=True, text=True
    ).stderr
    assert "edited with AI by facesym" in told


def test_films_that_cannot_be_written_are_refused(frames, tmp_path):
    with pytest.raises(ImageError, match="avi"):
        save_video(frames, tmp_path / "x.avi", "rotate")
    with pytest.raises(ImageError, match="two frames"):
        save_video(frames[:1], tmp_path / "x.gif", "rotate")
    with pytest.raises(ImageError, match="the same size"):
        save_video([*frames, Image.new("RGB", (32, 32))], tmp_path / "x.gif", "rotate")
    with pytest.raises(ImageError, match="even"):
        save_video([Image.new("RGB", (33, 33))] * 2, tmp_path / "x.mp4", "rotate")
    (tmp_path / "folder.gif").mkdir()
    with pytest.raises(ImageError, match="Cannot write"):
        save_video(frames, tmp_path / "folder.gif", "rotate")
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError, match="Cannot write"):
        save_video(frames, tmp_path / "file" / "x.gif", "rotate")
