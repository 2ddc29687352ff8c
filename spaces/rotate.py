"""The tab Rotate: a photo's head turned by fitting a symmetric GAN to it; and faces that the GAN makes up."""

import os
import random
from pathlib import Path

import gradio as gr
import numpy as np
import panel
import parts
import results
import stage

from facesym.errors import ImageError
from facesym.faces.load import Photo, read_photo

YAW = 24  # degrees asked for to either side
FRAMES = 25
BUDGET = float(os.environ.get("FACESYM_FIT_SECONDS", 45))  # for a fit
LIKE = 0.4  # the identity net's cosine from which on the fit is shown: before, it is a stranger
MADE = 21  # pictures of a face that nobody has, from one end of its symmetry to the other
SEEDS = 2**32

tab = panel.Tab(
    "rotate",
    "Rotate",
    "Turn the head in a photo a little to either side. It takes about a minute.",
    "Turn the head",
    parts.Pipeline("rotate", zero=False),
    parts.FITS,
)


def controls() -> list:
    """See `panel.Tab`."""
    return []


def work(tell, value: dict, shot: stage.Shot) -> panel.Outcome:
    """See `panel.Tab`."""
    return finish(tell, shot.read(), Path(shot.path).stem, stage.chosen_face(value, shot), -YAW, YAW)[0]


def finish(tell, photo: Photo, stem: str, face, low: float, high: float) -> tuple[panel.Outcome, dict]:
    """Fit, turn and write the files: the outcome, and the numbers of the fit."""
    from facesym.identity import identity_similarity

    tell(0, "Getting the model ready")
    pipe = tab.pipeline.get()
    files = results.Files(tab.name, stem, "turning")
    crop, trim = face_crop(photo, face)
    waiting = files.show(trim(crop), "photo", parts.FRAME, edited=False)
    told = 0

    def progress(fraction, image):
        nonlocal told, waiting
        told += 1
        if told % 3 == 0:
            alike = identity_similarity([crop.resize(image.size)], [image])
            if alike is None or alike[0] >= LIKE:
                waiting = files.show(parts.as_frame(trim(image)), "fit")
        tell(0.9 * fraction, "Fitting the model to the photo", one_picture(waiting))

    tell(0, "Fitting the model to the photo", one_picture(waiting))
    result = pipe(photo, faces=face, yaw=(low, high), frames=FRAMES, seconds=BUDGET, progress=progress)
    tell(0.9, "Writing the pictures")
    return show(photo, result, files), result.fit[0]


def show(photo: Photo, result, files: results.Files) -> panel.Outcome:
    """A fit's outcome."""
    yaws, fit, trim = result.yaws[0], result.fit[0], results.Trim.of(photo, result)
    frames = list(map(trim, result.frames[0]))
    degrees = list(range(int(np.ceil(yaws[0])), int(np.floor(yaws[-1])) + 1))
    if len(degrees) < 2:
        degrees = [round(fit["yaw"])]
    kept, labels = [nearest(frames, yaws, yaw) for yaw in degrees], [results.degrees(yaw) for yaw in degrees]
    start = min(range(len(kept)), key=lambda i: abs(degrees[i] - fit["yaw"]))
    views = [files.series("Turn", kept, labels, start, "Yaw")]
    downloads = []
    if len(kept) > 1:
        downloads += [
            ("Turning head (MP4)", files.video(frames)),
            ("Turning head (GIF)", files.video(frames, ".gif")),
        ]
        views += turned_photos(photo, result, files, degrees, fit["yaw"])
    downloads += files.downloads(trim(result.crop[0]), kept[-1])
    turns = f"turns from **{labels[0]}** to **{labels[-1]}**"
    if len(kept) == 1:
        turns = "the model finds no other view of this face: try another photo"
    numbers = results.numbers(
        f"photo's own yaw **{results.degrees(fit['yaw'])}**",
        results.likeness(None if fit["identity"] is None else [fit["identity"]]),
        f"fitted in **{fit['seconds']:.0f} s**",
        turns,
    )
    notes = [note for note in result.notes if "was held within" not in note]  # the numbers tell the range
    return panel.Outcome(views, downloads, numbers, notes, files.result)


def turned_photos(photo: Photo, result, files, degrees: list, own: float) -> list:
    """The head put back into the photo at both ends, as far as they are near enough to the photo's own yaw."""
    views = []
    for yaw in {degrees[0]: 0, degrees[-1]: 0}:
        if 2 <= abs(yaw - own) <= 20:
            frame = nearest(result.frames[0], result.yaws[0], yaw)
            whole = results.put_back(tab.pipeline, photo, result, frame)
            views.append(files.pair(f"Whole photo, {results.degrees(yaw)}", photo.image, whole))
    return views


def nearest(frames: list, yaws: list, yaw: float):
    """The frame nearest to a yaw."""
    return frames[min(range(len(yaws)), key=lambda i: abs(yaws[i] - yaw))]


def face_crop(photo: Photo, face):
    """The aligned crop of the face that will be turned, and its `results.Trim`."""
    from facesym.faces.align import align_face
    from facesym.faces.find import find_faces

    _, (index, *_), transforms = find_faces(photo.image, face, parts.FRAME)
    crop = align_face(photo.image, transforms[index], parts.FRAME)
    return crop, results.Trim(photo.image.size, transforms[index], parts.FRAME)


