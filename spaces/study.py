"""The section for the asymmetry study: measure photos of several people or visits."""

import html
import os
import shutil
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import gradio as gr
import panel
import parts
import symmetrize

from facesym.errors import ImageError
from facesym.study import PUPILLARY_DISTANCES

MOST = 100  # photos per study
EXAMPLES = ["anna_2026-03-01_rest.jpg", "anna_2026-03-01_smile.jpg"]
INTRO = """Measures the asymmetry of each face and writes a printable report with tables: left minus right for brow
height, eye opening, mouth corners and more, next to the range of healthy faces. File names give the subject, date and
condition: <code>anna_2026-03-01_smile.jpg</code> (<i>rest</i>, <i>smile</i>, <i>eye closure</i> or <i>brow raise</i>).
With photos at rest and during a movement, the report also says how far each side moved. <b>This is a measurement, not
a diagnosis.</b>"""
COLUMNS = {
    "photo": "Photo",
    "subject": "Subject",
    "date": "Date",
    "condition": "Condition",
    "outside": "Outside the healthy range",
    "flags": "Flags",
}


def build() -> None:
    """Build and connect the section."""
    with gr.Accordion("Measure the asymmetry of many photos", open=False, elem_id="study"):
        gr.HTML(f"<p>{INTRO}</p>", apply_default_css=False, js_on_load=None)
        with gr.Row():
            photos = gr.File(
                file_count="multiple", label=f"Frontal photos, up to {MOST}", elem_id="study-photos"
            )
            distance = gr.Number(
                None,
                label="Pupillary distance in mm",
                info="Optional, one value for all subjects: the report then gives lengths in millimetres. 0 for none.",
                elem_id="study-distance",
            )
        with gr.Row():
            button = gr.Button("Measure the photos", variant="primary", elem_id="study-run")
            cancel = gr.Button("Cancel", visible=False, elem_id="study-cancel")
        status = panel.status_line("study-status")
        files = gr.File(label="Report and tables", visible=False, interactive=False, elem_id="study-files")
        table = gr.HTML("", apply_default_css=False, js_on_load=None, elem_id="study-table")
    section = Section(status, files, table, button, cancel)
    panel.connect(section, parts.STUDIES, work, [photos, distance], gr.State([0]))


@dataclass
class Section:
    """The section's buttons, and where its results go; see `panel.connect`."""

    status: gr.HTML
    files: gr.File
    table: gr.HTML
    button: gr.Button
    cancel: gr.Button

    @property
    def outputs(self):
        return [self.status, self.files, self.table, self.button, self.cancel]

    def show(self, outcome):
        """Return values for ``outputs`` that show a study."""
        paths, rows, videos = outcome
        shown = gr.update(value=paths, visible=True)
        idle = gr.update(visible=True), gr.update(visible=False)
        return panel.status(text=summarize(rows, videos)), shown, show_table(rows), *idle

    def busy(self, text: str, viewer=None, clear=False):
        """Return values for ``outputs`` while a study runs."""
        old = (gr.update(value=None, visible=False), "") if clear else (gr.skip(), gr.skip())
        return text, *old, gr.update(visible=False), gr.update(visible=True)

    def fail(self, error: str):
        """Return values for ``outputs`` after an error."""
        nothing = gr.update(value=None, visible=False), ""
        return panel.status(error=error), *nothing, gr.update(visible=True), gr.update(visible=False)


