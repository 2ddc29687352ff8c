"""A photo's subject, date and condition, from the file's name or from a CSV file."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import ImageError

REST = "rest"
CONDITIONS = {
    REST: ("rest", "resting", "neutral", "relaxed", "repose"),
    "smile": ("smile", "smiling", "happy", "happiness"),
    "eye closure": ("closure", "eyeclosure", "closed", "eyesclosed", "closing", "close"),
    "brow raise": ("browraise", "raise", "raised", "browsraised", "eyebrows", "frontalis"),
}
WORDS = {word: condition for condition, words in CONDITIONS.items() for word in words}
FILLERS = {"eye", "eyes", "brow", "brows", "lid", "lids"}  # of "eye_closure", before a condition's word
_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])(?!\d)")


@dataclass(frozen=True)
class About:
    """Subject, date and condition of a photo.

    Attributes:
        subject: who it shows; the file's name without date and condition, if nothing better is known.
        date: YYYY-MM-DD, or "".
        condition: a key of CONDITIONS, another word from a CSV file, or "".
    """

    subject: str
    date: str = ""
    condition: str = ""


def read_name(path: Path) -> About:
    """Read a file's name: "anna_2026-03-01_smile.jpg" is subject anna, smiling on 1 March 2026.

    A photo in a subfolder whose name holds nothing but date and condition is of the folder's subject.

    Args:
        path: of the photo, relative to the study's folder.

    Returns:
        About.
    """
    path = Path(path)
    stem, date = path.stem, ""
    if found := _DATE.search(stem):
        date = "-".join(found.groups())
        stem = stem[: found.start()] + "_" + stem[found.end() :]
    words = [word for word in re.split(r"[\s_.-]+", stem) if word]
    condition, rest = "", []
    for i, word in enumerate(words):
        following = words[i + 1].lower() if i + 1 < len(words) else ""
        if word.lower() in FILLERS and following in WORDS:
            continue
        if not condition and word.lower() in WORDS:
            condition = WORDS[word.lower()]
        else:
            rest.append(word)
    subject = "_".join(rest)
    folder = path.parent.name
    return About(subject or folder or path.stem, date, condition)


def read_sheet(path: Path) -> dict[str, About]:
    """Read a CSV file of photos with their subjects, dates and conditions.

    Args:
        path: columns "file" (path relative to the study's folder), and any of "subject", "date", "condition".

    Returns:
        {file: About}; missing values come from the file's name.

    Raises:
        ImageError: it cannot be read, or has no column "file".
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ImageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if not rows or "file" not in rows[0]:
        raise ImageError(f'{path} has no column "file": it must name the photos, relative to their folder.')
    sheet = {}
    for row in rows:
        named = read_name(Path(row["file"]))
        said = {key: (row.get(key) or "").strip() for key in ("subject", "date", "condition")}
        condition = WORDS.get(said["condition"].lower().replace(" ", ""), said["condition"])
        sheet[Path(row["file"]).as_posix()] = About(
            said["subject"] or named.subject, said["date"] or named.date, condition or named.condition
        )
    return sheet
