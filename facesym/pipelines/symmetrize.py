"""Make the face in a photo symmetric and measure its asymmetry."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Self, overload

import cv2
import numpy as np
from PIL import Image

from ..asymmetry import measure_asymmetry, steady_points
from ..errors import ImageError
from ..faces.align import align_face
from ..faces.decode import PictureSource
from ..faces.geometry import face_region, face_shown
from ..faces.landmarks import find_points
from ..faces.mirror import mirror_composites, reflect
from ..faces.parse import hair_over_face
from ..faces.paste import paste_face
from ..faces.pixels import to_uint8
from ..faces.pose import find_points_and_pose
from ..faces.turn import to_front, turn_back
from .base import FaceJob, Later, Pipeline, Result, inference
from .crops import to_array, to_batch, to_image

if TYPE_CHECKING:
    import torch

METHODS = ("model", "left", "right", "average")
STRAIGHT = 4.0  # degrees of yaw up to which a face is symmetrized as it is
BOTH_SIDES = 20.0  # degrees of yaw up to which a photo shows enough of both sides to compare them


@dataclass(kw_only=True, repr=False)
class SymmetrizeResult(Result):
    """Result of `SymmetrizePipeline`. The fields are lists with one entry per face.

    Attributes:
        asymmetry: asymmetry of the face in the photo, as dicts: "overall", an index per region
            (`facesym.asymmetry.REGIONS`), "roll" and "yaw" in degrees, fitted to the landmarks. See
            `facesym.asymmetry.Asymmetry`.
        heatmap: SxS float32 ≥ 0, in the aligned crop: where the face differs from its mirror image.
        crop: RGB images, the aligned input crops.
        composites: dicts of six aligned crops: "original", "mirrored", "left", "right", "average" and "model"; empty
            unless requested.
        separate: whether the head is turned so far that its symmetric face is frontal, and a separate image.

    With ``method="model"``, the symmetric face of a turned head is turned like the head. Faces turned by more than 35
    degrees are first made frontal, and neutral, by the zoo's "normalize" model. A frontal face does not fit on such a
    head: even with ``paste=True``, it is a separate image in ``images``, after the photo with the other faces, if any.
    Its asymmetry is measured in the photo, where it is unreliable. From 20 degrees on, a note says that the averted
    side is mostly the mirror image of the other.
    """

    asymmetry: list[dict[str, float]]
    heatmap: list[np.ndarray]
    crop: list[Image.Image]
    composites: list[dict[str, Image.Image]]
    separate: list[bool]


@dataclass(kw_only=True)
class SymmetrizeJob(FaceJob):
    """A face being processed.

    Attributes:
        separate: whether the head is turned so far that its result is a separate image.
        base: RGB, the face in the pose of the result: the crop or, if separate, its frontalized face. All following
            images have this pose.
        base_points: 68x2, the landmarks of ``base``.
        picture: RGB, the image to paste: the output with a background.
        region: SxS float32, the region to paste.
        shown: RGB, the face as it appears in the result.
        composites: see the result.
    """

    separate: bool
    base: Image.Image
    base_points: np.ndarray
    picture: Image.Image | None = None
    region: np.ndarray | None = None
    shown: Image.Image | None = None
    composites: dict = field(default_factory=dict)


def one_piece(region: np.ndarray) -> np.ndarray:
    """Return the largest connected component of a region (SxS float) as SxS float32, 0 or 1.

    Gaps are filled, and the border is eroded by 1/64 of the side, where the network's colours still mix with the
    removed background."""
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
    trained_yaw = 35.0
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
            method: "model", or a baseline that mirrors at the midline of the landmarks: "left" or "right" (that half of
                the image and its mirror image), "average" (the mean of the face and its mirror image).
            faces: "largest", "all", or an index from left to right.
            paste: False returns aligned crops instead of the photo; for "model", only the face on black, where hair
                over the forehead is symmetric, too. In the photo it stays as it is.
            aligned: the image is already an aligned square crop; skip face detection.
            exact: make the face that the network sees, at the front, exactly symmetric, not only approximately.
            composites: also return all six images of each face.
            batch_size: number of photos, and of faces, that the network processes at a time.
            on_error: "raise", or "skip" photos of a list that fail: their result is None, and a warning gives the
                reason.

        Returns:
            SymmetrizeResult. Pixels outside the face equal the photo's bit for bit.

        Raises:
            ImageError: the image cannot be read, or the method is unknown.
            FaceNotFoundError: no face was found, or not the requested one.
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
        separate = self.trained_yaw < abs(yaw) <= self.farthest_yaw
        base = self._frontalized(crop, yaw) if separate else crop
        return SymmetrizeJob(
            job.photo,
            job.transforms[index],
            crop,
            yaw,
            points,
            separate=separate,
            base=base,
            base_points=find_points(base) if separate else points,
        )

    def _frontalized(self, crop, yaw):
        """Make a turned face frontal and neutral: RGB crop."""
        from . import load

        if self._normalizer is None and self.backend == "torch":
            self._normalizer = load("normalize", device=self.net.device, dtype=self.net.dtype)
        elif self._normalizer is None:
            self._normalizer = load("normalize", backend=self.backend)
        side = self._normalizer.size
        (frontal,) = self._normalizer.run(crop.resize((side, side), Image.Resampling.LANCZOS), crop, yaw)
        return frontal

    def _warn(self, face, options):
        if face.separate:
            face.notes.append(
                f"The head is turned by about {abs(face.yaw):.0f} degrees: the face was made frontal and neutral "
                "first. It is a separate image, since a frontal face does not fit on the head in the photo. Its "
                "asymmetry measures are unreliable."
            )
        elif abs(face.yaw) > BOTH_SIDES:
            effect = "the averted side is mostly the mirror image of the other"
            if options.method != "model":
                effect = "a mirrored half does not fit well on it and may look smeared"
            face.notes.append(
                f"The head is turned by about {abs(face.yaw):.0f} degrees: {effect}, and the asymmetry measures are "
                f"less reliable. To compare both sides, choose a photo with the head turned by less than "
                f"{BOTH_SIDES:.0f} degrees."
            )

    def _run(self, faces, options):
        if options.composites or options.method == "model":
            self._symmetrize(faces, options)
        for face in faces:
            mirrored = {}
            if options.composites or options.method != "model":
                mirrored = mirror_composites(face.base, face.base_points)
            if options.composites:
                face.composites = {"original": face.crop, **mirrored, "model": face.output}
            if options.method != "model":
                face.picture = face.output = mirrored[options.method]
                region = face_region(face.base_points, self.size)
                face.region = np.maximum(region, reflect(region, face.base_points))
            face.shown = face.picture

    def _images(self, job, faces, options):
        if not options.paste:
            return super()._images(job, faces, options)
        own = [face for face in faces if face.separate]
        rest = [face for face in faces if not face.separate]
        images = super()._images(job, rest, options) if rest else []
        for face in own:
            face.shown = self._laid_on(face.base, face, np.eye(2, 3))
            images.append(self._edited(face, face.shown))
        return images

    def _paste(self, photo, face):
        photo = self._laid_on(photo, face, face.transform)
        face.shown = align_face(photo, face.transform, self.size)
        return photo

    def _laid_on(self, image, face, transform):
        """Paste a symmetric face into an image (RGB); ``transform``: 2x3, its pixel -> crop pixel."""
        shown = face_shown(face.base_points, self.size)
        return paste_face(image, face.picture, transform, face.region, shown)

    def _shown(self, face):
        return face.shown

    def _fields(self, faces):
        seen = [face.crop for face in faces]
        # As `facesym study` measures a photo.
        measures = cache(lambda: [measure_asymmetry(crop, steady_points(crop)[0]) for crop in seen])
        return {
            "asymmetry": Later(lambda: [_numbers(*each) for each in zip(measures(), faces)]),
            "heatmap": Later(lambda: [each.heatmap for each in measures()]),
            "crop": [face.photo.restore_crop(face.crop, face.crop) for face in faces],
            "separate": [face.separate for face in faces],
            "composites": [
                {
                    name: face.photo.restore_crop(x, face.crop)
                    if name == "original"
                    else self._edited(face, x)
                    for name, x in face.composites.items()
                }
                for face in faces
            ],
        }

    @inference
    def _symmetrize(self, faces, options):
        """Run the network; set ``output`` (only the face) and ``picture`` of each face and, to paste it, ``region``.

        The two halves of a turned head differ, and the network would mix a frontal face from them that is too wide for
        the head. Warped to the front, they match, and the symmetric face is warped back to the pose of the head.
        """
        fronts = [
            to_front(np.asarray(face.base), face.points, face.yaw)
            if not face.separate and abs(face.yaw) > STRAIGHT
            else None
            for face in faces
        ]
        seen = [Image.fromarray(front[0]) if front else face.base for face, front in zip(faces, fronts)]
        images = to_batch(seen, self.net)
        out = self.net(images, exact=options.exact) if self.backend == "torch" else self.net(images)
        for i, (face, front) in enumerate(zip(faces, fronts)):
            picture, region = np.asarray(to_image(out.picture[i])), to_array(out.region[i, 0])
            if front:
                back = turn_back(np.dstack([picture, 255 * region]), front[1], face.points)
                picture, region = to_uint8(back[..., :3]), np.clip(back[..., 3] / 255, 0, 1)
            face.output = Image.fromarray(to_uint8(region[..., None] * picture))
            face.picture = Image.fromarray(picture)
            if (
                options.paste and options.method == "model"
            ):  # hair stays as it is: a fringe on one half must not appear on both
                hair = hair_over_face(np.asarray(seen[i]), front[1] if front else face.base_points)
                hair = turn_back(hair, front[1], face.points) if front else hair
                face.region = one_piece(region * (hair < 0.5))


def _numbers(measured, face):
    """Return the numbers of an Asymmetry with the roll of the head in the photo instead of that in its crop."""
    transform = face.transform
    tilt = float(np.degrees(np.arctan2(transform[1, 0], transform[0, 0])))
    return measured.numbers() | {"roll": measured.roll - tilt}
