"""Which files of a folder are photos, which masks belong to them, and what their results are called."""

import argparse
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from ..errors import ImageError
from ..faces.load import READABLE

MOST_NAMED = 20  # skipped files that are named one by one


def find_photos(
    folder: Path, recursive: bool = False, apart: Iterable[Path] = ()
) -> tuple[list[Path], dict[Path, str]]:
    """Look for photos.

    Args:
        folder: where to look.
        recursive: also in its subfolders.
        apart: folders that are passed over without a word, such as that of the results.

    Returns:
        Sorted paths of the photos, relative to the folder; and what was skipped, {relative path: reason}.

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
            elif recursive:
                entered.append(name)
            else:
                skipped[here / name] = "a folder; --recursive enters it"
        folders[:] = entered
        for name in files:
            file = Path(root) / name
            if name.startswith("."):
                skipped[here / name] = "a hidden file"
            elif not (file.is_file() or file.is_symlink()):
                skipped[here / name] = "not a file"
            elif Path(name).suffix.lower() not in READABLE:
                skipped[here / name] = "not an image that can be read"
            else:
                photos.append(here / name)
    return sorted(photos), skipped


def report_skipped(skipped: dict[Path, str]) -> None:
    """Name what was skipped, on standard error."""
    for path in sorted(skipped)[:MOST_NAMED]:
        print(f"skipped {path}: {skipped[path]}", file=sys.stderr)
    if len(skipped) > MOST_NAMED:
        print(f"skipped {len(skipped) - MOST_NAMED} more", file=sys.stderr)


class Masks:
    """The masks of a folder of photos.

    Args:
        folder: of masks.
        recursive: also those in subfolders, for photos in subfolders of the same names.
    """

    def __init__(self, folder: Path, recursive: bool) -> None:
        self.folder = folder
        self._named = defaultdict(list)
        for path in find_photos(folder, recursive)[0]:
            self._named[path.parent, path.stem].append(path)

    def of(self, photo: Path) -> Path:
        """The path of a photo's mask: of the same name, or of the same name but for the suffix.

        Args:
            photo: path relative to the folder of photos.

        Raises:
            ImageError: there is none, or more than one.
        """
        # Of a.jpg: a.jpg itself, then a.jpg.png, then a.png.
        for stem in (photo.name, photo.stem):
            found = self._named.get((photo.parent, stem), [])
            found = [path for path in found if path.name == photo.name] or found
            if len(found) > 1:
                raise ImageError(
                    f"{photo} has several masks: {', '.join(map(str, found))}. Keep one of them."
                )
            if found:
                return self.folder / found[0]
        raise ImageError(f"There is no mask for {photo}: put one of the same name into {self.folder}.")


def output_folder(args: argparse.Namespace, task: str) -> Path:
    """The folder of the results.

    Args:
        args: parsed arguments.
        task: name of the task.

    Raises:
        ImageError: it is a file, or results would lie among the photos, where the next run would take them for
            photos.
    """
    photos, out = args.image, args.output
    if out is None:
        folder = photos if photos.name not in ("", "..") else photos.resolve()
        if not folder.name:
            raise ImageError(f"Say with -o where the results of {photos} go.")
        out = folder.with_name(f"{folder.name}-{task}")
    if out.exists() and not out.is_dir():
        raise ImageError(f"{out} is a file: results of a folder need a folder.")
    inside = photos.resolve().is_relative_to(out.resolve())
    if inside and (args.recursive or photos.resolve() == out.resolve()):
        raise ImageError(f"Results in {out} would lie among the photos: choose another folder with -o.")
    return out


def name_outputs(photos: list[Path], suffix: str) -> dict[Path, Path]:
    """Where each photo's result goes: photos that differ in their suffixes alone must not share one.

    Args:
        photos: relative paths.
        suffix: of the results.

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
