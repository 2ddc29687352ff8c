"""Base class of the pipelines: from a photo through its aligned faces to a result."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce, wraps
from numbers import Integral
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL import Image

from ..device import check_device, check_dtype
from ..errors import DeviceError, FacesymError, ImageError
from ..faces.align import align_face, finer_transform
from ..faces.detect import Face, check_which
from ..faces.find import search_faces
from ..faces.landmarks import find_points
from ..faces.load import Photo, mark_edited, read_photo
from ..faces.paste import paste_edit
from ..identity import identity_similarity
from ..logging import warn
from ..onnx import OnnxNet, use_backend
from ..threads import use_one_thread_after_fork
from .notes import others_note, small_note
from .result import Later, Result

if TYPE_CHECKING:
    import torch

use_one_thread_after_fork()


@dataclass
class PhotoJob:
    """A photo being processed by a pipeline.

    Attributes:
        photo: the input photo.
        found: all its faces, from left to right; none with ``aligned=True``.
        chosen: indices of the faces to process.
        transforms: 2x3 per face found, photo pixel -> pixel of an aligned crop of the pipeline's size.
        others: number of other faces that the user may want to process too.
        faces: a FaceJob per chosen face.
        notes: notes on the photo for the user.
        seconds: time spent so far.
    """

    photo: Photo
    found: list[Face]
    chosen: list[int]
    transforms: list[np.ndarray]
    others: int = 0
    faces: list[FaceJob] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class FaceJob:
    """A face being processed by a pipeline. Tasks add their own fields.

    Attributes:
        photo: the photo that contains it.
        transform: 2x3, photo pixel -> pixel of ``crop`` and ``output``.
        crop: RGB, the aligned crop, at the size of the output.
        yaw: yaw of the head in degrees; negative when the nose points to the left of the image.
        points: 68x2, the landmarks of ``crop`` in pixels; None if the task does not need them.
        output: RGB, the edited crop.
        notes: notes on this face for the user.
        span: part of the call's work that this face is, as fractions from 0 to 1: its start and its end.
    """

    photo: Photo | None
    transform: np.ndarray | None
    crop: Image.Image
    yaw: float
    points: np.ndarray | None = None
    output: Image.Image | None = None
    notes: list[str] = field(default_factory=list)
    span: tuple[float, float] = (0.0, 1.0)


class Pipeline:
    """Base class of the pipelines: find, align, run, paste. Each task overrides the steps that differ.

    Args:
        net: the task's network, in eval mode; or an OnnxNet.

    Attributes:
        task: the task's name.
        result: class of the task's results.
        size: side of the aligned crops.
        trained_yaw: maximum yaw of the training data in degrees.
        farthest_yaw: maximum supported yaw in degrees.
        layout: memory layout of the weights. On CPUs, channels_last makes most networks 10 to 20 % faster, but not
            those with InstanceNorm (train/benchmark.py).
    """

    task: str
    result: type[Result]
    trained_yaw: float
    farthest_yaw = 70.0
    layout = "channels_last"

    def __init__(self, net: Any):
        self.net = net
        if self.backend == "torch":
            import torch

            net.to(memory_format=getattr(torch, self.layout))

    def __repr__(self):
        net = self.net
        return (
            f"{type(self).__name__}({type(net).__name__}, {net.num_parameters() / 1e6:.1f} M parameters, "
            f"faces of {self.size}x{self.size} pixels, {str(net.dtype).removeprefix('torch.')} on {net.device})"
        )

    @property
    def size(self) -> int:
        return self.net.config.input_size

    @property
    def backend(self) -> str:
        """The backend that runs the networks, one of `facesym.onnx.BACKENDS`."""
        return self.net.backend if isinstance(self.net, OnnxNet) else "torch"

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> Self:
        """Move the networks.

        Args:
            device: "cpu", "cuda", "mps", … or torch.device; default: unchanged.
            dtype: floating point type of the weights; default: unchanged.

        Returns:
            The pipeline itself.

        Raises:
            DeviceError: the device is unavailable, the type is not one of floating point, or the networks are exported.
        """
        if self.backend != "torch":
            raise DeviceError(
                'Exported networks run on the CPU and keep their type: load the pipeline with backend="torch".'
            )
        import torch

        if isinstance(device, torch.dtype):
            device, dtype = None, device
        device = self.net.device if device is None else device
        check_device(device)
        check_dtype(dtype)
        self.net.to(device, dtype or self.net.dtype)
        return self

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Run on a photo or a list of photos; each task's pipeline documents its arguments."""
        raise NotImplementedError

    def _process(self, image, *more, batch_size, on_error, **options):
        """Process a photo or a list of photos.

        Args:
            image: the photo, or a list of photos.
            more: other inputs (a mask), or lists of them.
            batch_size: see the task's `__call__`.
            on_error: see the task's `__call__`.
            options: options of the call: ``faces``, ``paste``, ``aligned`` and those of the task. The steps receive
                them as a namespace.

        Returns:
            The result of the photo, or a list of results, None for skipped photos.
        """
        check_which(options["faces"])
        if not isinstance(batch_size, Integral) or batch_size < 1:
            raise ImageError(f"batch_size must be a whole number of at least 1, not {batch_size!r}.")
        if on_error not in ("raise", "skip"):
            raise ImageError(f'on_error must be "raise" or "skip", not {on_error!r}.')
        several = isinstance(image, list | tuple)
        inputs = [(image, *more)]
        if several:
            if any(not isinstance(each, list | tuple) or len(each) != len(image) for each in more):
                raise ImageError(f"A list of {len(image)} photos needs a list of as many masks.")
            inputs = list(zip(image, *more))
        batch_size = int(batch_size)
        options, results = SimpleNamespace(**options, batch_size=batch_size), []
        for start in range(0, len(inputs), batch_size):
            group = inputs[start : start + batch_size]
            names = [_name(start + i, group[i][0]) if several else None for i in range(len(group))]
            with use_backend(self.backend):
                span = (start / len(inputs), (start + len(group)) / len(inputs))
                outcomes = self._batch(group, names, on_error == "skip", options, span)
            for name, result in zip(names, outcomes):
                for note in result.notes:
                    warn(f"{name}: {note}" if name else note, stacklevel=3)
                results.append(None if isinstance(result, _Skipped) else result)
        return results if several else results[0]

    def _batch(self, inputs, names, skip, options, span):
        """Process photos whose faces share batches; return their results, or `_Skipped`. ``span``: see `FaceJob`."""
        jobs = [_attempt(self._prepare, name, skip, given, options) for name, given in zip(names, inputs)]
        faces = [(i, face) for i, job in enumerate(jobs) if isinstance(job, PhotoJob) for face in job.faces]
        ends = np.linspace(span[0], span[1], len(faces) + 1).tolist()
        for (_, face), begun, ended in zip(faces, ends, ends[1:]):
            face.span = begun, ended
        start = time.perf_counter()
        for first in range(0, len(faces), options.batch_size):
            self._run_batch(faces[first : first + options.batch_size], jobs, names, skip, options)
        each = (time.perf_counter() - start) / max(len(faces), 1)
        for i, job in enumerate(jobs):
            if isinstance(job, PhotoJob):
                job.seconds += each * len(job.faces)
                jobs[i] = _attempt(self._finish, names[i], skip, job, options)
        return jobs

    def _run_batch(self, batch, jobs, names, skip, options):
        """Run the network on a batch of (index of the photo, face). If it fails and ``skip`` is set, run it on one face
        at a time and replace the photos (in ``jobs``) whose faces fail by `_Skipped`."""
        notes = [list(face.notes) for _, face in batch]
        if len(batch) > 1:
            outcome = _attempt(self._run, None, skip, [face for _, face in batch], options)
            if not isinstance(outcome, _Skipped):
                return
        for (i, face), own in zip(batch, notes):
            face.notes = own
            if isinstance(jobs[i], PhotoJob):
                outcome = _attempt(self._run, names[i], skip, [face], options)
                jobs[i] = outcome if isinstance(outcome, _Skipped) else jobs[i]

    def _prepare(self, inputs, options):
        """Find and align the faces, add warnings and return a `PhotoJob`.

        Raises:
            ImageError: all faces are turned too far.
        """
        start = time.perf_counter()
        job = self._find(*inputs, options)  # type: ignore
        chosen, job.chosen = job.chosen, []
        for i in chosen:
            face = self._align(job, i, options)
            if abs(face.yaw) <= self.farthest_yaw:
                self._warn(face, options)
                face.notes += small_note(face)
                job.chosen.append(i)
                job.faces.append(face)
        if job.others and options.faces == "largest":
            job.notes.append(others_note(job.others))
        turned = len(chosen) - len(job.faces)
        if turned and not job.faces:
            raise ImageError(
                f"The head is turned by about {abs(face.yaw):.0f} degrees, but {self.task} supports at most "
                f"{self.farthest_yaw:.0f}: choose a photo that shows both eyes."
            )
        if turned:
            job.notes.append(
                f"{turned} face{'s are' if turned > 1 else ' is'} seen from the side and not changed."
            )
        job.seconds = time.perf_counter() - start
        return job

    def _finish(self, job, options):
        """Paste the outputs of the faces and return the result of the photo."""
        start = time.perf_counter()
        images = self._images(job, job.faces, options)
        return self.result(
            images=images,
            faces=[job.found[i] for i in job.chosen] if job.found else [],
            identity=self._identity(job.faces),
            notes=job.photo.notes + job.notes + [note for face in job.faces for note in face.notes],
            task=self.task,
            **self._fields(job.faces),
            seconds=job.seconds + time.perf_counter() - start,
        )

    def _images(self, job, faces, options):
        """Return the images of the result: the photo with the outputs pasted in, or the outputs."""
        if not options.paste:
            return [self._edited(face, face.output) for face in faces]
        pasted = self._paste_all(job, faces)
        return [mark_edited(job.photo.restore(pasted, self._uncovered(job)), self.task)]

    def _paste_all(self, job, faces):
        """Return the photo with the outputs of its faces pasted in."""
        return reduce(self._paste, faces, job.photo.image)

    def _edited(self, face, crop):
        """Convert an RGB image of a face to the photo's own colours and tag it as edited."""
        return mark_edited(face.photo.restore_crop(crop, self._uncovered(face)), self.task)

    def _uncovered(self, job):
        """Return the image of a PhotoJob or FaceJob without what the task removes; its colours are those to keep."""
        return job.photo.image if isinstance(job, PhotoJob) else job.crop

    def _find(self, image, options):
        """Read a photo, find its faces and return a `PhotoJob`.

        Raises:
            FaceNotFoundError, ImageError: see `read_photo` and `search_faces`.
        """
        photo = read_photo(image)
        return PhotoJob(photo, *search_faces(photo.image, options.faces, self.size, aligned=options.aligned))

    def _align(self, job, index, options):
        """Align a chosen face and return a `FaceJob`."""
        raise NotImplementedError

    def _warn(self, face, options):
        """Add notes on the limits of the task for this face."""
        if abs(face.yaw) > self.trained_yaw:
            face.notes.append(
                f"The head is turned by about {abs(face.yaw):.0f} degrees, but the model was trained only up to "
                f"{self.trained_yaw:.0f}: the averted side of the face is a guess."
            )

    def _cut(self, job, index):
        """Crop a chosen face at the network's size and, if the network copies from the photo, at the photo's
        resolution; return two RGB images and the 2x3 transform of the second (the same image twice otherwise)."""
        transform, size = job.transforms[index], self.size
        small = align_face(job.photo.image, transform, size)
        if not self.net.config.copy:
            return small, small, transform
        transform, size = finer_transform(transform, size)
        return small, align_face(job.photo.image, transform, size), transform

    def _run(self, faces, options):
        """Run the network and set each face's ``output`` and task-specific fields."""
        raise NotImplementedError

    def _paste(self, photo, face):
        """Paste a face's output into the photo (RGB) within the region of the output; colours are matched where the
        photo shows the face too."""
        points = find_points(face.crop) if face.points is None else face.points
        return paste_edit(photo, face.output, face.transform, points)

    def _identity(self, faces) -> Any:
        """Return the ``identity`` of the result."""
        crops, outputs = [face.crop for face in faces], [self._shown(face) for face in faces]
        return Later(lambda: identity_similarity(crops, outputs))

    def _shown(self, face):
        """Return a face as it appears in the result: RGB crop."""
        return face.output

    def _fields(self, faces):
        """Return the task-specific fields of the result as a dict."""
        raise NotImplementedError


