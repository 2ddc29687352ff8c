"""The tab Rotate: a photo's head turned by fitting a symmetric GAN to it; and faces that the GAN makes up."""

import os
import queue
import random
import threading
from pathlib import Path

import gradio as gr
import parts

from facesym.errors import ImageError
from facesym.faces.load import load_image

YAW = 24  # degrees that the slider goes to either side
FRAMES = 25
BUDGET = float(os.environ.get("FACESYM_FIT_SECONDS", 60))  # for a fit

pipeline = parts.Pipeline("rotate", zero=False)


class Stopped(Exception):
    """The visitor pressed Stop, or left."""


def rotate(photo, low: float, high: float, progress):
    """See `parts.run`."""
    return parts.run(pipeline, photo, yaw=(low, high), frames=FRAMES, seconds=BUDGET, progress=progress)


def write(result, folder: Path, stem: str):
    """The frames' files and the two films: paths."""
    from facesym.video import save_video

    frames = [parts.as_frame(frame) for frame in result.frames[0]]
    files = [parts.publish(frame, folder, f"{i}.webp", "rotate") for i, frame in enumerate(frames)]
    films = [folder / f"{stem}-turning{kind}" for kind in (".mp4", ".gif")]
    for film in films:
        save_video(frames, film, "rotate")
    return files, [str(film) for film in films]


@parts.tell_errors
def rotate_file(photo: str, low: float = -20.0, high: float = 20.0, progress=gr.Progress()):  # noqa: B008
    """Turn the head in a photo. Only for photos of adults; label the result.

    Args:
        photo: The photo, JPEG, PNG or WebP, at most 25 megapixels.
        low: Degrees of yaw at the film's start: 0 is towards the camera, negative to the picture's left.
        high: Degrees at its end.

    Returns:
        The turning head as an MP4 film, and how well the model fits the photo: PSNR before and after tuning, identity,
        the photo's own yaw, the range of yaw in which the face still is that person, seconds.
    """
    if not photo:
        raise ImageError("A photo is needed.")

    def tell(share, _):
        progress(share, "Fitting")

    result, _ = rotate(load_image(photo), low, high, tell)
    _, films = write(result, parts.private_folder(), Path(photo).stem)
    return films[0], result.fit[0]


@parts.tell_errors
def rotate_shown(photo):
    """What the button does: yields the fit as it goes, then everything."""
    picture = parts.read_upload(photo)
    folder = parts.private_folder()
    told, stopped = queue.Queue(), threading.Event()

    def tell(share, image):
        if stopped.is_set():
            raise Stopped
        told.put((share, image))

    def work():
        try:
            told.put(rotate(picture, -YAW, YAW, tell))
        except Exception as error:  # raised below, where it can be shown
            told.put(error)

    off = gr.DownloadButton(interactive=False)
    yield None, gr.Slider(interactive=False), [], "Getting the model ready …", off, off
    threading.Thread(target=work, daemon=True).start()
    step = 0
    try:
        while True:
            try:
                news = told.get(timeout=0.5)
            except queue.Empty:
                yield (gr.skip(),) * 6  # here it can be stopped
                continue
            if isinstance(news, Exception):
                raise news
            if hasattr(news[0], "frames"):
                break
            share, image = news
            step += 1
            if step % 3 == 1:
                shown = parts.publish(parts.as_frame(image), folder, f"fit{step}.webp", "rotate")
                yield shown, gr.skip(), gr.skip(), f"Fitting to your photo: {share:.0%}", gr.skip(), gr.skip()
    finally:
        stopped.set()  # the fit ends when it next tells how far it is
    result, notes = news
    for note in notes:
        gr.Warning(note)
    files, films = write(result, folder, Path(photo).stem)
    yaws, fit = result.yaws[0], result.fit[0]
    low, high = yaws[0], yaws[-1]
    own = min(max(fit["yaw"], low), high)
    nearest = min(range(FRAMES), key=lambda i: abs(yaws[i] - own))
    likeness = "" if fit["identity"] is None else f" · likeness **{fit['identity']:.2f}** of 1"
    numbers = f"Photo's own yaw **{fit['yaw']:.0f}°**{likeness} · fitted in **{fit['seconds']:.0f} s**"
    if not turns(low, high):
        numbers += " · the model finds no other view of this face: try another photo"
    slider = slider_over(low, high, round(yaws[nearest], 1))
    ready = [gr.DownloadButton(value=film, interactive=True) for film in films]
    yield files[nearest], slider, [[yaw, file] for yaw, file in zip(yaws, files)], numbers, *ready


def turns(low: float, high: float) -> bool:
    """Whether a range of yaws is one to slide over."""
    return high - low >= 1


