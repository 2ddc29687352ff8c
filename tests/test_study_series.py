"""`facesym study`: series over time, movements from rest, plots and videos."""

import csv
import json
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import imageio_ffmpeg
import numpy as np
import pytest
from commands import found
from PIL import Image
from skimage import data as skimage_data

from facesym.cli import main
from facesym.errors import ImageError
from facesym.evaluation.asymmetry import close_eye
from facesym.faces.align import align_face
from facesym.faces.find import find_faces
from facesym.faces.landmarks import find_points
from facesym.study.measures import MEASURES
from facesym.study.pairs import find_movements, subjects_without_rest
from facesym.study.plots import Line, line_plot
from facesym.study.repeats import measure_repeatability
from facesym.study.run import run_study
from facesym.study.subjects import subject_pages
from facesym.study.video import find_blinks, measure_video, read_frames
from facesym.video import save_video


def row(photo, subject, date, condition, **sides):
    """A row of a study's table: measures given as (right, left), all others 0.3."""
    keys = ("brow_height", "palpebral_fissure", "commissure_excursion", "commissure_height")
    values = {key: sides.get(key, (0.3, 0.3)) for key in keys}
    made = {"photo": photo, "subject": subject, "date": date, "condition": condition}
    for key, (right, left) in values.items():
        made |= {f"{key}_right": right, f"{key}_left": left, f"{key}_difference": left - right}
    return made


# --- movements ------------------------------------------------------------------------------------------------------
def test_a_movement_is_measured_on_each_side_from_the_rest_of_its_day():
    rows = [
        row("a1", "anna", "2026-01-01", "rest", commissure_excursion=(0.4, 0.4)),
        row("a2", "anna", "2026-02-01", "rest", commissure_excursion=(0.5, 0.5)),
        row("a3", "anna", "2026-02-01", "smile", commissure_excursion=(0.6, 0.52)) | {"flags": "blurred"},
        row("b1", "bea", "2026-02-01", "rest"),
        {"photo": "b2", "subject": "bea", "date": "", "condition": "smile", "error": "no face"},
    ]
    excursion, lift = find_movements(rows)
    assert (excursion.rest, excursion.movement) == ("a2", "a3")
    assert (excursion.right, excursion.left) == pytest.approx((0.1, 0.02))
    assert excursion.difference == pytest.approx(-0.08) and excursion.ratio == pytest.approx(0.2)
    assert lift.right == lift.left == 0 and lift.ratio is None
    assert "right_mm" not in excursion.row() and excursion.row()["rest_photos"] == 1
    assert excursion.row()["flags"] == "smile (blurred)"


def test_a_rest_of_another_day_is_told_and_small_movements_have_no_ratio():
    rows = [
        row("a1", "anna", "2026-02-01", "smile", commissure_excursion=(0.42, 0.45)),
        row("a2", "anna", "2026-03-01", "rest", commissure_excursion=(0.4, 0.4)),
        row("a3", "anna", "2026-03-01", "rest") | {"flags": "blurred"},
        row("b1", "bea", "", "smile"),
        row("b2", "bea", "", "brow raise"),
    ]
    excursion, _ = find_movements(rows)
    assert excursion.row()["rest_date"] == "2026-03-01" and excursion.row()["rest"] == "a2"
    assert excursion.flags == "the photo at rest is of 2026-03-01"
    assert excursion.ratio is None and excursion.left == pytest.approx(0.05)
    assert excursion.row()["ratio_note"] == "the larger movement is less than 0.0938 eye distances"
    assert subjects_without_rest(rows) == {"bea": 2}


def test_photos_that_look_exchanged_are_flagged():
    rows = [
        row("a1", "anna", "", "rest", commissure_excursion=(0.5, 0.48))
        | {"check": "expression: the mouth is wide"},
        row("a2", "anna", "", "smile", commissure_excursion=(0.4, 0.4)),
    ]
    excursion, _ = find_movements(rows)
    rest, swapped = excursion.flags.split("), ")
    assert rest == "rest (check the expression: the mouth is wide"
    assert swapped == "both sides moved in the opposite direction: were the photos swapped?"


def test_repeated_photos_of_a_day_give_the_repeatability():
    """Photos that are 2 apart have a standard deviation of √2; flagged ones and other days do not count."""

    def photo(subject, date, condition, value, flags=""):
        differences = {f"{measure.key}_difference": value for measure in MEASURES}
        return {"subject": subject, "date": date, "condition": condition, "flags": flags} | differences

    day, later = "2026-01-01", "2026-02-01"
    rows = [
        *(photo("anna", day, "rest", value) for value in (0.3, 0.32)),
        *(photo("bea", day, "rest", value) for value in (0.4, 0.42)),
        photo("anna", day, "rest", 9, "blurred"), photo("anna", later, "rest", 9), photo("anna", day, "smile", 9),
    ]  # fmt: skip
    table = measure_repeatability(rows)
    assert [line["measure"] for line in table] == [each.key for each in MEASURES]
    for line in table:
        assert (line["condition"], line["groups"], line["photos"]) == ("rest", 2, 4)
        assert line["within_sd"] == pytest.approx(0.02 / 2**0.5, abs=1e-4)
        assert line["smallest_detectable_change"] == pytest.approx(0.0392, abs=1e-4)


