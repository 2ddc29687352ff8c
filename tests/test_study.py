"""`facesym study`: the measures, what file names say, the tables and the report."""

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image
from skimage import data as skimage_data

from facesym.asymmetry import REGIONS, frontal_points
from facesym.cli import main
from facesym.data.symmetric import droop
from facesym.errors import ImageError
from facesym.faces.geometry import flip_landmarks, turn
from facesym.study.measures import MEASURES, Sides, measure_sides
from facesym.study.reference import healthy_range, limit, percentile, reference, region_limit
from facesym.study.report import INDICES, NOTICE
from facesym.study.series import About, read_name, read_sheet
from facesym.study.table import LEADING, leading_region


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


# --- who, when, what ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name, about",
    [
        ("anna_2026-03-01_smile.jpg", About("anna", "2026-03-01", "smile")),
        ("1001_neutral.webp", About("1001", "", "rest")),
        ("P7-20260301-eye_closure.png", About("P7", "2026-03-01", "eye closure")),
        ("P7 brow raise.png", About("P7", "", "brow raise")),
        ("IMG_0412.jpg", About("IMG_0412")),
        ("anna/2026-03-01_rest.jpg", About("anna", "2026-03-01", "rest")),
        ("anna_smile_2.jpg", About("anna", "", "smile")),  # the second smile, not another person
        ("anna_2026-03-01_rest (2).jpg", About("anna", "2026-03-01", "rest")),
        ("anna/rest_2.jpg", About("anna", "", "rest")),
        ("smile_2.jpg", About("2", "", "smile")),
        ("2_smile.jpg", About("2", "", "smile")),
        ("rest_patient_12.jpg", About("patient_12", "", "rest")),
        ("2026-03-01_smile_P_7.jpg", About("P_7", "2026-03-01", "smile")),
        ("neutral_Maria_2.jpg", About("Maria_2", "", "rest")),
        ("visit1/smile_007.jpg", About("visit1", "", "smile")),
    ],
)
def test_file_names_say_who_when_and_what(name, about):
    assert read_name(name) == about


def test_a_sheet_overrides_the_names(tmp_path):
    sheet = tmp_path / "photos.csv"
    sheet.write_text("file,subject,condition\na_2026-01-02.jpg,Bea,Eyes closed\nb_smile.jpg,,\n")
    found = read_sheet(sheet)
    assert found["a_2026-01-02.jpg"].subject == "Bea" and found["a_2026-01-02.jpg"].date == "2026-01-02"
    assert found["b_smile.jpg"] == About("b", "", "smile")
    sheet.write_text("photo,subject\na.jpg,Bea\n")
    with pytest.raises(ImageError, match='no column "file"'):
        read_sheet(sheet)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_sheet_may_come_from_any_spreadsheet(separator, tmp_path):
    sheet = tmp_path / "photos.csv"
    lines = [
        ("File", " Subject", "Date", "Condition"),
        ("a.jpg", "Zoë", "01.03.2026", "eye-closure"),
        ("", "", "", ""),
    ]
    sheet.write_text("\r\n".join(map(separator.join, lines)), encoding="utf-8-sig")
    assert read_sheet(sheet) == {"a.jpg": About("Zoë", "2026-03-01", "eye closure")}


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "file,date\na.jpg,2026-03-01\nb.jpg,03/04/2026\n",
            'line 3: "03/04/2026" is not a date: write YYYY-MM-DD',
        ),
        ("file,date\na.jpg,2026-02-30\n", 'line 2: "2026-02-30"'),
        ("", 'no column "file"'),
        ("file,subject\na.jpg,x\na.jpg,y\n", "line 3: a.jpg is listed twice"),
        ("file,subject\na.jpg,Zo\xeb\n", "CSV UTF-8"),
    ],
)
def test_a_sheet_that_would_be_misread_is_refused(text, message, tmp_path):
    sheet = tmp_path / "photos.csv"
    sheet.write_bytes(text.encode("latin-1"))
    with pytest.raises(ImageError, match=message):
        read_sheet(sheet)


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
    with open(root / "out" / "measures.csv", newline="") as file:
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
    assert "smile_angle_left_mm" not in row and abs(row["roll"]) < 15


def test_the_report_is_one_file_that_says_what_it_is_not(study):
    html = (study[1] / "out" / "report.html").read_text()
    assert html.count(NOTICE) >= 3 and html.count("data:image/jpeg") == 6
    assert "<b>eileen" not in html and "&lt;b&gt;eileen" in html  # names cannot become markup
    assert not re.search(r"(src|href)=\"(?!data:|#)", html)  # nothing is fetched
    for measure in MEASURES:
        assert measure.label in html


def test_a_run_leaves_no_movements_of_an_earlier_one(tmp_path, capsys):
    out = tmp_path / "out"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.jpg").write_bytes(b"not a photo")
    out.mkdir()
    (out / "movements.csv").write_text("old")
    (out / "mine.csv").write_text("mine")
    sheet = tmp_path / "photos.csv"
    sheet.write_text("file,subject\nbda.jpg,Bea\n")
    with pytest.raises(SystemExit):
        main(["study", str(tmp_path / "in"), "-o", str(out), "--overwrite", "--sheet", str(sheet)])
    assert not (out / "movements.csv").exists() and (out / "mine.csv").exists()
    printed = capsys.readouterr().err
    assert (
        "skipped bda.jpg" in printed and "does not name 1 of 1 files" in printed
    )  # a wrong name in the sheet


def test_a_second_run_replaces_nothing_unless_told(study, capsys):
    root = study[1]
    with pytest.raises(SystemExit) as exit:
        main(["study", str(root / "in"), "-o", str(root / "out")])
    assert exit.value.code == 1 and "--overwrite" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["study", str(root / "in" / "bad.jpg"), "-o", str(root / "new")])
    assert "is not a folder" in capsys.readouterr().err and not (root / "new").exists()
