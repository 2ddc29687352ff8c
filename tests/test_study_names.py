"""`facesym study`: subjects, dates and conditions, from file names and from a CSV file."""

from pathlib import Path

import pytest

from facesym.errors import ImageError
from facesym.study.dates import read_dates
from facesym.study.series import About, read_name
from facesym.study.sheet import describe_subjects, doubtful_subjects, identify, read_sheet


@pytest.mark.parametrize(
    "name, about",
    [
        ("anna_2026-03-01_smile.jpg", About("anna", "2026-03-01", "smile")),
        ("1001_neutral.webp", About("1001", "", "rest")),
        ("P7-20260301-eye_closure.png", About("P7", "2026-03-01", "eye closure")),
        ("Patient 15 - 2026-03-02 - at rest.jpg", About("Patient_15", "2026-03-02", "rest")),
        ("p9_smile_mild.jpg", About("p9", "", "smile")),
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
        ("anna_At_rest.jpg", About("anna", "", "rest")),
        ("AT_rest.jpg", About("AT", "", "rest")),  # initials
        ("anna_closed-mouth-smile.jpg", About("anna", "", "smile")),
        ("anna_smile_lips_closed_2.jpg", About("anna", "", "smile")),
        ("patient_AT_rest.jpg", About("patient_AT", "", "rest")),
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
        ("anna_closed.jpg", About("anna", "", "eye closure")),
        ("anna_lids-closed.jpg", About("anna", "", "eye closure")),
        ("anna_eyebrows_raised.jpg", About("anna", "", "brow raise")),
        ("anna_smile_2026-03-01_2.jpg", About("anna", "2026-03-01", "smile")),
        # a camera's names: the folder is the subject
        ("a/IMG_0001.jpg", About("a")),
        ("b/IMG_0001.jpg", About("b")),
        ("anna/IMG_20260301_101530.jpg", About("anna", "2026-03-01")),
        ("anna/20260301_101530.jpg", About("anna", "2026-03-01")),
        ("anna/IMG-20260301-WA0001.jpg", About("anna", "2026-03-01")),
        ("anna/DSC00012_smile.jpg", About("anna", "", "smile")),
        ("anna/0007.jpg", About("anna")),
        ("anna/IMG_E0412.jpg", About("anna")),
        ("anna/_MG_0412.jpg", About("anna")),
        ("anna/100_0412.jpg", About("anna")),
        ("anna/IMG_20260301_101530_HDR.jpg", About("anna", "2026-03-01")),
        ("anna/20260301_101530_HDR.jpg", About("anna", "2026-03-01")),
        ("anna/PXL_20260301_101530123.PORTRAIT.jpg", About("anna", "2026-03-01")),
        ("anna/WhatsApp Image 2026-03-01 at 10.15.30.jpeg", About("anna", "2026-03-01")),
        ("anna/WhatsApp Image 2026-03-01 at 10.15.30 PM (1).jpeg", About("anna", "2026-03-01")),
        ("20260301_101530.jpg", About("20260301_101530", "2026-03-01")),
        # times
        ("anna_2026-03-01_10-15-30_rest.jpg", About("anna", "2026-03-01", "rest")),
        ("anna_2026-03-01_31-15-30_rest.jpg", About("anna_31_15_30", "2026-03-01", "rest")),  # no time
        ("anna_20260301_101530_rest.jpg", About("anna", "2026-03-01", "rest")),
        ("anna_20260301_991530_rest.jpg", About("anna_991530", "2026-03-01", "rest")),
        ("clinic/2026-03-01_104512_rest.jpg", About("clinic/104512", "2026-03-01", "rest")),  # a number
        ("anna/20260301_101530_smile.jpg", About("anna", "2026-03-01", "smile")),
        ("2026-03-01_104512_smile.jpg", About("104512", "2026-03-01", "smile")),
        # people whose names are also words, or a camera's
        ("clinic/Sam_rest.jpg", About("clinic/Sam", "", "rest")),
        ("clinic/Sam_0412_rest.jpg", About("clinic/Sam_0412", "", "rest")),
        ("clinic/SAM_0412.jpg", About("clinic")),
        ("clinic/Vid_smile.jpg", About("clinic/Vid", "", "smile")),
        ("clinic/photo.jpg", About("clinic/photo")),
        ("clinic/Max_2026-03-01_smile.jpg", About("clinic/Max", "2026-03-01", "smile")),
        ("Max_2026-03-01_rest.jpg", About("Max", "2026-03-01", "rest")),
        ("Max_smile.jpg", About("Max", "", "smile")),
        ("Anna Small_rest.jpg", About("Anna_Small", "", "rest")),
        ("Anna Small_smile.jpg", About("Anna_Small", "", "smile")),
        ("Ann_Open_2026-03-01_smile.jpg", About("Ann_Open", "2026-03-01", "smile")),  # not beside it
        ("Zoe\u0308_rest.jpg", About("Zo\xeb", "", "rest")),
        # other names: the folder is part of the subject
        ("visit1/1001_rest.jpg", About("visit1/1001", "", "rest")),
        ("anna/anna_rest.jpg", About("anna", "", "rest")),
        ("anna/smile/1.jpg", About("anna", "", "smile")),
    ],
)
def test_file_names_say_who_when_and_what(name, about):
    assert read_name(name) == about


