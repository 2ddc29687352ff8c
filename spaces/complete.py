"""The tab Complete: paint over what hides a face, and get the photo back with the face completed."""

import time
from pathlib import Path

import cv2
import gradio as gr
import numpy as np
from parts import (
    QUEUE,
    PhotoEditor,
    PictureFile,
    Pipeline,
    gpu,
    is_copy_of,
    load_image,
    load_mask,
    private_folder,
    publish,
    read_strokes,
    shrink,
    tell_errors,
)
from PIL import Image

from facesym.errors import FaceNotFoundError, ImageError

EXAMPLES = Path(__file__).parent / "examples"
EXAMPLE_LIST = [  # photo, mask (white on transparent: it serves as the painted layer too)
    ("astronaut.jpg", "astronaut-sunglasses.png", "Sunglasses"),
    ("grace-hopper.jpg", "grace-hopper-hand.png", "A hand"),
    ("astronaut.jpg", "astronaut-half.png", "Half a face"),
]
FACES = [("Largest face", "largest"), ("All faces", "all")]

pipeline = Pipeline("complete")


@gpu
def complete(photo: Image.Image, mask: np.ndarray, faces: str):
    """The library's call. Returns its result and the seconds it took."""
    model = pipeline.get()
    start = time.perf_counter()
    try:
        result = model(photo, mask, faces=faces)
    except FaceNotFoundError as error:
        raise FaceNotFoundError(
            "No face was found in this photo. Try one in which the face is upright, larger or less hidden."
        ) from error
    return result, time.perf_counter() - start


def finish(photo, mask, faces, name, progress):
    """Complete a photo and write the files: (before, after), download path, what to say, pictures of the stages."""
    progress(0.1, "Getting the model ready")
    pipeline.get()
    progress(0.3, "Completing the face")
    result, seconds = complete(photo, mask, faces)
    progress(0.9, "Writing the picture")
    after = result.images[0]
    folder = private_folder()
    before_file = folder / "before.jpg"  # the photo itself: not edited, so not tagged
    shrink(photo).save(before_file, quality=92)
    slider = (str(before_file), publish(shrink(after), folder, "after.webp", "complete"))
    download = publish(after, folder, f"{Path(name).stem}-completed.png", "complete")
    count = len(result.faces)
    numbers = (
        f"**{count} face{'s' * (count != 1)}** · **{100 * mask.mean():.1f} %** of the photo was hidden · "
        f"**{seconds:.1f} s**"
    )
    return slider, download, numbers, stage_pictures(result, folder)


def stage_pictures(result, folder: Path) -> list[tuple[str, str]]:
    """(path, caption) of the steps that each face went through."""
    several = isinstance(result.confidence, list)
    pictures = []
    for i, (stages, confidence) in enumerate(
        zip(result.stages, result.confidence) if several else [(result.stages, result.confidence)]
    ):
        levels = np.clip(np.asarray(confidence) * 255, 0, 255).astype(np.uint8)
        heat = Image.fromarray(
            cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
        )
        steps = {
            "1. The mirrored half, bent to fit": stages[0],
            "2. Stage I: copied from the mirrored half": stages[1],
            "3. Where that copy is trusted (bright: fully)": heat,
            "4. Stage II: the rest made up": stages[2],
        }
        for step, (caption, picture) in enumerate(steps.items()):
            pictures.append((publish(picture, folder, f"face{i}-{step}.webp", "complete"), caption))
    return pictures


@tell_errors
def complete_files(photo: str, mask: str, faces: str = "largest", progress=gr.Progress()):  # noqa: B008
    """Complete the hidden part of a face in a photo. Only for photos of adults; label the result as edited.

    Args:
        photo: The photo, JPEG, PNG or WebP, at most 25 megapixels.
        mask: A picture of the photo's size, white where the face is to be filled in and black elsewhere.
        faces: "largest" for the largest face in the photo, "all" for every face.

    Returns:
        The completed photo as a PNG file of the photo's size, and a sentence with the numbers.
    """
    if not photo or not mask:
        raise ImageError("Both are needed: a photo, and a mask of the same size (white = fill in).")
    image = load_image(photo)
    missing = load_mask(mask, image.size)
    _, download, numbers, _ = finish(image, missing, faces, photo, progress)
    return download, numbers


@tell_errors
def complete_painted(editor, mask_file, faces, original, progress=gr.Progress()):  # noqa: B008
    """What the button does: as `complete_files`, from the editor's layers and, if given, a mask file."""
    if editor["background"] is None:
        raise ImageError("Add a photo first: drop it into the box on the left, or click one of the examples.")
    photo, name = load_image(editor["background"]), editor["background"]
    if original and Path(original).exists():  # the upload that the editor shows a smaller copy of
        upload = load_image(original)
        if is_copy_of(photo, upload):
            photo, name = upload, original
    missing = read_strokes(editor["layers"], photo.size)
    if mask_file:
        missing |= load_mask(mask_file, photo.size)
    if not missing.any():
        raise ImageError(
            "Nothing is marked yet: paint with the brush over what hides the face (sunglasses, a hand, …), or upload a mask."
        )
    slider, download, numbers, stages = finish(photo, missing, faces, name, progress)
    return slider, gr.DownloadButton(value=download, interactive=True), numbers, stages


