"""What the pipelines share: the way from a photo over its aligned faces to a result."""

import time
import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from ..faces.align import align_face, scale_of
from ..faces.detect import Face
from ..faces.find import find_faces
from ..faces.geometry import face_region, face_shown
from ..faces.landmarks import find_points
from ..faces.load import load_image, save_image
from ..faces.paste import paste_face


@dataclass(kw_only=True)
class Result:
    """What a pipeline returns. Its fields of a face are lists, one entry a face, also for one face.

    Attributes:
        images: PIL images: the photo with every result pasted back; or, with ``paste=False``, the aligned crops.
        faces: the faces worked on (box, 5 points, detector score), from left to right; empty with ``aligned=True``.
        identity: similarity of output and input (aligned crops) by the zoo's identity network, one cosine a face
            (1 = the same); None if the zoo has no such network.
        notes: what the user should know, e.g. that a head is turned too far; also given by `warnings.warn`.
        seconds: duration of the call.
        task: name of the pipeline's task.
    """

    images: list[Image.Image]
    faces: list[Face]
    identity: list[float] | None
    notes: list[str]
    seconds: float
    task: str

    def save(self, path):
        """Write the images, marked as edited by AI.

        Args:
            path: .png, .jpg, .jpeg or .webp, of the first image. The others, which there are only with
                ``paste=False``, go into the folder ``<stem>-faces`` beside it, named by their face's number.

        Returns:
            The paths written.

        Raises:
            ImageError: another file type, a folder that cannot be written, or a full disk.
        """
        path = Path(path)
        folder = path.with_name(f"{path.stem}-faces")
        paths = [folder / f"{i}{path.suffix}" if i else path for i in range(len(self.images))]
        for image, each in zip(self.images, paths):
            save_image(image, each, self.task)
        return paths

    def __repr__(self):
        sizes = ", ".join(f"{image.width}x{image.height}" for image in self.images)
        parts = [f"images=[{sizes}]", f"faces={len(self.faces)}", f"identity={self.identity}"]
        parts += [f"notes={self.notes}"] * bool(self.notes)
        return f"{type(self).__name__}({', '.join(parts)}, seconds={self.seconds:.2f})"


@dataclass
class FaceJob:
    """A face on its way through a pipeline. Tasks add what they need to know of it.

    Attributes:
        transform: 2x3, photo pixel -> pixel of ``crop`` and ``output``.
        crop: RGB, the aligned crop, of the output's size.
        output: RGB, the finished crop.
        notes: for the user, about this face.
    """

    transform: np.ndarray
    crop: Image.Image
    output: Image.Image | None = None
    notes: list[str] = field(default_factory=list)