@pytest.mark.parametrize(
    "name, about, message",
    [
        ("anna_2026-13-40_rest.jpg", ("anna", "", "rest"), '"2026-13-40" in the file name is not a date'),
        ("anna_03-04-2026_rest.jpg", ("anna", "", "rest"), '"03-04-2026" in the file name may be two dates'),
        (
            "anna_13.03.2087_rest.jpg",
            ("anna", "", "rest"),
            '"13.03.2087" in the file name lies in the future',
        ),
        ("anna_2026-03-01_2026-04-01.jpg", ("anna", "", ""), "several dates: 2026-03-01, 2026-04-01"),
        ("2026-03-01/19870312_rest.jpg", ("2026-03-01/19870312_rest", "", "rest"), "several dates"),
        (
            "19870312_rest.jpg",
            ("19870312_rest", "", "rest"),
            '"19870312" in the file name may be the subject or',
        ),
        ("anna_closed_smile.jpg", ("anna", "", ""), "several conditions: eye closure, smile"),
        (
            "anna_2026-03-01_mouth_closed.jpg",
            ("anna", "2026-03-01", ""),
            '"mouth closed" in the file name does',
        ),
        ("anna_lips_closed.jpg", ("anna", "", ""), '"lips closed" in the file name does not say whether'),
        ("anna_close_up.jpg", ("anna", "", ""), '"close up" in the file name does not say whether the eyes'),
    ],
)
def test_file_names_that_would_be_misread_are_unclear(name, about, message):
    read = read_name(Path(name))
    assert message in read.unclear
    assert read == About(*about, unclear=read.unclear)
    assert identify([Path("bea_rest.jpg"), Path(name)])["bea_rest.jpg"] == About("bea", "", "rest")


@pytest.mark.parametrize(
    "name, line, about",
    [
        ("anna_03-04-2026_rest.jpg", "2026-04-03", About("anna", "2026-04-03", "rest")),
        ("anna_mouth_closed.jpg", "rest", About("anna", "", "rest")),
        ("20260301_rest.jpg", "Bea", About("Bea", "2026-03-01", "rest")),
    ],
)
def test_an_unclear_part_of_a_name_matters_only_if_the_sheet_does_not_give_it(name, line, about, tmp_path):
    sheet = tmp_path / "photos.csv"
    fields = ("date", "condition", "subject")
    given = next(field for field in fields if getattr(about, field) == line)
    sheet.write_text(f"file,{given}\n{name},{line}\n")
    assert identify([Path(name)], read_sheet(sheet))[name] == about
    other = fields[fields.index(given) - 1]
    value = "2026-05-01" if other == "date" else "x"
    sheet.write_text(f"file,{other}\n{name},{value}\nb_rest.jpg,\n")
    found = identify([Path(name), Path("b_rest.jpg")], read_sheet(sheet))
    assert found[name].unclear and getattr(found[name], other) == value
    assert found["b_rest.jpg"] == About("b", "", "rest")  # the study goes on