def test_movements_of_several_days_are_plotted_per_side():
    rows = [
        row(f"{name}{month}", "anna", f"2026-0{month}-01", name, commissure_excursion=(0.4 + grown, 0.4))
        for month in (1, 3)
        for name, grown in (("rest", 0), ("smile", 0.03 * month))
    ]
    (page,) = subject_pages(rows, [])
    titles = [plot["title"] for plot in page["moves"]]
    assert titles == ["Smile: commissure excursion", "Smile: commissure lift"]
    assert ">right<" in page["moves"][0]["svg"] and ">left<" in page["moves"][0]["svg"]
    repeats = [
        {
            "condition": "rest",
            "measure": "brow_height",
            "groups": 3,
            "photos": 9,
            "smallest_detectable_change": 0.011,
        }
    ]
    (page,) = subject_pages(rows, repeats)
    assert (
        page["plots"][0]["detectable"]
        == "6.6 % of eye distance; in this study, at rest, 1.1 % of eye distance, from 9 photos"
    )


def test_each_plot_of_movements_has_its_own_dates():
    days = {"smile": ("2020-01-01", "2026-01-01"), "eye closure": ("2025-03-01", "2025-03-15")}
    rows = [row("r", "anna", "2020-01-01", "rest")]
    rows += [row(f"{name}{day}", "anna", day, name) for name, each in days.items() for day in each]
    plots = {plot["title"]: plot["svg"] for plot in subject_pages(rows)[0]["moves"]}
    for title, name in (("Smile: commissure lift", "smile"), ("Eye closure: lid closure", "eye closure")):
        assert all(day in plots[title] for day in days[name])
        assert not re.search(r'x="-', plots[title])  # nothing outside the plot


def test_an_unflagged_photo_at_rest_is_preferred():
    rows = [
        row("a1", "anna", "2026-01-01", "rest") | {"flags": "blurred"},
        row("a2", "anna", "2026-01-01", "rest") | {"pupillary_distance": 60},
        row("a3", "anna", "2026-01-01", "brow raise", brow_height=(0.4, 0.4)) | {"pupillary_distance": 60},
    ]
    (lift,) = find_movements(rows)
    assert lift.rest == "a2" and lift.rest_photos == 2 and lift.row()["right_mm"] == pytest.approx(6)


def test_lids_that_close_count_as_moving():
    rows = [
        row("r", "p", "", "rest", palpebral_fissure=(0.12, 0.12)),
        row("c", "p", "", "eye closure", palpebral_fissure=(0.0, 0.06)),
    ]
    (closure,) = find_movements(rows)
    assert (closure.right, closure.left) == pytest.approx((0.12, 0.06)) and closure.ratio == pytest.approx(
        0.5
    )


# --- plots ----------------------------------------------------------------------------------------------------------
def test_a_gap_breaks_a_line_and_text_is_escaped():
    svg = line_plot([Line("<a>", [0, 1, 2, 3], [1, None, 2, 3])], "x", "y", band=(0, 1), marks=[(1, 2)])
    path = re.search(r'<path d="(M[^"]*)" fill="none" stroke="#1f5fa8"', svg).group(1)
    assert path.count("M") == 2 and path.count("L") == 1
    assert "&lt;a&gt;" in svg and "<a>" not in svg and svg.count('class="mark"') == 1
    assert ">−1<" in line_plot([Line("", [0, 1], [-1, 1])], "x", "y") and ">-0<" not in svg
    assert line_plot([Line("flat", [0, 0], [1, 1])], "x", "y")  # neither axis has a length


def test_noise_does_not_fill_a_plot():
    def heights(span):
        svg = line_plot([Line("", [0, 1, 2], [5.0, 5.1, 5.0])], "x", "y", span=span)
        return [float(y) for y in re.findall(r'cy="([\d.]+)"', svg)]

    assert np.ptp(heights(0)) > 100 and 1 < np.ptp(heights(5)) < 4


