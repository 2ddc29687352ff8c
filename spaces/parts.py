"""What every tab of the page is built from: the model in the background, errors, pictures in and out."""

import base64
import functools
import importlib
import importlib.util
import logging
import os
import re
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import gradio as gr
from gradio import component_meta
from gradio.utils import get_upload_folder
from line import Line
from PIL import Image

import facesym
from facesym.errors import FaceNotFoundError, FacesymError, ZooError
from facesym.faces.load import save_image

log = logging.getLogger("facesym.page")
HERE = Path(__file__).parent
EXAMPLES = HERE / "examples"
SHOWN = 1280  # long side of a result as it is shown; the download has every pixel
PAINTED = 1024  # long side of the canvas that is painted on
FRAME = 384  # side of a face in a video
CACHE = os.path.abspath(get_upload_folder())  # gradio serves, and after a while deletes, the files in here

MODELS = Line("the models")  # a second or two each
FITS = Line("a fit", workers=int(os.environ.get("FACESYM_FITS", 1)), seconds=45, most=20, patient=True)
QUICK = Line("the photos", seconds=0.5)  # reading a photo, finding its faces
TASKS = ("complete", "symmetrize", "rotate", "normalize", "transfer")


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


# --- errors ---------------------------------------------------------------------------------------------------------


def wording(error: Exception) -> str:
    """What to tell a visitor. facesym's own errors as they are worded; anything else is logged, and only its
    existence told."""
    if isinstance(error, FaceNotFoundError):
        return "No face was found in this photo. Try one in which the face is larger, sharper or less hidden."
    if isinstance(error, FacesymError):
        return without_folders(str(error))
    log.error("Unexpected", exc_info=error)
    return "Something went wrong on the server, and it has been logged. Try again, or try another photo."


def without_folders(text: str) -> str:
    """A text with the names of uploads, but not where they are: the server's folders are nobody's business."""
    return re.sub(re.escape(CACHE) + r"[\\/][^\\/]+[\\/]", "", text)


def tell_errors(function):
    """Let the API's callers read what `wording` says. For asynchronous functions."""

    @functools.wraps(function)
    async def wrapper(*args, **kwargs):
        try:
            return await function(*args, **kwargs)
        except Exception as error:
            raise gr.Error(wording(error), print_exception=False) from error

    return wrapper


# --- files ----------------------------------------------------------------------------------------------------------


@functools.cache
def static(name: str) -> str:
    """The text of a file in static/."""
    return (HERE / "static" / name).read_text(encoding="utf-8")


def url(path) -> str:
    """Where the browser finds a file of the cache or of this folder, relative to the page."""
    return f"gradio_api/file={quote(str(path))}"


def private_folder() -> Path:
    """A new folder with an unguessable name in gradio's cache: what two people make never meets."""
    Path(CACHE).mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=CACHE))


def publish(image: Image.Image, folder: Path, name: str, task: str) -> str:
    """Write a result, tagged as edited, for gradio to serve; returns its path."""
    save_image(image, folder / name, task)
    return str(folder / name)


def shrink(image: Image.Image, side: int) -> Image.Image:
    """The picture with a long side of at most `side`."""
    image = image.copy()
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def as_frame(face: Image.Image, side: int = FRAME) -> Image.Image:
    """A crop at the size in which videos and sliders show it: even, as video wants it."""
    scale = side / max(face.size)
    return face.resize([2 * round(length * scale / 2) for length in face.size], Image.Resampling.LANCZOS)


# For each subclass of a component gradio writes a .pyi file beside its source: not into this folder.
component_meta.create_or_modify_pyi = lambda *args: None


class PictureFile(gr.Image):
    """Image that hands over the path of the file as it was uploaded, not decoded. (Its constructor stays gradio's:
    the browser is told the arguments that the signature names.)

    Attributes:
        example: a file name that stands for it in the API's documentation.
    """

    is_template = True
    example = "photo.jpg"

    def preprocess(self, payload):
        if payload is None:
            return None
        if payload.url and payload.url.startswith("data:"):
            return _from_data_url(payload.url)
        return payload.path

    def example_payload(self):
        return {"path": self.example, "meta": {"_type": "gradio.FileData"}, "orig_name": self.example}

    def example_value(self):
        return self.example


def _from_data_url(text: str) -> str:
    """Write a picture that came as a data URL to a file: its path."""
    head, _, data = text.partition(",")
    try:
        if not head.endswith(";base64"):
            raise ValueError
        raw = base64.b64decode(data, validate=True)
    except ValueError as error:
        raise gr.Error(
            "The data URL is not base64: send data:image/png;base64,…", print_exception=False
        ) from error
    path = private_folder() / "picture"
    path.write_bytes(raw)
    return str(path)


def picture_in(name: str, example: str) -> PictureFile:
    """A picture that programs send; ``example`` stands for it in the API's documentation."""
    component = PictureFile(label=name, render=False)
    component.example = example
    return component


def call(work: Callable, name: str, inputs: list, outputs: list) -> None:
    """Make an endpoint for programs. ``work`` is an asynchronous function whose docstring describes it."""
    with gr.Group(visible=False):
        for component in [*inputs, *outputs]:
            component.render()
        trigger = gr.Button()
    work = tell_errors(work)
    work.__name__ = name  # the MCP tool's
    trigger.click(work, inputs, outputs, api_name=name, concurrency_limit=None)
