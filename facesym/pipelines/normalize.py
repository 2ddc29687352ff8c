"""Make a face frontal and neutral: photo in, face out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from PIL import Image

from ..errors import ImageError
from ..faces.decode import PictureSource
from ..faces.pose import find_pose
from .base import FaceJob, Pipeline, Result, inference
from .crops import flip, one_of, to_image, to_tensor

if TYPE_CHECKING:
    import torch

MOST_FRAMES = 100  # of a walk
FRONTAL = 15  # degrees of yaw up to which a frontal face fits on the head in the photo


@dataclass(kw_only=True, repr=False)
class NormalizeResult(Result):
    """What `NormalizePipeline` returns. The fields are lists, one entry a face.

    Attributes:
        walk: lists of RGB images, aligned crops at even steps from the input face to the frontal, neutral one; empty
            unless requested. With a network that does not copy from the photo: the paper's interpolation between the
            latents of the face and of its result, all of them rendered frontal.
        yaw: of the head in the photo, degrees; negative when the nose points to the image's left.
        crop: RGB images, the aligned crops that were worked on, as large as the results.
    """

    walk: list[list[Image.Image]]
    yaw: list[float]
    crop: list[Image.Image]


@dataclass(kw_only=True)
class NormalizeJob(FaceJob):
    """A face on its way. ``small``: RGB, the crop at the network's size. ``walk``: see the result."""

    small: Image.Image
    walk: list = field(default_factory=list)


