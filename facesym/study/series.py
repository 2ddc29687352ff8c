"""A photo's subject, date and condition, from its file name."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..errors import ImageError
from .dates import find_dates

REST = "rest"
CONDITIONS = {
    REST: ("rest", "resting", "neutral", "relaxed", "repose"),
    "smile": ("smile", "smiling", "happy", "happiness"),
    "eye closure": ("closure", "eyeclosure", "closed", "eyesclosed", "closing", "close"),
    "brow raise": ("browraise", "raise", "raised", "browsraised", "eyebrows", "frontalis"),
}
WORDS = {word: condition for condition, words in CONDITIONS.items() for word in words}
# Words beside a condition's that belong to it: "eye_closure", "big smile", "smile-teeth".
BESIDE = (
    "eyes?|brows?|lids?|mouth|teeth|with|open|big|broad|full|wide|small|soft|slight|max|maximum|maximal|"
    "gentle|gently|tight|tightly"
)
_CONDITION = re.compile(
    rf"(?:^|_)(?:(?:{BESIDE})_)*({'|'.join(WORDS)})\d*(?:_(?:{BESIDE}))*(?=_|$)(?:_(\d+)$)?", re.IGNORECASE
)
_COPY = re.compile(
    r"(?:[\s_-]+(?:copy|kopie)(?:\s*\d+)?|[\s_-]*\(\d+\))+$", re.IGNORECASE
)  # "(1)", " - Copy"
# What cameras call their files: IMG_0412, DSC00012, P1010001, 0412; IMG_20260301_101530 and 20260301_101530 (a time).
_CAMERA = re.compile(
    r"(?:(?:imgp?|mvimg|dsc[nf]?|cimg|pxl|vid|mov|sam|photo|image)_*\d*|p\d{7})(?:_+(?:wa)?\d+)*",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+|(?:19|20)\d{6}[_-]\d{6,9}")


@dataclass(frozen=True)
class About:
    """Subject, date and condition of a photo.

    Attributes:
        subject: who it shows; the file's name, if nothing better is known.
        date: YYYY-MM-DD, or "".
        condition: a key of CONDITIONS, another word from a CSV file, or "".
        pupillary_distance: the subject's, in millimetres, or None.
    """

    subject: str
    date: str = ""
    condition: str = ""
    pupillary_distance: float | None = None


class _Part(NamedTuple):
    """What a file's or a folder's name says."""

    dates: list  # pairs: as written, YYYY-MM-DD
    conditions: list
    subject: str
    number: str  # the number after the condition


def read_name(path: Path) -> About:
    """Read a file's name: "anna_2026-03-01_smile.jpg" is subject anna, smiling on 1 March 2026. docs/study.md has the
    rules.

    Args:
        path: of the photo, relative to the study's folder. Its folders are part of the subject, unless their names are
            a date or a condition.

    Returns:
        About.

    Raises:
        ImageError: a date does not exist or may be two dates, or there are several dates or conditions.
    """
    path = Path(path)
    *folders, own = [_parse(part) for part in (*path.parent.parts, path.stem)]
    subjects = [folder.subject for folder in folders if folder.subject]
    named_by_camera = _CAMERA.fullmatch(own.subject) or _NUMBER.fullmatch(_COPY.sub("", path.stem))
    if own.subject and not named_by_camera and own.subject.casefold() not in map(str.casefold, subjects[-1:]):
        subjects.append(own.subject)
    parts = [*folders, own]
    conditions = list(dict.fromkeys(condition for part in parts for condition in part.conditions))
    if len(conditions) > 1:
        raise ImageError(f"The file name holds several conditions: {', '.join(conditions)}. Keep one.")
    dates = {day: written for part in parts for written, day in part.dates}  # without repetitions
    if len(dates) == 2 and not subjects and list(dates) == sorted(dates):
        subjects = [dates.pop(min(dates))]  # a date of birth, or a number that looks like one
    if len(dates) > 1:
        raise ImageError(f"The file name holds several dates: {', '.join(dates.values())}. Keep one.")
    subject = "/".join(subjects) or own.number or path.with_suffix("").as_posix()
    return About(subject, next(iter(dates), ""), next(iter(conditions), ""))


def _parse(text):
    """Read the name of a file, without its suffix, or of a folder."""
    dates, text = find_dates(_COPY.sub("", text))
    text = re.sub(r"[\s_.()-]+", "_", text).strip("_")
    matches = list(_CONDITION.finditer(text))
    conditions = [WORDS[match[1].lower()] for match in matches]
    number = next((match[2] for match in matches if match[2]), "")
    return _Part(dates, conditions, _CONDITION.sub("", text).strip("_"), number)
