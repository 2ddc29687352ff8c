"""What every pipeline returns."""

import os
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..faces.detect import Face
from ..faces.load import save_image


class Later:
    """Stands for a field of a result until it is read.

    Args:
        compute: returns the field's value. What it holds on to lives as long as the result, or until it is read.
    """

    def __init__(self, compute: Callable[[], Any]):
        self._compute, self._context = compute, copy_context()

    def compute(self) -> Any:
        """The field's value, computed with the backend of the pipeline."""
        return self._context.copy().run(self._compute)


@dataclass(kw_only=True)
class Result:
    """What a pipeline returns. Its fields of a face are lists, one entry a face, also for one face.

    What takes time beside the images (``identity``, measures) is computed when it is first read, and kept.

    Attributes:
        images: PIL images: the photo with every result pasted back; or, with ``paste=False``, the aligned crops.
        faces: the faces worked on (box, 5 points, detector score), from left to right; empty with ``aligned=True``.
        identity: similarity of output and input (aligned crops) by the zoo's identity network, one cosine a face
            (1 = the same); None if the zoo has no such network.
        notes: what the user should know, e.g. that a head is turned too far; also given by `warnings.warn`.
        seconds: duration of the work on this photo, without what is computed when it is read.
        task: name of the pipeline's task.
    """

    images: list[Image.Image]
    faces: list[Face]
    identity: list[float] | None
    notes: list[str]
    seconds: float
    task: str

    def __post_init__(self):
        # Out of the instance's own attributes: reading such a field comes to `__getattr__`.
        self._later = {each.name: vars(self)[each.name] for each in fields(self)}
        self._later = {name: value for name, value in self._later.items() if isinstance(value, Later)}
        for name in self._later:
            delattr(self, name)

    if not TYPE_CHECKING:  # it would make every name an attribute

        def __getattr__(self, name):
            own = vars(self)
            if name in own.get("_later", ()):
                own[name] = own["_later"][name].compute()
                own["_later"] = {key: value for key, value in own["_later"].items() if key != name}
            if name not in own:  # another thread may have put it there meanwhile
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return own[name]

    def __getstate__(self):
        """All fields, computed: for pickle and copy."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def save(self, path: str | os.PathLike) -> list[Path]:
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
