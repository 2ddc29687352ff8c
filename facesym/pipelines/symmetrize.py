"""Make a face symmetric, and say how asymmetric it was: photo in, photo and numbers out."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Self, overload

import cv2
import numpy as np
from PIL import Image

from ..asymmetry import measure_asymmetry
from ..errors import ImageError
from ..faces.align import align_face
from ..faces.decode import PictureSource
from ..faces.geometry import face_region, face_shown
from ..faces.landmarks import find_points
from ..faces.mirror import mirror_composites, reflect
from ..faces.paste import paste_face
from ..faces.pose import find_points_and_pose
from .base import FaceJob, Later, Pipeline, Result, inference
from .crops import to_array, to_batch, to_image

if TYPE_CHECKING:
    import torch

METHODS = ("model", "left", "right", "average")


@dataclass(kw_only=True, repr=False)
class SymmetrizeResult(Result):
    """What `SymmetrizePipeline` returns. The fields are lists, one entry a face.

    Attributes:
        asymmetry: how asymmetric the face in the photo is, dicts: "overall", an index for each region
            (`facesym.asymmetry.REGIONS`), "roll" and "yaw" in degrees. See `facesym.asymmetry.Asymmetry`.
        heatmap: SxS float32 ≥ 0, in the aligned crop: where the face differs from its mirror image.
        crop: RGB images, the aligned crops that were worked on.
        composites: dicts of six aligned crops: "original", "mirrored", "left", "right", "average" and "model"; empty
            unless asked for.

    A head turned by more than 30 degrees is brought to the front first, by the zoo's model of the task "normalize",
    which makes it neutral too. A frontal face does not fit on a turned head: with ``paste=True``, too, it is an image
    of its own in ``images``, after the photo with the other faces, if there are any. Its asymmetry is measured in the
    photo, where it means little.
    """

    asymmetry: list[dict[str, float]]
    heatmap: list[np.ndarray]
    crop: list[Image.Image]
    composites: list[dict[str, Image.Image]]


@dataclass(kw_only=True)
class SymmetrizeJob(FaceJob):
    """A face on its way.

    Attributes:
        frontal: RGB crop, the face brought to the front; the crop itself, if the head is not turned far.
        frontal_points: 68x2, the landmarks of ``frontal``.
        image: RGB, what is pasted: the output with something behind it.
        region: SxS float32, where it is pasted.
        shown: RGB crop, the face as the result shows it.
        composites: see the result.
    """

    frontal: Image.Image
    frontal_points: np.ndarray
    picture: Image.Image | None = None
    region: np.ndarray | None = None
    shown: Image.Image | None = None
    composites: dict = field(default_factory=dict)


def one_piece(region: np.ndarray) -> np.ndarray:
    """The largest piece of a region (SxS float), its holes filled and 1/64 of the side off its rim, where the network's
    colours are still half of what was removed: SxS float32, 0 or 1."""
    solid = (region > 0.5).astype(np.uint8)
    contours, _ = cv2.findContours(solid, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    whole = np.zeros_like(solid)
    if contours:
        cv2.drawContours(whole, [max(contours, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return cv2.erode(whole, np.ones((len(region) // 64 * 2 + 1,) * 2)).astype(np.float32)


class SymmetrizePipeline(Pipeline):
    """Runs a SymmetrizerVAE on photos; made by ``facesym.load("symmetrize")``.

    Args:
        net: facesym.models.SymmetrizerVAE, in eval mode.
    """

    task = "symmetrize"
    result = SymmetrizeResult
    trained_yaw = 30.0
    _normalizer = None

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> Self:
        super().to(device, dtype)
        self._normalizer = None
        return self

    @overload
    def __call__(
        self,
        image: PictureSource,
        *,
        method: str = ...,
        faces: str | int = ...,
        paste: bool = ...,
        aligned: bool = ...,
        exact: bool = ...,
        composites: bool = ...,
        batch_size: int = ...,
        on_error: str = ...,
    ) -> SymmetrizeResult: ...

    @overload
    def __call__(
        self,
        image: list | tuple,
        *,
        method: str = ...,
        faces: str | int = ...,
        paste: bool = ...,
        aligned: bool = ...,
        exact: bool = ...,
        composites: bool = ...,
        batch_size: int = ...,
        on_error: str = ...,
    ) -> list[SymmetrizeResult | None]: ...

    def __call__(
        self,
        image: Any,
        *,
        method: str = "model",
        faces: str | int = "largest",
        paste: bool = True,
        aligned: bool = False,
        exact: bool = True,
        composites: bool = False,
        batch_size: int = 1,
        on_error: str = "raise",
    ) -> Any:
        """Make the face in a photo symmetric.

        Args:
            image: the photo: a path, PIL image, array, tensor, bytes or file object (see
                `facesym.faces.load.read_photo`), or a list of photos.
            method: "model"; or what mirroring about the landmarks' middle line gives: "left" or "right" (that half
                of the image and its mirror image), "average" (the mean of the face and its mirror image).
            faces: "largest", "all", or an index from left to right.
            paste: False returns aligned crops instead of the photo: for "model" the face alone, black around it.
            aligned: the image is an aligned square crop already; no face is looked for.
            batch_size: how many photos, and how many faces, of a list the network works on together.
            on_error: of a list: "raise", or "skip" photos that cannot be worked on: their places hold None, and a
                warning says why.
            exact: "model" is symmetric to the pixel in its crop, not only nearly so.
            composites: also return all six images of each face.

        Returns:
            SymmetrizeResult. What lies outside the face is the photo's, bit for bit.

        Raises:
            ImageError: the image cannot be read, or an unknown method.
            FaceNotFoundError: no face, or not the one asked for.
        """
        if method not in METHODS:
            raise ImageError(f"There is no method {method!r}: use one of {', '.join(METHODS)}.")
        if not exact and self.backend != "torch":
            raise ImageError('exact=False needs torch: load the pipeline with backend="torch".')
        return self._process(
            image,
            faces=faces,
            paste=paste,
            aligned=aligned,
            method=method,
            exact=exact,
            composites=composites,
            batch_size=batch_size,
            on_error=on_error,
        )

    def _align(self, job, index, options):
        crop = align_face(job.photo.image, job.transforms[index], self.size)
        points, (yaw, _) = find_points_and_pose(crop)
        frontal, frontal_points = crop, points
        if self.trained_yaw < abs(yaw) <= self.farthest_yaw:
            frontal = self._to_front(crop, yaw)
            frontal_points = find_points(frontal)
        return SymmetrizeJob(
            job.photo,
            job.transforms[index],
            crop,
            yaw,
            points,
            frontal=frontal,
            frontal_points=frontal_points,
        )

    def _to_front(self, crop, yaw):
        """A turned face as seen from the front: RGB crop."""
        from . import load

        if self._normalizer is None and self.backend == "torch":
            self._normalizer = load("normalize", device=self.net.device, dtype=self.net.dtype)
        elif self._normalizer is None:
            self._normalizer = load("normalize", backend=self.backend)
        side = self._normalizer.size
        (frontal,) = self._normalizer.run(crop.resize((side, side), Image.Resampling.LANCZOS), crop, yaw)
        return frontal

    def _warn(self, face, options):
        if face.frontal is not face.crop:
            face.notes.append(
                f"The head is turned by about {abs(face.yaw):.0f} degrees: the face was brought to the front and made "
                "neutral first. It is an image of its own, since a frontal face does not fit on the head in the "
                "photo, and the numbers of its asymmetry mean little."
            )

    def _run(self, faces, options):
        if options.composites or options.method == "model":
            self._symmetrize(faces, options.exact)
        for face in faces:
            mirrored = {}
            if options.composites or options.method != "model":
                mirrored = mirror_composites(face.frontal, face.frontal_points)
            if options.composites:
                face.composites = {"original": face.crop, **mirrored, "model": face.output}
            if options.method != "model":
                face.picture = face.output = mirrored[options.method]
                region = face_region(face.frontal_points, self.size)
                face.region = np.maximum(region, reflect(region, face.frontal_points))
            face.shown = face.picture

    def _images(self, job, faces, options):
        if not options.paste:
            return super()._images(job, faces, options)
        own = [face for face in faces if face.frontal is not face.crop]
        rest = [face for face in faces if face.frontal is face.crop]
        images = super()._images(job, rest, options) if rest else []
        for face in own:
            face.shown = self._laid_on(face.frontal, face, np.eye(2, 3))
            images.append(self._edited(face, face.shown))
        return images

    def _paste(self, photo, face):
        photo = self._laid_on(photo, face, face.transform)
        face.shown = align_face(photo, face.transform, self.size)
        return photo

    def _laid_on(self, image, face, transform):
        """An image (RGB) with a symmetric face laid over it; ``transform``: 2x3, its pixel -> crop pixel."""
        shown = face_shown(face.frontal_points, self.size)
        return paste_face(image, face.picture, transform, face.region, shown)

    def _shown(self, face):
        return face.shown

    def _fields(self, faces):
        seen = [(face.crop, face.points) for face in faces]
        measures = cache(lambda: [measure_asymmetry(crop, points) for crop, points in seen])
        return {
            "asymmetry": Later(lambda: [each.numbers() for each in measures()]),
            "heatmap": Later(lambda: [each.heatmap for each in measures()]),
            "crop": [face.photo.restore_crop(face.crop) for face in faces],
            "composites": [
                {
                    name: face.photo.restore_crop(x) if name == "original" else self._edited(face, x)
                    for name, x in face.composites.items()
                }
                for face in faces
            ],
        }

    @inference
    def _symmetrize(self, faces, exact):
        """The network: the faces' ``output`` (the face alone), ``picture`` and ``region``."""
        images = to_batch([face.frontal for face in faces], self.net)
        out = self.net(images, exact=exact) if self.backend == "torch" else self.net(images)
        for i, face in enumerate(faces):
            face.output, face.picture = to_image(out.face[i]), to_image(out.picture[i])
            face.region = one_piece(to_array(out.region[i, 0]))