def work(tell, paths: list[str] | None, distance: float | None) -> tuple[list[str], list[dict], int]:
    """Measure uploaded photos and videos.

    Args:
        tell: see `waiting.Job.tell`.
        paths: paths of the uploads.
        distance: pupillary distance in millimetres, or None.

    Returns:
        The paths of the report and the tables, the rows of the table, and the number of measured videos.

    Raises:
        ImageError: there are no photos or too many, two share a name, or the distance is out of range.
    """
    from facesym.study.run import run_study  # imports torch: wait until the page is up

    if not paths:
        raise ImageError("Add photos first.")
    if len(paths) > MOST:
        raise ImageError(
            f"{len(paths)} photos are more than the limit of {MOST}: run `facesym study` on your own machine."
        )
    low, high = PUPILLARY_DISTANCES
    if distance and not low <= distance <= high:
        raise ImageError(f"The pupillary distance must be between {low} and {high} mm, not {distance:g}.")
    names = sorted(Path(path).name for path in paths)
    for name, following in pairwise(names):
        if name == following:
            raise ImageError(f"Two photos are named {name}: rename one.")
    if missing := [Path(path).name for path in paths if not Path(path).exists()]:
        raise ImageError(
            f"{missing[0]} has been deleted: uploads are kept for about an hour. Add the photos again."
        )
    private, out = parts.private_folder(), parts.private_folder()
    folder = private / "Photos"  # the report is titled with its name
    folder.mkdir()
    for path in paths:
        shutil.copy(path, folder)

    def progress(photos):
        for i, photo in enumerate(photos):
            os.utime(private), os.utime(out)  # not to be swept while the study runs
            tell(0.05 + 0.9 * i / len(photos), f"Measuring photo {i + 1} of {len(photos)}")
            yield photo

    tell(0, "Loading the model")
    symmetrize.tab.pipeline.get()
    try:
        rows = run_study(
            folder, names, out, pupillary_distance=distance or None, pipe=symmetrized, progress=progress,
            tell=lambda message: None,
        )  # fmt: skip
    finally:
        shutil.rmtree(private, ignore_errors=True)
    order = {".html": 0, ".csv": 1, ".json": 2}
    made = sorted(
        (path for path in out.rglob("[!.]*") if path.is_file()), key=lambda path: (order[path.suffix], path)
    )
    return [str(path) for path in made], rows, len(names) - len(rows)


@parts.gpu
def symmetrized(crop, **options):
    """Call the Symmetrize tab's pipeline."""
    return symmetrize.tab.pipeline.get()(crop, **options)


def summarize(rows: list[dict], videos: int = 0) -> str:
    """Summarize the study in one line, with Markdown's ** for bold.

    Args:
        rows: of the photos, and of the files that could not be measured.
        videos: number of videos that were measured; they have no rows.
    """
    failed = sum("error" in row for row in rows)
    photos = len(rows) - failed
    counts = {"photo": photos, "video": videos} if videos else {"photo": photos}
    measured = " and ".join(f"{count} {what}{'s' * (count != 1)}" for what, count in counts.items())
    text = f"**{measured} measured**" + (f", {failed} failed (see the table)" if failed else "")
    return f"{text}. The report has one page per {' and '.join(counts)}."


def show_table(rows: list[dict]) -> str:
    """Return the study's table as HTML."""
    from facesym.study.report import summarize_leading

    lines = []
    for row in rows:
        if "error" in row:
            cells = [
                row["photo"],
                row["subject"],
                row["date"],
                row["condition"],
                "",
                f"Not measured: {row['error']}",
            ]
        else:
            check = f"check the {row['check']}" if row["check"] else ""
            shown = row | {
                "outside": summarize_leading(row),
                "flags": "; ".join(filter(None, (row["flags"], check))),
            }
            cells = [shown[key] for key in COLUMNS]
        lines.append("<tr>" + "".join(f"<td>{html.escape(str(cell or ''))}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{title}</th>" for title in COLUMNS.values())
    return (
        '<div class="study-table" tabindex="0" role="region" aria-label="Measures of each photo"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


async def study_files(photos: list[str], pupillary_distance: float = 0):
    """Measure the asymmetry of the faces in photos and write a report. Use only photos of adults; not a diagnosis.

    Args:
        photos: Up to 100 frontal photos. File names give the subject, date and condition:
            anna_2026-03-01_smile.jpg.
        pupillary_distance: One value for all subjects, in millimetres; also gives lengths in millimetres. 0 for none.

    Returns:
        The report (HTML), the tables (CSV, JSON), and one row of measures per photo.
    """
    files, rows, _ = await parts.STUDIES.run(work, photos, pupillary_distance)
    return files, rows


class PhotoFiles(gr.File):
    """File input with photos as examples in the API documentation."""

    is_template = True

    def example_payload(self):
        return [{"path": name, "meta": {"_type": "gradio.FileData"}, "orig_name": name} for name in EXAMPLES]

    def example_value(self):
        return EXAMPLES


def api() -> None:
    """Add the API endpoint."""
    inputs = [
        PhotoFiles(file_count="multiple", label="photos", render=False),
        gr.Number(0, label="pupillary_distance", render=False),
    ]
    outputs = [
        gr.File(file_count="multiple", label="report_and_tables", render=False),
        gr.JSON(label="measures", render=False),
    ]
    parts.call(study_files, "study", inputs, outputs)
