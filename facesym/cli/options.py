"""Layout and argument types shared by the parsers of all commands."""

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
        commands: the object returned by ``add_subparsers``.
        name: name of the sub-command with its parents, such as "zoo push".
        summary: one line for the list of commands.
        usage: the part of the usage line after the name.
        description: what the command does, in lines of at most 79 characters.
        examples: pairs of a command line and its description.

    Returns:
        The sub-command's parser, which parsed arguments also hold as ``parser``.
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
    """Add the arguments shared by all commands on photos."""
    group = parser.add_argument_group("common options")
    parser.add_argument(
        "image", type=Path, nargs="?", metavar="IMAGE_OR_FOLDER", help="a photo or a folder of photos"
    )
    group.add_argument(
        "-o", "--output", type=Path, metavar="OUT",
        help=f"file to write, or output folder for a folder of photos (default: next to the input, "
        f"with -{task} appended to its name)",
    )  # fmt: skip
    group.add_argument(
        "--overwrite", action="store_true",
        help="replace existing files; without it, the command fails if one exists",
    )  # fmt: skip
    group.add_argument("-r", "--recursive", action="store_true", help="include photos in subfolders")
    group.add_argument(
        "--faces", type=face_choice, default="largest", metavar="WHICH",
        help="largest, all, or an index from left to right, starting at 0 (default: largest)",
    )  # fmt: skip
    group.add_argument(
        "--model", default=task, metavar="NAME",
        help=f"a model from `facesym zoo list`, a model folder, or a Hub repository (default: {task})",
    )  # fmt: skip
    group.add_argument(
        "--device", default="cpu", help="device to run on: cpu, cuda, cuda:1, mps (default: cpu)"
    )
    group.add_argument(
        "--json", action="store_true", help="print one line of JSON per photo instead of its name"
    )


def face_choice(text: str) -> str | int:
    """Parse --faces: "largest", "all", or an index."""
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
    """Return an argument type for numbers within bounds.

    Args:
        low: minimum.
        high: maximum.
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
    """Give IMAGE_OR_FOLDER back if an option with several values consumed it, as in `--to happy photo.jpg`.

    Args:
        args: parsed arguments; ``image`` is None if it followed the option on the command line.
        option: name of the option that takes several values, or None.

    Raises:
        UsageError: IMAGE_OR_FOLDER is missing.
    """
    values = getattr(args, option) or [] if option else []
    if args.image is None and len(values) > 1:
        args.image = Path(values.pop())
    if args.image is None:
        raise UsageError("IMAGE_OR_FOLDER is missing: name a photo or a folder of photos")
