"""Find the photos in a folder, match their masks and name their results."""

import argparse
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from ..errors import ImageError
from ..faces.load import READABLE
from ..files import nfc

MOST_NAMED = 20  # maximum number of skipped files to list


def find_photos(
    folder: Path, recursive: bool = False, apart: Iterable[Path] = ()
) -> tuple[list[Path], dict[Path, str]]:
    """Find the photos in a folder.

    Args:
        folder: folder to search.
        recursive: also search subfolders.
        apart: folders to ignore silently, such as the output folder.

    Returns:
        Sorted paths of the photos, relative to the folder; and skipped files as {relative path: reason}.

    Raises:
        ImageError: the folder cannot be read.
    """

    def complain(error):
        if Path(error.filename) == folder:
            raise ImageError(f"{folder} cannot be read: {error.strerror}.") from error
        skipped[Path(error.filename).relative_to(folder)] = error.strerror

    apart = {path.resolve() for path in apart}
    photos, skipped = [], {}
    for root, folders, files in os.walk(folder, onerror=complain):
        here = Path(root).relative_to(folder)
        entered = []
        for name in folders:
            if name.startswith("."):
                skipped[here / name] = "a hidden folder"
            elif (Path(root) / name).resolve() in apart:
                continue
            elif recursive and (Path(root) / name).is_symlink():  # it may lead back to a folder above
                skipped[here / name] = "a symbolic link to a folder"
            elif recursive:
                entered.append(name)
            else:
                skipped[here / name] = "a folder; use --recursive to include it"
        folders[:] = entered
        for name in files:
            file = Path(root) / name
            if name.startswith("."):
                skipped[here / name] = "a hidden file"
            elif not (file.is_file() or file.is_symlink()):
                skipped[here / name] = "not a file"
            elif Path(name).suffix.lower() not in READABLE:
                skipped[here / name] = "not a supported image format"
            else:
                photos.append(here / name)
    return sorted(photos), skipped


def report_skipped(skipped: dict[Path, str]) -> None:
    """List skipped files on standard error."""
    for path in sorted(skipped)[:MOST_NAMED]:
        print(f"skipped {path}: {skipped[path]}", file=sys.stderr)
    if len(skipped) > MOST_NAMED:
        print(f"skipped {len(skipped) - MOST_NAMED} more", file=sys.stderr)


class Masks:
    """The masks of a folder of photos.

    Args:
        folder: folder of masks.
        recursive: also use masks in subfolders, for photos in subfolders with the same names.
    """

    def __init__(self, folder: Path, recursive: bool) -> None:
        self.folder = folder
        self._named = defaultdict(list)
        for path in find_photos(folder, recursive)[0]:
            self._named[nfc(path.parent), nfc(path.stem)].append(path)

    def of(self, photo: Path) -> Path:
        """Return the path of a photo's mask, which has the same name, except possibly for the suffix. Systems write
        letters like "é" in two ways, which count as the same.

        Args:
            photo: path relative to the folder of photos.

        Raises:
            ImageError: there is none, or more than one.
        """
        # For a.jpg: a.jpg itself, then a.jpg.png, then a.png.
        for stem in (photo.name, photo.stem):
            found = self._named.get((nfc(photo.parent), nfc(stem)), [])
            found = [path for path in found if nfc(path.name) == nfc(photo.name)] or found
            if len(found) > 1:
                raise ImageError(
                    f"{photo} has several masks: {', '.join(map(str, found))}. Keep one of them."
                )
            if found:
                return self.folder / found[0]
        raise ImageError(f"There is no mask for {photo}: add one with the same name to {self.folder}.")


def output_folder(args: argparse.Namespace, task: str, suffixes: Iterable[str] = ()) -> Path:
    """Return the output folder.

    Args:
        args: parsed arguments.
        task: name of the task.
        suffixes: suffixes of its results.

    Raises:
        ImageError: it is a file, or named like one, or results would be mixed with the photos and taken for photos
            by the next run.
    """
    photos, out = args.image, args.output
    if out is None:
        folder = photos if photos.name not in ("", "..") else photos.resolve()
        if not folder.name:
            raise ImageError(f"Name a folder for the results of {photos} with -o.")
        out = folder.with_name(f"{folder.name}-{task}")
    if out.exists() and not out.is_dir():
        raise ImageError(f"{out} is a file: name a folder for the results with -o.")
    if out.suffix.lower() in (*READABLE, *suffixes) and not out.exists():
        raise ImageError(
            f"{photos} is a folder, so its results need one too: name a folder with -o, not {out}."
        )
    inside = photos.resolve().is_relative_to(out.resolve())
    if inside and (args.recursive or photos.resolve() == out.resolve()):
        raise ImageError(f"Results in {out} would lie among the photos: choose another folder with -o.")
    return out


def name_outputs(photos: list[Path], suffix: str) -> dict[Path, Path]:
    """Name the result of each photo, so that photos that differ only in their suffixes get different results.

    Args:
        photos: relative paths.
        suffix: suffix of the results.

    Returns:
        {photo: relative path of its result}.
    """
    stems = Counter((photo.parent, photo.stem.casefold()) for photo in photos)
    names = {(photo.parent, photo.name.casefold()) for photo in photos}
    outputs = {}
    for photo in photos:
        key = photo.parent, photo.stem.casefold()
        alone = stems[key] == 1 and key not in names
        outputs[photo] = photo.parent / f"{photo.stem if alone else photo.name}{suffix}"
    return outputs