def test_letters_that_unicode_composes_in_two_ways_are_the_same(tmp_path):
    sheet = tmp_path / "photos.csv"
    sheet.write_text("file,subject\nbe\u0301a.jpg,Zoe\u0308\nb.jpg,ZO\xcb\n", encoding="utf-8")
    found = identify([Path("b\xe9a.jpg"), Path("b.jpg")], read_sheet(sheet))
    assert {about.subject.casefold() for about in found.values()} == {found["b.jpg"].subject.casefold()}
    found = identify([Path("be\u0301a.jpg")], {"b\xe9a.jpg": About("Zoe")})
    assert found["be\u0301a.jpg"].subject == "Zoe"


def test_subjects_differ_in_more_than_case_and_have_one_pupillary_distance():
    sheet = {"b.jpg": About("anna", pupillary_distance=60.0)}
    found = identify([Path("Anna_rest.jpg"), Path("b.jpg"), Path("bea.jpg")], sheet, 63.0)
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
    found = identify([Path("a_2026-01-02.jpg"), Path("b_smile.jpg")], read_sheet(sheet))
    assert found["a_2026-01-02.jpg"].subject == "Bea" and found["a_2026-01-02.jpg"].date == "2026-01-02"
    assert found["b_smile.jpg"] == About("b", "", "smile")
    sheet.write_text("photo,subject,pupillary_distance\na.jpg,Bea,61.5\n")  # the study's table
    assert read_sheet(sheet) == {"a.jpg": About("Bea", pupillary_distance=61.5)}


def test_unknown_conditions_are_told(tmp_path):
    sheet = tmp_path / "photos.csv"
    sheet.write_text("file,condition\na.jpg,lachen\n")
    told = []
    assert read_sheet(sheet, told.append)["a.jpg"] == About("", "", "lachen")
    (conditions,) = told
    assert "unknown conditions: lachen. Only rest, smile" in conditions


@pytest.mark.parametrize(
    "text, condition",
    [
        ("Big smile", "smile"), ("smile 2", "smile"), ("rest2", "rest"), ("eyes gently closed", "eye closure"),
        ("Closed-mouth smile", "smile"), ("brow raise", "brow raise"), ("mouth closed", "mouth closed"),
        ("no smile", "no smile"),
    ],
)  # fmt: skip
def test_a_sheet_names_conditions_as_files_do(text, condition, tmp_path):
    sheet = tmp_path / "photos.csv"
    sheet.write_text(f"file,condition\na.jpg,{text}\n")
    assert read_sheet(sheet, print)["a.jpg"].condition == condition


def test_other_columns_of_a_sheet_are_kept_but_not_those_of_the_studys_tables(tmp_path):
    sheet = tmp_path / "photos.csv"
    sheet.write_text(
        "photo,affected_side,Treatment,brow_height_left,flags,groups\na.jpg,left,,0.3,blurred,a\n"
    )
    told = []
    assert read_sheet(sheet, told.append)["a.jpg"].extra == (
        ("affected_side", "left"),
        ("Treatment", ""),
        ("groups", "a"),
    )
    (message,) = told
    assert "are not kept: brow_height_left, flags. Rename them." in message
    sheet.write_text("photo,leading_region,brow_height_left\na.jpg,brow,0.3\n")  # the study's own table
    assert read_sheet(sheet, pytest.fail)["a.jpg"].extra == ()


def test_a_misspelt_condition_is_not_taken_for_another_subject_without_a_word():
    rows = [{"subject": name} for name in ("P04", "P04_smil", "anna", "anna_maria", "Bea")]
    assert doubtful_subjects(rows) == [
        'P04_smil is treated as a different subject from P04, because "smil" is not a condition: did you mean smile?',
        'anna_maria is treated as a different subject from anna, because "maria" is not a condition.',
    ]
    assert doubtful_subjects(rows, {"anna_maria", "p04"}) == [
        doubtful_subjects(rows)[0]
    ]  # as the sheet names them


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
        ("file,date\na.jpg,13.03.87\n", 'line 2: "13.03.87" lies in the future: write YYYY-MM-DD'),
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
