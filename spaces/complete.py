"""The tab Complete: paint over what hides a face, and get the photo back with the face completed."""

from pathlib import Path

import cv2
import gradio as gr
import numpy as np
import parts
from PIL import Image

from facesym.errors import ImageError
from facesym.faces.load import load_image, load_mask

EXAMPLE_LIST = [  # photo, mask (white = missing)
    ("astronaut.jpg", "astronaut-sunglasses.png"),
    ("grace-hopper.jpg", "grace-hopper-hand.png"),
    ("astronaut.jpg", "astronaut-half.png"),
]
EVERY = "Every face I painted on"
FACES = [(EVERY, "all"), ("Only the largest", "largest")]

SHOW, HIDE = gr.update(visible=True), gr.update(visible=False)

pipeline = parts.Pipeline("complete")


@parts.gpu
def complete(photo: Image.Image, mask: np.ndarray, faces: str):
    """See `parts.run`."""
    try:
        return parts.run(pipeline, photo, mask, faces=faces)
    except ImageError as error:
        if 'faces="all"' not in str(error):
            raise
        raise ImageError(f"What is marked is not on the largest face: choose “{EVERY}”.") from error


def finish(photo, mask, faces, name, progress):
    """Complete a photo and write the files: (before, after), download path, what to say, pictures of the steps."""
    progress(0.1, "Getting the model ready")
    pipeline.get()
    progress(0.3, "Completing the face")
    result, notes = complete(photo, mask, faces)
    for note in notes:
        gr.Warning(note)
    progress(0.9, "Writing the picture")
    after = result.images[0]
    folder = parts.private_folder()
    before_file = folder / "before.jpg"  # the photo itself: not edited, so not tagged
    parts.shrink(photo, parts.SHOWN).save(before_file, quality=92)
    slider = (
        str(before_file),
        parts.publish(parts.shrink(after, parts.SHOWN), folder, "after.webp", "complete"),
    )
    download = parts.publish(after, folder, f"{Path(name).stem}-completed.png", "complete")
    count = len(result.faces)
    numbers = (
        f"**{count} face{'s' * (count != 1)}** completed · **{100 * result.mask_fraction:.1f} %** of the photo "
        f"was marked · **{result.seconds:.1f} s**"
    )
    return slider, download, numbers, stage_pictures(result, folder)


def stage_pictures(result, folder: Path) -> list[tuple[str, str]]:
    """(path, caption) of the steps that each face went through."""
    pictures = []
    for i, ((warped, stage1, final), confidence) in enumerate(zip(result.stages, result.confidence)):
        levels = np.clip(np.asarray(confidence) * 255, 0, 255).astype(np.uint8)
        heat = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1]  # BGR to RGB
        steps = {
            "1 Mirrored": warped,
            "2 Copied": stage1,
            "3 Trust": Image.fromarray(np.ascontiguousarray(heat)),
            "4 Completed": final,
        }
        for caption, picture in steps.items():
            file = f"face{i}-{caption[0]}.webp"
            pictures.append((parts.publish(picture, folder, file, "complete"), caption))
    return pictures


@parts.tell_errors
def complete_files(photo: str, mask: str, faces: str = "all", progress=gr.Progress()):  # noqa: B008
    """Complete the hidden part of a face in a photo. Only for photos of adults; label the result as edited.

    Args:
        photo: The photo, JPEG, PNG or WebP, at most 25 megapixels.
        mask: A picture of the photo's size, white where the face is to be filled in and black elsewhere.
        faces: "all" for every face that the mask touches, "largest" for the largest face in the photo.

    Returns:
        The completed photo as a PNG file of the photo's size, and a sentence with the numbers.
    """
    if not photo or not mask:
        raise ImageError("Both are needed: a photo, and a mask of the same size (white = fill in).")
    image = load_image(photo)
    missing = load_mask(mask, image.size)
    _, download, numbers, _ = finish(image, missing, faces, photo, progress)
    return download, numbers


@parts.tell_errors
def complete_painted(original, layers, mask_file, faces, progress=gr.Progress()):  # noqa: B008
    """What the button does: as `complete_files`, from the layers painted on a copy and, if given, a mask file."""
    photo = parts.read_upload(original)
    missing = parts.grow_strokes(parts.read_strokes(layers, photo.size))
    if mask_file:
        missing |= load_mask(mask_file, photo.size)
    if not missing.any():
        raise ImageError(
            "Nothing is marked yet: paint with the brush over what hides the face (sunglasses, a hand, …), or upload "
            "a mask."
        )
    slider, download, numbers, stages = finish(photo, missing, faces, original, progress)
    return slider, gr.DownloadButton(value=download, interactive=True), numbers, stages


