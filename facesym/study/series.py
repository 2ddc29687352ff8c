"""A photo's subject, date and condition, from its file name."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ..files import nfc
from .dates import find_dates

REST = "rest"
CONDITIONS = {
    REST: ("rest", "resting", "neutral", "relaxed", "repose"),
    "smile": ("smile", "smiling", "happy", "happiness"),
    "eye closure": ("closure", "eyeclosure", "closed", "eyesclosed", "closing", "close"),
    "brow raise": ("browraise", "raise", "raised", "browsraised", "eyebrows", "frontalis"),
}
WORDS = {word: condition for condition, words in CONDITIONS.items() for word in words}
# What may also be closed, or makes a "close_up": with these, only "eye" or "lid" shows that the eyes are meant.
_NOT_EYES = ("mouth", "lip", "lips", "teeth", "jaw", "up")
# Words beside a condition's that belong to it: "eye_closure", "big smile", "smile-teeth". "Max" and "Small" are names.
BESIDE = {
    REST: "(?-i:[Aa]t)(?=_rest)|eyes|mouth|open",  # AT may be somebody's initials
    "smile": "(?:closed_)?(?:mouth|lips?)(?:_closed)?|teeth|with|show|showing|open|big|broad|full|wide|soft|slight|"
    "mild|moderate|gentle|maximum|maximal",
    "eye closure": "eyes?|eyelids?|lids?|full|soft|gentle|gently|tight|tightly|" + "|".join(_NOT_EYES),
    "brow raise": "eyes?|brows?|eyebrow|full|maximum|maximal",
}
# In the text of `_parse`, where "/" stands for a date: words beside the condition, the condition, and a number.
_PATTERNS = {
    condition: re.compile(
        rf"(?:^|_)(?:(?:{BESIDE[condition]})_)*(?:{'|'.join(words)})\d*(?:_(?:{BESIDE[condition]}))*(?=_|$)"
        r"(?:(?:_/)*_(?P<number>\d+)$)?",
        re.IGNORECASE,
    )
    for condition, words in CONDITIONS.items()
}
# "(1)", " - Copy"
_COPY = re.compile(r"(?:[\s_-]+(?:copy|kopie)(?:\s*\d+)?|[\s_-]*\(\d+\))+$", re.IGNORECASE)
# The place of a date, and the time after it: "10-15-30", "at 10.15.30 PM".
_DATE = re.compile(
    r"_{8,}(?:[\s_T-]*(?:at\s+)?(?:[01]?\d|2[0-3])([-.:])[0-5]\d\1[0-5]\d(?!\d)(?:\s*[AP]M\b)?)?",
    re.IGNORECASE,
)
# A time without separators after a date, or a subject's number: "101530".
_STAMP = re.compile(r"(_{8,})[T-]?(?:[01]\d|2[0-3])[0-5]\d[0-5]\d(?!\d)")
# What cameras call their files, without a date: IMG_0412, IMG_E0412, DSC00012, P1010001, PXL_101530123_PORTRAIT. "Sam",
# "Vid" and "photo" may be names: they need a number, and Sam and Vid capitals.
_MODE = r"(?:_(?:(?:WA|BURST)?\d+|HDR|PORTRAIT|NIGHT|PANO|BOKEH|BURST|COVER|MP|EDITED))*"
_CAMERA = re.compile(
    r"(?:(?i:(?:IMGP?|MVIMG|PXL)(?:_?E?\d+)?|(?:DSC[NF]?|CIMG|photo|image)_?\d+|P\d{7}|WhatsApp_(?:image|video))"
    rf"|(?:SAM|VID|MOV)_(?:WA)?\d{{4,}})(?i:{_MODE})"
)
# Whole names: 0412, 100_0412, 20260301_101530.
_NUMBER = re.compile(rf"\d+|1\d\d_\d{{4}}|(?:19|20)\d{{6}}[_-]\d{{6,9}}{_MODE}", re.IGNORECASE)


@dataclass(frozen=True)
class About:
    """Subject, date and condition of a photo.

    Attributes:
        subject: who it shows; the file's name, if nothing better is known; "" if a CSV file does not say.
        date: YYYY-MM-DD, or "".
        condition: a key of CONDITIONS, another word from a CSV file, or "".
        pupillary_distance: the subject's, in millimetres, or None.
        unclear: why the file's name does not give one of the first three, in words; "" if all is clear.
        extra: (column, text) of each other column of the CSV file.
    """

    subject: str = ""
    date: str = ""
    condition: str = ""
    pupillary_distance: float | None = None
    unclear: str = ""
    extra: tuple[tuple[str, str], ...] = ()


class _Part(NamedTuple):
    """What a file's or a folder's name says."""

    dates: list  # pairs: as written, YYYY-MM-DD
    conditions: list
    subject: str
    number: str  # the number after the condition
    problems: dict  # {"date" or "condition": why it is unclear}


def read_name(path: Path, known: About | None = None) -> About:
    """Read a file's name: "anna_2026-03-01_smile.jpg" is subject anna, smiling on 1 March 2026. docs/study.md has the
    rules.

    Args:
        path: of the photo, relative to the study's folder. Its folders are part of the subject, unless their names are
            a date or a condition.
        known: what a CSV file says; the name only gives what is missing.

    Returns:
        About; its ``unclear`` is set if a missing subject, date or condition is ambiguous, or a missing date does not
        exist.
    """
    known = known or About()
    path = Path(nfc(Path(path).as_posix()))
    parts = [_parse(part) for part in path.parent.parts]
    own = _parse(path.stem, named=any(part.subject for part in parts))
    parts.append(own)
    subjects = [part.subject for part in parts[:-1] if part.subject]
    named_by_camera = _CAMERA.fullmatch(own.subject) or _NUMBER.fullmatch(_COPY.sub("", path.stem))
    if own.subject and not named_by_camera and own.subject.casefold() not in map(str.casefold, subjects[-1:]):
        subjects.append(own.subject)
    problems = {}
    conditions = list(dict.fromkeys(condition for part in parts for condition in part.conditions))
    if len(conditions) > 1:
        problems["condition"] = f"The file name holds several conditions: {', '.join(conditions)}. Keep one."
    dates = {day: written for part in parts for written, day in part.dates}  # without repetitions
    if len(dates) == 2 and not subjects and list(dates) == sorted(dates):
        subjects = [dates.pop(min(dates))]  # a date of birth, or a number that looks like one
    written = ", ".join(dates.values())
    if len(dates) > 1:
        problems["date"] = f"The file name holds several dates: {written}. Keep one."
    if written.isdecimal() and not (subjects or own.subject or own.number):
        problems["subject"] = f'"{written}" in the file name may be the subject or the date: write both.'
        dates = dates if known.subject else {}
    for part in parts:
        problems |= part.problems
    subject = "/".join(subjects) or own.number or path.with_suffix("").as_posix()
    return replace(
        known,
        subject=known.subject or subject,
        date=known.date or ("" if "date" in problems else next(iter(dates), "")),
        condition=known.condition or ("" if "condition" in problems else next(iter(conditions), "")),
        unclear=" ".join(why for field, why in problems.items() if not getattr(known, field)),
    )


def read_condition(text: str) -> str | None:
    """Return the condition that a text names, as in a file's name ("Eyes closed", "smile 2"); None if there is none."""
    part = _parse(text)
    named = set(part.conditions)
    return named.pop() if len(named) == 1 and not (part.subject or part.dates or part.problems) else None


