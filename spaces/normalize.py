"""The tab Normalize: a photo in, the face frontal and neutral, and the way there."""

from pathlib import Path

import gradio as gr
import parts

from facesym.errors import ImageError
from facesym.faces.load import load_image

FRAMES = 13  # of the walk

pipeline = parts.Pipeline("normalize")


@parts.gpu
def normalize(photo, walk: int):
    """See `parts.run`."""
    return parts.run(pipeline, photo, walk=walk)


def finish(photo, name: str, progress):
    """Normalize a face and write the files: (crop, result), download path, film path, what to say, frames."""
    from facesym.video import save_video

    progress(0.1, "Getting the model ready")
    pipeline.get()
    progress(0.4, "Making the face frontal and neutral")
    result, notes = normalize(photo, FRAMES)
    for note in notes:
        gr.Warning(note)
    progress(0.8, "Writing the pictures")
    folder = parts.private_folder()
    before = folder / "before.jpg"  # cut out of the photo: not edited, so not tagged
    parts.as_frame(result.crop[0]).save(before, quality=92)
    frames = [
        parts.publish(parts.as_frame(frame), folder, f"{i}.webp", "normalize")
        for i, frame in enumerate(result.walk[0])
    ]
    after = parts.publish(parts.as_frame(result.images[0]), folder, "after.webp", "normalize")
    download = parts.publish(result.images[0], folder, f"{Path(name).stem}-frontal.png", "normalize")
    film = folder / f"{Path(name).stem}-walk.mp4"
    save_video([parts.as_frame(frame) for frame in result.walk[0]], film, "normalize")
    kept = "" if result.identity is None else f" · likeness **{result.identity[0]:.2f}** of 1"
    numbers = f"Photo's yaw **{result.yaw[0]:.0f}°**{kept} · **{result.seconds:.1f} s**"
    return (str(before), after), download, str(film), numbers, frames


@parts.tell_errors
def normalize_file(photo: str, progress=gr.Progress()):  # noqa: B008
    """Make the face in a photo frontal and neutral. Only for photos of adults; label the result.

    Args:
        photo: The photo, JPEG, PNG or WebP, at most 25 megapixels. Its largest face is taken.

    Returns:
        The face as a PNG file, a film from the face as it is to the result, and a sentence with the numbers.
    """
    if not photo:
        raise ImageError("A photo is needed.")
    _, download, film, numbers, _ = finish(load_image(photo), photo, progress)
    return download, film, numbers


@parts.tell_errors
def normalize_shown(photo, progress=gr.Progress()):  # noqa: B008
    """What the button does."""
    slider, download, film, numbers, frames = finish(parts.read_upload(photo), photo, progress)
    buttons = [gr.DownloadButton(value=file, interactive=True) for file in (download, film)]
    return slider, numbers, *buttons, frames, gr.Slider(value=FRAMES - 1, interactive=True), frames[-1]


def walk_to(step: int, frames: list):
    """A frame of the walk."""
    if not frames or not Path(frames[0]).exists():
        return gr.skip()
    return frames[min(int(step), len(frames) - 1)]


def build() -> None:
    """Put the tab's content into the gr.Tab that is open."""
    parts.notice(pipeline)
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            gr.Markdown("### 1 · Add a photo of a face, turned by up to 45°")
            photo = parts.photo_input("normalize-")
            button = gr.Button(
                "2 · Make it frontal and neutral", variant="primary", size="lg", elem_id="normalize"
            )
        with gr.Column(min_width=320):
            gr.Markdown("### 3 · Compare and download")
            slider, numbers, download = parts.comparison("normalize-")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            gr.Markdown(
                "### The way there\nFrom the face as it is to the frontal, neutral one. What the photo does not show "
                "is mirrored or made up: it is **not** how the person surely looks."
            )
            step = gr.Slider(
                0, FRAMES - 1, FRAMES - 1, step=1, label="As it is – frontal and neutral", interactive=False,
                elem_id="normalize-step",
            )  # fmt: skip
            film = gr.DownloadButton("MP4, marked as edited", interactive=False, elem_id="normalize-mp4")
        with gr.Column(min_width=320):
            shown = gr.Image(
                show_label=False, type="filepath", interactive=False, height=384, elem_id="normalize-shown"
            )
    frames = gr.State([], time_to_live=3600)

    # The same call for programs and agents.
    with gr.Group(visible=False):
        photo_in = parts.PictureFile(label="photo")
        face_out, film_out = gr.File(label="frontal, neutral face"), gr.File(label="film of the way there")
        numbers_out = gr.Textbox(label="numbers")
        call = gr.Button()

    shared = {"concurrency_id": parts.QUEUE, "concurrency_limit": 1}
    hidden = {"api_visibility": "private"}
    button.click(
        normalize_shown,
        photo,
        [slider, numbers, download, film, frames, step, shown],
        show_progress_on=slider,
        **hidden,
        **shared,
    )
    step.input(walk_to, [step, frames], shown, queue=False, show_progress="hidden", **hidden)
    call.click(normalize_file, photo_in, [face_out, film_out, numbers_out], api_name="normalize", **shared)
