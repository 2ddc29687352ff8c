"""A photo's subject, date and condition, from the file's name or from a CSV file."""

import csv
import io
import re
from dataclasses import dataclass
from datetime import datetime
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
COUNT = re.compile(r"\d+|\(\d+\)")  # "2" or, of a copied file, "(2)"
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

    A photo in a subfolder whose name holds nothing but date and condition is of the folder's subject. A number at the
    end that follows the condition, as in "anna_smile_2.jpg", counts the photos; it is the subject only if nothing else
    names one.

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
    condition, rest, counts = "", [], []
    for i, word in enumerate(words):
        following = words[i + 1].lower() if i + 1 < len(words) else ""
        if word.lower() in FILLERS and following in WORDS:
            continue
        if not condition and word.lower() in WORDS:
            condition = WORDS[word.lower()]
        elif i and words[i - 1].lower() in WORDS and not following and COUNT.fullmatch(word):
            counts.append(word)
        else:
            rest.append(word)
    subject = "_".join(rest) or path.parent.name or "_".join(counts)
    return About(subject or path.stem, date, condition)


def read_sheet(path: Path) -> dict[str, About]:
    """Read a CSV file of photos with their subjects, dates and conditions.

    Args:
        path: columns "file" (path relative to the study's folder), and any of "subject", "date", "condition",
            separated by commas, semicolons or tabs.

    Returns:
        {file: About}; missing values come from the file's name.

    Raises:
        ImageError: it cannot be read, has no column "file", or a date is not one.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        # Spreadsheets take the separator of the system's language.
        separator = max(",;\t", key=text.partition("\n")[0].count)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
        rows = [(reader.line_num, row) for row in reader if (row.get("file") or "").strip()]
    except UnicodeDecodeError as error:
        raise ImageError(f"{path} is not in UTF-8: save it as “CSV UTF-8”.") from error
    except (OSError, csv.Error) as error:
        raise ImageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if "file" not in reader.fieldnames:
        raise ImageError(f'{path} has no column "file": it must name the photos, relative to their folder.')
    sheet = {}
    for line, row in rows:
        said = {key: (row.get(key) or "").strip() for key in ("file", "subject", "date", "condition")}
        named = read_name(Path(said["file"]))
        condition = WORDS.get(re.sub(r"[\s_-]", "", said["condition"].lower()), said["condition"])
        try:
            date = _read_date(said["date"])
        except ValueError:
            raise ImageError(
                f'{path}, line {line}: "{said["date"]}" is not a date: write YYYY-MM-DD.'
            ) from None
        file = Path(said["file"]).as_posix()
        if file in sheet:
            raise ImageError(f"{path}, line {line}: {file} is listed twice.")
        sheet[file] = About(
            said["subject"] or named.subject, date or named.date, condition or named.condition
        )
    return sheet


def _read_date(text):
    """Return a date as YYYY-MM-DD, from a date as in file names or, as spreadsheets write it, DD.MM.YYYY; "" of "".

    Raises:
        ValueError: it is something else. Of 03/04/2026 nobody knows which is the month.
    """
    if not text:
        return ""
    if found := _DATE.fullmatch(text):
        text = "-".join(found.groups())
    return datetime.strptime(text, "%d.%m.%Y" if "." in text else "%Y-%m-%d").date().isoformat()