def _parse(text, named=False):
    """Read the name of a file, without its suffix, or of a folder. ``named``: whether a folder names the subject."""
    dates, text, problem = find_dates(_COPY.sub("", text))
    part = _parse_words(dates, _STAMP.sub(r"\1", text), problem)
    stamped = bool(dates) and all(
        written.isdecimal() for written, _ in dates
    )  # 20260301_101530, as cameras write it
    return part if part.subject or (named and stamped) else _parse_words(dates, text, problem)


def _parse_words(dates, text, problem):
    """Read a name whose dates `find_dates` has replaced; return a _Part."""
    problems = {"date": problem} if problem else {}
    text = re.sub(r"^_MG_(?=\d)", "IMG_", text)  # Canon's name for Adobe RGB
    text = re.sub(r"[\s_.()~-]+", "_", _DATE.sub("_/_", text)).strip("_")
    matches = [(match, name) for name, pattern in _PATTERNS.items() for match in pattern.finditer(text)]
    spans = [match.span() for match, _ in matches]
    # "Closed" in "closed_mouth_smile" belongs to the smile.
    matches = [
        (match, name)
        for match, name in matches
        if not any(a <= match.start() and match.end() <= b and (a, b) != match.span() for a, b in spans)
    ]
    matches.sort(key=lambda pair: pair[0].start())
    for match, condition in matches:
        if condition == "eye closure" and _may_not_be_eyes(match[0].lower().split("_")):
            phrase = match[0].strip("_").replace("_", " ")
            problems["condition"] = (
                f'"{phrase}" in the file name does not say whether the eyes are closed: write "eye closure" if so.'
            )
    number = next((match["number"] for match, _ in matches if match["number"]), "")
    for pattern in _PATTERNS.values():
        text = pattern.sub("", text)
    subject = "_".join(word for word in text.split("_") if word not in ("", "/"))
    return _Part(dates, [condition for _, condition in matches], subject, number, problems)


def _may_not_be_eyes(words):
    """Whether words around "closed" may mean something else than the eyes."""
    eyes = any(word.startswith(("eye", "lid")) for word in words)
    return "up" in words or (not eyes and not set(words).isdisjoint(_NOT_EYES))
