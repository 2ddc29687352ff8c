"""The Complete tab: paint over whatever covers a face; the model completes the face in the photo."""

from pathlib import Path

import cv2
import gradio as gr
import numpy as np
import panel
import parts
import results
import stage
from PIL import Image
from waiting import LOADING

from facesym.attributes import OCCLUSIONS
from facesym.errors import ImageError, NothingFoundError
from facesym.faces.load import Photo, load_mask, read_photo
from facesym.faces.occlusion import AUTO, automatic_kinds, find_occlusions

STEPS = (
    "**1** The face is mirrored and warped to match its other half. **2** Pixels that are masked on one side and "
    "visible on the other are copied. **3** Confidence of the copy: black is 0, yellow is 1. **4** The network "
    "synthesizes the rest."
)

# Names of OCCLUSIONS for visitors, where they differ.
NAMES = {"mask": "face mask", "object": "hand or object", "damage": "scratches or stains"}

QUIET = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}

tab = panel.Tab(
    "complete",
    "Complete",
    "Paint over what covers a face, and the model fills it in from the other half.",
    "Complete the face",
    parts.Pipeline("complete"),
)


@parts.gpu
def complete(photo: Photo, mask: np.ndarray, faces: str):
    """Call the pipeline."""
    try:
        return tab.pipeline.get()(photo, mask, faces=faces)
    except ImageError as error:
        if 'faces="all"' not in str(error):
            raise
        raise ImageError('The mask does not touch the largest face: use faces="all".') from error


def controls() -> list:
    """See `panel.Tab`."""
    with gr.Accordion("Choose what to find (glasses, hair …)", open=False):
        kinds = kinds_in(
            label="“Find what covers the face” looks for", elem_id="kinds",
            info="Glasses and sunglasses are always found together.",
        )  # fmt: skip
    with gr.Accordion("Or upload a mask", open=False):
        mask = parts.PictureFile(
            label="Mask: white where missing, same size as the photo", sources=["upload"], height=160, elem_id="mask",
            buttons=[],
        )  # fmt: skip
        refusal = gr.HTML(
            "", js_on_load=None, apply_default_css=False, elem_classes="status", elem_id="mask-refusal"
        )
    mask.upload(check_mask, mask, [mask, refusal], **QUIET)
    mask.clear(str, None, refusal, **QUIET)
    return [mask, kinds]


def kinds_in(**options) -> gr.CheckboxGroup:
    """Return an input for kinds of occlusions; what "auto" finds is chosen."""
    choices = [(NAMES.get(kind, kind), kind) for kind in OCCLUSIONS]
    return Kinds(choices, value=automatic_kinds(AUTO), **options)


class Kinds(gr.CheckboxGroup):
    """A `gr.CheckboxGroup` that takes None, which programs send for the default."""

    is_template = True

    def preprocess(self, payload):
        return None if payload is None else super().preprocess(payload)


async def check_mask(file: str):
    """Reject an unreadable mask at once; return values for its component and the line below it."""
    try:
        if not Path(file).exists():
            raise ImageError(stage.DELETED.replace("photo", "mask"))
        await parts.QUICK.run(lambda tell: read_photo(file))
    except Exception as error:
        return None, panel.status(error=parts.wording(error))
    return gr.skip(), ""


def work(tell, value: dict, shot: stage.Shot, mask_file: str | None, kinds) -> panel.Outcome:
    """See `panel.Tab`."""
    photo = shot.read()
    mask = stage.read_strokes(value, photo.image.size)
    if mask_file:
        if not Path(mask_file).exists():
            raise ImageError(stage.DELETED.replace("photo", "mask"))
        mask |= load_mask(mask_file, photo.image.size, photo.full_size)
    if not mask.any():
        raise ImageError(
            "The mask is still empty: paint over whatever covers the face (sunglasses, a hand, …), let it be found, or "
            "upload a mask."
        )
    return finish(tell, photo, Path(shot.path).stem, mask, "all")


def find_mask(tell, value: dict, shot: stage.Shot, _, kinds: list[str]) -> tuple[str, dict]:
    """See `panel.Tab`."""
    mask, covered = found_mask(tell, stage.need(shot, value).read(), kinds)
    fraction, found = (np.asarray(mask) > 0).mean(), name_covered(covered)
    text = f"**{100 * fraction:.1f} %** of the photo was marked{found and ': ' + found}. "
    text += f"Correct it with the brush, then press “{tab.button}”."
    return text, {**value, "found": parts.url(write_mask(parts.shrink(mask, parts.PAINTED), "found"))}


def name_covered(covered: list[dict[str, float]]) -> str:
    """List the kinds on each face and the fraction that each covers; several faces are numbered from the left."""
    return ", ".join(
        f"{NAMES.get(kind, kind)} on "
        + (f"**{100 * fraction:.0f} %**" if fraction >= 0.005 else "less than **1 %**")
        + (f" of face {i}" if len(covered) > 1 else " of the face")
        for i, face in enumerate(covered, 1)
        for kind, fraction in face.items()
    )


