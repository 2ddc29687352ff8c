"""`facesym study`: the measures, what file names say, the tables and the report."""

import csv
import json
import re
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data as skimage_data

from facesym.asymmetry import REGIONS, frontal_points
from facesym.cli import main
from facesym.data.symmetric import droop
from facesym.faces.geometry import flip_landmarks, turn
from facesym.faces.save import is_own_result, mark_edited, save_image
from facesym.study.measures import EYE, MEASURES, Sides, measure_sides
from facesym.study.photo import MeasuredFace, find_flags, measure_photo
from facesym.study.reference import healthy_range, limit, percentile, reference, region_limit
from facesym.study.report import INDICES, NOTICE
from facesym.study.table import LEADING, leading_region
from facesym.video import save_video


@pytest.fixture(scope="module")
def symmetric():
    """Landmarks of a symmetric face, 68x2 in pixels of a 256x256 crop."""
    from facesym import metrics

    photo = Image.fromarray(skimage_data.astronaut()).crop((140, 15, 310, 185)).resize((256, 256))
    points = metrics.dlib_landmarks(np.asarray(photo))
    return (points + flip_landmarks(points, 256)) / 2


def roll(points, degrees):
    """Landmarks of a tilted head."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (points - 128) @ np.array([[c, s], [-s, c]]) + 128


# --- measures -------------------------------------------------------------------------------------------------------
def test_every_measure_has_its_formula_source_and_healthy_range():
    assert len({measure.key for measure in MEASURES}) == len(MEASURES)
    for measure in MEASURES:
        low, high = healthy_range(measure.key)
        assert measure.formula and re.search(r"\d{4}", measure.source)
        assert low == pytest.approx(-high, abs=1e-4) and high > 0  # no side is favoured
        assert (measure.right is None) != (measure.middle is None)
        assert LEADING[measure.region]
    assert set(INDICES) == {"overall", *REGIONS}


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.key)
def test_smallest_detectable_changes_are_the_measured_ones(measure):
    text = (Path(__file__).parents[1] / "docs/measured.md").read_text()
    cells = re.search(rf"(?m)^\| {re.escape(measure.label)}(?: \(°\))? \|(.+)$", text)[1].split("|")
    times = 100 if measure.unit == EYE else 1
    assert times * measure.detectable == pytest.approx(float(cells[6]))


def test_a_symmetric_face_has_no_differences(symmetric):
    for sides in measure_sides(symmetric).values():
        assert sides.difference == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("yaw, tilt", [(0, 0), (10, 0), (0, 20), (-8, -20)])
def test_mirrored_faces_have_the_negative_whatever_the_pose(symmetric, yaw, tilt):
    face = roll(turn(droop(symmetric, "left", 0.7), yaw), tilt)
    found = measure_sides(face)
    for key, sides in measure_sides(flip_landmarks(face, 256)).items():
        assert sides.difference == pytest.approx(
            -found[key].difference, abs=1e-3 + 0.01 * abs(sides.difference)
        )
        assert sides.right is None or sides.right == pytest.approx(found[key].left, rel=0.01)


def test_a_palsy_lowers_its_side_and_grows_with_its_strength(symmetric):
    # The image's left is the subject's right.
    faces = [measure_sides(droop(symmetric, "left", strength)) for strength in (0, 0.4, 0.8, 1.2)]
    for key in ("brow_height", "palpebral_fissure", "mrd1", "commissure_height"):
        values = [sides[key].difference for sides in faces]
        assert values == sorted(values) and values[-1] > 0.02, key
    assert [sides["philtrum_deviation"].difference for sides in faces] == sorted(
        sides["philtrum_deviation"].difference for sides in faces
    )


@pytest.mark.parametrize(
    "region, landmarks, move",
    [("brow", range(17, 22), -12), ("eye", (37, 38), 6), ("mouth", (48, 60, 59, 49), 12)],
)
def test_the_region_that_moves_leads_and_its_side_is_named(symmetric, region, landmarks, move):
    face = symmetric.copy()
    face[list(landmarks), 1] += (
        move  # a raised brow, a lid that hangs, a mouth corner that hangs; subject's right
    )
    lower = "left" if move < 0 else "right"
    assert leading_region(measure_sides(face))[:2] == (region, lower)
    other = leading_region(measure_sides(flip_landmarks(face, 256)))
    assert other[:2] == (region, {"left": "right", "right": "left"}[lower]) and other[2] > 1


def test_a_mouth_drawn_to_one_side_is_told_from_one_that_hangs(symmetric):
    face = symmetric.copy()
    face[48:68, 0] -= 10  # towards the subject's right
    found = leading_region(measure_sides(face))
    assert (found.region, found.side, found.finding) == ("mouth", "right", "drawn to the right")
    face = symmetric.copy()
    face[[48, 49, 59, 60], 1] += 12
    assert leading_region(measure_sides(face)).finding == "lower on the right"


def test_a_region_of_many_measures_does_not_lead_by_their_number(symmetric):
    """All measures at their limits: 95 % of the healthy brows lie below, but more than 5 % of the mouths do not."""
    sides = {m.key: Sides(None, None, healthy_range(m.key)[1]) for m in MEASURES}
    assert leading_region(sides).region == "brow"
    assert leading_region(sides).times == pytest.approx(1, abs=0.01)
    assert region_limit("mouth") > 1.05


def test_frontal_points_are_upright_and_level(symmetric):
    unit = np.linalg.norm(symmetric[45] - symmetric[36])
    frontal, tilt, yaw = frontal_points(roll(turn(symmetric, 10), 15))
    assert tilt == pytest.approx(15, abs=1) and yaw == pytest.approx(10, abs=1)
    expected = (symmetric - [127.5, symmetric[36:48, 1].mean()]) / unit
    scale = np.linalg.norm(expected[42:48].mean(0) - expected[36:42].mean(0))
    assert np.abs(frontal - expected / scale).max() < 0.03


def test_percentiles_run_from_low_to_high():
    low, high = healthy_range("brow_height")
    assert percentile("brow_height", low) == pytest.approx(2.5)
    assert percentile("brow_height", 0) == pytest.approx(50, abs=2)
    assert percentile("brow_height", 9) > 99 and percentile("brow_height", high) == pytest.approx(97.5)
    assert percentile("brow_height", None) is None and percentile("no such", 1) is None
    assert limit("mouth_opening") > 0 and reference()["faces"] >= 20


# --- the command ----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The status, the folder written and what was printed of a study of an astronaut and a file that is no photo."""
    root = tmp_path_factory.mktemp("study")
    (root / "in").mkdir()
    Image.fromarray(skimage_data.astronaut()).save(root / "in" / "<b>eileen_2026-03-01_rest.png")
    (root / "in" / "bad.jpg").write_bytes(b"not a photo")
    with pytest.raises(SystemExit) as exit:
        main(["study", str(root / "in"), "-o", str(root / "out"), "--pupillary-distance", "63"])
    return exit.value.code, root


