"""The Rotate tab: turn the head in a photo by fitting a symmetric GAN to it, and generate faces with the GAN."""

import os
import random
from pathlib import Path

import gradio as gr
import numpy as np
import panel
import parts
import results
import stage
from waiting import LOADING

from facesym.errors import ImageError
from facesym.faces.load import Photo, read_photo

YAW = 24  # requested degrees to either side
FRAMES = 25
BUDGET = float(os.environ.get("FACESYM_FIT_SECONDS", 45))  # seconds per fit
MADE = 21  # images of a generated face along the symmetry slider
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
    """Fit, rotate and write the result files; return the outcome and the fit's metrics."""
    from facesym.identity import SAME_PERSON, identity_similarity

    tell(0, LOADING)
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
            if alike is None or alike[0] >= SAME_PERSON:
                waiting = files.show(parts.as_frame(trim(image)), "fit")
        tell(0.9 * fraction, "Fitting the model to the photo", one_picture(waiting))

    tell(0, "Fitting the model to the photo", one_picture(waiting))
    result = pipe(photo, faces=face, yaw=(low, high), frames=FRAMES, seconds=BUDGET, progress=progress)
    tell(0.9, "Saving the images")
    return show(photo, result, files), result.fit[0]


def show(photo: Photo, result, files: results.Files) -> panel.Outcome:
    """Return the outcome of a fit."""
    yaws, fit, trim = result.yaws[0], result.fit[0], results.Trim.of(photo, result)
    frames = list(map(trim, result.frames[0]))
    degrees = list(range(int(np.ceil(yaws[0])), int(np.floor(yaws[-1])) + 1))
    if len(degrees) < 2:
        degrees = [round(fit["yaw"])]
    kept, labels = [nearest(frames, yaws, yaw) for yaw in degrees], [results.degrees(yaw) for yaw in degrees]
    farthest = max(0, len(kept) - 1, key=lambda i: abs(degrees[i] - fit["yaw"]))
    views = [files.series("Turn", kept, labels, farthest, "Angle")]
    downloads = []
    if len(kept) > 1:
        downloads += [
            ("Turning head (MP4)", files.video(frames)),
            ("Turning head (GIF)", files.video(frames, ".gif")),
        ]
        views += turned_photos(photo, result, files, degrees, fit["yaw"])
    (_, turned), *pairs = files.downloads(trim(result.crop[0]), kept[farthest])
    downloads += [(f"Turned {results.side(degrees[farthest])} (PNG)", turned), *pairs]
    limit = fit["limit"]
    turns = f"the slider turns it from **{labels[0]}** to **{labels[-1]}**" + (f": {limit}" if limit else "")
    if len(kept) == 1:
        turns = "the model could not turn this face: try another photo"
    numbers = results.numbers(
        results.turned(fit["yaw"]),
        results.likeness(None if fit["identity"] is None else [fit["identity"]]),
        f"fitted in **{fit['seconds']:.0f} s**",
        turns,
    )
    # The summary gives the range and the reason.
    notes = [note for note in result.notes if not limit or limit not in note]
    return panel.Outcome(views, downloads, numbers, notes, files.result)


def turned_photos(photo: Photo, result, files, degrees: list, own: float) -> list:
    """Paste the head into the photo at both ends of the range, if they are close enough to the photo's own yaw."""
    views = []
    for yaw in dict.fromkeys((degrees[0], degrees[-1])):
        if 2 <= abs(yaw - round(own)) <= 20:
            frame = nearest(result.frames[0], result.yaws[0], yaw)
            whole = results.put_back(photo, result, frame)
            views.append(files.pair(f"Whole photo, {results.degrees(yaw)}", photo.image, whole))
    return views


def nearest(frames: list, yaws: list, yaw: float):
    """Return the frame closest to a yaw."""
    return frames[min(range(len(yaws)), key=lambda i: abs(yaws[i] - yaw))]


def face_crop(photo: Photo, face):
    """Return the aligned crop of the selected face and its `results.Trim`."""
    from facesym.faces.align import align_face
    from facesym.faces.find import find_faces

    _, (index, *_), transforms = find_faces(photo.image, face, parts.FRAME)
    crop = align_face(photo.image, transforms[index], parts.FRAME)
    return crop, results.Trim(photo.image.size, transforms[index], parts.FRAME)


