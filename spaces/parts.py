"""What every tab of the page is built from: the model in the background, errors, pictures in and out."""

import contextlib
import functools
import importlib
import importlib.util
import inspect
import logging
import os
import re
import tempfile
import threading
import warnings
from pathlib import Path

import cv2
import gradio as gr
import numpy as np
from gradio import component_meta
from gradio.utils import get_upload_folder
from PIL import Image

import facesym
from facesym.errors import FaceNotFoundError, FacesymError, ImageError, ZooError
from facesym.faces.load import MAX_PIXELS, load_image, load_mask, save_image

log = logging.getLogger("facesym.page")
EXAMPLES = Path(__file__).parent / "examples"
PORTRAITS = ["astronaut.jpg", "grace-hopper.jpg"]  # of them, those with nothing before the face
QUEUE = "models"  # the concurrency group of every listener that runs a model: they share the machine's cores
FRAME = 384  # side of a face in a film
SHOWN = 1280  # long side of a result as it is shown; the download has every pixel
PAINTED = (
    1024  # long side of the copy that is painted on: the editor sends itself to the server at each stroke
)
CACHE = os.path.abspath(get_upload_folder())  # gradio serves, and after a while deletes, the files in here


def _zero_gpu():
    """On Hugging Face's ZeroGPU the mark for functions that use the GPU; elsewhere None."""
    if importlib.util.find_spec("spaces"):  # may also be the folder of this file, which has no GPU
        return getattr(importlib.import_module("spaces"), "GPU", None)
    return None


def gpu(function):
    """On Hugging Face's ZeroGPU a function that uses the GPU has to say so; elsewhere it stays as it is."""
    mark = _zero_gpu()
    return mark(function) if mark else function


class Pipeline:
    """A task's pipeline, loaded in the background from the start so that the page opens at once.

    Args:
        task: as in zoo.json. The environment variable FACESYM_<TASK>_MODEL names another model: a zoo id, a local
            folder or a Hub repository.
        zero: whether its functions are marked by `gpu`. Others run on ZeroGPU's CPU: what they hand to and fro while
            they work cannot cross to the process that has the GPU.
    """

    def __init__(self, task: str, zero: bool = True):
        self.task, self._zero = task, zero
        self._override = os.environ.get(f"FACESYM_{task.upper()}_MODEL")
        self._lock = threading.Lock()
        self._pipeline = None

    @property
    def missing(self) -> bool:
        """The zoo has no model for this task (yet)."""
        has_one = any(entry["task"] == self.task and entry["default"] for entry in facesym.zoo.list_models())
        return not (self._override or has_one)

    def start(self) -> None:
        """Begin to load. A failure is told to whoever asks for the pipeline."""
        threading.Thread(target=self._try, daemon=True).start()

    def get(self):
        """The pipeline; waits until it is loaded, and tries again if that failed before.

        Raises:
            ZooError: the model is missing or cannot be loaded.
        """
        with self._lock:
            if self._pipeline is None:
                if self.missing:
                    raise ZooError(
                        f"The model for this tab ({self.task}) is not released yet: come back later."
                    )
                import torch  # slow: not before the page is up

                usable = torch.cuda.is_available() and (self._zero or not _zero_gpu())
                device = "cuda" if usable else "cpu"
                self._pipeline = facesym.load(self._override or self.task, device=device)
            return self._pipeline

    def _try(self):
        try:
            self.get()
        except Exception as error:
            log.warning("The model for %s did not load: %s", self.task, error)


def run(pipeline: Pipeline, *args, **options):
    """A pipeline's call, for a visitor's photo. Returns the result and warnings to show.

    Raises:
        FaceNotFoundError: worded for the page.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = pipeline.get()(*args, **options)
        except FaceNotFoundError as error:
            raise FaceNotFoundError(
                "No face was found in this photo. Try one in which the face is upright, larger or less hidden."
            ) from error
    return result, [str(warning.message) for warning in caught if warning.category is UserWarning]


def read_upload(path: str | None) -> Image.Image:
    """The photo that a visitor has added.

    Raises:
        ImageError: none yet, or not any more: uploads are deleted after a while.
    """
    if not path or not Path(path).exists():
        raise ImageError("Add a photo first: drop it into the box, or click one of the examples.")
    return load_image(path)


@contextlib.contextmanager
def _telling(name):
    try:
        yield
    except gr.Error:
        raise
    except FacesymError as error:
        # The server's folders are nobody's business: of an upload's path, keep the name.
        message = re.sub(re.escape(CACHE) + r"[\\/][^\\/]+[\\/]", "", str(error))
        raise gr.Error(message, print_exception=False) from error
    except Exception as error:
        log.exception("%s failed", name)
        raise gr.Error(
            "Something went wrong on the server, and it has been logged. Try again, or try another photo.",
            print_exception=False,
        ) from error


def tell_errors(function):
    """Show what facesym raises on purpose as it is worded; anything else is logged, and only its existence told. For
    functions and generator functions (which gradio must see as such)."""
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            with _telling(function.__name__):
                yield from function(*args, **kwargs)

    else:

        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            with _telling(function.__name__):
                return function(*args, **kwargs)

    return wrapper


# For each subclass of a component gradio writes a .pyi file beside its source: not into this folder.
component_meta.create_or_modify_pyi = lambda *args: None


class PhotoEditor(gr.ImageEditor):
    """ImageEditor that hands over the paths of its painted layers, and nothing of the picture below: gradio's own
    decodes all of them first, whatever their size."""

    is_template = True
    accept_blobs = None  # an upload without a size limit, needed for live `change` events only

    def preprocess(self, payload):
        return [layer.path for layer in payload.layers if layer] if payload else []


class PictureFile(gr.Image):
    """Image that hands over the path of the file as it was uploaded, not decoded."""

    is_template = True

    def preprocess(self, payload):
        return payload.path if payload else None


def notice(pipeline: Pipeline) -> None:
    """Say so if the tab's model is not there."""
    if pipeline.missing:
        gr.Markdown(
            "⚠️ **The model for this tab is not released yet.** You can look around; the button will work once it is.",
            elem_classes="notice",
        )