def one_picture(path: str) -> dict:
    """The viewer's value while the fit goes on."""
    view = {"label": "The fit so far", "before": "", "after": parts.url(path), "frames": [], "labels": []}
    return {"views": [view], "downloads": []}


# --- faces that nobody has ------------------------------------------------------------------------------------------


def make_faces(tell, seed: int, fractions) -> list:
    """A face that nobody has, at each fraction of the way from as it is drawn to its mirror image: RGB images."""
    import torch

    from facesym.fit import SPREAD
    from facesym.pipelines.crops import to_image

    if seed is None or not 0 <= int(seed) < SEEDS:
        raise ImageError(f"The face's number (seed) must be a whole number from 0 to {SEEDS - 1}.")
    net = tab.pipeline.get().net
    z = net.sample(1, torch.Generator().manual_seed(int(seed)), SPREAD)
    with torch.inference_mode():
        return [to_image(net(net.between(z, float(fraction)))[0]) for fraction in fractions]


async def another_face() -> tuple[dict, str]:
    """The viewer's value and a line for a face that nobody has."""
    seed = random.randrange(10**6)
    try:
        faces = await parts.QUICK.run(make_faces, seed, np.linspace(0, 1, MADE))
    except Exception as error:
        return {}, panel.status(error=parts.wording(error))
    files = results.Files(tab.name, f"face-{seed}", "nobody")
    labels = ["as drawn", *[""] * (MADE - 2), "mirrored"]
    labels[MADE // 2] = "symmetric"
    view = files.series("A face that nobody has", faces, labels, 0, "Symmetry")
    outcome = panel.Outcome([view], [("Picture (PNG)", files.picture(faces[0]))], "", [], files.result)
    return panel.result_value(outcome, tab), panel.status(text=f"Face number **{seed}**")


async def generate(seed: int = 0, symmetry: float = 0.0):
    """A face that nobody has, made by the symmetric GAN.

    Args:
        seed: The number of the face, from 0 to 2^32 - 1.
        symmetry: 0 for the face as it is drawn, 1 for its exactly symmetric version, 2 for its mirror image.

    Returns:
        The picture.
    """
    fraction = min(max(float(symmetry or 0), 0), 2) / 2
    faces = await parts.QUICK.run(make_faces, 0 if seed is None else seed, [fraction])
    files = results.Files(tab.name, f"face-{int(seed or 0)}", "nobody")
    return files.show(parts.as_frame(faces[0]), "face")


def build_more() -> None:
    """Faces that nobody has, below the tab's result."""
    gr.HTML(
        "<h3>Faces that nobody has</h3><p>The same model, not fitted to anyone. Its symmetry is exact: in the middle "
        "both halves are the same, at the right end the face is its own mirror image.</p>",
        elem_classes="lead",
    )
    button = gr.Button("Show a face that nobody has", elem_id="rotate-another")
    line = gr.HTML("", js_on_load=None, apply_default_css=False, elem_classes="status")
    viewer = panel.Viewer(elem_id="rotate-made", elem_classes="small-viewer")
    button.click(
        another_face, None, [viewer, line], api_visibility="private", show_progress="hidden",
        concurrency_limit=None,
    )  # fmt: skip


async def rotate_file(photo: str, low: float = -20.0, high: float = 20.0):
    """Turn the head in a photo; takes about a minute. Only for photos of adults; label the result.

    Args:
        photo: The photo: JPEG, PNG, WebP, HEIC and others. Its largest face is taken.
        low: Degrees of yaw at the video's start: 0 is towards the camera, negative to the picture's left.
        high: Degrees at its end.

    Returns:
        The turning head as an MP4 video, and how well the model fits the photo: PSNR before and after tuning, identity,
        the photo's own yaw, the range of yaw in which the face still is that person, seconds.
    """
    if not photo:
        raise ImageError("A photo is needed.")

    def do(tell):
        def progress(fraction, image):
            tell(fraction, "Fitting the model to the photo")

        pipe = tab.pipeline.get()
        options = {"yaw": (low, high), "frames": FRAMES, "seconds": BUDGET, "progress": progress}
        image = read_photo(photo)
        result = pipe(image, **options)
        frames = list(map(results.Trim.of(image, result), result.frames[0]))
        return results.Files(tab.name, Path(photo).stem, "turning").video(frames), result.fit[0]

    return await parts.FITS.run(do)


def api() -> None:
    """See `panel.Tab`."""
    inputs = [
        gr.Number(0, label="seed", precision=0, render=False),
        gr.Number(0, label="symmetry", render=False),
    ]
    parts.call(generate, "generate", inputs, [gr.File(label="face", render=False)])
    inputs = [
        parts.picture_in("photo", "photo.jpg"),
        gr.Number(-20, label="low", render=False),
        gr.Number(20, label="high", render=False),
    ]
    outputs = [gr.File(label="video_of_the_turning_head", render=False), gr.JSON(label="fit", render=False)]
    parts.call(rotate_file, "rotate", inputs, outputs)
