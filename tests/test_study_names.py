"""`facesym study`: subjects, dates and conditions, from file names and from a CSV file."""

from pathlib import Path

import pytest

from facesym.errors import ImageError
from facesym.study.dates import read_dates
from facesym.study.series import About, read_name
from facesym.study.sheet import describe_subjects, identify, read_sheet


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
        # dates
        ("anna_13-04-2026_rest.jpg", About("anna", "2026-04-13", "rest")),
        ("anna_04-13-2026_rest.jpg", About("anna", "2026-04-13", "rest")),
        ("anna_01.03.2026_rest.jpg", About("anna", "2026-03-01", "rest")),
        ("anna_20261340_rest.jpg", About("anna_20261340", "", "rest")),  # a number
        ("19870312_2026-03-01_rest.jpg", About("19870312", "2026-03-01", "rest")),  # born in 1987
        ("19870312/IMG_20260301_101530.jpg", About("19870312", "2026-03-01")),
        ("2026-03-01/anna_smile.jpg", About("anna", "2026-03-01", "smile")),
        # copies, and words beside the condition
        ("anna_rest2.jpg", About("anna", "", "rest")),
        ("anna_rest(1).jpg", About("anna", "", "rest")),
        ("anna_rest - Copy (2).jpg", About("anna", "", "rest")),
        ("anna_smile-teeth.jpg", About("anna", "", "smile")),
        ("anna_big smile.jpg", About("anna", "", "smile")),
        ("anna_eyes_gently_closed_3.jpg", About("anna", "", "eye closure")),
        # a camera's names: the folder is the subject
        ("a/IMG_0001.jpg", About("a")),
        ("b/IMG_0001.jpg", About("b")),
        ("anna/IMG_20260301_101530.jpg", About("anna", "2026-03-01")),
        ("anna/20260301_101530.jpg", About("anna", "2026-03-01")),
        ("anna/IMG-20260301-WA0001.jpg", About("anna", "2026-03-01")),
        ("anna/DSC00012_smile.jpg", About("anna", "", "smile")),
        ("anna/0007.jpg", About("anna")),
        # other names: the folder is part of the subject
        ("visit1/1001_rest.jpg", About("visit1/1001", "", "rest")),
        ("anna/anna_rest.jpg", About("anna", "", "rest")),
        ("anna/smile/1.jpg", About("anna", "", "smile")),
    ],
)
def test_file_names_say_who_when_and_what(name, about):
    assert read_name(name) == about


@pytest.mark.parametrize(
    "name, message",
    [
        ("anna_2026-13-40_rest.jpg", '"2026-13-40" in the file name is not a date: write YYYY-MM-DD'),
        ("anna_03-04-2026_rest.jpg", '"03-04-2026" in the file name may be two dates'),
        ("anna_2026-03-01_2026-04-01.jpg", "several dates: 2026-03-01, 2026-04-01"),
        ("2026-03-01/19870312_rest.jpg", "several dates"),
        ("anna_closed_smile.jpg", "several conditions: eye closure, smile"),
    ],
)
def test_file_names_that_would_be_misread_are_refused(name, message):
    with pytest.raises(ImageError, match=message):
        read_name(Path(name))
    found, unclear = identify([Path(name), Path("bea_rest.jpg")])
    assert list(unclear) == [name] and found["bea_rest.jpg"].subject == "bea"


def test_subjects_differ_in_more_than_case_and_have_one_pupillary_distance():
    sheet = {"b.jpg": About("anna", pupillary_distance=60.0)}
    found, _ = identify([Path("Anna_rest.jpg"), Path("b.jpg"), Path("bea.jpg")], sheet, 63.0)
    assert [about.subject for about in found.values()] == ["Anna", "Anna", "bea"]
    assert [about.pupillary_distance for about in found.values()] == [60, 60, 63]
    sheet["c.jpg"] = About("Anna", pupillary_distance=61.0)
    with pytest.raises(ImageError, match="two pupillary distances for Anna: 60 and 61 mm"):
        identify([Path("b.jpg"), Path("c.jpg")], sheet)


