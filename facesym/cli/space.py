"""`facesym space`: lay out the web page as a Hugging Face Space, and push it."""

import argparse
from pathlib import Path
from typing import Any

from facesym.hub import is_repo_id

from .options import UsageError, add_command

SUMMARY = "lay out the web page as a Hugging Face Space"


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `facesym`; `args.run(args)` returns the exit status."""
    command = add_command(
        subparsers, "space", SUMMARY, usage="FOLDER [--push OWNER/NAME]",
        description="""\
The folder gets the page, this package with its weights, the pinned requirements,
the card and .gitattributes: it can be pushed with git as it is. --push uploads it
(token: `hf auth login`) and creates the Space if there is none. To try it:
pip install -r FOLDER/requirements.txt && python FOLDER/app.py""",
        examples=(
            ("facesym space my-space/", "Write the files of a Space."),
            ("facesym space my-space/ --push me/faces", "Upload them too."),
        ),
    )  # fmt: skip
    command.add_argument("folder", type=Path, metavar="FOLDER", help="a new or empty folder")
    command.add_argument("--push", metavar="OWNER/NAME", help="the Space to upload to")
    command.set_defaults(run=_space)


def _space(args: argparse.Namespace) -> int:
    from facesym import space

    if args.push and not is_repo_id(args.push):
        raise UsageError(f"--push takes OWNER/NAME, not {args.push}")
    large = space.lay_out(args.folder)
    print(f"{args.folder} is a Space. In Git LFS: {', '.join(large)}")
    if args.push:
        print(f"Pushed to {space.push(args.folder, args.push)}")
    return 0