@dataclass
class PhotoJob:
    """A photo on its way through a pipeline.

    Attributes:
        image: RGB.
        found: all its faces, from left to right; none with ``aligned=True``.
        chosen: indices of the faces to work on.
        transforms: 2x3 of every face found, photo pixel -> pixel of an aligned crop of the pipeline's size.
        faces: a FaceJob of each chosen one.
        notes: for the user, about the photo.
    """

    image: Image.Image
    found: list[Face]
    chosen: list[int]
    transforms: list[np.ndarray]
    faces: list[FaceJob] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Pipeline:
    """From a photo to a result: find, align, run, paste. A task fills in the steps in which it differs.

    Args:
        net: the task's network, in eval mode.

    Attributes:
        task: the task's name.
        result: its class of results.
        size: side of the aligned crops that faces are cut to.
    """

    task: str
    result: type[Result]

    def __init__(self, net):
        self.net = net

    def __repr__(self):
        net, weight = self.net, next(self.net.parameters())
        return (
            f"{type(self).__name__}({type(net).__name__}, {net.num_parameters() / 1e6:.1f} M parameters, "
            f"faces of {self.size}x{self.size} pixels, {str(weight.dtype).removeprefix('torch.')} on {weight.device})"
        )

    @property
    def size(self):
        return self.net.config.input_size

    def _process(self, image, **options):
        """The whole way of one photo.

        Args:
            image: see `facesym.faces.load.load_image`.
            options: of the call, which the steps get as a namespace: ``faces``, ``paste``, ``aligned`` and the task's
                own.
        """
        start = time.perf_counter()
        options = SimpleNamespace(**options)
        job = self._find(load_image(image), options)
        job.faces = [self._align(job, i, options) for i in job.chosen]
        self._run(job.faces, options)
        output = job.image
        if options.paste:
            for face in job.faces:
                output = self._paste(output, face)
        notes = job.notes + [note for face in job.faces for note in face.notes]
        for note in notes:
            warnings.warn(note, stacklevel=3)
        return self.result(
            images=[output] if options.paste else [face.output for face in job.faces],
            faces=[job.found[i] for i in job.chosen] if job.found else [],
            identity=self._identity(job.faces),
            notes=notes,
            task=self.task,
            **self._fields(job.faces),
            seconds=time.perf_counter() - start,
        )

    def _find(self, photo, options):
        """The faces of a photo (RGB image): a `PhotoJob`.

        Raises:
            FaceNotFoundError, ImageError: see `find_faces`.
        """
        return PhotoJob(photo, *find_faces(photo, options.faces, self.size, aligned=options.aligned))

    def _align(self, job, index, options):
        """A chosen face, cut out: a `FaceJob`, with notes if it is one that the task does poorly."""
        raise NotImplementedError

    def _cut(self, job, index):
        """A chosen face's crop at the net's size, and for a net that copies from the photo, with as many pixels as the
        photo has there: two RGB images and the 2x3 transform of the second."""
        transform, size = job.transforms[index], self.size
        small = align_face(job.image, transform, size)
        if not self.net.config.copy:
            return small, small, transform
        transform, size = finer_transform(transform, size)
        return small, align_face(job.image, transform, size), transform

    def _run(self, faces, options):
        """The network: fills in each face's ``output`` and what else the result tells."""
        raise NotImplementedError

    def _paste(self, photo, face):
        """The photo (RGB image) with a face's output laid over it, by the output's own region; colours are matched
        where the photo shows the face too."""
        output, size = face.output, face.output.width
        region = face_region(find_points(output), size)
        shown = face_shown(find_points(face.crop), size) * region
        return paste_face(photo, output, face.transform, region, shown)

    def _identity(self, faces):
        """The result's ``identity``."""
        return identity_similarity([face.crop for face in faces], [face.output for face in faces])

    def _fields(self, faces):
        """The task's own fields of the result: a dict."""
        raise NotImplementedError


def finer_transform(transform, size, most=4):
    """The same crop with as many pixels as the photo has there: a whole multiple of ``size``, at most ``most``.

    Args:
        transform: 2x3, photo pixel -> pixel of a crop of side ``size``.

    Returns:
        The transform to the larger crop, and its side.
    """
    times = max(1, min(int(1 / scale_of(transform)), most))
    larger = np.array(transform) * times
    # Pixel centres: crop pixel c is pixel times·(c + ½) − ½ of the larger crop.
    larger[:, 2] += (times - 1) / 2
    return larger, times * size


def to_tensor(crop, net):
    """RGB crop to a 1x3xSxS tensor in [-1, 1] of the network's type, on its device."""
    pixels = torch.from_numpy(np.array(crop, np.float32)).permute(2, 0, 1)[None]
    return (pixels / 127.5 - 1).to(net.device, net.dtype)


def to_image(tensor):
    """A 3xHxW tensor in [-1, 1] to an RGB image."""
    pixels = ((tensor.float().clamp(-1, 1) + 1) * 127.5).round().byte()
    return Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).cpu().numpy()))


@lru_cache(maxsize=1)
def _identity_net():
    from .. import zoo

    if not any(entry["task"] == "identity" and entry["default"] for entry in zoo.list_models()):
        return None
    return zoo.load("identity")


@torch.inference_mode()
def identity_similarity(before, after):
    """How alike two lists of aligned crops (RGB images) are, pair by pair: cosines; None without a network."""
    net = _identity_net()
    if net is None:
        return None
    # One by one: crops of one photo may differ in size.
    vectors = [torch.cat([net(to_tensor(crop, net)) for crop in crops]) for crops in (before, after)]
    return [round(float(cosine), 4) for cosine in (vectors[0] * vectors[1]).sum(1)]
