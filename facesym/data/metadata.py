"""Folders of aligned faces: their images and splits."""

import csv
import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import ImageError
from .excluded import is_excluded_file, is_excluded_name

VAL_FRACTION = 0.05  # held out if the folders have no split
FEWEST_PEOPLE = 20  # with fewer people, images are held out instead of people


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Read a CSV file as one dict of strings per row.

    Args:
        path: of a file with a header.
        columns: names of the columns that it must have.

    Raises:
        ImageError: the file does not exist, cannot be read, or lacks a column.
    """
    try:
        with open(path, newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise ImageError(
                    f"{path} has no column {', '.join(missing)}: prepare the folder again with `facesym prepare`"
                )
            return list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise ImageError(f"cannot read {path} ({error}): restore it, or prepare the folder again") from error


def read_metadata(
    folder: str | Path, splits: Sequence[str] = ("train",), min_size: int = 0
) -> list[dict[str, Any]]:
    """Read the rows of ``metadata.csv``, without excluded images (`facesym.data.excluded`).

    Args:
        folder: folder of aligned faces.
        splits: the splits to return.
        min_size: return no rows if the images of the folder have a smaller side, in pixels. This avoids training on
            upscaled faces.

    Returns:
        A dict per row, with the columns, ``path`` (of the image) and ``index`` (the row's number). ``subject`` is "" if
        the person is unknown.

    Raises:
        ImageError: the folder has no metadata.csv, or it lacks a column; or, with ``min_size``, the first image cannot
            be read. Whether the other images exist is not checked.
    """
    folder = Path(folder)
    if not (folder / "metadata.csv").is_file():
        raise ImageError(f"{folder} has no metadata.csv; make one with `facesym prepare`")
    rows = [
        row | {"index": i, "path": folder / row["file_name"]}
        for i, row in enumerate(read_table(folder / "metadata.csv", ("file_name", "split")))
    ]
    name = folder.resolve().name
    rows = [row for row in rows if row["split"] in splits and not is_excluded_name(name, row["file_name"])]
    with ThreadPoolExecutor() as pool:
        excluded = list(pool.map(lambda row: is_excluded_file(row["path"]), rows))
    rows = [row for row, out in zip(rows, excluded, strict=True) if not out]
    if min_size and rows:
        # All images of a folder have one size; opening reads the header only.
        try:
            with Image.open(rows[0]["path"]) as image:
                if min(image.size) < min_size:
                    return []
        except OSError as error:
            raise ImageError(
                f"cannot read {rows[0]['path']} ({error}): restore it, or prepare the folder again"
            ) from error
    return rows


def read_landmarks(folder: str | Path) -> np.ndarray:
    """Load the landmarks of a folder, Nx68x2 in pixels, one entry per row of metadata.csv.

    Raises:
        ImageError: landmarks.npy is missing or damaged.
    """
    try:
        return np.load(Path(folder) / "landmarks.npy")
    except (OSError, ValueError, EOFError) as error:
        raise ImageError(
            f"cannot read {Path(folder) / 'landmarks.npy'} ({error}): prepare the folder again with `facesym prepare`"
        ) from error


def find_folders(paths: Iterable[str | Path]) -> list[Path]:
    """Find the folders of aligned faces in some paths.

    Args:
        paths: folders with a metadata.csv; folders of such folders; or files in one of them (``FACES/*``).

    Returns:
        A list of Path, without duplicates.

    Raises:
        ImageError: a path contains none.
    """
    found = []
    for path in map(Path, paths):
        folder = path.parent if path.is_file() else path
        inside = sorted(file.parent for file in folder.glob("*/metadata.csv")) if folder.is_dir() else []
        if (folder / "metadata.csv").is_file():
            found.append(folder)
        elif inside and folder == path:
            found += inside
        else:
            why = "has no metadata.csv, and neither has a folder in it" if path.exists() else "does not exist"
            raise ImageError(
                f"{path} {why}: create it with `facesym prepare`, or name a folder that it has created"
            )
    return list(dict.fromkeys(found))


def hold_out(rows: list[dict[str, Any]], fraction: float | str | None = None) -> str:
    """Choose the rows for validation, by a hash of the subject or, if it is unknown or there are fewer than
    FEWEST_PEOPLE people, of the image.

    Args:
        rows: rows of metadata.csv or pairs.csv of the splits "train" and "val"; changed in place.
        fraction: fraction to hold out; "auto" holds out VAL_FRACTION if no row is for validation; None changes nothing.

    Returns:
        A sentence about the choice; "" if the rows do not change.
    """
    given = not isinstance(fraction, str)
    if not rows or fraction is None or (not given and any(row["split"] == "val" for row in rows)):
        return ""
    people = [row.get("subject") or "" for row in rows]
    if len(set(people) - {""}) < FEWEST_PEOPLE:
        people = [""] * len(rows)
    places = [_place(person or Path(row["file_name"]).stem) for person, row in zip(people, rows, strict=True)]
    limit = max(fraction if given else VAL_FRACTION, min(places))  # at least one
    for row, place in zip(rows, places, strict=True):
        row["split"] = "val" if place <= limit else "train"
    held = sum(row["split"] == "val" for row in rows)
    why = "" if given else "no image is of the split val: "
    how = "person" if all(people) else "person or, if unknown, image" if any(people) else "image"
    return f"{why}{held} of {len(rows)} held out for validation, by {how}"


def split_rows(
    folders: Iterable[str | Path],
    splits: Sequence[str],
    min_size: int = 0,
    fraction: float | str | None = None,
) -> tuple[list[dict[str, Any]], str]:
    """Read the rows of folders in some splits; see `read_metadata` and `hold_out` for the arguments.

    Returns:
        The rows, and the sentence of `hold_out`.
    """
    wanted = set(splits) | ({"train", "val"} if {"train", "val"} & set(splits) else set())
    rows = [row for folder in folders for row in read_metadata(folder, tuple(wanted), min_size)]
    note = hold_out([row for row in rows if row["split"] in ("train", "val")], fraction)
    return [row for row in rows if row["split"] in splits], note


def _place(name):
    """Return a number in [0, 1) that depends only on the name."""
    return int(hashlib.sha256(str(name).encode()).hexdigest(), 16) / 2**256
