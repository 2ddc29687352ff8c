"""Building blocks of every tab: models loaded in the background, error messages, image input and output."""

import atexit
import base64
import functools
import importlib
import importlib.util
import logging
import os
import re
import shutil
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote

import gradio as gr
from gradio import component_meta
from gradio.utils import get_upload_folder
from PIL import Image
from waiting import Queue

import facesym
from facesym.errors import (
    FaceNotFoundError,
    FacesymError,
    ImageError,
    OrientationError,
    ZooError,
    command_message,
)
from facesym.faces.load import save_image

log = logging.getLogger("facesym.page")
HERE = Path(__file__).parent
EXAMPLES = HERE / "examples"
SHOWN = 1280  # long side of a displayed result; the download has full resolution
PAINTED = 1024  # long side of the canvas for the mask
FRAME = 384  # side of a face in a video
# A folder for this page alone, since what is old in it is deleted. Gradio serves its files.
_OWN = f"facesym-page-{getattr(os, 'getuid', str)()}"
_BASE = os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir()
os.environ["GRADIO_TEMP_DIR"] = _BASE if os.path.basename(_BASE) == _OWN else os.path.join(_BASE, _OWN)
CACHE = os.path.abspath(get_upload_folder())
DELETED = "This image has been deleted: images are kept for about an hour. Make it again."
KEPT = 3600  # seconds until images are deleted
SWEPT = 600  # seconds between two looks for images to delete

MODELS = Queue("the models")
FITS = Queue("a fit", workers=int(os.environ.get("FACESYM_FITS", 1)), most=20, patient=True)
STUDIES = Queue("a study", most=20, patient=True)
QUICK = Queue("the photos")  # reading a photo, finding its faces
NO_FACE = (
    "No face was found. Try a photo in which the face is larger or less covered, or paint over what covers it in the "
    "Complete tab."
)
TASKS = ("complete", "symmetrize", "rotate", "normalize", "transfer")


def _zero_gpu():
    """Return the decorator that Hugging Face's ZeroGPU wants on functions that use the GPU; None elsewhere."""
    if importlib.util.find_spec("spaces"):  # may also be the folder of this file, which has no `GPU`
        return getattr(importlib.import_module("spaces"), "GPU", None)
    return None


def gpu(function):
    """Decorate a function that uses the GPU for Hugging Face's ZeroGPU; elsewhere return it unchanged."""
    mark = _zero_gpu()
    return mark(function) if mark else function


class Pipeline:
    """A task's pipeline, loaded in the background so that the page opens at once.

    Args:
        task: as in zoo.json. The environment variable FACESYM_<TASK>_MODEL names another model: a zoo id, a local
            folder or a Hub repository.
        zero: whether its functions are decorated with `gpu`. Functions that report progress cannot run in ZeroGPU's
            GPU process; they run on its CPU.
    """

    def __init__(self, task: str, zero: bool = True):
        self.task, self._zero = task, zero
        self._override = os.environ.get(f"FACESYM_{task.upper()}_MODEL")
        self._lock = threading.Lock()
        self._pipeline = None

    @property
    def missing(self) -> bool:
        """Whether the zoo has no model for this task yet."""
        has_one = any(entry["task"] == self.task and entry["default"] for entry in facesym.zoo.list_models())
        return not (self._override or has_one)

    def start(self) -> None:
        """Start to load the pipeline. `get` raises if that fails."""
        threading.Thread(target=self._try, daemon=True).start()

    def get(self):
        """Return the pipeline once it is loaded; try again if loading failed before.

        Raises:
            ZooError: the model is missing or cannot be loaded.
        """
        with self._lock:
            if self._pipeline is None:
                if self.missing:
                    raise ZooError(
                        f"The model for this tab ({self.task}) has not been released yet: come back later."
                    )
                import torch  # slow to import: wait until the page is up

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
    """Return an error message for visitors: facesym's own message, or a general one for an unexpected error, which is
    logged."""
    if isinstance(error, OrientationError):
        return command_message(error)
    if isinstance(error, FaceNotFoundError):
        return NO_FACE
    if isinstance(error, FacesymError):
        return without_folders(str(error))
    log.error("Unexpected: %s", _without_files("".join(traceback.format_exception(error))))
    return "Something went wrong on the server; the error has been logged. Try again, or try another photo."