def test_one_bad_file_does_not_end_a_study(study):
    code, root = study
    assert code == 1
    rows = json.loads((root / "out" / "measures.json").read_text())
    assert [row["subject"] for row in rows] == ["<b>eileen", "bad"]
    assert "error" not in rows[0] and rows[1]["error"].startswith("bad.jpg is not")
    with open(root / "out" / "measures.csv", newline="", encoding="utf-8-sig") as file:
        assert [row["photo"] for row in csv.DictReader(file)] == [row["photo"] for row in rows]


def test_rows_have_both_sides_in_eye_distances_and_millimetres(study):
    row = json.loads((study[1] / "out" / "measures.json").read_text())[0]
    assert row["date"] == "2026-03-01" and row["condition"] == "rest"
    assert row["leading_finding"].endswith(row["leading_side"])
    assert "expression" in row["flags"]  # she smiles
    for measure in MEASURES:
        assert 0 < row[f"{measure.key}_percentile"] < 100
        if measure.right:
            difference = row[f"{measure.key}_left"] - row[f"{measure.key}_right"]
            assert row[f"{measure.key}_difference"] == pytest.approx(difference, abs=2e-4)
    assert row["brow_height_left_mm"] == pytest.approx(63 * row["brow_height_left"], abs=0.01)
    assert row["asymmetry_eye_opening"] > 0 and row["pupillary_distance"] == 63
    assert "smile_angle_left_mm" not in row and abs(row["roll"]) < 15


def test_tables_are_described_keep_the_sheets_columns_and_flag_a_file_that_is_there_twice(tmp_path, capsys):
    """As a clinic's folder may have it: the smile is a copy of the photo at rest."""
    photos, sheet = tmp_path / "in", tmp_path / "sheet.csv"
    photos.mkdir()
    for name in ("P1_rest.png", "P1_smile.png"):
        Image.fromarray(skimage_data.astronaut()).save(photos / name)
    sheet.write_text("file,affected_side\nP1_rest.png,left\nP1_smile.png,left\n")
    command = [
        "study",
        str(photos),
        "-o",
        str(tmp_path / "out"),
        "--sheet",
        str(sheet),
        "--pupillary-distance",
        "63",
    ]
    with pytest.raises(SystemExit) as exit:
        main(command)
    assert exit.value.code == 0
    tables = {
        name: json.loads((tmp_path / "out" / f"{name}.json").read_text())
        for name in ("measures", "movements", "columns")
    }
    described = {name: {"affected_side"} for name in tables}
    for line in tables.pop("columns"):
        described[line["table"]] = described.get(line["table"], set()) | {line["column"]}
        assert line["meaning"]
    for name, rows in tables.items():
        assert set().union(*rows) <= described[name]
        assert all(row["affected_side"] == "left" for row in rows)
    rest, smile = tables["measures"]
    assert "the same file as P1_rest.png" in smile["flags"]
    assert "the same file as P1_smile.png" in rest["flags"]
    assert rest["brow_height_percentile"] and smile["brow_height_percentile"] is None
    assert all("the same file as" in row["flags"] and row["ratio"] is None for row in tables["movements"])
    assert not (tmp_path / "out" / "repeatability.csv").exists()


