"""Dates in file names and in the columns of a CSV file."""

import re
from collections.abc import Mapping
from datetime import date, timedelta

from ..errors import ImageError

# YYYY-MM-DD and YYYY-M-D; YYYYMMDD; DD-MM-YYYY, MM-DD-YYYY and the same with two digits of the year.
YEAR_FIRST = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_./])(\d{1,2})\2(\d{1,2})(?!\d)")
COMPACT = re.compile(r"(?<!\d)((?:19|20)\d\d)()(\d\d)(\d\d)(?!\d)")
YEAR_LAST = re.compile(r"(?<!\d)(\d{1,2})([-_./])(\d{1,2})\2((?:19|20)\d\d)(?!\d)")
SHORT = re.compile(r"(\d{1,2})([-./])(\d{1,2})\2(\d\d)")
FORMS = (
    "write YYYY-MM-DD, YYYYMMDD or DD.MM.YYYY; DD/MM/YYYY and MM/DD/YYYY (also with - and with two digits of the year) "
    "are read if a day above 12 in the column shows which of them it is"
)


def find_dates(text: str) -> tuple[list[tuple[str, str]], str, str]:
    """Find the dates in a file name.

    A date with dots has the day first. With other separators, a date that ends with the year is read if only one order
    of day and month is possible.

    Args:
        text: the name.

    Returns:
        The dates from left to right, each as written and as YYYY-MM-DD; the text with "_" in their place; and, in
        words, which date does not exist, lies in the future or may be two dates, "" if there is none.
    """
    found, blank, problem = [], [], ""
    for pattern in (YEAR_FIRST, COMPACT, YEAR_LAST):
        for match in pattern.finditer(text):
            readings = set(_readings(match).values()) - {""}
            if len(readings) == 1 and not _in_future(*readings):
                found.append((match.start(), match[0], readings.pop()))
            elif pattern is COMPACT:  # eight digits may be a number
                continue
            else:
                why = ("is not a date", "lies in the future", "may be two dates")[len(readings)]
                problem = f'"{match[0]}" in the file name {why}: write YYYY-MM-DD.'
            blank.append(match.span())
        for start, end in blank:  # of the same length, so that the places stay
            text = text[:start] + "_" * (end - start) + text[end:]
    return [(written, day) for _, written, day in sorted(found)], text, problem


def read_dates(column: Mapping[int, str]) -> dict[int, str]:
    """Read a column of dates. All dates that end with the year, except those with dots, have the same order of day and
    month; the day comes first in a date with dots.

    Args:
        column: {line: text}; "" is no date.

    Returns:
        {line: YYYY-MM-DD or ""}.

    Raises:
        ImageError: a text is not a date or lies in the future, or the column does not show whether the day or the month
            comes first.
    """
    readings = {line: _read(text) for line, text in column.items() if text}
    for line, each in readings.items():
        if not any(each.values()):
            raise ImageError(f'line {line}: "{column[line]}" is not a date: {FORMS}.')
    fitting = [order for order in ("day", "month") if all(each[order] for each in readings.values())]
    if not fitting:
        line = next(line for line, each in readings.items() if not each["day"])
        raise ImageError(f'line {line}: "{column[line]}" has the month first, other dates the day: {FORMS}.')
    for line, each in readings.items():
        if len({each[order] for order in fitting}) > 1:
            raise ImageError(f'line {line}: "{column[line]}" may be two dates: {FORMS}.')
        if _in_future(each[fitting[0]]):
            raise ImageError(f'line {line}: "{column[line]}" lies in the future: write YYYY-MM-DD.')
    return {line: readings[line][fitting[0]] if text else "" for line, text in column.items()}


def _read(text):
    """Return the readings of a text, see `_readings`; empty ones of what is not a date."""
    for pattern in (YEAR_FIRST, COMPACT, YEAR_LAST, SHORT):
        if match := pattern.fullmatch(text):
            return _readings(match)
    return {"day": "", "month": ""}


def _readings(match):
    """Return what a match means if the day or the month comes first: {"day": YYYY-MM-DD, "month": YYYY-MM-DD}, "" for
    a date that does not exist."""
    a, separator, b, c = match.groups()
    if len(a) == 4:
        day = month = _iso(a, b, c)
    else:
        day = _iso(c, b, a)
        month = day if separator == "." else _iso(c, a, b)
    return {"day": day, "month": month}


def _iso(year, month, day):
    try:
        return date(int(year) + (2000 if len(year) == 2 else 0), int(month), int(day)).isoformat()
    except ValueError:
        return ""


def _in_future(day):
    """Whether YYYY-MM-DD is later than today everywhere on Earth."""
    return day > (date.today() + timedelta(days=1)).isoformat()