def without_folders(text: str) -> str:
    """Reduce the paths of uploads in a text to their file names, to keep the server's folders private."""
    return re.sub(re.escape(CACHE) + r"[\\/][^\\/]+[\\/]", "", text)


def _without_files(text):
    """Reduce the paths of visitors' files in a text to "…": their names may be people's."""
    return re.sub(re.escape(CACHE) + r"[^'\"\n]*", "…", text)


def tell_errors(function):
    """Decorate an asynchronous function to report its errors to API callers, as worded by `wording`."""

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
    """Read a text file in static/."""
    return (HERE / "static" / name).read_text(encoding="utf-8")


def url(path) -> str:
    """Return the URL, relative to the page, of a file in the cache or in this folder."""
    return f"gradio_api/file={quote(str(path))}"


def file_of(address: str) -> str:
    """Return the path of a file that the browser names by the `url` that it got for it.

    Raises:
        ImageError: it is not, or no longer, a file in the cache or the examples.
    """
    path = os.path.abspath(unquote(address.removeprefix(url(""))))
    if not path.startswith((CACHE + os.sep, str(EXAMPLES) + os.sep)) or not os.path.isfile(path):
        raise ImageError(DELETED)
    return path


def private_folder() -> Path:
    """Create a folder with an unguessable name in Gradio's cache, so that no two visitors share one.

    It is deleted after an hour without changes, or when the process ends: Gradio deletes only uploads and files of its
    own components.
    """
    Path(CACHE).mkdir(parents=True, exist_ok=True)
    start_sweeping()
    return Path(tempfile.mkdtemp(prefix=f"facesym-{os.getpid()}-", dir=CACHE))


def sweep(pattern: str = "*", age: float = KEPT) -> None:
    """Delete the folders in the cache that match a pattern and have not changed for longer than ``age`` seconds.

    The others are uploads, one a folder. Gradio deletes its own, but not those of an earlier process.
    """
    for folder in Path(CACHE).glob(pattern):
        try:
            if folder.is_dir() and time.time() - folder.stat().st_mtime > age:
                shutil.rmtree(folder)
        except OSError as error:  # such as one that another process deletes, too
            log.info("%s was not deleted: %s", folder.name, error)


@functools.cache
def start_sweeping() -> None:
    """Sweep from now on, and delete the rest of this process's folders when it ends."""

    def sweeping():
        while True:
            sweep()
            time.sleep(SWEPT)

    threading.Thread(target=sweeping, name="sweep", daemon=True).start()
    atexit.register(sweep, f"facesym-{os.getpid()}-*", age=-1)


def publish(image: Image.Image, folder: Path, name: str, task: str) -> str:
    """Write a result for Gradio to serve, tagged as edited, and return its path."""
    save_image(image, folder / name, task)
    return str(folder / name)


def shrink(image: Image.Image, side: int) -> Image.Image:
    """Shrink an image to a long side of at most `side`."""
    image = image.copy()
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def as_frame(face: Image.Image) -> Image.Image:
    """Resize a crop for videos and sliders; the size is even, as video codecs require."""
    scale = FRAME / max(face.size)
    return face.resize([2 * round(length * scale / 2) for length in face.size], Image.Resampling.LANCZOS)


# Keep Gradio from writing a .pyi file next to the source of each component subclass.
component_meta.create_or_modify_pyi = lambda *args: None


class PictureFile(gr.Image):
    """Image input that returns the path of the uploaded file without decoding it.

    It keeps Gradio's constructor, because Gradio sends the arguments in the signature to the browser.

    Attributes:
        example: example file name for the API documentation.
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
    """Write the image in a data URL to a file and return its path."""
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
    """Return an image input for the API; ``example`` is its example file name in the API documentation."""
    component = PictureFile(label=name, render=False)
    component.example = example
    return component


def call(work: Callable, name: str, inputs: list, outputs: list) -> None:
    """Add an API endpoint. ``work`` is an asynchronous function; its docstring becomes the endpoint's description."""
    with gr.Group(visible=False):
        for component in [*inputs, *outputs]:
            component.render()
        trigger = gr.Button()
    work = tell_errors(work)
    work.__name__ = name  # the name of the MCP tool
    trigger.click(work, inputs, outputs, api_name=name, concurrency_limit=None)
