"""The tab Transfer: a photo in, its face with another expression, pose or light out."""

from pathlib import Path

import gradio as gr
import panel
import parts
import results
import stage

from facesym.errors import ImageError
from facesym.faces.load import Photo, read_photo
from facesym.models.lssl import GROUPS

KEEP = "as it is"
FIRST = {"expression": "happy"}  # so that the button does something for whoever has chosen nothing
WHOLE = {"expression", "light"}  # groups whose result fits back into the photo: the head stays where it is
ABOUT = (
    "Poses are as seen in the picture: “left” turns the nose to its left. What the photo does not show is made up, "
    "teeth too: at a strength of 0.3 a smile hardly opens the mouth."
)

tab = panel.Tab(
    "transfer",
    "Transfer",
    "Give a face another expression, pose or light.",
    "Change the face",
    parts.Pipeline("transfer"),
)


@parts.gpu
def transfer(photo: Photo, face, to: list, strength: float, grid: bool):
    """The pipeline's call."""
    return tab.pipeline.get()(photo, faces=face, to=to, strength=strength, grid=grid)


def controls() -> list:
    """See `panel.Tab`."""
    radios = [
        gr.Radio(
            [KEEP, *names],
            value=FIRST.get(group, KEEP),
            label=group.capitalize(),
            elem_id=f"transfer-{group}",
        )
        for group, names in GROUPS.items()
    ]
    strength = gr.Slider(0, 1.5, 1, step=0.05, label="Strength", elem_id="transfer-strength")
    every = gr.Checkbox(label="Also show each change alone (slower)", elem_id="transfer-every")
    return [strength, every, *radios]


def work(tell, value: dict, shot: stage.Shot, strength: float, every: bool, *choices) -> panel.Outcome:
    """See `panel.Tab`."""
    to = [choice for choice in choices if choice and choice != KEEP]
    if not to and not every:
        raise ImageError("Choose an expression, a pose or a light first.")
    return finish(
        tell, shot.read(), Path(shot.path).stem, stage.chosen_face(value, shot), to, strength, every
    )


def finish(tell, photo: Photo, stem: str, face, to: list, strength: float, grid: bool) -> panel.Outcome:
    """Change a face and write the files."""
    tell(0.05, "Getting the model ready")
    pipe = tab.pipeline.get()
    wanted = pipe.wanted(to)
    tell(0.1, "Changing the face")
    result = transfer(photo, face, to, strength, grid)
    tell(0.6, "Writing the pictures")
    files = results.Files(tab.name, stem, "-".join(to).replace(" ", "") or "grid")
    trim = results.Trim.of(photo, result)
    crop, output = trim(result.crop[0]), trim(result.images[0])
    singles = [(name, trim(image)) for name, image in result.grid[0].items()]
    whole = results.put_back(tab.pipeline, photo, result) if wanted and set(wanted) <= WHOLE else None
    grid_html, downloads = "", files.downloads(crop, output, whole)
    if singles:
        grid_html = results.heading("Each change alone") + files.grid(singles, "only-")
        downloads.append(("All of them (ZIP)", files.zip(singles)))
    return panel.Outcome(
        views=[files.pair("Face", crop, output), *files.whole(photo, whole)],
        downloads=downloads,
        numbers=results.numbers(results.likeness(result.identity), f"**{result.seconds:.1f} s**"),
        notes=result.notes,
        result=files.result,
        extras=grid_html + results.paragraph(ABOUT),
    )


async def transfer_file(photo: str, to: str = "happy", strength: float = 1.0):
    """Give the face in a photo another expression, pose or light. Only for photos of adults; label the result.

    Args:
        photo: The photo: JPEG, PNG, WebP, HEIC and others. Its largest face is taken.
        to: What to change it to: one or more of "neutral", "happy", "surprised"; "left 45", "left 20", "frontal",
            "right 20", "right 45"; "normal", "weak", "dark", "side"; separated by commas, one of each group.
        strength: 0 keeps the face, 1 is the usual change, 1.5 the most.

    Returns:
        The face as a PNG file, and a sentence with the numbers.
    """
    if not photo:
        raise ImageError("A photo is needed.")
    wanted = [name.strip() for name in (to or "").split(",") if name.strip()]
    outcome = await parts.MODELS.run(
        lambda tell: finish(tell, read_photo(photo), Path(photo).stem, "largest", wanted, strength, False)
    )
    return outcome.downloads[0][1], outcome.numbers


def api() -> None:
    """See `panel.Tab`."""
    inputs = [
        parts.picture_in("photo", "photo.jpg"),
        gr.Textbox("happy", label="to", render=False),
        gr.Number(1.0, label="strength", render=False),
    ]
    outputs = [gr.File(label="changed_face", render=False), gr.Textbox(label="numbers", render=False)]
    parts.call(transfer_file, "transfer", inputs, outputs)