def found_mask(tell, photo: Photo, kinds: list[str]) -> tuple[Image.Image, list[dict[str, float]]]:
    """Find what covers the faces in a photo.

    Returns:
        Image of mode L, white = covered; and for each face the fraction that each kind covers.

    Raises:
        ImageError: no kind was chosen, nothing was found, or no face.
    """
    if not kinds:
        raise ImageError("Choose what to find: at least one kind, such as glasses.")
    tell(0.05, LOADING)
    tab.pipeline.get()
    tell(0.3, "Finding what covers the face")
    try:
        mask, covered = mark_occlusion(photo, kinds)
    except NothingFoundError as error:
        raise ImageError(
            f"{NothingFoundError.SHORT} Paint over what covers the face, or choose other kinds to find."
        ) from error
    return Image.fromarray(mask * np.uint8(255)), covered


@parts.gpu
def mark_occlusion(photo: Photo, kinds: list[str]) -> tuple[np.ndarray, list[dict[str, float]]]:
    """Find the mask of the pipeline's `find_mask`, and how much of each face it covers."""
    mask, covered, _ = find_occlusions(photo, "all", tab.pipeline.get().size, kinds)
    return mask, covered


def write_mask(mask: Image.Image, stem: str) -> Path:
    """Write a mask and return its path."""
    file = parts.private_folder() / f"{stem}-mask.png"
    mask.save(file)
    return file


def finish(tell, photo: Photo, stem: str, mask: np.ndarray, faces: str) -> panel.Outcome:
    """Complete a photo and write the result files."""
    tell(0.05, LOADING)
    tab.pipeline.get()
    tell(0.1, "Completing the face")
    result = complete(photo, mask, faces)
    tell(0.8, "Saving the images")
    files = results.Files(tab.name, stem, "completed")
    count = len(result.faces)
    return panel.Outcome(
        views=[
            *files.closeups(photo.image, result.images[0], result.faces),
            files.pair("Photo", photo.image, result.images[0]),
        ],
        downloads=files.downloads(photo.image, result.images[0]),
        numbers=(
            f"**{count} face{'s' * (count != 1)}** completed · **{100 * result.mask_fraction:.1f} %** of the photo "
            f"masked · **{result.seconds:.1f} s**"
        ),
        notes=result.notes,
        result=files.result,
        extras=results.details("Intermediate results", stage_pictures(result, files), STEPS),
    )


def stage_pictures(result, files) -> str:
    """Return the intermediate images of each face as HTML."""
    pictures = []
    for i, ((warped, stage1, final), confidence) in enumerate(zip(result.stages, result.confidence)):
        levels = np.clip(np.asarray(confidence) * 255, 0, 255).astype(np.uint8)
        heat = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1]  # BGR to RGB
        steps = {
            "1 Mirrored": warped,
            "2 Copied": stage1,
            "3 Confidence": Image.fromarray(np.ascontiguousarray(heat)),
            "4 Completed": final,
        }
        who = f"Face {i + 1}: " if len(result.stages) > 1 else ""
        pictures += [(who + caption, picture) for caption, picture in steps.items()]
    return files.grid(pictures)


async def complete_files(photo: str, mask: str, faces: str = "all"):
    """Complete the missing part of a face. Use only photos of adults, and label the result as edited.

    Args:
        photo: The photo, as JPEG, PNG, WebP, HEIC or another common format.
        mask: A mask of the same size as the photo, white where the face is missing and black elsewhere.
        faces: "all" for every face that the mask touches, "largest" for the largest face in the photo.

    Returns:
        The completed photo as a PNG file, and a one-line summary.
    """
    if not photo or not mask:
        raise ImageError("Send both a photo and a mask of the same size (white where the face is missing).")

    def do(tell):
        image = read_photo(photo)
        return finish(
            tell, image, Path(photo).stem, load_mask(mask, image.image.size, image.full_size), faces
        )

    outcome = await parts.MODELS.run(do)
    return outcome.downloads[0][1], outcome.numbers


async def mask_file(photo: str, kinds: list[str] | None = None):
    """Find what covers the faces in a photo (glasses, a face mask, a hand, scratches …): a mask for `complete`.

    Args:
        photo: The photo: JPEG, PNG, WebP, HEIC and others.
        kinds: What to find: any of "glasses", "sunglasses", "mask" (a face mask), "object" (a hand, a microphone …),
            "hair" and "damage" (scratches, stains). Default: all but "hair".

    Returns:
        The mask as a PNG file of the photo's size, white where a face is covered and black elsewhere.
    """
    if not photo:
        raise ImageError("A photo is needed.")

    def do(tell):
        mask, _ = found_mask(tell, read_photo(photo), automatic_kinds(AUTO) if kinds is None else kinds)
        return str(write_mask(mask, Path(photo).stem))

    return await parts.MODELS.run(do)


def api() -> None:
    """See `panel.Tab`."""
    inputs = [
        parts.picture_in("photo", "photo.jpg"),
        parts.picture_in("mask", "mask.png"),
        gr.Radio(["all", "largest"], value="all", label="faces", render=False),
    ]
    outputs = [gr.File(label="completed_photo", render=False), gr.Textbox(label="numbers", render=False)]
    parts.call(complete_files, "complete", inputs, outputs)
    mask = gr.File(label="mask", render=False)
    inputs = [parts.picture_in("photo", "photo.jpg"), kinds_in(label="kinds", render=False)]
    parts.call(mask_file, "find_mask", inputs, [mask])
