"""What every pipeline returns."""

import os
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..faces.detect import Face
from ..faces.load import save_image


@dataclass(kw_only=True)
class Result:
    """What a pipeline returns. Its fields of a face are lists, one entry a face, also for one face.

    Attributes:
        images: PIL images: the photo with every result pasted back; or, with ``paste=False``, the aligned crops.
        faces: the faces worked on (box, 5 points, detector score), from left to right; empty with ``aligned=True``.
        identity: similarity of output and input (aligned crops) by the zoo's identity network, one cosine a face
            (1 = the same); None if the zoo has no such network.
        notes: what the user should know, e.g. that a head is turned too far; also given by `warnings.warn`.
        seconds: duration of the work on this photo.
        task: name of the pipeline's task.
    """

    images: list[Image.Image]
    faces: list[Face]
    identity: list[float] | None
    notes: list[str]
    seconds: float
    task: str

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
