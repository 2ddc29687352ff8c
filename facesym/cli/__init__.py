"""The command `facesym`: edit faces in photos and folders, manage models and evaluate them."""

import argparse
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from .. import __version__
from ..errors import FacesymError, command_message, did_you_mean
from . import evaluate, export, space, study, tasks, zoo
from .options import UsageError

HELP = """\
Face models built on facial symmetry.

commands for a photo or a folder of photos:
{photos}

other commands:
{others}

Run `facesym COMMAND --help` for the options of a command.

Results are written to new files; existing files are kept unless --overwrite is
given. When run again on a folder, a command recomputes a result only if it is
missing or its photo, model or options have changed (study measures all photos
again). errors.json lists the photos that failed.

Use only photos of adults. The models invent missing content, so a result does not
show what a person really looks like. Label edited faces as edited; facesym tags
every file it writes in the metadata.

examples:
  facesym complete photo.jpg --mask mask.png -o done.png
  facesym symmetrize photos/ -o symmetric/
  facesym rotate photo.jpg --yaw -20 20 -o turning.mp4
  facesym transfer photo.jpg --to happy

environment:
  HF_HOME         cache folder for downloaded models
  HF_HUB_OFFLINE  set to 1 to work offline

exit status:
  0  success
  1  at least one photo or model failed; the messages say why
  2  the command line is invalid"""

OTHERS = {"study": study, "zoo": zoo, "export": export, "space": space}


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit with its status; see HELP.

    Args:
        argv: the arguments; None takes those of the process.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")  # about size and metadata: facesym checks what matters
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for names that the terminal cannot encode
    try:
        try:
            code = _run(sys.argv[1:] if argv is None else list(argv))
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # raise for a closed pipe here, not at interpreter exit
    except BrokenPipeError:
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + 13  # as if SIGPIPE had ended the process
    except KeyboardInterrupt:
        print("facesym: stopped", file=sys.stderr)
        code = 128 + 2
    sys.exit(code)


def _run(argv):
    """Parse the arguments, run the command and return its exit status."""
    try:
        if argv and argv[0] in evaluate.SUMMARIES:
            return evaluate.run(argv[0], argv[1:])
        if not argv:
            make_parser().print_help(sys.stderr)
            return 2
        args = _parse(argv)
        try:
            return args.run(args)
        except UsageError as error:
            args.parser.error(str(error))
    except FacesymError as error:
        print(f"facesym: {command_message(error)}", file=sys.stderr)
    except BrokenPipeError:
        raise
    except OSError as error:  # for example a file name that is too long, or no permission
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"facesym: {reason}", file=sys.stderr)
    return 1


def _parse(argv):
    """Parse the arguments; exit with a message if they are invalid."""
    parser = make_parser()
    commands = [*(task.name for task in tasks.TASKS), *OTHERS, *evaluate.SUMMARIES]
    word = next((each for each in argv if not each.startswith("-")), None)
    if word is not None and word not in commands:
        parser.error(f"there is no command {word!r}.{did_you_mean(word, commands)} See `facesym --help`.")
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        own = getattr(args, "parser", parser)
        hint = did_you_mean(unknown[0], own._option_string_actions)
        own.error(f"unrecognized arguments: {' '.join(unknown)}.{hint}")
    if not hasattr(args, "run"):
        parser.error("COMMAND is missing: see `facesym --help`")
    return args


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    photos = {task.name: task.summary for task in tasks.TASKS}
    others = {**{name: module.SUMMARY for name, module in OTHERS.items()}, **evaluate.SUMMARIES}
    lists = ("\n".join(f"  {name:12}{what}" for name, what in each.items()) for each in (photos, others))
    parser = argparse.ArgumentParser(
        "facesym",
        usage="facesym [-h] [--version] COMMAND ...",
        description=HELP.format(**dict(zip(("photos", "others"), lists))),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", help=argparse.SUPPRESS)
    tasks.add_parsers(commands)
    for module in OTHERS.values():
        module.add_parser(commands)
    evaluate.add_parsers(commands)
    return parser
