"""The Symmetrize tab: make the face in a photo symmetric and measure its asymmetry."""

from pathlib import Path

import cv2
import gradio as gr
import numpy as np
import panel
import parts
import results
import stage
from PIL import Image
from waiting import LOADING

from facesym.asymmetry import draw_heatmap
from facesym.errors import ImageError
from facesym.faces.load import Photo, read_photo

MEANING = {  # names of the regions for visitors
    "overall": "Overall (jaw not counted)",
    "brow": "Brows: height and position",
    "eye opening": "Eyes: opening",
    "mouth corner": "Mouth corners: height and position",
    "nose": "Nose: wings and tip",
}
ABOUT = (
    "In percent of the distance between the outer eye corners, with the head's roll and yaw removed. No face measures "
    "zero. Left and right are those of the image. This is a measurement of a photo, not a diagnosis."
)

tab = panel.Tab(
    "symmetrize",
    "Symmetrize",
    "Make both halves of a face match, and see how much they differ.",
    "Make it symmetric",
    parts.Pipeline("symmetrize"),
)


@parts.gpu
def symmetrize(photo: Photo, faces):
    """Call the pipeline."""
    return tab.pipeline.get()(photo, faces=faces, composites=True)


def controls() -> list:
    """See `panel.Tab`."""
    return [gr.Checkbox(label="Every face in the photo", elem_id="symmetrize-all")]


def work(tell, value: dict, shot: stage.Shot, every: bool) -> panel.Outcome:
    """See `panel.Tab`."""
    return finish(
        tell, shot.read(), Path(shot.path).stem, "all" if every else stage.chosen_face(value, shot)
    )[0]


def finish(tell, photo: Photo, stem: str, faces) -> tuple[panel.Outcome, list[dict]]:
    """Symmetrize a photo and write the result files; return the outcome and the measures of each face."""
    tell(0.05, LOADING)
    tab.pipeline.get()
    tell(0.1, "Making the face symmetric")
    result = symmetrize(photo, faces)
    tell(0.7, "Saving the images")
    files = results.Files(tab.name, stem, "symmetric")
    rows = result.asymmetry
    sections, kept = [], []
    for i, (crop, heat, composites, row) in enumerate(
        zip(result.crop, result.heatmap, result.composites, rows)
    ):
        pictures = [
            ("Symmetric face", cut_out(composites["model"])),
            ("Left half, mirrored", composites["left"]),
            ("Right half, mirrored", composites["right"]),
            ("Where the halves differ", draw_heatmap(crop, heat)),
        ]
        who = f"face {i + 1} " if len(rows) > 1 else ""
        kept += [(who + caption.lower(), picture) for caption, picture in pictures]
        table = [(MEANING[key], f"{100 * row[key]:.1f} %") for key in MEANING]
        title = f"Face {i + 1} from the left" if len(rows) > 1 else "Asymmetry of the face"
        sections.append(
            results.heading(title)
            + files.grid(pictures, f"face{i + 1}-")
            + results.table(["Region", "Left–right difference"], table)
        )
    views, (before, after) = compare(files, photo, result)
    downloads = files.downloads(before, after)
    outcome = panel.Outcome(
        views=views,
        downloads=[*downloads, ("Faces and maps (ZIP)", files.zip(kept))],
        numbers=results.numbers(
            f"**{len(rows)} face{'s' * (len(rows) != 1)}**",
            results.likeness(result.identity),
            f"**{result.seconds:.1f} s**",
        ),
        notes=results.notes(result),
        result=files.result,
        extras="".join(sections) + results.paragraph(ABOUT),
    )
    return outcome, rows


def compare(
    files: results.Files, photo: Photo, result
) -> tuple[list[panel.View], tuple[Image.Image, Image.Image]]:
    """Return before/after views of a result, and the main pair of images: the photo's, if any face fits on its head.

    The frontal faces of heads that are turned far are separate images.
    """
    own = [crop for crop, separate in zip(result.crop, result.separate) if separate]
    pairs = list(zip(own, result.images[len(result.images) - len(own) :]))
    views = [
        files.pair("Frontal face" if len(own) == 1 else f"Frontal face {i}", *pair)
        for i, pair in enumerate(pairs, 1)
    ]
    if len(own) < len(result.images):
        pairs.insert(0, (photo.image, result.images[0]))
        faces = [face for face, separate in zip(result.faces, result.separate) if not separate]
        views = [*files.closeups(*pairs[0], faces), files.pair("Photo", *pairs[0]), *views]
    return views, pairs[0]


def cut_out(face: Image.Image) -> Image.Image:
    """Make the black around a face transparent."""
    shown = np.asarray(face.convert("L")) > 8
    outline, _ = cv2.findContours(shown.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    alpha = cv2.drawContours(np.zeros(shown.shape, np.uint8), outline, -1, 255, cv2.FILLED)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))  # off with the frayed, dark edge
    alpha = cv2.erode(cv2.morphologyEx(alpha, cv2.MORPH_OPEN, disk), disk)
    face = face.copy()
    face.putalpha(Image.fromarray(cv2.blur(alpha, (5, 5))))
    return face


async def symmetrize_file(photo: str, faces: str = "largest"):
    """Make a face symmetric and measure its asymmetry. Use only photos of adults, and label the result as edited.

    Args:
        photo: The photo, as JPEG, PNG, WebP, HEIC or another common format.
        faces: "largest" for the largest face in the photo, "all" for every face.

    Returns:
        The photo with symmetric faces as a PNG file, and the asymmetry of each face: the left-right difference of each
        region as a fraction of the distance between the outer eye corners; "appearance", the mean of the heat map; and
        the head's roll and yaw in degrees.
    """
    if not photo:
        raise ImageError("Send a photo.")
    outcome, rows = await parts.MODELS.run(
        lambda tell: finish(tell, read_photo(photo), Path(photo).stem, faces)
    )
    return outcome.downloads[0][1], [{key: round(value, 4) for key, value in row.items()} for row in rows]


def api() -> None:
    """See `panel.Tab`."""
    inputs = [
        parts.picture_in("photo", "photo.jpg"),
        gr.Radio(["largest", "all"], value="largest", label="faces", render=False),
    ]
    outputs = [gr.File(label="symmetric_photo", render=False), gr.JSON(label="asymmetry", render=False)]
    parts.call(symmetrize_file, "symmetrize", inputs, outputs)
