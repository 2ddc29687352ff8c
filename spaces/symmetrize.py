"""The tab Symmetrize: a photo in, the symmetric face pasted back, and how asymmetric the face was."""

from pathlib import Path

import gradio as gr
import parts

from facesym.errors import ImageError
from facesym.faces.load import load_image

FACES = [("Only the largest face", "largest"), ("Every face", "all")]
MEANING = {  # of the regions, for people
    "overall": "All but the jaw",
    "brow": "Brows: height and place",
    "eye opening": "Eyes: how far open",
    "mouth corner": "Mouth corners: height and place",
    "nose": "Nose: wings and tip",
}

pipeline = parts.Pipeline("symmetrize")


@parts.gpu
def symmetrize(photo, faces: str):
    """See `parts.run`."""
    return parts.run(pipeline, photo, faces=faces, composites=True)


def finish(photo, name: str, faces: str, progress):
    """Symmetrize a photo and write the files: (before, after), download path, what to say, table, pictures."""
    from facesym.asymmetry import draw_heatmap  # brings torch: not before the page is up

    progress(0.1, "Getting the model ready")
    pipeline.get()
    progress(0.3, "Making the face symmetric")
    result, notes = symmetrize(photo, faces)
    for note in notes:
        gr.Warning(note)
    progress(0.9, "Writing the pictures")
    folder = parts.private_folder()
    before = folder / "before.jpg"  # the photo itself: not edited, so not tagged
    parts.shrink(photo, parts.SHOWN).save(before, quality=92)
    after = parts.publish(parts.shrink(result.images[0], parts.SHOWN), folder, "after.webp", "symmetrize")
    download = parts.publish(result.images[0], folder, f"{Path(name).stem}-symmetric.png", "symmetrize")
    rows, pictures = result.asymmetry, []
    for i, (crop, heat, composites) in enumerate(zip(result.crop, result.heatmap, result.composites)):
        shown = {
            "Symmetric face": composites["model"],
            "Left half, mirrored": composites["left"],
            "Right half, mirrored": composites["right"],
            "Where the halves differ": draw_heatmap(crop, heat),
        }
        for caption, picture in shown.items():
            file = f"face{i}-{caption.split(',')[0].replace(' ', '-').lower()}.webp"
            pictures.append((parts.publish(picture, folder, file, "symmetrize"), caption))
    table = [
        [MEANING[key] if len(rows) == 1 else f"{MEANING[key]} (face {i + 1})", f"{100 * row[key]:.1f} %"]
        for i, row in enumerate(rows)
        for key in MEANING
    ]
    kept = "" if result.identity is None else f" · likeness **{min(result.identity):.2f}** of 1"
    numbers = f"**{len(rows)} face{'s' * (len(rows) != 1)}**{kept} · **{result.seconds:.1f} s**"
    return (str(before), after), download, numbers, table, pictures, rows


@parts.tell_errors
def symmetrize_file(photo: str, faces: str = "largest", progress=gr.Progress()):  # noqa: B008
    """Make the face in a photo symmetric, and measure its asymmetry. Only for photos of adults; label the result.

    Args:
        photo: The photo, JPEG, PNG or WebP, at most 25 megapixels.
        faces: "largest" for the largest face in the photo, "all" for every face.

    Returns:
        The photo with symmetric faces as a PNG file of the photo's size, and the asymmetry of each face: shares of the
        distance between the outer eye corners for each region; "appearance", the mean of the heat map; roll and yaw of
        the head in degrees.
    """
    if not photo:
        raise ImageError("A photo is needed.")
    _, download, _, _, _, rows = finish(load_image(photo), photo, faces, progress)
    return download, [{key: round(value, 4) for key, value in row.items()} for row in rows]


@parts.tell_errors
def symmetrize_shown(photo, faces, progress=gr.Progress()):  # noqa: B008
    """What the button does."""
    picture = parts.read_upload(photo)
    slider, download, numbers, table, pictures, _ = finish(picture, photo, faces, progress)
    return slider, gr.DownloadButton(value=download, interactive=True), numbers, table, pictures


def build() -> None:
    """Put the tab's content into the gr.Tab that is open."""
    parts.notice(pipeline)
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            gr.Markdown("### 1 · Add a photo of a face, from the front")
            photo = parts.photo_input("symmetrize-")
            faces = gr.Radio(FACES, value="largest", label="Which face", elem_id="symmetrize-faces")
            button = gr.Button("2 · Make it symmetric", variant="primary", size="lg", elem_id="symmetrize")
        with gr.Column(min_width=320):
            gr.Markdown("### 3 · Compare and download")
            slider, numbers, download = parts.comparison("symmetrize-")
    gr.Markdown(
        "**How asymmetric the face was**, in the distance between the outer eye corners; roll and yaw of the head are "
        "taken out. No face is at zero. It is a measure of a photo, not a diagnosis."
    )
    with gr.Row(equal_height=False):
        table = gr.Dataframe(
            headers=["Region", "Difference of the sides"],
            datatype="str",
            interactive=False,
            show_label=False,
            elem_id="symmetrize-table",
        )
        gallery = gr.Gallery(
            show_label=False,
            columns=2,
            object_fit="contain",
            height="auto",
            buttons=["fullscreen"],
            elem_id="symmetrize-pictures",
        )

    # The same call for programs and agents.
    with gr.Group(visible=False):
        photo_in = parts.PictureFile(label="photo")
        photo_out = gr.File(label="photo with symmetric faces")
        numbers_out = gr.JSON(label="asymmetry")
        call = gr.Button()

    shared = {"concurrency_id": parts.QUEUE, "concurrency_limit": 1}
    button.click(
        symmetrize_shown,
        [photo, faces],
        [slider, download, numbers, table, gallery],
        show_progress_on=slider,
        api_visibility="private",
        **shared,
    )
    call.click(symmetrize_file, [photo_in, faces], [photo_out, numbers_out], api_name="symmetrize", **shared)
