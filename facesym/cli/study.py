"""`facesym study`: measure facial asymmetry in a folder of photos and videos."""

import argparse
import sys
from pathlib import Path
from typing import Any

from ..errors import ImageError
from ..faces.save import is_own_result
from ..files import nfc
from ..logging import progress_bar
from ..study import PUPILLARY_DISTANCES
from .options import add_command, number
from .walk import find_photos, output_folder, report_skipped

SUMMARY = "measure facial asymmetry and write a printable report"
DESCRIPTION = """\
Writes OUT/measures.csv and measures.json with one row per photo, columns.csv with
the meaning of their columns, and a printable OUT/report.html. The measures are
established ones (brow height, palpebral fissure, margin-reflex distances, commissure
excursion, smile angle, ...), left minus right, with the range of healthy faces.

File names give the subject, date and condition, as in anna_2026-03-01_smile.jpg.
Conditions are rest, smile, eye closure and brow raise. movements.csv compares each
movement with the same subject at rest, per side; repeatability.csv compares photos
of one subject, condition and day. videos/ holds the measures of every video frame,
and the blinks.

The measures are not a diagnosis."""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `facesym`."""
    parser = add_command(
        commands, "study", SUMMARY, usage="FOLDER -o OUT [options]", description=DESCRIPTION,
        examples=[
            ("facesym study photos/ -o study/", "Measure every photo in a folder."),
            ("facesym study photos/ -o study/ --pupillary-distance 63", "Add lengths in millimetres."),
            (
                "facesym study photos/ -o study/ --sheet photos.csv",
                "Read subjects, dates and conditions from a CSV file.",
            ),
        ],
    )  # fmt: skip
    parser.add_argument("image", type=Path, metavar="FOLDER", help="folder of photos and videos")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="OUT",
        help="folder to write; created if it does not exist",
    )
    parser.add_argument(
        "--pupillary-distance", type=number(*PUPILLARY_DISTANCES), metavar="MM",
        help="pupillary distance of all subjects for whom the CSV file has none; adds lengths in millimetres",
    )  # fmt: skip
    parser.add_argument(
        "--sheet", type=Path, metavar="CSV",
        help="CSV file with the columns file,subject,date,condition,pupillary_distance (default: use the file names); "
        "others are copied to the tables",
    )  # fmt: skip
    parser.add_argument("-r", "--recursive", action="store_true", help="include photos in subfolders")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the tables and the report of an earlier run"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command and return the exit status.

    Raises:
        FacesymError: the folder, the sheet or OUT cannot be used.
    """
    from tqdm import tqdm

    from ..study.run import COLUMNS, MOVEMENTS, REPEATS, REPORT, TABLE, VIDEOS, run_study
    from ..study.sheet import describe_subjects, read_sheet
    from ..study.video import SUFFIXES

    if not args.image.is_dir():
        raise ImageError(f"{args.image} is not a folder: name a folder of photos.")
    out = output_folder(args, "study")
    tables = [
        f"{name}{suffix}" for name in (TABLE, COLUMNS, MOVEMENTS, REPEATS) for suffix in (".csv", ".json")
    ]
    written = [out / name for name in (REPORT, VIDEOS, *tables)]
    for path in written:
        if path.exists() and not args.overwrite:
            raise ImageError(f"{path} exists: choose another folder with -o, or replace it with --overwrite.")
    sheet = read_sheet(args.sheet, report) if args.sheet else None
    photos, skipped = find_photos(args.image, args.recursive, [out])
    videos = [path for path in skipped if path.suffix.lower() in SUFFIXES and path.name[0] != "."]
    own = [path for path in (*photos, *videos) if is_own_result(args.image / path)]
    skipped |= dict.fromkeys(own, "a result of facesym, not a photo")
    photos, videos = [[path for path in each if path not in own] for each in (photos, videos)]
    known = {args.image / path for path in videos} | {args.sheet}
    report_skipped({path: why for path, why in skipped.items() if args.image / path not in known})
    photos = sorted(photos + videos)
    if not photos:
        raise ImageError(f"{args.image} has no photos.")
    report_unmatched(photos, sheet or {}, args)
    rows = run_study(
        args.image, photos, out, sheet=sheet, pupillary_distance=args.pupillary_distance,
        progress=lambda photos: progress_bar(photos, unit="photo"),
        tell=lambda message: tqdm.write(message, file=sys.stderr),
    )  # fmt: skip
    for line in describe_subjects(rows):
        report(line)
    failed = sum("error" in row for row in rows)  # a measured video has no row, but curves of its own
    print(f"{len(photos) - failed} measured, {failed} failed: {out}", file=sys.stderr)
    print(out / REPORT)
    return int(failed > 0)


def report(message: str) -> None:
    """Print a message on standard error."""
    print(message, file=sys.stderr)


def report_unmatched(photos: list[Path], sheet: dict[str, Any], args: argparse.Namespace) -> None:
    """List on standard error what the sheet names and the folder lacks, and say how many photos the sheet lacks."""
    names = {nfc(path.as_posix()) for path in photos}
    for name in sorted(set(sheet) - names):
        if (args.image / name).exists():
            why = "was not read: it is no photo or video, or needs --recursive"
        else:
            why = f"is not in {args.image}"
        report(f"{args.sheet} names {name}, which {why}")
    if sheet and (others := names - set(sheet)):
        report(
            f"{args.sheet} does not name {len(others)} of {len(names)} files: their subject, date and condition come "
            "from their names"
        )