def slider_over(low: float, high: float, value: float) -> gr.Slider:
    """The slider over a range of yaws. Gradio has none of a single value: then it stays as it was, and cannot be
    moved."""
    if not turns(low, high):
        return gr.Slider(-YAW, YAW, value, interactive=False)
    return gr.Slider(low, high, value, interactive=True)


def turn_to(yaw: float, series: list):
    """The frame nearest to a yaw."""
    if not series or not Path(series[0][1]).exists():
        return gr.skip()
    return min(series, key=lambda item: abs(item[0] - yaw))[1]


@parts.tell_errors
def generate(seed: int = 0, symmetry: float = 0.0):
    """A face that nobody has, made by the symmetric GAN.

    Args:
        seed: The number of the face.
        symmetry: 0 for the face as it is drawn, 1 for its exactly symmetric version, 2 for its mirror image.

    Returns:
        The picture.
    """
    import torch

    from facesym.fit import SPREAD
    from facesym.pipelines.base import to_image

    net = pipeline.get().net
    seed, symmetry = int(seed or 0), float(symmetry or 0)  # None: the field was emptied
    z = net.sample(1, torch.Generator().manual_seed(seed), SPREAD)
    with torch.inference_mode():
        face = to_image(net(net.between(z, min(max(symmetry, 0), 2) / 2))[0])
    return parts.publish(parts.as_frame(face), parts.private_folder(), f"face-{seed}.webp", "rotate")


def build() -> None:
    """Put the tab's content into the gr.Tab that is open."""
    parts.notice(pipeline)
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            gr.Markdown("### 1 · Add a photo of a face")
            photo = parts.photo_input("rotate-", 384)
            with gr.Row():
                button = gr.Button("2 · Fit (about a minute)", variant="primary", size="lg", elem_id="rotate")
                stop = gr.Button("Stop", size="lg", elem_id="rotate-stop")
        with gr.Column(min_width=320):
            gr.Markdown("### 3 · Turn the head")
            face = gr.Image(
                show_label=False, type="filepath", interactive=False, height=384, buttons=["fullscreen"],
                elem_id="rotate-face",
            )  # fmt: skip
            yaw = gr.Slider(
                -YAW, YAW, 0, step=0.5, label="Yaw in degrees: 0 is towards the camera", interactive=False,
                elem_id="rotate-yaw",
            )  # fmt: skip
            numbers = gr.Markdown(elem_id="rotate-numbers")
            with gr.Row():
                mp4 = gr.DownloadButton("MP4, marked as edited", interactive=False, elem_id="rotate-mp4")
                gif = gr.DownloadButton("GIF, marked as edited", interactive=False, elem_id="rotate-gif")
    series = gr.State([], time_to_live=3600)
    gr.Markdown(
        "### Faces that nobody has\nThe same model, not fitted to anyone. Its symmetry is exact: in the middle both "
        "halves are the same, at the right end the face is its own mirror image."
    )
    with gr.Row(equal_height=False):
        with gr.Column(min_width=240):
            seed = gr.Number(0, label="Number of the face", precision=0, elem_id="rotate-seed")
            symmetry = gr.Slider(
                0, 2, 0, step=0.05, label="As drawn – symmetric – mirrored", elem_id="rotate-symmetry"
            )
            another = gr.Button("Another face", elem_id="rotate-another")
        with gr.Column(min_width=240):
            made = gr.Image(
                show_label=False, type="filepath", interactive=False, height=384, elem_id="rotate-made"
            )

    # The same call for programs and agents.
    with gr.Group(visible=False):
        photo_in = parts.PictureFile(label="photo")
        low_in, high_in = gr.Number(-20, label="low"), gr.Number(20, label="high")
        film_out, numbers_out = gr.File(label="film of the turning head"), gr.JSON(label="fit")
        call = gr.Button()

    shared = {"concurrency_id": parts.QUEUE, "concurrency_limit": 1}
    hidden = {"api_visibility": "private"}
    fitting = button.click(
        rotate_shown,
        photo,
        [face, yaw, series, numbers, mp4, gif],
        show_progress="minimal",
        **hidden,
        **shared,
    )
    stop.click(lambda: "Stopped.", None, numbers, cancels=[fitting], queue=False, **hidden)
    yaw.input(turn_to, [yaw, series], face, queue=False, show_progress="hidden", **hidden)
    another.click(lambda: random.randrange(10**6), None, seed, queue=False, **hidden)
    if not pipeline.missing:  # at the start and at each change; it is quick, and waits for nobody's fit
        gr.on(
            None, generate, [seed, symmetry], made,
            show_progress="hidden", trigger_mode="always_last", api_name="generate", concurrency_limit=2,
        )  # fmt: skip
    call.click(rotate_file, [photo_in, low_in, high_in], [film_out, numbers_out], api_name="rotate", **shared)
