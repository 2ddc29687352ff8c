"""The Normalize tab: make the face in a photo frontal and neutral, with the steps in between."""

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

FRAMES = 13  # of the interpolation
ABOUT = "Parts that the photo does not show are mirrored or synthesized: the person may look **different**."

tab = panel.Tab(
    "normalize",
    "Normalize",
    "Make a turned, smiling face frontal and neutral.",
    "Make it frontal and neutral",
    parts.Pipeline("normalize"),
)


@parts.gpu
def normalize(photo: Photo, face):
    """Call the pipeline."""
    return tab.pipeline.get()(photo, faces=face, walk=FRAMES)


def controls() -> list:
    """See `panel.Tab`."""
    return []


def work(tell, value: dict, shot: stage.Shot) -> panel.Outcome:
    """See `panel.Tab`."""
    return finish(tell, shot.read(), Path(shot.path).stem, stage.chosen_face(value, shot))


def finish(tell, photo: Photo, stem: str, face) -> panel.Outcome:
    """Normalize a face and write the result files."""
    from facesym.pipelines.normalize import FRONTAL

    tell(0.05, LOADING)
    tab.pipeline.get()
    tell(0.1, "Making the face frontal and neutral")
    result = normalize(photo, face)
    tell(0.6, "Saving the images")
    files = results.Files(tab.name, stem, "frontal")
    trim, yaw = results.Trim.of(photo, result), result.yaw[0]
    crop, output, *walk = map(trim, (result.crop[0], result.images[0], *result.walk[0]))
    labels = [f"{fraction:.0%} of the way" for fraction in np.linspace(0, 1, len(walk))]
    labels[0], labels[-1] = "photo", "frontal and neutral"
    whole = results.put_back(photo, result) if abs(yaw) <= FRONTAL else None
    return panel.Outcome(
        views=[
            files.pair("Face", crop, output),
            *files.whole(photo, whole),
            files.series("Steps in between", walk, labels, len(walk) - 1, "From photo to result"),
        ],
        downloads=[*files.downloads(crop, output, whole), ("Steps in between (MP4)", files.video(walk))],
        numbers=results.numbers(
            results.turned(yaw),
            results.likeness(result.identity),
            f"**{result.seconds:.1f} s**",
        ),
        notes=results.notes(result),
        result=files.result,
        extras=results.paragraph(ABOUT),
    )


async def normalize_file(photo: str):
    """Make the face in a photo frontal and neutral. Use only photos of adults, and label the result as edited.

    Args:
        photo: The photo, as JPEG, PNG, WebP, HEIC or another common format. Its largest face is used.

    Returns:
        The face as a PNG file, a video from the input to the result, and a one-line summary.
    """
    if not photo:
        raise ImageError("Send a photo.")
    outcome = await parts.MODELS.run(
        lambda tell: finish(tell, read_photo(photo), Path(photo).stem, "largest")
    )
    return outcome.downloads[0][1], outcome.downloads[-1][1], outcome.numbers


def api() -> None:
    """See `panel.Tab`."""
    outputs = [
        gr.File(label="frontal_neutral_face", render=False),
        gr.File(label="video_of_the_way", render=False),
        gr.Textbox(label="numbers", render=False),
    ]
    parts.call(normalize_file, "normalize", [parts.picture_in("photo", "photo.jpg")], outputs)