def one_picture(path: str) -> dict:
    """Return the viewer's value during the fit."""
    view = {"label": "The fit so far", "before": "", "after": parts.url(path), "frames": [], "labels": []}
    return {"views": [view], "downloads": []}


# --- generated faces ------------------------------------------------------------------------------------------------


def make_faces(tell, seed: int, fractions) -> list:
    """Generate a face and interpolate to its mirror image; return an RGB image per fraction."""
    import torch

    from facesym.fit import SPREAD
    from facesym.pipelines.crops import to_image

    if seed is None or not 0 <= int(seed) < SEEDS:
        raise ImageError(f"The seed must be a whole number from 0 to {SEEDS - 1}.")
    net = tab.pipeline.get().net
    z = net.sample(1, torch.Generator().manual_seed(int(seed)), SPREAD)
    with torch.inference_mode():
        return [to_image(net(net.between(z, float(fraction)))[0]) for fraction in fractions]


async def another_face() -> tuple[dict, str]:
    """Generate a face; return the viewer's value and a status line."""
    seed = random.randrange(10**6)

    def do(tell):
        faces = make_faces(tell, seed, np.linspace(0, 1, MADE))
        files = results.Files(tab.name, f"face-{seed}", "generated")
        labels = ["generated", *[""] * (MADE - 2), "mirrored"]
        labels[MADE // 2] = "symmetric"
        view = files.series("Generated face", faces, labels, 0, "Symmetry")
        return panel.Outcome([view], [("Image (PNG)", files.picture(faces[0]))], "", [], files.result)

    try:
        outcome = await parts.QUICK.run(do)
    except Exception as error:
        return {}, panel.status(error=parts.wording(error))
    text = f"Face **{seed}**: the API makes it again from this number, its seed."
    return panel.result_value(outcome, tab), panel.status(text=text)


async def generate(seed: int = 0, symmetry: float = 0.0):
    """Generate the face of a person who does not exist, with the symmetric GAN.

    Args:
        seed: Random seed of the face, from 0 to 2^32 - 1.
        symmetry: 0 for the generated face, 1 for its exactly symmetric version, 2 for its mirror image.

    Returns:
        The image.
    """
    fraction = min(max(float(symmetry or 0), 0), 2) / 2

    def do(tell):
        (face,) = make_faces(tell, 0 if seed is None else seed, [fraction])
        files = results.Files(tab.name, f"face-{int(seed or 0)}", "generated")
        return files.show(parts.as_frame(face), "face")

    return await parts.QUICK.run(do)


def build_more() -> panel.Viewer:
    """Build the section with generated faces below the tab's result and return its viewer."""
    gr.HTML(
        "<h3>Faces of people who do not exist</h3><p>The same model also generates faces. Its symmetry is exact: in "
        "the middle of the slider both halves are identical, and at its right end the face is mirrored.</p>",
        elem_classes="lead",
    )
    button = gr.Button("Generate a face", elem_id="rotate-another")
    status = gr.HTML("", js_on_load=None, apply_default_css=False, elem_classes="status")
    viewer = panel.Viewer(elem_id="rotate-made", elem_classes="small-viewer")
    button.click(
        another_face, None, [viewer, status], api_visibility="private", show_progress="hidden",
        concurrency_limit=None,
    )  # fmt: skip
    return viewer


async def rotate_file(photo: str, low: float = -20.0, high: float = 20.0):
    """Turn the head in a photo; takes about a minute. Use only photos of adults, and label the result as edited.

    Args:
        photo: The photo, as JPEG, PNG, WebP, HEIC or another common format. Its largest face is used.
        low: Yaw at the start of the video in degrees: 0 faces the camera, negative values the left of the image.
        high: Yaw at the end of the video in degrees.

    Returns:
        The turning head as an MP4 video, and the quality of the fit: PSNR before and after tuning, identity similarity,
        yaw of the photo, range of yaw that preserves the identity, why the head is turned less than requested, and
        seconds.
    """
    if not photo:
        raise ImageError("Send a photo.")

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