def test_the_report_is_one_file_that_says_what_it_is_not(study):
    html = (study[1] / "out" / "report.html").read_text()
    assert html.count(NOTICE) >= 3 and html.count("data:image/jpeg") == 6
    assert f"{date.today()} · facesym" in html and "pupillary distance: 63 mm" in html
    assert "<b>eileen" not in html and "&lt;b&gt;eileen" in html  # names cannot become markup
    assert not re.search(r"(src|href)=\"(?!data:|#)", html)  # nothing is fetched
    for measure in MEASURES:
        assert measure.label in html


def test_two_faces_are_flagged():
    face = Image.fromarray(skimage_data.astronaut())
    photo = Image.new("RGB", (1024, 512))
    photo.paste(face, (0, 0))
    photo.paste(face.resize((400, 400)), (560, 60))
    assert "2 faces: only the largest is measured" in measure_photo(photo).flags
    assert not any("faces" in flag for flag in measure_photo(face).flags)


def test_a_wide_closed_mouth_is_only_to_be_checked():
    face = MeasuredFace(
        crop=None, points=None, heatmap=None, sides={}, indices={}, roll=0, yaw=0, pitch=0, eye_distance=100,
        sharpness=20, doubt=0, mouth=(limit("mouth_width") + 0.01, 0),
    )  # fmt: skip
    assert find_flags(face, resting=True) == ([], "expression: the mouth is wide")
    assert find_flags(face, resting=False) == ([], "")
    face.mouth = limit("mouth_width") + 0.01, limit("mouth_opening") + 0.01
    assert find_flags(face, resting=True) == (["expression: the mouth is open and wide"], "")


def test_results_of_facesym_are_no_photos(tmp_path, capsys):
    face = Image.fromarray(skimage_data.astronaut())
    for name, task in (("a.png", "symmetrize"), ("b.jpg", "symmetrize"), ("c.webp", None), ("d.png", None)):
        save_image(face, tmp_path / "in" / name, task)
    mark_edited(face.copy(), "symmetrize").save(tmp_path / "in" / "e.jpg")
    save_video([face, face], tmp_path / "in" / "f.mp4", "rotate")
    with pytest.raises(SystemExit):
        main(["study", str(tmp_path / "in"), "-o", str(tmp_path / "out")])
    printed = capsys.readouterr().err
    assert printed.count("a result of facesym, not a photo") == 6 and "has no photos" in printed


def test_photos_that_mention_facesym_are_no_results(tmp_path):
    face = Image.fromarray(skimage_data.astronaut())
    face.save(tmp_path / "a.jpg", comment="for the facesym study")
    assert not is_own_result(tmp_path / "a.jpg")
    mark_edited(face, "symmetrize").save(tmp_path / "b.jpg")
    assert is_own_result(tmp_path / "b.jpg")
    for data in (b"", b"\0\0\0\0moov", b"\0\0\0\x08free", b"\0\0\0\1free"):  # damaged, or another program's
        (tmp_path / "c.mp4").write_bytes(data)
        assert not is_own_result(tmp_path / "c.mp4")


def test_a_wrong_name_in_the_sheet_is_told(tmp_path, capsys):
    out = tmp_path / "out"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.jpg").write_bytes(b"not a photo")
    sheet = tmp_path / "photos.csv"
    sheet.write_text("file,subject\nbda.jpg,Bea\n")
    with pytest.raises(SystemExit):
        main(["study", str(tmp_path / "in"), "-o", str(out), "--overwrite", "--sheet", str(sheet)])
    printed = capsys.readouterr().err
    assert (
        "names bda.jpg, which is not in" in printed and "does not name 1 of 1 files" in printed
    )  # a wrong name in the sheet


def test_a_second_run_replaces_nothing_unless_told(study, capsys):
    root = study[1]
    with pytest.raises(SystemExit) as exit:
        main(["study", str(root / "in"), "-o", str(root / "out")])
    assert exit.value.code == 1 and "--overwrite" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["study", str(root / "in" / "bad.jpg"), "-o", str(root / "new")])
    assert "is not a folder" in capsys.readouterr().err and not (root / "new").exists()
