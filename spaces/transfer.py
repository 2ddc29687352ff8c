"""The Transfer tab: change the expression, pose or lighting of a face in a photo."""

from pathlib import Path

import gradio as gr
import panel
import parts
import results
import stage
from waiting import LOADING

from facesym.attributes import GROUPS
from facesym.errors import ImageError
from facesym.faces.load import Photo, read_photo

KEEP = "unchanged"
FIRST = {"expression": "happy"}  # a default, so that the button works before anything is chosen
WHOLE = {
    "expression",
    "light",
}  # groups that do not move the head, so that the result fits back into the photo
ABOUT = (
    "Left and right are those of the image: “left” turns the nose to its left. Parts that the photo does not show, "
    "such as teeth, are synthesized; at a strength of 0.3 a smile barely opens the mouth."
)

tab = panel.Tab(
    "transfer",
    "Transfer",
    "Change the expression, pose or lighting of a face.",
    "Change the face",
    parts.Pipeline("transfer"),
)


@parts.gpu
def transfer(photo: Photo, face, to: list, strength: float, grid: bool, paste: bool = False):
    """Call the pipeline."""
    return tab.pipeline.get()(photo, faces=face, to=to, strength=strength, grid=grid, paste=paste)


def controls() -> list:
    """See `panel.Tab`."""
    radios = [
        gr.Radio(
            [KEEP, *((results.named(name), name) for name in names)],
            value=FIRST.get(group, KEEP),
            label=group.capitalize(),
            elem_id=f"transfer-{group}",
        )
        for group, names in GROUPS.items()
    ]
    strength = gr.Slider(0, 1.5, 1, step=0.05, label="Strength", elem_id="transfer-strength")
    every = gr.Checkbox(label="Also show each change on its own (slower)", elem_id="transfer-every")
    return [strength, every, *radios]


def work(tell, value: dict, shot: stage.Shot, strength: float, every: bool, *choices) -> panel.Outcome:
    """See `panel.Tab`."""
    to = [choice for choice in choices if choice and choice != KEEP]
    if not to and not every:
        raise ImageError("Choose an expression, pose or lighting first.")
    return finish(
        tell, shot.read(), Path(shot.path).stem, stage.chosen_face(value, shot), to, strength, every
    )


def finish(tell, photo: Photo, stem: str, face, to: list, strength: float, grid: bool) -> panel.Outcome:
    """Change a face and write the result files."""
    tell(0.05, LOADING)
    pipe = tab.pipeline.get()
    wanted = pipe.wanted(to)
    tell(0.1, "Changing the face")
    result = transfer(photo, face, to, strength, grid)
    tell(0.6, "Saving the images")
    files = results.Files(tab.name, stem, "-".join(to).replace(" ", "") or "grid")
    trim = results.Trim.of(photo, result)
    crop, output = trim(result.crop[0]), trim(result.images[0])
    singles = [(results.named(name), trim(image)) for name, image in result.grid[0].items()]
    whole = None
    if wanted and set(wanted) <= WHOLE:
        if "light" in wanted:  # changes in the whole photo, which the crop does not show
            whole = transfer(photo, face, to, strength, False, paste=True).images[0]
        elif result.images[0].tobytes() == result.crop[0].tobytes():  # unchanged, also at full resolution
            whole = photo.restore(photo.image)
        else:
            whole = results.put_back(photo, result)
    grid_html, downloads = "", files.downloads(crop, output, whole)
    if singles:
        grid_html = results.heading("Each change on its own") + files.grid(singles, "only-")
        downloads.append(("All images (ZIP)", files.zip(singles)))
    return panel.Outcome(
        views=[files.pair("Face", crop, output), *files.whole(photo, whole)],
        downloads=downloads,
        numbers=results.numbers(results.likeness(result.identity), f"**{result.seconds:.1f} s**"),
        notes=results.notes(result),
        result=files.result,
        extras=grid_html + results.paragraph(ABOUT),
    )


async def transfer_file(photo: str, to: str = "happy", strength: float = 1.0):
    """Change the expression, pose or lighting of a face. Use only photos of adults, and label the result as edited.

    Args:
        photo: The photo, as JPEG, PNG, WebP, HEIC or another common format. Its largest face is used.
        to: Target attributes, separated by commas, at most one of each group: "neutral", "happy", "surprised";
            "left 45", "left 20", "frontal", "right 20", "right 45"; "normal", "weak", "dark", "side".
        strength: Strength of the change, from 0 (none) to 1.5; 1 is the default.

    Returns:
        The face as a PNG file, and a one-line summary.
    """
    if not photo:
        raise ImageError("Send a photo.")
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