@tell_errors
def take_upload(editor):
    """Check a photo as it is uploaded. The editor gets a smaller copy of a large one, to be quick to paint on; the
    original is kept for the result."""
    path = editor["background"]
    if path is None:
        return gr.skip(), None
    photo = load_image(path)
    small = shrink(photo)
    if small.size == photo.size:
        return gr.skip(), path
    copy = private_folder() / "photo.jpg"
    small.save(copy, quality=92)
    return {"background": str(copy), "layers": [], "composite": str(copy)}, path


def load_example(index: int):
    """The editor's content, and no mask file or earlier upload."""
    photo, mask, _ = EXAMPLE_LIST[index]
    preview = example_preview(photo, mask)
    return (
        {"background": str(EXAMPLES / photo), "layers": [str(EXAMPLES / mask)], "composite": preview},
        None,
        None,
    )


def example_preview(photo: str, mask: str) -> str:
    """The photo with its mask painted on."""
    picture = Image.open(EXAMPLES / photo).convert("RGBA")
    picture.alpha_composite(Image.open(EXAMPLES / mask))
    path = private_folder() / f"{Path(mask).stem}.jpg"
    picture.convert("RGB").save(path, quality=90)
    return str(path)


def build() -> None:
    """Put the tab's content into the gr.Tab that is open."""
    gr.set_static_paths([EXAMPLES])
    if pipeline.missing:
        gr.Markdown(
            "⚠️ **The model for this tab is not released yet.** You can look around; *Complete the face* will work "
            "once it is.",
            elem_classes="notice",
        )
    original = gr.State(None)  # path of the upload, per visitor
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            gr.Markdown("### 1 · Add a photo, then paint over what hides the face")
            editor = PhotoEditor(
                label="Photo",
                show_label=False,
                elem_id="editor",
                sources=["upload", "clipboard"],
                transforms=(),
                layers=False,
                brush=gr.Brush(default_size="auto", colors=["#ffffff"], color_mode="fixed"),
                eraser=gr.Eraser(),
                buttons=["fullscreen"],
                height=460,
                placeholder="# Drop a photo here\nor click to choose one",
            )
            with gr.Accordion("Or upload a mask picture", open=False):
                mask_file = PictureFile(
                    label="Mask: white = fill in, same size as the photo",
                    sources=["upload"],
                    type="filepath",
                    image_mode=None,
                    height=180,
                    elem_id="mask",
                )
            faces = gr.Radio(FACES, value="largest", label="Which face", elem_id="faces")
            button = gr.Button("2 · Complete the face", variant="primary", size="lg", elem_id="complete")
        with gr.Column(min_width=320):
            gr.Markdown("### 3 · Compare and download")
            slider = gr.ImageSlider(
                label="Before / after: drag the line",
                type="filepath",
                interactive=False,
                buttons=["fullscreen"],
                height=460,
                elem_id="result",
            )
            numbers = gr.Markdown(elem_id="numbers")
            download = gr.DownloadButton(
                "Download (PNG, marked as edited)", interactive=False, size="lg", elem_id="download"
            )
            with gr.Accordion("How it was done", open=False, elem_id="how"):
                stages = gr.Gallery(
                    show_label=False, columns=2, object_fit="contain", height="auto", buttons=["fullscreen"]
                )
    with gr.Column():
        gr.Markdown("### No photo at hand? Click an example, then press *Complete the face*")
        examples = gr.Dataset(
            components=[gr.Image(visible=False)],
            samples=[[example_preview(photo, mask)] for photo, mask, _ in EXAMPLE_LIST],
            show_label=False,
            type="index",
            elem_id="examples",
        )

    # The same call for programs and agents: plain files instead of the editor's layers.
    with gr.Group(visible=False):
        photo_in = PictureFile(type="filepath", label="photo")
        mask_in = PictureFile(type="filepath", label="mask")
        photo_out = gr.File(label="completed photo")
        numbers_out = gr.Textbox(label="numbers")
        call = gr.Button()

    shared = {"concurrency_id": QUEUE, "concurrency_limit": 1}
    editor.upload(take_upload, editor, [editor, original], show_progress="hidden", api_visibility="private")
    editor.clear(lambda: None, None, original, queue=False, api_visibility="private")
    examples.click(
        load_example, examples, [editor, mask_file, original], queue=False, api_visibility="private"
    )
    button.click(
        complete_painted,
        [editor, mask_file, faces, original],
        [slider, download, numbers, stages],
        show_progress_on=slider,
        api_visibility="private",
        **shared,
    )
    call.click(
        complete_files, [photo_in, mask_in, faces], [photo_out, numbers_out], api_name="complete", **shared
    )