def test_the_subjects_are_listed_with_what_was_read():
    rows = [
        {"subject": "anna", "date": "2026-03-01", "condition": "rest"},
        {"subject": "anna", "date": "2026-05-01", "condition": "smile"},
        {"subject": "IMG_1", "date": "", "condition": ""},
        {"subject": "bea", "date": "", "condition": "", "error": "no face"},
    ]
    assert describe_subjects(rows) == [
        "IMG_1: 1 photo; 1 no condition; no date",
        "anna: 2 photos; 1 rest, 1 smile; 2026-03-01 to 2026-05-01",
    ]


def test_a_sheet_overrides_the_names(tmp_path):
    sheet = tmp_path / "photos.csv"
    sheet.write_text("file,subject,condition\na_2026-01-02.jpg,Bea,Eyes closed\nb_smile.jpg,,\n")
    found = read_sheet(sheet)
    assert found["a_2026-01-02.jpg"].subject == "Bea" and found["a_2026-01-02.jpg"].date == "2026-01-02"
    assert found["b_smile.jpg"] == About("b", "", "smile")
    sheet.write_text("photo,subject,pupillary_distance\na_03-04-2026.jpg,Bea,61\n")
    with pytest.raises(ImageError, match='line 2: "03-04-2026"'):
        read_sheet(sheet)  # the name has a date that the sheet does not correct
    sheet.write_text("photo,subject,pupillary_distance\na.jpg,Bea,61.5\n")  # the study's table
    assert read_sheet(sheet) == {"a.jpg": About("Bea", pupillary_distance=61.5)}


def test_unknown_columns_and_conditions_are_told(tmp_path):
    sheet = tmp_path / "photos.csv"
    sheet.write_text("file,patient,condition\na.jpg,Bea,lachen\n")
    told = []
    assert read_sheet(sheet, told.append)["a.jpg"] == About("a", "", "lachen")
    columns, conditions = told
    assert "unknown columns are ignored: patient. Known are file, subject, date" in columns
    assert "unknown conditions: lachen. Only rest, smile" in conditions


@pytest.mark.parametrize(
    "column, expected",
    [
        (["03/04/2026", "13/04/2026", ""], ["2026-04-03", "2026-04-13", ""]),
        (["03/04/2026", "04/13/2026"], ["2026-03-04", "2026-04-13"]),
        (["13-04-26", "3-4-26"], ["2026-04-13", "2026-04-03"]),
        (
            ["01.03.2026", "1.3.26", "2026-03-01", "20260301", "04/04/2026"],
            ["2026-03-01"] * 4 + ["2026-04-04"],
        ),
    ],
)
def test_a_column_shows_the_order_of_its_dates(column, expected):
    assert list(read_dates(dict(enumerate(column))).values()) == expected


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
            'line 3: "03/04/2026" may be two dates: write YYYY-MM-DD.*DD/MM/YYYY and MM/DD/YYYY',
        ),
        ("file,date\na.jpg,13/04/2026\nb.jpg,04/13/2026\n", 'line 3: "04/13/2026" has the month first'),
        (
            "file,pupillary_distance\na.jpg,630\n",
            'line 2: pupillary_distance must be from 40 to 85 mm, not "630"',
        ),
        ("file,date\na.jpg,2026-02-30\n", 'line 2: "2026-02-30"'),
        ("", 'no column "file"'),
        ("image,who\na.jpg,x\n", 'no column "file" or "photo".*Its columns are: image, who'),
        ("file,subject\na.jpg,x\na.jpg,y\n", "line 3: a.jpg is listed twice"),
        ("file,subject\na.jpg,Zo\xeb\n", "CSV UTF-8"),
    ],
)
def test_a_sheet_that_would_be_misread_is_refused(text, message, tmp_path):
    sheet = tmp_path / "photos.csv"
    sheet.write_bytes(text.encode("latin-1"))
    with pytest.raises(ImageError, match=message):
        read_sheet(sheet)
