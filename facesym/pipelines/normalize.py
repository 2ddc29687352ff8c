"""Make the face in a photo frontal and neutral."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from PIL import Image

from ..errors import ImageError
from ..faces.decode import PictureSource
from ..faces.geometry import face_region, resized_points
from ..faces.landmarks import find_points
from ..faces.mouth import shows_expression
from ..faces.pose import find_points_and_pose
from ..faces.sharpen import frontal_face, roughness, sharpen
from .base import FaceJob, Pipeline, Result, inference
from .crops import flip, one_of, to_image, to_tensor
from .neutral import FARTHEST, neutral_mouth

if TYPE_CHECKING:
    import torch

MAX_FRAMES = 100  # maximum length of a walk
FRONTAL = 15  # degrees of yaw up to which a frontal face fits on the head in the photo


@dataclass(kw_only=True, repr=False)
class NormalizeResult(Result):
    """Result of `NormalizePipeline`. The fields are lists with one entry per face.

    Attributes:
        walk: lists of RGB images, aligned crops at even steps from the input face to the frontal, neutral one; empty
            unless requested. A network that does not copy from the photo interpolates between the latents of the face
            and of its result, as in the paper; all images are then frontal.
        yaw: yaw of the head in the photo in degrees; negative when the nose points to the left of the image.
        crop: RGB images, the aligned input crops, at the size of the results.
    """

    walk: list[list[Image.Image]]
    yaw: list[float]
    crop: list[Image.Image]


@dataclass(kw_only=True)
class NormalizeJob(FaceJob):
    """A face being processed.

    Attributes:
        small: RGB, the crop at the network's size.
        smiles: whether the mouth's expression is removed before the network runs. That of a head turned further than
            `FARTHEST` is removed from the network's output.
        walk: see the result.
    """

    small: Image.Image
    smiles: bool
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
            paste: True pastes the face into the photo, which suits frontal heads; False returns the aligned crop.
            aligned: the image is already an aligned square crop; skip face detection.
            walk: also return this many images from the input face to the result.
            batch_size: number of photos, and of faces, that the network processes at a time.
            on_error: "raise", or "skip" photos of a list that fail: their result is None, and a warning gives the
                reason.

        Returns:
            NormalizeResult. If the network copies from the photo, crops have up to four times the network's size, as
            far as the photo's resolution allows.

        Raises:
            ImageError: the image cannot be read, or ``walk`` is invalid.
            FaceNotFoundError: no face was found, or not the requested one.
        """
        if not isinstance(walk, Integral) or walk not in (0, *range(2, MAX_FRAMES + 1)):
            raise ImageError(f"walk must be 0 or a whole number from 2 to {MAX_FRAMES}.")
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
        points, (yaw, _) = find_points_and_pose(small)
        smiles = self.net.config.copy and abs(yaw) <= FARTHEST and shows_expression(points)
        points = resized_points(points, crop.width / small.width)
        return NormalizeJob(job.photo, transform, crop, yaw, points, small=small, smiles=smiles)

    def _warn(self, face, options):
        super()._warn(face, options)
        if options.paste and abs(face.yaw) > FRONTAL:
            face.notes.append(
                f"The head is turned by about {abs(face.yaw):.0f} degrees: a frontal face does not fit on it."
            )

    def _run(self, faces, options):
        walk, copy = np.linspace(0, 1, options.walk).tolist(), self.net.config.copy
        fractions = walk or [1.0]  # the last frame is the result
        # The crops without the expression of the mouth.
        starts = [neutral_mouth(face.crop, fractions) if face.smiles else [] for face in faces]
        small = [
            start[-1].resize(face.small.size, Image.Resampling.LANCZOS) if start else face.small
            for face, start in zip(faces, starts)
        ]
        read = self._read(small, [face.yaw for face in faces])
        for i, face in enumerate(faces):
            predictions = one_of(read, i)
            if face.smiles:
                frames = [
                    self._render(predictions, replace(face, crop=start), [fraction])[0]
                    for start, fraction in zip(starts[i], fractions)
                ]
            elif copy:
                frames = self._render(predictions, face, fractions)
            else:  # the walk's frames are generated alike; its last one is not the result
                frames = self._render(predictions, face, walk) if walk else []
                frames += self._render(predictions, face)
            late = copy and abs(face.yaw) > FARTHEST
            if late and shows_expression(find_points(frames[-1])):
                frames = [neutral_mouth(x, [fraction])[0] for x, fraction in zip(frames, fractions)]
            if copy:
                frames = _sharpened(face, frames, fractions)
            face.output, face.walk = frames[-1], frames[: options.walk]

    def _fields(self, faces):
        return {
            "walk": [[self._edited(face, frame) for frame in face.walk] for face in faces],
            "yaw": [round(face.yaw, 2) for face in faces],
            "crop": [face.photo.restore_crop(face.crop, face.crop) for face in faces],
        }

    def run(
        self, crop: Image.Image, larger: Image.Image, yaw: float, fractions: Sequence[float] | None = None
    ) -> list[Image.Image]:
        """Run the network alone on one aligned crop.

        Args:
            crop: RGB, of the network's size.
            larger: RGB, the same crop at a higher resolution, from which pixels are copied; or ``crop`` itself.
            yaw: yaw of the head in degrees; the network expects the averted side on the right.
            fractions: positions between input and result, each in [0, 1]; None returns only the result.

        Returns:
            A list of RGB images of ``larger``'s size.
        """
        face = NormalizeJob(None, None, larger, yaw, small=crop, smiles=False)
        return self._render(self._read([crop], [yaw]), face, fractions)

    @inference
    def _read(self, crops, yaws):
        """Return the decoder's predictions for aligned crops (RGB, of the network's size), one per pass, and the crops
        as a batch (`one_of`). Exported networks predict and render in one step, in `_render`."""
        images = [self._seen(to_tensor(crop, self.net), yaw) for crop, yaw in zip(crops, yaws)]
        if self.backend != "torch":
            return None, np.concatenate(images)
        import torch

        images = torch.cat(images)
        return tuple(self.net.passes(images)), images

    def _seen(self, image, yaw):
        """Convert a crop (1x3xHxW) to the network's channels, with the averted side on the right."""
        if self.net.config.channels == 1:
            image = image.mean(1, keepdim=True)
        return flip(image) if yaw < 0 else image

    @inference
    def _render(self, predictions, face, fractions=None):
        """Render the decoder's predictions for a face.

        Args:
            predictions: result of `_read` for this face.
            face: NormalizeJob.
            fractions: see `run`.

        Returns:
            A list of RGB images of the size of ``face.crop``.
        """
        net, (passes, small) = self.net, predictions
        if self.backend != "torch":
            image = self._seen(to_tensor(face.crop, net), face.yaw)
            outputs = [self._exported(small, image, f) for f in ([1] if fractions is None else fractions)]
            return [to_image(self._seen(output, face.yaw)[0]) for output in outputs]
        import torch

        if fractions is None or net.config.copy:
            # Always in float32, so that copied pixels keep their colours.
            image = self._seen(to_tensor(face.crop, net, torch.float32), face.yaw)
            outputs = [
                self.compose(passes, image, float(f)) for f in ([1] if fractions is None else fractions)
            ]
        else:
            z = passes[0][0]
            last = net.encode(net.decode(z, small).image.to(net.dtype))
            outputs = [net.decode(z + float(fraction) * (last - z), small).image for fraction in fractions]
        images = torch.cat(outputs)
        images = images.flip(-1) if face.yaw < 0 else images
        return [to_image(image) for image in images.expand(-1, 3, -1, -1)]

    def _exported(self, small, image, fraction):
        """`compose` for an exported network, from the crop at its size."""
        for _ in range(self.net.config.passes):
            out = self.net(small, image, fraction)
            small, image = out.normalized, out.normalized_larger
        return image

    def compose(self, passes: Any, image: torch.Tensor, fraction: float) -> torch.Tensor:
        """Render each pass on the result of the previous one, up to ``fraction`` (`NormalizedFaceGAN.render`)."""
        for each in passes:
            image = self.net.render(each, image, fraction).image
        return image


def _sharpened(face, frames, fractions):
    """Sharpen the face of frames to that of the photo: copying by interpolation makes it softer.

    ``fractions``: positions of the frames between the photo, which does not change, and the result.
    """
    size, crop = face.crop.width, np.asarray(face.crop)
    shown, region = face_region(face.points, size) > 0, frontal_face(size)
    if not shown.any():
        return frames
    target = roughness(crop, shown)
    return [
        Image.blend(frame, Image.fromarray(sharpen(np.asarray(frame), region, target)), fraction)
        if fraction
        else frame
        for frame, fraction in zip(frames, fractions)
    ]
