"""Base class of the commands on photos; facesym/cli/tasks.py has one subclass per task."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from PIL import Image

from ..faces.load import FORMATS, Photo, read_photo


@dataclass(frozen=True)
class Unedited:
    """An image in which no face is edited: it is written without the tag of edits."""

    image: Image.Image


Media: TypeAlias = Image.Image | list[Image.Image] | Unedited  # a list: the frames of a video

PASTE_HELP = "paste the face into the photo instead of writing only the aligned face"


class Task:
    """A command on photos: its help, arguments and outputs.

    Args:
        args: parsed arguments.

    Raises:
        UsageError: the arguments are incompatible.

    Attributes:
        suffix: default suffix of results.
        greedy: name of an option that takes several values.
        settings: names of the arguments that change a result.
        table: key of a list in `numbers`, with one dict per face, that folder runs write as a table.
        same_person: whether the result should look like the person in the photo.
    """

    name: str
    summary: str
    usage = "IMAGE_OR_FOLDER [-o OUT] [options]"
    description: str
    examples: Sequence[tuple[str, str]]
    suffix = ".png"
    greedy: str | None = None
    settings: tuple[str, ...] = ()
    table: str | None = None
    same_person = True

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Add the arguments of the task."""

    @property
    def suffix_advice(self) -> str:
        """What to do for a result of another kind, a sentence after a space; "" if there is nothing."""
        return ""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Supported suffixes of result files."""
        return tuple(FORMATS)

    def options(self) -> dict[str, Any]:
        """Return the options that determine a result, besides the photo and the model."""
        return {key: getattr(self.args, key) for key in ("faces", *self.settings)}

    def check_model(self, config: dict[str, Any]) -> None:
        """Check arguments against the model's config.json.

        Raises:
            ImageError: the model does not support the arguments.
        """

    def inputs(self, photo: Path) -> list[Path]:
        """Return the other input files of a photo."""
        return []

    def check_photo(self, photo: Path, inputs: list[Path]) -> Photo:
        """Read a photo and check its other inputs.

        Args:
            photo: path of the photo.
            inputs: paths of the other input files.

        Raises:
            ImageError: a file cannot be read, or the files do not match.
        """
        return read_photo(photo)

    def call(self, pipe: Any, photo: Path | Photo, inputs: list[Path]) -> Any:
        """Run the pipeline on a photo and return its result."""
        raise NotImplementedError

    def numbers(self, result: Any) -> dict[str, Any]:
        """Return the task-specific numbers of a result, for JSON."""
        return {}

    def findings(self, numbers: dict[str, Any]) -> list[str]:
        """Return lines that tell the user what `numbers` say about the photo."""
        return []

    def files(self, result: Any, output: Path) -> dict[Path, Media]:
        """Return the files to write, as {path: content}.

        The first face gets the name of the output. The others go into a separate folder, where they cannot collide
        with results of other photos.
        """
        folder = faces_folder(output)
        return {
            folder / f"{i}{output.suffix}" if i else output: image for i, image in enumerate(result.images)
        }

    def extras(self, output: Path) -> list[Path]:
        """Return the files and folders that `files` may write in addition to the output."""
        more = getattr(self.args, "walk", 0) or getattr(
            self.args, "grid", False
        )  # per face, also with --paste
        several = self.args.faces == "all" and (more or not getattr(self.args, "paste", False))
        return [faces_folder(output)] if several else []


def name_faces(lines: list[str]) -> list[str]:
    """Put the index of the face before each line if there are several faces."""
    return [f"face {i}: {line}" for i, line in enumerate(lines)] if len(lines) > 1 else lines


def faces_folder(output: Path) -> Path:
    """Return the folder for the results of a photo's other faces."""
    return output.with_name(f"{output.stem}-faces")