# Without a photo, the drop zone shows; with one, the editor, with a copy to paint on. What sets or clears the photo
# returns values for: original (path), drop zone, editor, button for another photo, mask file.
@parts.tell_errors
def take_upload(path: str):
    """Check a photo as it comes, and show a copy, upright and not too large."""
    copy = parts.private_folder() / "photo.jpg"
    parts.shrink(load_image(path), parts.PAINTED).save(copy, quality=92)
    return path, gr.update(value=None, visible=False), on_canvas(copy), SHOW, None


def take_example(index: int):
    """An example's photo, shown with its mask painted on; the mask itself goes where a visitor's file would."""
    photo, mask = EXAMPLE_LIST[index]
    hide = gr.update(value=None, visible=False)
    preview = on_canvas(example_preview(photo, mask))
    return str(parts.EXAMPLES / photo), hide, preview, SHOW, str(parts.EXAMPLES / mask)


def on_canvas(path):
    """An editor's value: a picture to paint on. (Layers sent along are not drawn by gradio 6.31.)"""
    return {"background": str(path), "layers": [], "composite": None}


def drop_photo():
    """Back to the drop zone."""
    return None, gr.update(value=None, visible=True), None, HIDE, None


def example_preview(photo: str, mask: str) -> str:
    """The photo with its mask painted on."""
    picture = Image.open(parts.EXAMPLES / photo).convert("RGB")
    hole = Image.open(parts.EXAMPLES / mask).convert("L")
    picture.paste("white", mask=hole)
    path = parts.private_folder() / f"{Path(mask).stem}.jpg"
    picture.save(path, quality=90)
    return str(path)


def build() -> None:
    """Put the tab's content into the gr.Tab that is open."""
    gr.set_static_paths([parts.EXAMPLES])
    parts.notice(pipeline)
    original = gr.State(None)  # path of the upload, per visitor
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            gr.Markdown("### 1 · Add a photo, then paint over what hides the face")
            with gr.Column(elem_id="stage"):  # the drop zone lies over the editor, until there is a photo
                photo = parts.drop_zone("photo")
                editor = parts.PhotoEditor(
                    label="Photo",
                    show_label=False,
                    sources=(),
                    transforms=(),
                    layers=False,
                    brush=gr.Brush(colors=["#ffffff"], color_mode="fixed"),
                    height=440,
                    elem_id="editor",
                )
            another = gr.UploadButton(
                "Choose another photo", file_types=["image"], size="sm", visible=False, elem_id="another"
            )
            examples = parts.example_row([example_preview(*pair) for pair in EXAMPLE_LIST], "examples")
            with gr.Accordion("Or upload a mask picture", open=False):
                mask_file = parts.PictureFile(
                    label="Mask: white = fill in, same size as the photo",
                    sources=["upload"],
                    height=180,
                    elem_id="mask",
                )
            faces = gr.Radio(FACES, value="all", label="Which face", elem_id="faces")
            button = gr.Button("2 · Complete the face", variant="primary", size="lg", elem_id="complete")
        with gr.Column(min_width=320):
            gr.Markdown("### 3 · Compare and download")
            slider, numbers, download = parts.comparison("")
            with gr.Accordion("How it was done", open=False, elem_id="how"):
                gr.Markdown(
                    "**1** The face mirrored and bent to fit its other half. **2** What is hidden on one side and seen "
                    "on the other is copied from there. **3** Where that copy is trusted: black not at all, yellow "
                    "fully. **4** The rest is made up."
                )
                stages = gr.Gallery(
                    show_label=False, columns=2, object_fit="contain", height="auto", buttons=["fullscreen"]
                )

    # The same call for programs and agents: plain files instead of the editor's layers.
    with gr.Group(visible=False):
        photo_in = parts.PictureFile(label="photo")
        mask_in = parts.PictureFile(label="mask")
        photo_out = gr.File(label="completed photo")
        numbers_out = gr.Textbox(label="numbers")
        call = gr.Button()

    shared = {"concurrency_id": parts.QUEUE, "concurrency_limit": 1}
    photo_state = [original, photo, editor, another, mask_file]
    hidden = {"api_visibility": "private"}
    photo.upload(take_upload, photo, photo_state, **hidden)
    another.upload(take_upload, another, photo_state, **hidden)
    examples.click(take_example, examples, photo_state, queue=False, **hidden)
    editor.clear(drop_photo, None, photo_state, queue=False, **hidden)
    button.click(
        complete_painted,
        [original, editor, mask_file, faces],
        [slider, download, numbers, stages],
        show_progress_on=slider,
        **hidden,
        **shared,
    ).success(
        js="() => document.querySelector('#result').scrollIntoView({behavior: 'smooth', block: 'nearest'})"
    )
    call.click(
        complete_files, [photo_in, mask_in, faces], [photo_out, numbers_out], api_name="complete", **shared
    )
