"""Run a study: measure photos, write tables and a report."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import FacesymError, ImageError, command_message
from ..faces.save import is_own_result
from ..files import checksum, remove_unchanged, save_table, write_atomic
from .columns import describe_columns
from .pairs import find_movements, subjects_without_rest
from .photo import measure_photo
from .pictures import face_pictures
from .repeats import measure_repeatability
from .report import index_lines, measure_lines, render
from .series import REST
from .sheet import doubtful_subjects, identify
from .subjects import subject_pages
from .table import failed_row, make_row
from .video import SUFFIXES, measure_video, video_page

TABLE, MOVEMENTS, REPEATS, COLUMNS, REPORT = (
    "measures",
    "movements",
    "repeatability",
    "columns",
    "report.html",
)
VIDEOS = "videos"  # folder of the videos' curves
INDEX = ".facesym-study.json"  # checksums of the movements and curves, which another run may not have


def run_study(
    folder: str | Path,
    photos: Any,
    out: Any,
    *,
    sheet: Any = None,
    pupillary_distance: float | None = None,
    pipe: Any = None,
    progress: Callable = iter,
    tell: Callable = print,
) -> list[dict[str, Any]]:
    """Measure photos and videos, and write measures.csv, columns.csv (what the columns mean), report.html and, if there
    are any, movements.csv, repeatability.csv and the videos' curves, videos/NAME.csv. Each table also as .json.

    A photo that cannot be measured has a row with the error, and does not stop the rest.

    Args:
        folder: folder of the photos.
        photos: paths of photos and videos, relative to it. facesym's own results are rejected.
        out: folder to write; created if it does not exist.
        sheet: {photo: About} from `facesym.study.sheet.read_sheet`; missing values come from the file names.
        pupillary_distance: in millimetres, for all subjects for whom the sheet has none; adds lengths in
            millimetres.
        pipe: SymmetrizePipeline for the symmetric faces; default: the zoo's.
        progress: wraps the list of photos, such as tqdm.
        tell: called with a message for each failed photo, each subject without a photo at rest, and each subject whose
            name looks misread.

    Returns:
        The rows of the table.

    Raises:
        ImageError: the files cannot be written, or the sheet contradicts itself.
        ZooError: a network is unavailable.
    """
    from .. import load

    abouts = identify(photos, sheet, pupillary_distance)
    index = Path(out) / INDEX
    write_atomic(
        index, index.read_bytes() if index.exists() else b"{}", ImageError
    )  # fails before the measurements
    pipe = pipe or load("symmetrize")
    rows, pages, videos, written = [], [], [], []
    copies = _find_copies(Path(folder), abouts)
    for photo in progress(photos):
        name = Path(photo).as_posix()
        try:
            if is_own_result(Path(folder) / photo):
                raise ImageError(f"{name} is a result of facesym, not a photo.")
            if Path(photo).suffix.lower() in SUFFIXES:
                curves, distance = measure_video(Path(folder) / photo), abouts[name].pupillary_distance
                written += save_table(curves.rows(distance), Path(out) / VIDEOS / name, ImageError)
                videos.append(video_page(name, curves, distance))
            else:
                if abouts[name].unclear:
                    raise ImageError(abouts[name].unclear)
                pages.append(_measure(Path(folder) / photo, name, abouts[name], pipe, copies.get(name)))
                rows.append(pages[-1]["row"])
            continue
        except FacesymError as error:
            # The report does not name folders.
            reason = command_message(error).replace(str(Path(folder) / photo), name)
        except Exception as error:  # an error of one photo does not end the study
            reason = f"unexpected {type(error).__name__}: {error}"
        rows.append(failed_row(abouts[name], name, reason))
        tell(f"{name}: {reason}")
    repeats = _save_tables(rows, abouts, Path(out), written)
    doubts = _find_doubts(rows, sheet or {})
    for message in doubts:
        tell(message)
    settings = {
        "doubts": doubts,
        "folder": Path(folder).resolve().name,
        "pupillary_distance": pupillary_distance,
        "version": __version__,
        "today": date.today().isoformat(),
    }
    failed = [row for row in rows if "error" in row]
    html = render(pages, failed, settings, subjects=subject_pages(rows, repeats), videos=videos)
    write_atomic(Path(out) / REPORT, html.encode("utf-8", "backslashreplace"), ImageError)
    return rows


def _save_tables(rows, abouts, out, written):
    """Write the tables of a study, and list those that only some runs write with the files in ``written``; return the
    repeatability."""
    save_table(rows, out / TABLE, ImageError)
    save_table(describe_columns(), out / COLUMNS, ImageError)
    movements = [move.row() | dict(abouts[move.movement].extra) for move in find_movements(rows)]
    repeats = measure_repeatability(rows)
    for name, table in ((MOVEMENTS, movements), (REPEATS, repeats)):
        if table:
            written = [*written, *save_table(table, out / name, ImageError)]
    _replace_index(out, written)
    return repeats


def _find_doubts(rows, sheet):
    """Return sentences on subjects whose names look misread, or whose movements cannot be measured."""
    return doubtful_subjects(rows, {about.subject.casefold() for about in sheet.values()}) + [
        f"{subject}: {count} photo{'s' * (count > 1)} of a movement, but none at rest that could be measured. "
        "Movements are measured from a photo at rest."
        for subject, count in subjects_without_rest(rows).items()
    ]


def _replace_index(out, written):
    """List the files (paths) that only some runs write, and delete those of the earlier run that this one did not
    write: they would be taken for its own."""
    index = out / INDEX
    try:
        earlier = json.loads(index.read_bytes())
    except (OSError, ValueError):
        earlier = {}
    current = {path.relative_to(out).as_posix(): checksum(path) for path in written}
    remove_unchanged(out, {name: earlier[name] for name in earlier.keys() - current.keys()})
    if current:
        write_atomic(index, json.dumps(current).encode(), ImageError)
    else:
        index.unlink(missing_ok=True)


def _find_copies(folder, abouts):
    """Find the photos whose file is also there under another name: {photo: one of these}.

    Of copies of the same subject, date and condition, the first is not in the dict.
    """
    names: dict[str, list[str]] = {}
    for name in abouts:
        with suppress(ImageError):
            names.setdefault(checksum(folder / name), []).append(name)
    found = {}
    for same in names.values():
        said = {(abouts[name].subject, abouts[name].date, abouts[name].condition) for name in same}
        for name in same[len(said) == 1 :]:
            found[name] = next(other for other in same if other != name)
    return found


def _measure(path, name, about, pipe, copy):
    """Return a photo's part of the report: a dict, see `facesym.study.report.render`. ``copy``: a photo with the same
    content, or None."""
    resting = about.condition in ("", REST)
    face = measure_photo(path, resting=resting)
    if copy:
        face.flags.append(f"the same file as {copy}")
    return {
        "row": make_row(about, name, face),
        "pictures": face_pictures(face, pipe),
        "measures": measure_lines(face, about.pupillary_distance, resting),
        "indices": index_lines(face, resting),
    }
