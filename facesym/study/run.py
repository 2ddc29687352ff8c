"""A study: photos in, tables and a report out."""

from pathlib import Path

from .. import __version__
from ..errors import FacesymError, ImageError
from ..files import write_atomic
from .photo import measure_photo
from .pictures import face_pictures
from .report import index_lines, measure_lines, render
from .series import REST, read_name
from .table import failed_row, make_row, save_table

TABLE, REPORT = "measures", "report.html"


def run_study(folder, photos, out, *, sheet=None, pupillary_distance=None, progress=iter, tell=print):
    """Measure photos and write measures.csv, measures.json and report.html.

    A photo that cannot be measured has a row with the error, and does not stop the rest.

    Args:
        folder: of the photos.
        photos: their paths, relative to it.
        out: folder to write, made if need be.
        sheet: {photo: About} of `facesym.study.series.read_sheet`; what it lacks is read from the names.
        pupillary_distance: in millimetres, of everybody in the study; adds the lengths in millimetres.
        progress: wraps the list of photos, such as tqdm.
        tell: is called with a message about each photo that failed.

    Returns:
        The table's rows.

    Raises:
        ImageError: no photo could be measured, or the files cannot be written; tables are written all the same.
        ZooError: a network is unavailable.
    """
    from .. import load

    pipe = load("symmetrize")
    rows, pages = [], []
    for photo in progress(photos):
        name = Path(photo).as_posix()
        about = (sheet or {}).get(name) or read_name(photo)
        try:
            page = _measure(Path(folder) / photo, name, about, pipe, pupillary_distance)
        except FacesymError as error:
            reason = str(error)
        except Exception as error:  # nothing that one photo raises may end the study
            reason = f"unexpected {type(error).__name__}: {error}"
        else:
            rows.append(page["row"])
            pages.append(page)
            continue
        rows.append(failed_row(about, name, reason))
        tell(f"{name}: {reason}")
    save_table(rows, Path(out) / TABLE, ImageError)
    settings = {
        "folder": Path(folder).resolve().name,
        "pupillary_distance": pupillary_distance,
        "version": __version__,
    }
    html = render(pages, [row for row in rows if "error" in row], settings)
    write_atomic(Path(out) / REPORT, html.encode(), ImageError)
    return rows


def _measure(path, name, about, pipe, pupillary_distance):
    """What the report shows of a photo: a dict, see `facesym.study.report.render`."""
    face = measure_photo(path, resting=about.condition in ("", REST))
    return {
        "row": make_row(about, name, face, pupillary_distance),
        "face": face,
        "pictures": face_pictures(face, pipe),
        "measures": measure_lines(face, pupillary_distance),
        "indices": index_lines(face),
    }
