"""The tab Transfer: a photo in, its face with another expression, pose or light out."""

from pathlib import Path

import gradio as gr
import parts

from facesym.errors import ImageError
from facesym.faces.load import load_image
from facesym.models.lssl import GROUPS

KEEP = "as it is"
FIRST = {"expression": "happy"}  # so that the button does something for whoever has chosen nothing

pipeline = parts.Pipeline("transfer")


@parts.gpu
def transfer(photo, to: list, strength: float, grid: bool):
    """See `parts.run`."""
    return parts.run(pipeline, photo, to=to, strength=strength, grid=grid)


def finish(photo, name: str, to: list, strength: float, grid: bool, progress):
    """Change a face and write the files: (crop, result), download path, what to say, the grid's (path, attribute)."""
    progress(0.1, "Getting the model ready")
    pipeline.get()
    progress(0.4, "Changing the face")
    result, notes = transfer(photo, to, strength, grid)
    for note in notes:
        gr.Warning(note)
    progress(0.8, "Writing the pictures")
    folder = parts.private_folder()
    before = folder / "before.jpg"  # cut out of the photo: not edited, so not tagged
    parts.as_frame(result.crop[0]).save(before, quality=92)
    # With nothing chosen but the grid the result is the face as it is: the grid is what was asked for.
    after = parts.publish(parts.as_frame(result.images[0]), folder, "after.webp", "transfer")
    download = parts.publish(result.images[0], folder, f"{Path(name).stem}-transfer.png", "transfer")
    shown = [
        (parts.publish(parts.as_frame(face), folder, f"{attribute}.webp", "transfer"), attribute)
        for attribute, face in result.grid[0].items()
    ]
    kept = "" if result.identity is None else f"Likeness **{result.identity[0]:.2f}** of 1 · "
    return (str(before), after), download, f"{kept}**{result.seconds:.1f} s**", shown


def chosen(*attributes):
    """The radios' values without those that keep the face."""
    return [attribute for attribute in attributes if attribute and attribute != KEEP]


@parts.tell_errors
def transfer_file(photo: str, to: str, strength: float = 1.0, progress=gr.Progress()):  # noqa: B008
    """Give the face in a photo another expression, pose or light. Only for photos of adults; label the result.

    Args:
        photo: The photo, JPEG, PNG or WebP, at most 25 megapixels. Its largest face is taken.
        to: What to change it to: one or more of "neutral", "happy", "surprised"; "left 45", "left 20", "frontal",
            "right 20", "right 45"; "normal", "weak", "dark", "side"; separated by commas, one of each group.
        strength: 0 keeps the face, 1 is the usual change, 1.5 the most.

    Returns:
        The face as a PNG file, and a sentence with the numbers.
    """
    if not photo:
        raise ImageError("A photo is needed.")
    wanted = [name.strip() for name in to.split(",") if name.strip()]
    _, download, numbers, _ = finish(load_image(photo), photo, wanted, strength, False, progress)
    return download, numbers


@parts.tell_errors
def transfer_shown(photo, strength, *attributes, progress=gr.Progress()):  # noqa: B008
    """What the first button does."""
    to = chosen(*attributes)
    if not to:
        raise ImageError("Choose an expression, a pose or a light first.")
    slider, download, numbers, _ = finish(parts.read_upload(photo), photo, to, strength, False, progress)
    return slider, numbers, gr.DownloadButton(value=download, interactive=True)


@parts.tell_errors
def grid_shown(photo, strength, progress=gr.Progress()):  # noqa: B008
    """What the second button does."""
    *_, shown = finish(parts.read_upload(photo), photo, [], strength, True, progress)
    return shown


def build() -> None:
    """Put the tab's content into the gr.Tab that is open."""
    parts.notice(pipeline)
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            gr.Markdown("### 1 · Add a photo of a face")
            photo = parts.photo_input("transfer-")
            gr.Markdown("### 2 · What should change?")
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
            button = gr.Button("3 · Change the face", variant="primary", size="lg", elem_id="transfer")
        with gr.Column(min_width=320):
            gr.Markdown("### 4 · Compare and download")
            slider, numbers, download = parts.comparison("transfer-")
            gr.Markdown(
                "Poses are as seen in the picture: *left* turns the nose to its left. What the photo does not show is "
                "made up, teeth too: at a strength of 0.3 a smile hardly opens the mouth."
            )
    every = gr.Button("Everything at once: one picture for each", elem_id="transfer-every")
    gallery = gr.Gallery(
        show_label=False, columns=6, height="auto", interactive=False, format="webp", elem_id="transfer-grid"
    )

    # The same call for programs and agents.
    with gr.Group(visible=False):
        photo_in = parts.PictureFile(label="photo")
        to_in, strength_in = gr.Textbox(label="to"), gr.Number(1.0, label="strength")
        face_out, numbers_out = gr.File(label="changed face"), gr.Textbox(label="numbers")
        call = gr.Button()

    shared = {"concurrency_id": parts.QUEUE, "concurrency_limit": 1}
    hidden = {"api_visibility": "private"}
    button.click(
        transfer_shown,
        [photo, strength, *radios],
        [slider, numbers, download],
        show_progress_on=slider,
        **hidden,
        **shared,
    )
    every.click(grid_shown, [photo, strength], gallery, **hidden, **shared)
    call.click(
        transfer_file, [photo_in, to_in, strength_in], [face_out, numbers_out], api_name="transfer", **shared
    )
