"""Parts shared by the commands' parsers: their layout and the types of their arguments."""

import argparse
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..errors import FacesymError


class UsageError(FacesymError):
    """Incompatible arguments; the command prints its usage and exits with 2."""


def add_command(
    commands: Any,
    name: str,
    summary: str,
    *,
    usage: str,
    description: str,
    examples: Iterable[tuple[str, str]],
) -> argparse.ArgumentParser:
    """Add a sub-command whose --help reads like a manual page.

    Args:
        commands: what ``add_subparsers`` returned.
        name: of the sub-command, its parents' before it: "zoo push".
        summary: one line, for the list of commands.
        usage: of the usage line, what follows the name.
        description: what the command does, in lines of at most 79 characters.
        examples: pairs of a command line and what it does.

    Returns:
        The sub-command's parser; parsed arguments have it as ``parser``.
    """
    shown = "\n".join(f"  {line}\n      {what}" for line, what in examples)
    parser = commands.add_parser(
        name.split()[-1],
        prog=f"facesym {name}",
        usage=f"facesym {name} {usage}".rstrip(),
        description=f"{summary[0].upper()}{summary[1:]}.\n\n{description}",
        epilog=f"examples:\n{shown}",
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=28),
    )
    parser.set_defaults(parser=parser)
    return parser


def add_photo_arguments(parser: argparse.ArgumentParser, task: str) -> None:
    """Add the arguments that every command on photos has."""
    group = parser.add_argument_group("common options")
    parser.add_argument(
        "image", type=Path, nargs="?", metavar="IMAGE_OR_FOLDER", help="a photo or a folder of photos"
    )
    group.add_argument(
        "-o", "--output", type=Path, metavar="OUT",
        help=f"file to write, or folder for a folder's results (default: beside the input, "
        f"its name with -{task} appended)",
    )  # fmt: skip
    group.add_argument(
        "--overwrite", action="store_true",
        help="replace existing files; otherwise the command fails",
    )  # fmt: skip
    group.add_argument("-r", "--recursive", action="store_true", help="include photos in subfolders")
    group.add_argument(
        "--faces", type=face_choice, default="largest", metavar="WHICH",
        help="largest, all, or the face's number from left to right, starting at 0 (default: largest)",
    )  # fmt: skip
    group.add_argument(
        "--model", default=task, metavar="NAME",
        help=f"a model of `facesym zoo list`, a model folder, or a Hub repository (default: {task})",
    )  # fmt: skip
    group.add_argument(
        "--device", default="cpu", help="device of the model: cpu, cuda, cuda:1, mps (default: cpu)"
    )
    group.add_argument(
        "--json", action="store_true", help="print one line of JSON per photo instead of its name"
    )


def face_choice(text: str) -> str | int:
    """The type of --faces: "largest", "all", or an index."""
    if text in ("largest", "all"):
        return text
    try:
        index = int(text)
    except ValueError:
        index = -1
    if index < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not largest, all, or a number from 0")
    return index


def number(low: float, high: float = math.inf, kind: type = float) -> Callable[[str], float]:
    """The type of an argument that is a number within bounds.

    Args:
        low: least value.
        high: greatest value.
        kind: float, or int for whole numbers.
    """
    what = "a whole number" if kind is int else "a number"
    bounds = f"of at least {low}" if high == math.inf else f"from {low} to {high}"

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (low <= value <= high and math.isfinite(value)):
            raise argparse.ArgumentTypeError(f"{text!r} is not {what} {bounds}")
        return value

    return parse


def take_back_image(args: argparse.Namespace, option: str | None) -> None:
    """Return to IMAGE_OR_FOLDER what an option with several values has consumed: `--to happy photo.jpg`.

    Args:
        args: parsed arguments; ``image`` is None where the command line named it last, after the option.
        option: name of the option that takes several values, or None.

    Raises:
        UsageError: there is no IMAGE_OR_FOLDER at all.
    """
    values = getattr(args, option) or [] if option else []
    if args.image is None and len(values) > 1:
        args.image = Path(values.pop())
    if args.image is None:
        raise UsageError("IMAGE_OR_FOLDER is missing: name a photo or a folder of photos")
