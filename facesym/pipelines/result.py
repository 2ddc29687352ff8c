"""Base class of the results of all pipelines."""

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
    """Placeholder for a field of a result that is computed on first access.

    Args:
        compute: returns the field's value. Objects it references live as long as the result, or until first access.
    """

    def __init__(self, compute: Callable[[], Any]):
        self._compute, self._context = compute, copy_context()

    def compute(self) -> Any:
        """Compute the field's value with the backend of the pipeline."""
        return self._context.copy().run(self._compute)


@dataclass(kw_only=True)
class Result:
    """Result of a pipeline. Per-face fields are always lists with one entry per face.

    Expensive fields other than the images (``identity``, measures) are computed on first access and cached.

    Attributes:
        images: PIL images: the photo with every result pasted back; or, with ``paste=False``, the aligned crops.
        faces: the processed faces (box, 5 points, detector score), from left to right; empty with ``aligned=True``.
        identity: cosine similarity of output and input (aligned crops) by the zoo's identity network, one per face
            (1 = identical); None if the zoo has no such network.
        notes: warnings for the user, e.g. that a head is turned too far; also issued by `warnings.warn`.
        seconds: processing time of this photo, without fields computed on access.
        task: name of the pipeline's task.
    """

    images: list[Image.Image]
    faces: list[Face]
    identity: list[float] | None
    notes: list[str]
    seconds: float
    task: str

    def __post_init__(self):
        # Removed from the instance's attributes, so that access reaches `__getattr__`.
        self._later = {each.name: vars(self)[each.name] for each in fields(self)}
        self._later = {name: value for name, value in self._later.items() if isinstance(value, Later)}
        for name in self._later:
            delattr(self, name)

    if not TYPE_CHECKING:  # it would make every name an attribute

        def __getattr__(self, name):
            own = vars(self)
            later = own.get("_later", {}).get(name)
            if later is not None:
                own[name] = later.compute()
                own["_later"] = {key: value for key, value in own["_later"].items() if key != name}
            if name not in own:  # another thread may have set it meanwhile
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return own[name]

    def __getstate__(self):
        """Compute and return all fields, for pickle and copy."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def save(self, path: str | os.PathLike) -> list[Path]:
        """Write the images, tagged as edited by AI.

        Args:
            path: path of the first image: .png, .jpg, .jpeg or .webp. With ``paste=False``, the images of other faces
                go into the folder ``<stem>-faces`` next to it, named by the index of the face.

        Returns:
            The written paths.

        Raises:
            ImageError: the file type is not supported, the folder is not writable, or the disk is full.
        """
        path = Path(path)
        folder = path.with_name(f"{path.stem}-faces")
        paths = [folder / f"{i}{path.suffix}" if i else path for i in range(len(self.images))]
        for image, each in zip(self.images, paths):
            save_image(image, each, self.task)
        return paths

    def __repr__(self):
        sizes = ", ".join(f"{image.width}x{image.height}" for image in self.images)
        parts = [f"images=[{sizes}]", f"faces={len(self.faces)}"]
        if "identity" in vars(self):  # printing does not run a network
            parts.append(f"identity={self.identity}")
        parts += [f"notes={self.notes}"] * bool(self.notes)
        return f"{type(self).__name__}({', '.join(parts)}, seconds={self.seconds:.2f})"
