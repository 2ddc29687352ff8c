"""Options that tell training which people wear no glasses: in-the-wild photos have no labels of eyewear."""

from pathlib import Path

import numpy as np


def add_eyewear_arguments(parser):
    """Add ``--glasses-in`` and ``--bare-eyes``."""
    parser.add_argument(
        "--glasses-in",
        nargs="*",
        default=[],
        metavar="SET",
        help="names of sets in which people wear glasses",
    )
    parser.add_argument(
        "--bare-eyes",
        type=Path,
        metavar="FILE",
        help="list of images in these sets in which nothing covers the eyes, one set/file name a line",
    )


def listed_bare(args):
    """Return the names that ``--bare-eyes`` lists: a set of "set/file name"."""
    return set(args.bare_eyes.read_text().splitlines()) if args.bare_eyes else set()


def bare_eyes(faces, glasses_in, listed):
    """Return which faces certainly wear nothing over the eyes.

    Args:
        faces: FaceFolders.
        glasses_in: names of sets in which people wear glasses.
        listed: {"set/file name"} of images of these sets in which nothing covers the eyes.

    Returns:
        N bool: True in other sets, and for listed images.
    """
    paths = [row["path"] for row in faces.rows]
    return np.array([p.parent.name not in glasses_in or f"{p.parent.name}/{p.name}" in listed for p in paths])


def known_bare(faces, args):
    """Return which faces certainly wear nothing over the eyes, by the script's options; see `bare_eyes`."""
    return bare_eyes(faces, args.glasses_in, listed_bare(args))
