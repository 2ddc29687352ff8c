"""Change the expression, pose or lighting of the face in a photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any, overload

import cv2
import numpy as np
from PIL import Image

from ..attributes import encode, groups_of
from ..errors import ImageError
from ..faces.decode import PictureSource
from ..faces.geometry import face_region, heat_map
from ..faces.landmarks import find_points
from ..faces.pose import FARTHEST_YAW, find_points_and_pose
from .base import FaceJob, Pipeline, Result, inference
from .crops import one_of, to_batch, to_image, to_tensor

if TYPE_CHECKING:
    import torch


@dataclass(kw_only=True, repr=False)
class TransferResult(Result):
    """Result of `TransferPipeline`. The fields are lists with one entry per face.

    Attributes:
        grid: dicts {attribute: RGB image, the aligned crop with only that attribute changed}; empty unless requested.
        crop: RGB images, the aligned input crops, at the size of the results.
    """

    grid: list[dict[str, Image.Image]]
    crop: list[Image.Image]


@dataclass(kw_only=True)
class TransferJob(FaceJob):
    """A face being processed.

    Attributes:
        small: RGB, the crop at the network's size.
        small_points: 68x2, its landmarks.
        grid: see the result.
    """

    small: Image.Image
    small_points: np.ndarray
    grid: dict = field(default_factory=dict)


class TransferPipeline(Pipeline):
    """Runs an AttributeGenerator on photos; made by ``facesym.load("transfer")``.

    Args:
        net: facesym.models.AttributeGenerator, in eval mode.
    """

    task = "transfer"
    result = TransferResult
    trained_yaw = FARTHEST_YAW
    layout = "contiguous_format"

    @overload
    def __call__(
        self,
        image: PictureSource,
        *,
        to: str | Sequence[str] | None = ...,
        strength: float = ...,
        faces: str | int = ...,
        paste: bool = ...,
        aligned: bool = ...,
        grid: bool = ...,
        batch_size: int = ...,
        on_error: str = ...,
    ) -> TransferResult: ...

    @overload
    def __call__(
        self,
        image: list | tuple,
        *,
        to: str | Sequence[str] | None = ...,
        strength: float = ...,
        faces: str | int = ...,
        paste: bool = ...,
        aligned: bool = ...,
        grid: bool = ...,
        batch_size: int = ...,
        on_error: str = ...,
    ) -> list[TransferResult | None]: ...

    def __call__(
        self,
        image: Any,
        *,
        to: str | Sequence[str] | None = (),
        strength: float = 1.0,
        faces: str | int = "largest",
        paste: bool = False,
        aligned: bool = False,
        grid: bool = False,
        batch_size: int = 1,
        on_error: str = "raise",
    ) -> Any:
        """Change the expression, pose or lighting of the face in a photo.

        Args:
            image: the photo: a path, PIL image, array, tensor, bytes or file object (see
                `facesym.faces.load.read_photo`), or a list of photos.
            to: a target attribute ("happy"), or several of different groups; ``pipe.groups`` lists them. Other groups
                do not change.
            strength: strength of the change, from 0 (none) to 1.5; 1 matches the training data.
            faces: "largest", "all", or an index from left to right.
            paste: True pastes the face into the photo, which suits frontal heads; False returns the aligned crop.
            aligned: the image is already an aligned square crop; skip face detection.
            batch_size: number of photos, and of faces, that the network processes at a time.
            on_error: "raise", or "skip" photos of a list that fail: their result is None, and a warning gives the
                reason.
            grid: also return an image per attribute, with only that attribute changed.

        Returns:
            TransferResult. If the network copies from the photo, crops have up to four times the network's size, as far
            as the photo's resolution allows.

        Raises:
            ImageError: the image cannot be read, or an attribute or the strength is invalid.
            FaceNotFoundError: no face was found, or not the requested one.
        """
        wanted = self.wanted(to)
        if not wanted and not grid:
            raise ImageError(f"Name a target attribute: {self._choices()}.")
        if not isinstance(strength, Real) or not 0 <= strength <= 1.5:
            raise ImageError("strength must be a number from 0 to 1.5.")
        return self._process(
            image,
            faces=faces,
            paste=paste,
            aligned=aligned,
            wanted=wanted,
            strength=float(strength),
            grid=grid,
            batch_size=batch_size,
            on_error=on_error,
        )

    def _align(self, job, index, options):
        small, crop, transform = self._cut(job, index)
        points, (yaw, _) = find_points_and_pose(small)
        own = points if crop is small else None
        return TransferJob(job.photo, transform, crop, yaw, own, small=small, small_points=points)

    def _run(self, faces, options):
        single = {name: {group: name} for group, names in self.groups.items() for name in names}
        ways = [options.wanted, *single.values()] if options.grid else [options.wanted]
        made = self._change(faces, ways, options.strength)
        for face, (output, *others) in zip(faces, made):
            face.output, face.grid = output, dict(zip(single, others))

    def _fields(self, faces):
        return {
            "grid": [{name: self._edited(face, x) for name, x in face.grid.items()} for face in faces],
            "crop": [face.photo.restore_crop(face.crop) for face in faces],
        }

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The supported target attributes: {group: attributes}."""
        return groups_of(self.net.config)

    def wanted(self, to: str | Sequence[str] | None) -> dict[str, str]:
        """Convert attribute names to {group: attribute}.

        Raises:
            ImageError: an attribute is unknown, or two belong to the same group.
        """
        wanted: dict[str, str] = {}
        for name in [to] if isinstance(to, str) else to or []:
            groups = [group for group, names in self.groups.items() if name in names]
            if not groups:
                raise ImageError(f"There is no attribute {name!r}: use {self._choices()}.")
            if groups[0] in wanted:
                raise ImageError(f"{wanted[groups[0]]} and {name} exclude each other: both are {groups[0]}.")
            wanted[groups[0]] = name
        return wanted

    def _choices(self):
        return "; ".join(f"{group}: {', '.join(names)}" for group, names in self.groups.items())

    def run(
        self, crop: Image.Image, larger: Image.Image, ways: Sequence[dict[str, str]], strength: float = 1.0
    ) -> list[Image.Image]:
        """Run the network on one aligned crop.

        Args:
            crop: RGB, of the network's size.
            larger: RGB, the same crop at a higher resolution, from which pixels are copied; or ``crop`` itself.
            ways: target attributes of each output, as [{group: attribute}].
            strength: strength of the change.

        Returns:
            A list of RGB images of ``larger``'s size. If only the expression changes, pixels outside the face do not
            change.
        """
        points = find_points(crop)
        return self._change(
            [TransferJob(None, None, larger, 0.0, small=crop, small_points=points)], ways, strength
        )[0]

    @inference
    def _change(self, faces, ways, strength):
        """Apply `run` to a list of TransferJob."""
        net = self.net
        points = np.stack([face.small_points for face in faces]).astype(np.float32)
        images = (self._exported if self.backend != "torch" else self._all_ways)(
            faces, points, ways, strength
        )
        made = [[] for _ in faces]
        for way, changed in zip(ways, images):
            for i, image in enumerate(changed):
                output, crop = to_image(image[0]), faces[i].crop
                if set(way) == {"expression"}:
                    output = _within_face(output, crop, points[i] * crop.width / net.config.input_size)
                made[i].append(output)
        return made

    def _all_ways(self, faces, points, ways, strength):
        """Return the network's images of all faces for each entry of ``ways``."""
        import torch

        net = self.net
        small = to_batch([face.small for face in faces], net)
        # Always in float32, so that copied pixels keep their colours.
        large = [to_tensor(face.crop, net, torch.float32) for face in faces]
        heat = heat_map(torch.from_numpy(points).to(net.device), net.config.input_size)
        latent = net.encode(small, heat.to(net.dtype))
        return [self.passes(latent, small, large, way, strength) for way in ways]

    def _exported(self, faces, points, ways, strength):
        """`_all_ways` for an exported network, one face at a time, because crops may differ in size."""
        return [
            [self._exported_passes(face, at, way, strength) for face, at in zip(faces, points)]
            for way in ways
        ]

    def _exported_passes(self, face, points, way, strength):
        """`passes` for an exported network and one face."""
        config = self.net.config
        small, large = to_tensor(face.small, self.net), to_tensor(face.crop, self.net)
        condition = heat_map(points[None], config.input_size)
        expression = {group: name for group, name in way.items() if group == "expression"}
        for wanted in [way] + [expression] * (config.passes - 1 if expression else 0):
            y = strength * np.array([encode(config, wanted)])
            out = self.net(small, condition, y, large)
            small, condition, large = out.changed, out.changed_condition, out.changed_larger
        return large

    def passes(
        self, latent: torch.Tensor, small: torch.Tensor, large: Any, way: dict[str, str], strength: float
    ) -> list[torch.Tensor]:
        """Edit the faces. An expression is applied ``passes`` times; lighting and pose only once, because each pass
        would darken the image and smear the background next to a turned head.

        Args:
            latent: latent of ``small``.
            small: Bx3xSxS in [-1, 1].
            large: list of B tensors 1x3xHxW, the same crops.
            way: target attributes, {group: attribute}.
            strength: see `run`.

        Returns:
            List of B tensors 1x3xHxW.
        """
        net = self.net
        predictions = net.predict(latent, strength * net.attributes(way, len(small)))
        large = [net.render(one_of(predictions, i), x).image for i, x in enumerate(large)]
        expression = {group: name for group, name in way.items() if group == "expression"}
        for _ in range(net.config.passes - 1 if expression else 0):
            seen = net.render(predictions, small)
            small = seen.image.to(net.dtype)
            latent = net.encode(small, seen.condition.to(net.dtype))
            predictions = net.predict(latent, strength * net.attributes(expression, len(small)))
            large = [net.render(one_of(predictions, i), x).image for i, x in enumerate(large)]
        return large


def _within_face(made, crop, points):
    """Restore the pixels outside the face after a change of expression.

    Args:
        made: RGB, the edited crop.
        crop: RGB, the input crop, of the same size.
        points: 68x2, the landmarks of the crop.
    """
    side = crop.width
    region = np.maximum(face_region(points, side), face_region(find_points(made), side))
    region = cv2.dilate(region, np.ones((side // 20, side // 20), np.uint8))
    weight = cv2.GaussianBlur(region, (0, 0), side / 50)[..., None]
    mixed = weight * np.asarray(made, np.float32) + (1 - weight) * np.asarray(crop, np.float32)
    return Image.fromarray(np.rint(mixed).astype(np.uint8))