class NormalizePipeline(Pipeline):
    """Runs a NormalizedFaceGAN on photos; made by ``facesym.load("normalize")``.

    Args:
        net: facesym.models.NormalizedFaceGAN, in eval mode.
    """

    task = "normalize"
    result = NormalizeResult
    trained_yaw = 45.0

    @property
    def size(self) -> int:
        return self.net.size if self.backend == "torch" else self.net.entry["input_size"]

    @overload
    def __call__(
        self,
        image: PictureSource,
        *,
        faces: str | int = ...,
        paste: bool = ...,
        aligned: bool = ...,
        walk: int = ...,
        batch_size: int = ...,
        on_error: str = ...,
    ) -> NormalizeResult: ...

    @overload
    def __call__(
        self,
        image: list | tuple,
        *,
        faces: str | int = ...,
        paste: bool = ...,
        aligned: bool = ...,
        walk: int = ...,
        batch_size: int = ...,
        on_error: str = ...,
    ) -> list[NormalizeResult | None]: ...

    def __call__(
        self,
        image: Any,
        *,
        faces: str | int = "largest",
        paste: bool = False,
        aligned: bool = False,
        walk: int = 0,
        batch_size: int = 1,
        on_error: str = "raise",
    ) -> Any:
        """Make the face in a photo frontal and neutral.

        Args:
            image: the photo: a path, PIL image, array, tensor, bytes or file object (see
                `facesym.faces.load.read_photo`), or a list of photos.
            faces: "largest", "all", or an index from left to right.
            paste: True lays the face over the photo, which suits heads that are not turned; False returns the aligned
                crop, an image of its own.
            aligned: the image is an aligned square crop already; no face is looked for.
            batch_size: how many photos, and how many faces, of a list the network works on together.
            on_error: of a list: "raise", or "skip" photos that cannot be worked on: their places hold None, and a
                warning says why.
            walk: also return so many images on the way from the face as it is.

        Returns:
            NormalizeResult. With a network that copies from the photo, a crop is up to four times the network's size,
            as far as the photo's resolution allows.

        Raises:
            ImageError: the image cannot be read, or ``walk`` makes no sense.
            FaceNotFoundError: no face, or not the one asked for.
        """
        if not isinstance(walk, Integral) or walk not in (0, *range(2, MOST_FRAMES + 1)):
            raise ImageError(f"walk must be 0, or a whole number from 2 to {MOST_FRAMES}.")
        return self._process(
            image,
            faces=faces,
            paste=paste,
            aligned=aligned,
            walk=walk,
            batch_size=batch_size,
            on_error=on_error,
        )

    def _align(self, job, index, options):
        small, crop, transform = self._cut(job, index)
        return NormalizeJob(job.photo, transform, crop, find_pose(small)[0], small=small)

    def _warn(self, face, options):
        super()._warn(face, options)
        if options.paste and abs(face.yaw) > FRONTAL:
            face.notes.append(
                f"The head is turned by about {abs(face.yaw):.0f} degrees: a frontal face does not fit on it."
            )

    def _run(self, faces, options):
        read = self._read([face.small for face in faces], [face.yaw for face in faces])
        for i, face in enumerate(faces):
            (face.output,) = self._render(one_of(read, i), face)
            if options.walk:
                face.walk = self._render(one_of(read, i), face, np.linspace(0, 1, options.walk))

    def _fields(self, faces):
        return {
            "walk": [[self._edited(face, frame) for frame in face.walk] for face in faces],
            "yaw": [round(face.yaw, 2) for face in faces],
            "crop": [face.photo.restore_crop(face.crop) for face in faces],
        }

    def run(
        self, crop: Image.Image, larger: Image.Image, yaw: float, fractions: Sequence[float] | None = None
    ) -> list[Image.Image]:
        """The network on one aligned crop.

        Args:
            crop: RGB, of the network's size.
            larger: RGB, the same crop with more pixels, which are copied; or ``crop`` itself.
            yaw: of the head, degrees: the network wants the side that is turned away at the right.
            fractions: how far on the way to the result, each in [0, 1]; None: the result alone.

        Returns:
            A list of RGB images of ``larger``'s size.
        """
        face = NormalizeJob(None, None, larger, yaw, small=crop)
        return self._render(self._read([crop], [yaw]), face, fractions)

    @inference
    def _read(self, crops, yaws):
        """The decoder's predictions for aligned crops (RGB images of the network's size), one per pass, and the crops
        as the network's input: a batch (`one_of`). An exported network predicts and renders at once, in `_render`."""
        images = [self._seen(to_tensor(crop, self.net), yaw) for crop, yaw in zip(crops, yaws)]
        if self.backend != "torch":
            return None, np.concatenate(images)
        import torch

        images = torch.cat(images)
        return tuple(self.net.passes(images)), images

    def _seen(self, image, yaw):
        """A crop (1x3xHxW) as the network wants it: in its channels, the side that is turned away at the right."""
        if self.net.config.channels == 1:
            image = image.mean(1, keepdim=True)
        return flip(image) if yaw < 0 else image

    @inference
    def _render(self, predictions, face, fractions=None):
        """The images of what the decoder predicts of a face.

        Args:
            predictions: `_read`'s of this face. face: NormalizeJob. fractions: see `run`.

        Returns:
            A list of RGB images of the size of ``face.crop``.
        """
        net, (passes, small) = self.net, predictions
        if self.backend != "torch":
            image = self._seen(to_tensor(face.crop, net), face.yaw)
            made = [self._exported(small, image, f) for f in ([1] if fractions is None else fractions)]
            return [to_image(self._seen(picture, face.yaw)[0]) for picture in made]
        import torch

        if fractions is None or net.config.copy:
            # In float32 whatever the network's type is: what is copied keeps its colours.
            image = self._seen(to_tensor(face.crop, net, torch.float32), face.yaw)
            made = [self.compose(passes, image, float(f)) for f in ([1] if fractions is None else fractions)]
        else:
            z = passes[0][0]
            last = net.encode(net.decode(z, small).image.to(net.dtype))
            made = [net.decode(z + float(fraction) * (last - z), small).image for fraction in fractions]
        made = torch.cat(made)
        made = made.flip(-1) if face.yaw < 0 else made
        return [to_image(picture) for picture in made.expand(-1, 3, -1, -1)]

    def _exported(self, small, image, fraction):
        """`compose` by an exported network, from the crop at its size."""
        for _ in range(self.net.config.passes):
            out = self.net(small, image, fraction)
            small, image = out.normalized, out.normalized_larger
        return image

    def compose(self, passes: Any, image: torch.Tensor, fraction: float) -> torch.Tensor:
        """The image of each pass in turn, on the result before: so far (`NormalizedFaceGAN.render`) on the way."""
        for each in passes:
            image = self.net.render(each, image, fraction).image
        return image
