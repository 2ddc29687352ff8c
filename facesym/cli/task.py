"""What the commands on photos have in common; facesym/cli/tasks.py has one class for each."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from PIL import Image

from ..faces.load import FORMATS, Photo, read_photo

Media: TypeAlias = Image.Image | list[Image.Image]  # an image, or the frames of a video

PASTE_HELP = "paste the face into the photo instead of writing the aligned face alone"


class Task:
    """A command on photos: its help, its arguments, and what it makes of one photo.

    Args:
        args: parsed arguments.

    Raises:
        UsageError: arguments that do not go together.

    Attributes:
        suffix: of results that the user has not named.
        greedy: name of an option that takes several values.
        settings: names of the arguments that change a result.
        table: key of `numbers`, a list with one dict a face, of which a folder gets a table.
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

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Add the task's own arguments."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What files the results may be written to."""
        return tuple(FORMATS)

    def options(self) -> dict[str, Any]:
        """What, besides the photo and the model, determines a result."""
        return {key: getattr(self.args, key) for key in ("faces", *self.settings)}

    def check_model(self, config: dict[str, Any]) -> None:
        """Check arguments against the model's config.json.

        Raises:
            ImageError: the model cannot do that.
        """

    def inputs(self, photo: Path) -> list[Path]:
        """The other files that a photo's result is made from."""
        return []

    def check_photo(self, photo: Path, inputs: list[Path]) -> Photo:
        """Read a photo, and check what it is to be edited with.

        Args:
            photo: its path.
            inputs: paths of the other files.

        Raises:
            ImageError: something cannot be read, or does not go together.
        """
        return read_photo(photo)

    def call(self, pipe: Any, photo: Path | Photo, inputs: list[Path]) -> Any:
        """The pipeline's result of a photo."""
        raise NotImplementedError

    def numbers(self, result: Any) -> dict[str, Any]:
        """What to tell of a result beside what all tasks tell; for JSON."""
        return {}

    def files(self, result: Any, output: Path) -> dict[Path, Media]:
        """What to write, and where.

        The first face takes the output's name; the others lie in a folder of their own, where no name of another
        photo's result can meet theirs.
        """
        folder = faces_folder(output)
        return {
            folder / f"{i}{output.suffix}" if i else output: image for i, image in enumerate(result.images)
        }

    def extras(self, output: Path) -> list[Path]:
        """The files and folders that `files` may write beside the output."""
        return [faces_folder(output)] if self.args.faces == "all" else []


def faces_folder(output: Path) -> Path:
    """Where the results of a photo's further faces lie."""
    return output.with_name(f"{output.stem}-faces")