def _name(number, image):
    """Name a photo of a list for messages."""
    return f"Photo {number} ({image})" if isinstance(image, str | os.PathLike) else f"Photo {number}"


class CallbackError(Exception):
    """An exception, its argument, of the user's progress callback: it ends the call, also with ``on_error="skip"``."""


@dataclass
class _Skipped:
    """Placeholder for the result of a skipped photo. ``notes``: the reason."""

    notes: list[str]


def _attempt(step, name, skip, *inputs):
    """Run a step on a photo; if it fails and ``skip`` is set, return a `_Skipped`.

    Raises:
        FacesymError: the error of the step, with the name of the photo.
        Exception: an exception of the user's progress callback.
    """
    try:
        return step(*inputs)
    except CallbackError as error:
        raise error.args[0] from None
    except Exception as error:
        if skip:
            return _Skipped([f"skipped. {error if isinstance(error, FacesymError) else repr(error)}"])
        if name and isinstance(error, FacesymError):
            raise type(error)(f"{name}: {error}") from error
        raise


def inference(step: Callable) -> Callable:
    """Decorate a step of a pipeline to run without gradients if the backend is torch."""

    @wraps(step)
    def run(self, *args, **options):
        if self.backend != "torch":
            return step(self, *args, **options)
        import torch

        with torch.inference_mode():
            return step(self, *args, **options)

    return run