def drop_zone(elem_id: str, height: int = 440) -> PictureFile:
    """A box that takes a photo."""
    return PictureFile(
        label="Photo",
        show_label=False,
        sources=["upload", "clipboard"],
        height=height,
        placeholder="# Drop a photo here\nor click to choose one",
        elem_id=elem_id,
    )


def example_row(samples: list[str], elem_id: str) -> gr.Dataset:
    """Pictures to click; their listener gets the number of the one that was."""
    gr.Markdown("No photo at hand? Click an example:")
    return gr.Dataset(
        components=[gr.Image(visible=False)],
        samples=[[path] for path in samples],
        show_label=False,
        type="index",
        elem_id=elem_id,
    )


def photo_input(prefix: str, height: int = 440) -> PictureFile:
    """The box for a photo with a row of portraits that fill it. ``prefix`` begins their ids."""
    photo = drop_zone(f"{prefix}photo", height)
    portraits = [str(EXAMPLES / name) for name in PORTRAITS]
    examples = example_row(portraits, f"{prefix}examples")
    examples.click(lambda index: portraits[index], examples, photo, queue=False, api_visibility="private")
    return photo


def read_strokes(layers: list[str], size: tuple[int, int]) -> np.ndarray:
    """What was painted, as one mask: HxW bool for a photo of `size` (width, height); the layers may be smaller."""
    painted = np.zeros((size[1], size[0]), bool)
    for path in layers:
        with Image.open(path) as layer:
            own = layer.size
        if own[0] * own[1] > MAX_PIXELS:
            raise ImageError(
                f"The painted layer is too large ({own[0]}x{own[1]} pixels): use a smaller photo."
            )
        strokes = load_mask(path, own)
        if own != size:
            strokes = np.asarray(Image.fromarray(strokes).resize(size, Image.Resampling.NEAREST))
        painted |= strokes
    return painted


def grow_strokes(painted: np.ndarray) -> np.ndarray:
    """Strokes (HxW bool) made wider by 4 pixels of the copy that is painted on: people stop just short of the edge of
    what they paint over."""
    radius = max(2, round(4 * max(painted.shape) / PAINTED))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    return cv2.dilate(painted.astype(np.uint8), kernel).astype(bool)


def shrink(image: Image.Image, side: int) -> Image.Image:
    """The picture with a long side of at most `side`."""
    image = image.copy()
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def as_frame(face: Image.Image) -> Image.Image:
    """A square crop at the size in which films and sliders show it."""
    return face.resize((FRAME, FRAME), Image.Resampling.LANCZOS)


def comparison(prefix: str) -> tuple[gr.ImageSlider, gr.Markdown, gr.DownloadButton]:
    """What every tab shows of a result: a before/after slider, a line of numbers, the download. ``prefix`` begins
    their ids."""
    slider = gr.ImageSlider(
        label="Before / after: drag the line",
        type="filepath",
        interactive=False,
        buttons=["fullscreen"],
        height=440,
        elem_id=f"{prefix}result",
    )
    numbers = gr.Markdown(elem_id=f"{prefix}numbers")
    download = gr.DownloadButton(
        "Download (PNG, marked as edited)", interactive=False, size="lg", elem_id=f"{prefix}download"
    )
    return slider, numbers, download


def private_folder() -> Path:
    """A new folder with an unguessable name in gradio's cache: what two people make never meets."""
    Path(CACHE).mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=CACHE))


def publish(image: Image.Image, folder: Path, name: str, task: str) -> str:
    """Write a result, tagged as edited, for gradio to serve; returns its path."""
    save_image(image, folder / name, task)
    return str(folder / name)
