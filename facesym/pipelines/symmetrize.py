"""Make a face symmetric, and say how asymmetric it was: photo in, photo and numbers out."""

from dataclasses import dataclass, field
from typing import Any, overload

import cv2
import numpy as np
import torch
from PIL import Image

from ..asymmetry import Asymmetry, measure_asymmetry
from ..errors import ImageError
from ..faces.align import align_face
from ..faces.decode import PictureSource
from ..faces.geometry import face_region, face_shown
from ..faces.mirror import mirror_composites, reflect
from ..faces.paste import paste_face
from .base import FaceJob, Pipeline, Result, identity_similarity, to_batch, to_image

METHODS = ("model", "left", "right", "average")
TURNED = 30  # degrees of yaw beyond which the numbers, and mirrored halves, mean little


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
    """

    asymmetry: list[dict[str, float]]
    heatmap: list[np.ndarray]
    crop: list[Image.Image]
    composites: list[dict[str, Image.Image]]


@dataclass(kw_only=True)
class SymmetrizeJob(FaceJob):
    """A face on its way.

    Attributes:
        measure: facesym.asymmetry.Asymmetry of the crop.
        picture: RGB, what is pasted: the output with something behind it.
        region: SxS float32, where it is pasted.
        shown: RGB crop, the face as the result shows it.
        composites: see the result.
    """

    measure: Asymmetry
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
                of the picture and its mirror image), "average" (the mean of the face and its mirror image).
            faces: "largest", "all", or an index from left to right.
            paste: False returns aligned crops instead of the photo: for "model" the face alone, black around it.
            aligned: the picture is an aligned square crop already; no face is looked for.
            batch_size: how many photos, and how many faces, of a list the network works on together.
            on_error: of a list: "raise", or "skip" photos that cannot be worked on: their places hold None, and a
                warning says why.
            exact: "model" is symmetric to the pixel in its crop, not only nearly so.
            composites: also return all six pictures of each face.

        Returns:
            SymmetrizeResult. What lies outside the face is the photo's, bit for bit.

        Raises:
            ImageError: the picture cannot be read, or an unknown method.
            FaceNotFoundError: no face, or not the one asked for.
        """
        if method not in METHODS:
            raise ImageError(f"There is no method {method!r}: use one of {', '.join(METHODS)}.")
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
        face = SymmetrizeJob(job.photo, job.transforms[index], crop, measure=measure_asymmetry(crop))
        yaw = abs(face.measure.yaw)
        if yaw > TURNED:
            face.notes.append(
                f"The head is turned by about {yaw:.0f} degrees: beyond {TURNED} neither the numbers nor the symmetric "
                "face can be relied on."
            )
        return face

    def _run(self, faces, options):
        if options.composites or options.method == "model":
            self._symmetrize(faces, options.exact)
        for face in faces:
            points, mirrored = face.measure.points, {}
            if options.composites or options.method != "model":
                mirrored = mirror_composites(face.crop, points)
            if options.composites:
                face.composites = {"original": face.crop, **mirrored, "model": face.output}
            if options.method != "model":
                face.picture = face.output = mirrored[options.method]
                region = face_region(points, self.size)
                face.region = np.maximum(region, reflect(region, points))
            face.shown = face.picture

    def _paste(self, photo, face):
        shown = face_shown(face.measure.points, self.size)
        photo = paste_face(photo, face.picture, face.transform, face.region, shown)
        face.shown = align_face(photo, face.transform, self.size)
        return photo

    def _identity(self, faces):
        return identity_similarity([face.crop for face in faces], [face.shown for face in faces])

    def _fields(self, faces):
        return {
            "asymmetry": [face.measure.numbers() for face in faces],
            "heatmap": [face.measure.heatmap for face in faces],
            "crop": [face.photo.restore_crop(face.crop) for face in faces],
            "composites": [
                {
                    name: face.photo.restore_crop(x) if name == "original" else self._edited(face, x)
                    for name, x in face.composites.items()
                }
                for face in faces
            ],
        }

    @torch.inference_mode()
    def _symmetrize(self, faces, exact):
        """The network: the faces' ``output`` (the face alone), ``picture`` and ``region``."""
        out = self.net(to_batch([face.crop for face in faces], self.net), exact=exact)
        for i, face in enumerate(faces):
            face.output, face.picture = to_image(out.face[i]), to_image(out.picture[i])
            face.region = one_piece(out.region[i, 0].float().cpu().numpy())
