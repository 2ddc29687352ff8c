"""The subjects of a study: from a CSV file, or from the names of the photos."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import ImageError
from ..files import nfc
from . import PUPILLARY_DISTANCES
from .columns import describe_columns
from .dates import read_dates
from .series import CONDITIONS, WORDS, About, read_condition, read_name

COLUMNS = ("file", "subject", "date", "condition", "pupillary_distance")


def read_sheet(path: Path, tell: Callable = print) -> dict[str, About]:
    """Read a CSV file of photos with their subjects, dates and conditions.

    Args:
        path: columns "file" or "photo" (path relative to the study's folder), and any of "subject", "date",
            "condition" and "pupillary_distance" (millimetres), separated by commas, semicolons or tabs. Others are
            kept, except for those of the study's own tables.
        tell: called with a message about unknown conditions, and about columns that are not kept.

    Returns:
        {file: About}, with file names in Unicode's composed form; `identify` adds what is missing.

    Raises:
        ImageError: it cannot be read, has no column "file" or "photo", or a value is wrong.
    """
    lines, extra, dropped = _read_lines(path)
    if dropped:
        tell(
            f"{path}: columns with the names of the study's own are not kept: {', '.join(dropped)}. Rename them."
        )
    try:
        dates = read_dates({line: said["date"] for line, said in lines.items()})
    except ImageError as error:
        raise ImageError(f"{path}, {error}") from None
    sheet: dict[str, About] = {}
    others = set()
    for line, said in lines.items():
        file = nfc(Path(said["file"]).as_posix())
        if file in sheet:
            raise ImageError(f"{path}, line {line}: {file} is listed twice.")
        condition = read_condition(said["condition"]) or said["condition"]
        others |= {condition} - {"", *CONDITIONS}
        try:
            distance = _read_distance(said["pupillary_distance"])
        except ImageError as error:
            raise ImageError(f"{path}, line {line}: {error}") from None
        others_said = tuple((name, said[name]) for name in extra)
        sheet[file] = About(said["subject"], dates[line], condition, distance, extra=others_said)
    if others:
        tell(
            f"{path}: unknown conditions: {', '.join(sorted(others))}. Only {', '.join(CONDITIONS)} have movements."
        )
    return sheet


def identify(
    photos: Iterable[Path], sheet: Mapping[str, About] | None = None, pupillary_distance: float | None = None
) -> dict[str, About]:
    """Find the subject, date and condition of photos. Subjects whose names differ only in case, or in how
    Unicode composes their letters, are the same.

    Args:
        photos: paths relative to the study's folder.
        sheet: from `read_sheet`; the photos' names give what it does not.
        pupillary_distance: in millimetres, of the subjects for whom the sheet has none.

    Returns:
        {photo: About}; see its ``unclear`` for names that cannot be read.

    Raises:
        ImageError: the sheet has several pupillary distances for one subject.
    """
    sheet = sheet or {}
    found = {
        photo.as_posix(): read_name(photo, sheet.get(nfc(photo.as_posix()))) for photo in map(Path, photos)
    }
    subjects: dict[str, str] = {}
    distances: dict[str, float] = {}
    for about in found.values():
        key = nfc(about.subject).casefold()
        subjects.setdefault(key, about.subject)
        own = about.pupillary_distance
        if own and distances.setdefault(key, own) != own:
            raise ImageError(
                f"The sheet has two pupillary distances for {about.subject}: {distances[key]:g} and {own:g} mm."
            )
    for name, about in found.items():
        key = nfc(about.subject).casefold()
        found[name] = replace(
            about, subject=subjects[key], pupillary_distance=distances.get(key, pupillary_distance)
        )
    return found


def describe_subjects(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """List the subjects in the rows of a study's table, with their number of photos, conditions and dates, one line
    each."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if "error" not in row:
            groups.setdefault(row["subject"], []).append(row)
    lines = []
    for subject, own in sorted(groups.items()):
        counts = Counter(row["condition"] or "no condition" for row in own)
        dates = sorted({row["date"] for row in own if row["date"]})
        parts = [
            f"{len(own)} photo{'s' * (len(own) != 1)}",
            ", ".join(f"{count} {condition}" for condition, count in counts.items()),
            " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else "no date",
        ]
        lines.append(f"{subject}: {'; '.join(parts)}")
    return lines


def doubtful_subjects(rows: Iterable[Mapping[str, Any]], known: Collection[str] = ()) -> list[str]:
    """List the subjects in the rows of a study's table whose names are those of another one and more words, which may
    be a misspelt condition; a sentence each. ``known``: subjects that are certain, in lower case (casefold)."""
    subjects = {row["subject"].casefold(): row["subject"] for row in rows}
    found = []
    for subject in sorted(subjects.values()):
        if subject.casefold() in known:
            continue
        words = subject.split("_")
        bases = ["_".join(words[:k]).casefold() for k in range(len(words) - 1, 0, -1)]
        base = next((subjects[name] for name in bases if name in subjects), None)
        if base is None:
            continue
        more = subject[len(base) + 1 :]
        near = get_close_matches(more.split("_")[0].lower(), WORDS, n=1, cutoff=0.7)
        guess = f": did you mean {near[0]}?" if near else "."
        found.append(
            f'{subject} is treated as a different subject from {base}, because "{more}" is not a condition{guess}'
        )
    return found


def _read_lines(path):
    """Return {line: {column: text}} of the lines that name a file, and the names of the other columns: those to keep,
    and those that the study's tables have, except in a file that is one of these tables."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        # Spreadsheets take the separator of the system's language.
        separator = max(",;\t", key=text.partition("\n")[0].count)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
        given = [name.strip() for name in reader.fieldnames or ()]
        names = [name.lower() for name in given]
        key = next((name for name in ("file", "photo") if name in names), "file")
        known = {*COLUMNS, "photo"}
        reader.fieldnames = [
            "file" if name == key else name if name in known else as_given
            for name, as_given in zip(names, given)
        ]
        rows = [(reader.line_num, row) for row in reader]
    except UnicodeDecodeError as error:
        raise ImageError(f"{path} is not in UTF-8: save it as “CSV UTF-8”.") from error
    except (OSError, csv.Error) as error:
        raise ImageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if key not in names:
        raise ImageError(
            f'{path} has no column "file" or "photo", which must name the photos, relative to their folder. '
            f"Its columns are: {', '.join(names) or 'none'}."
        )
    own = {line["column"] for line in describe_columns() if line["table"] in ("measures", "movements")}
    others = [name for name in dict.fromkeys(given) if name and name.lower() not in known]
    extra, dropped = ([name for name in others if (name in own) == is_own] for is_own in (False, True))
    if "leading_region" in dropped:  # measures.csv, edited
        dropped = []
    kept = (*COLUMNS, *extra)
    lines = {line: {column: (row.get(column) or "").strip() for column in kept} for line, row in rows}
    return {line: said for line, said in lines.items() if said["file"]}, extra, dropped


def _read_distance(text):
    if not text:
        return None
    low, high = PUPILLARY_DISTANCES
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = 0
    if not low <= value <= high:
        raise ImageError(f'pupillary_distance must be from {low} to {high} mm, not "{text}".')
    return value
