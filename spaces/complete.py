"""The tab Complete: paint over what hides a face, and get the photo back with the face completed."""

from pathlib import Path

import cv2
import gradio as gr
import numpy as np
import panel
import parts
import results
import stage
from PIL import Image

from facesym.errors import ImageError
from facesym.faces.load import Photo, load_mask, read_photo

STEPS = (
    "**1** The face mirrored and bent to fit its other half. **2** What is hidden on one side and seen on the other is "
    "copied from there. **3** Where that copy is trusted: black not at all, yellow fully. **4** The rest is made up."
)

QUIET = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}

tab = panel.Tab(
    "complete",
    "Complete",
    "Paint over what hides part of a face: it is filled in from the mirrored half.",
    "Complete the face",
    parts.Pipeline("complete"),
)


@parts.gpu
def complete(photo: Photo, mask: np.ndarray, faces: str):
    """The pipeline's call."""
    try:
        return tab.pipeline.get()(photo, mask, faces=faces)
    except ImageError as error:
        if 'faces="all"' not in str(error):
            raise
        raise ImageError('What is marked is not on the largest face: use faces="all".') from error


def controls() -> list:
    """See `panel.Tab`."""
    with gr.Accordion("Or use a mask picture", open=False):
        mask = parts.PictureFile(
            label="Mask: white = fill in, of the photo's size", sources=["upload"], height=160, elem_id="mask",
            buttons=[],
        )  # fmt: skip
        refusal = gr.HTML(
            "", js_on_load=None, apply_default_css=False, elem_classes="status", elem_id="mask-refusal"
        )
    mask.upload(check_mask, mask, [mask, refusal], **QUIET)
    mask.clear(str, None, refusal, **QUIET)
    return [mask]


async def check_mask(file: str):
    """Refuse at once a mask that cannot be read: values of its component and of the line below it."""
    try:
        await parts.QUICK.run(lambda tell: read_photo(file))
    except Exception as error:
        return None, panel.status(error=parts.wording(error))
    return gr.skip(), ""


def work(tell, value: dict, shot: stage.Shot, mask_file: str | None) -> panel.Outcome:
    """See `panel.Tab`."""
    photo = shot.read()
    mask = stage.read_strokes(value, photo.image.size)
    if mask_file:
        mask |= load_mask(mask_file, photo.image.size, photo.full_size)
    if not mask.any():
        raise ImageError(
            "Nothing is marked yet: paint with the brush over what hides the face (sunglasses, a hand, …), or add a "
            "mask picture."
        )
    return finish(tell, photo, Path(shot.path).stem, mask, "all")


def finish(tell, photo: Photo, stem: str, mask: np.ndarray, faces: str) -> panel.Outcome:
    """Complete a photo and write the files."""
    tell(0.05, "Getting the model ready")
    tab.pipeline.get()
    tell(0.1, "Completing the face")
    result = complete(photo, mask, faces)
    tell(0.8, "Writing the pictures")
    files = results.Files(tab.name, stem, "completed")
    count = len(result.faces)
    return panel.Outcome(
        views=[
            *files.closeups(photo.image, result.images[0], result.faces),
            files.pair("Photo", photo.image, result.images[0]),
        ],
        downloads=files.downloads(photo.image, result.images[0]),
        numbers=(
            f"**{count} face{'s' * (count != 1)}** completed · **{100 * result.mask_fraction:.1f} %** of the photo was "
            f"marked · **{result.seconds:.1f} s**"
        ),
        notes=result.notes,
        result=files.result,
        extras=results.details("How it was done", stage_pictures(result, files), STEPS),
    )


def stage_pictures(result, files) -> str:
    """The steps that each face went through, as HTML."""
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
        who = f"Face {i + 1}: " if len(result.stages) > 1 else ""
        pictures += [(who + caption, picture) for caption, picture in steps.items()]
    return files.grid(pictures)


async def complete_files(photo: str, mask: str, faces: str = "all"):
    """Complete the hidden part of a face in a photo. Only for photos of adults; label the result as edited.

    Args:
        photo: The photo: JPEG, PNG, WebP, HEIC and others.
        mask: A picture of the photo's size, white where the face is to be filled in and black elsewhere.
        faces: "all" for every face that the mask touches, "largest" for the largest face in the photo.

    Returns:
        The completed photo as a PNG file, and a sentence with the numbers.
    """
    if not photo or not mask:
        raise ImageError("Both are needed: a photo, and a mask of the same size (white = fill in).")

    def do(tell):
        image = read_photo(photo)
        return finish(
            tell, image, Path(photo).stem, load_mask(mask, image.image.size, image.full_size), faces
        )

    outcome = await parts.MODELS.run(do)
    return outcome.downloads[0][1], outcome.numbers


def api() -> None:
    """See `panel.Tab`."""
    inputs = [
        parts.picture_in("photo", "photo.jpg"),
        parts.picture_in("mask", "mask.png"),
        gr.Radio(["all", "largest"], value="all", label="faces", render=False),
    ]
    outputs = [gr.File(label="completed_photo", render=False), gr.Textbox(label="numbers", render=False)]
    parts.call(complete_files, "complete", inputs, outputs)