def test_subjects_seen_once_have_no_page_and_dates_make_plots():
    rows = [
        row("a1", "anna", "2026-01-01", "rest"),
        row("a2", "anna", "2026-01-04", "rest", brow_height=(0.3, 0.35)) | {"flags": "blurred"},
        row("a3", "anna", "2026-05-01", "rest"),
        row("b1", "bea", "2026-02-01", "rest"),
        row("c1", "cid", "2026-02-01", "rest"),
        row("c2", "cid", "2026-02-01", "smile"),
    ]
    anna, cid = subject_pages(rows)
    assert anna["subject"] == "anna" and len(anna["plots"]) == 3 and not anna["pairs"]
    assert anna["plots"][0]["detectable"] == "6.6 % of eye distance"
    svg = anna["plots"][0]["svg"]
    assert "2026-01-01" in svg and "2026-05-01" in svg
    assert "2026-01-04" not in svg  # it would cover the first one
    assert svg.count('fill="#fff" stroke') == 1  # the flagged photo
    assert not cid["plots"] and [line["label"] for line in cid["pairs"][0]["lines"]] == [
        "Commissure excursion",
        "Commissure lift",
    ]


# --- videos ---------------------------------------------------------------------------------------------------------
def test_blinks_are_short_and_complete_and_each_eye_is_told():
    times = np.arange(100) / 25
    right, left = np.full(100, 0.12), np.full(100, 0.12)
    right[20:24], left[20:24] = 0.06, 0.11  # a blink that the left eye does not follow
    right[50:90] = left[50:90] = 0.0  # closed
    left[10], right[95] = 0.095, np.nan  # narrowed, not seen
    (blink,) = find_blinks(times, right, left)
    assert (blink.start, blink.end) == pytest.approx((0.8, 0.92))
    assert blink.right == pytest.approx(0.5) and blink.left == pytest.approx(0.11 / 0.12)
    assert find_blinks(times, np.full(100, np.nan), np.full(100, np.nan)) == []


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A video of an astronaut who blinks twice, with the right eye."""
    photo = Image.fromarray(skimage_data.astronaut())
    _, (index,), transforms = find_faces(photo, "largest", 256)
    crop = align_face(photo, transforms[index], 256)
    points = find_points(crop).astype(np.float64)
    blinking = Image.fromarray(close_eye(np.asarray(crop), points))
    path = tmp_path_factory.mktemp("clip") / "eileen.mp4"
    save_video([blinking if i in (5, 6) else crop for i in range(12)], path, "test")
    path.write_bytes(path.read_bytes().replace(b"by facesym", b"by a phone"))  # not a result
    return path


def test_where_the_face_has_gone_nothing_is_measured(clip, tmp_path):
    (_, face), *_ = read_frames(clip)
    leaves = tmp_path / "leaves.mp4"
    save_video([face] * 20 + [Image.new("RGB", face.size, "grey")] * 12 + [face] * 12, leaves, "test", fps=25)
    measured = ~np.isnan(measure_video(leaves).values["brow_height_left"])
    assert measured[:12].all() and not measured[20:32].any() and measured[32:48].all()


def test_another_face_does_not_confirm_the_tracked_one(clip, tmp_path):
    """The tracked face, the larger one, leaves a video in which another one stays."""
    (_, face), *_ = read_frames(clip)
    both = Image.new("RGB", (2 * face.width, face.height), "grey")
    both.paste(face.resize((face.width // 2, face.height // 2)), (face.width, 0))
    alone = both.copy()
    both.paste(face, (0, 0))
    leaves = tmp_path / "leaves.mp4"
    save_video([both] * 20 + [alone] * 6, leaves, "test", fps=25)
    curves = measure_video(leaves)
    measured = ~np.isnan(curves.values["brow_height_left"])
    # Frame 20 shows background where the face was. From the next detection on, the other face is the largest.
    assert measured[:12].all() and not measured[20]


def test_every_frame_of_a_slow_video_that_shows_a_face_counts(clip, tmp_path):
    (_, face), *_ = read_frames(clip)
    slow = tmp_path / "slow.mp4"
    save_video([face, Image.new("RGB", face.size, "grey")] * 3, slow, "test", fps=3)
    measured = ~np.isnan(measure_video(slow).values["brow_height_left"])
    assert measured.tolist() == [True, False] * 5  # saved forwards and backwards


def converted(clip, path, *options):
    """A video made from another one by ffmpeg."""
    program = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([program, "-v", "error", "-i", str(clip), *options, f"file:{path}"], check=True)
    return path


def test_the_clock_of_a_video_is_right_also_if_its_rate_varies(clip, tmp_path):
    """One second at 25 frames, then one at 5, as phones record in the dark."""
    slower = "setpts='if(lt(N,11), N/25, 11/25+(N-11)/5)/TB'"
    path = converted(clip, tmp_path / "slower.mp4", "-vf", slower, "-fps_mode", "vfr")
    times = [time for time, _ in read_frames(path)]
    assert times[-1] == pytest.approx(11 / 25 + 10 / 5, abs=0.15)
    assert np.ptp(np.diff(times)) < 1e-6


def test_pixels_that_are_not_square_do_not_squeeze_the_face(clip, tmp_path):
    path = converted(clip, tmp_path / "wide.mp4", "-vf", "scale=160:256,setsar=8/5")
    (_, wide), *_ = read_frames(path)
    assert wide.size == (256, 256)
    values = [measure_video(each).values["brow_height_left"][0] for each in (clip, path)]
    assert values[0] == pytest.approx(values[1], abs=0.02)


def test_a_colon_in_a_videos_name_is_no_protocol(clip, tmp_path, monkeypatch):
    (tmp_path / "anna-10:15.mp4").write_bytes(clip.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert len(list(read_frames(Path("anna-10:15.mp4")))) == 22


def test_a_clip_gives_a_curve_per_measure_and_its_blinks(clip):
    curves = measure_video(clip)
    assert len(curves.times) == len(list(read_frames(clip))) == 22
    assert len(curves.blinks) == 2
    for blink in curves.blinks:
        assert blink.right < 0.75 and blink.left > 0.9
    rows = curves.rows(60)
    assert rows[0]["brow_height_left_mm"] == pytest.approx(60 * rows[0]["brow_height_left"], abs=0.01)
    assert "smile_angle_left_mm" not in rows[0] and "brow_height_left_mm" not in curves.rows()[0]
    assert sum(line["blink"] for line in rows) == 4
    assert rows[5]["palpebral_fissure_difference"] > rows[0]["palpebral_fissure_difference"] + 0.02


def test_a_study_of_photos_and_videos(clip, tmp_path, capsys):
    photos = tmp_path / "in"
    photos.mkdir()
    for day in ("2026-01-05", "2026-02-05"):
        Image.fromarray(skimage_data.astronaut()).save(photos / f"eileen_{day}_rest.png")
    (photos / "clip.mp4").write_bytes(clip.read_bytes())
    (photos / "bad.mov").write_bytes(b"no video")
    (photos / "notes.txt").write_text("x")
    with pytest.raises(SystemExit) as exit:
        main(["study", str(photos), "-o", str(tmp_path / "out")])
    printed = capsys.readouterr().err
    assert exit.value.code == 1 and "skipped notes.txt" in printed and "skipped clip" not in printed
    assert "3 measured, 1 failed" in printed
    assert "eileen: 2 photos; 2 rest; 2026-01-05 to 2026-02-05" in printed
    html = (tmp_path / "out" / "report.html").read_text()
    assert "2 blinks, shaded" in html and 'href="#video1">clip.mp4' in html and 'id="video1"' in html
    assert 'href="#subject1">eileen' in html and 'id="subject1"' in html
    assert "2026-02-05" in html and 'class="mark"' in html
    with open(tmp_path / "out" / "videos" / "clip.mp4.csv", newline="", encoding="utf-8-sig") as file:
        assert len(list(csv.DictReader(file))) == 22
    rows = json.loads((tmp_path / "out" / "measures.json").read_text())
    assert [row["photo"] for row in rows if "error" in row] == ["bad.mov"]


def test_only_files_of_an_earlier_run_that_nobody_changed_go(tmp_path, monkeypatch):
    curves = SimpleNamespace(rows=lambda distance: [{"time": 0}])
    monkeypatch.setattr("facesym.study.run.measure_video", lambda path: curves)
    monkeypatch.setattr("facesym.study.run.video_page", lambda name, curves, distance: {"name": name})
    monkeypatch.setattr("facesym.study.run.render", lambda *_, **__: "")
    own = [
        "movements.csv",
        "movements.json",
        "videos/labels.csv",
        "videos/notes.json",
        "videos/raw/frames.csv",
    ]
    for name in own:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("precious")
    run_study(tmp_path, [Path("a.mp4"), Path("b/c.mp4"), Path("b/d.mp4")], tmp_path, pipe=object())
    (tmp_path / "videos" / "a.mp4.csv").write_text("corrected")
    run_study(tmp_path, [Path("b/d.mp4")], tmp_path, pipe=object())
    changed = ["videos/a.mp4.csv", "videos/b/d.mp4.csv", "videos/b/d.mp4.json"]
    written = ["columns.csv", "columns.json", "measures.csv", "measures.json", "report.html"]
    assert found(tmp_path) == sorted([*own, *changed, *written])
    run_study(tmp_path, [], tmp_path, pipe=object())
    assert found(tmp_path) == sorted([*own, "videos/a.mp4.csv", *written])
    assert (tmp_path / "movements.csv").read_text() == "precious"


def test_a_file_that_is_no_video_is_refused(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x" * 1000)
    with pytest.raises(ImageError, match="not a video"):
        measure_video(path)
