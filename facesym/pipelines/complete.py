"""Complete the hidden part of a face: photo and mask in, completed photo out."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, overload

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ..errors import ImageError
from ..faces.align import align_face, warp_mask_to_crop
from ..faces.copied import copied_weight, with_copied_detail
from ..faces.decode import PictureSource
from ..faces.find import find_faces
from ..faces.hidden import AUTO, automatic_kinds, hidden_mask
from ..faces.hidden import network as occlusion_network
from ..faces.load import load_mask, read_photo
from ..faces.paste import fill_smoothly, inside_square, paste_completion
from ..faces.pose import FARTHEST_YAW, find_points_and_pose, head_pose
from ..faces.texture import borrow_texture, find_texture
from ..models.symmfcnet import SymmFCNetOutput
from ..ops import warp
from .base import FaceJob, PhotoJob, Pipeline, Result, finer_transform
from .crops import one_of, to_batch, to_image, to_tensor


@dataclass(kw_only=True, repr=False)
class CompleteResult(Result):
    """What `CompletePipeline` returns. The first two fields are lists, one entry a face.

    Attributes:
        confidence: HxW float32 in [0, 1], in the aligned crop: how far stage I's copy from the mirrored half is
            trusted; 0 where nothing was copied.
        stages: tuples of three RGB images, aligned crops: the warped flip, stage I, the final crop.
        mask_fraction: fraction of the photo's pixels that were to be filled.
        mask: HxW bool, what was to be filled in the photo, True = missing; with ``mask="auto"``, what was found.
    """

    confidence: list[np.ndarray]
    stages: list[tuple[Image.Image, Image.Image, Image.Image]]
    mask_fraction: float
    mask: np.ndarray


@dataclass(kw_only=True)
class CompletePhoto(PhotoJob):
    """A photo with its mask.

    Attributes:
        mask: HxW bool, True = missing.
        clean: RGB, the photo with what is missing smoothed over.
        own: HxW bool for each face found: its part of the mask.
    """

    mask: np.ndarray
    clean: Image.Image
    own: list[np.ndarray]


@dataclass(kw_only=True)
class CompleteJob(FaceJob):
    """A face on its way, its ``points`` those of ``clean``: what the network is given, then what it and the search for
    texture find.

    Attributes:
        whole: the photo with its mask.
        own: HxW bool, its part of the photo's mask.
        clean: RGB crop of the photo with what is missing smoothed over.
        mask: SxS bool, what is missing of the crop.
        found: SymmFCNetOutput, of one image.
        completed: RGB crop with texture; the output has the crop's own pixels where the mask does not reach.
        copied: SxS float32, how far the detail is the mirrored half's.
        smooth: SxSx3 uint8, the network's output with that detail.
        face: SxS bool, where the face is.
        texture: what `facesym.faces.texture.find_texture` found for the rest.
    """

    whole: CompletePhoto
    own: np.ndarray
    clean: Image.Image
    mask: np.ndarray
    found: SymmFCNetOutput | None = None
    completed: Image.Image | None = None
    copied: np.ndarray | None = None
    smooth: np.ndarray | None = None
    face: np.ndarray | None = None
    texture: tuple[np.ndarray, np.ndarray] | None = None


class CompletePipeline(Pipeline):
    """Runs a SymmFCNet on photos; made by ``facesym.load("complete")``.

    Args:
        net: facesym.models.SymmFCNet, in eval mode.
    """

    task = "complete"
    result = CompleteResult
    trained_yaw = FARTHEST_YAW
    farthest_yaw = 90.0  # what is missing is filled in from what surrounds it too

    @overload
    def __call__(
        self,
        image: PictureSource,
        mask: PictureSource,
        *,
        faces: str | int = ...,
        paste: bool = ...,
        aligned: bool = ...,
        batch_size: int = ...,
        on_error: str = ...,
    ) -> CompleteResult: ...

    @overload
    def __call__(
        self,
        image: list | tuple,
        mask: list | tuple | str,
        *,
        faces: str | int = ...,
        paste: bool = ...,
        aligned: bool = ...,
        batch_size: int = ...,
        on_error: str = ...,
    ) -> list[CompleteResult | None]: ...

    def __call__(
        self,
        image: Any,
        mask: Any,
        *,
        faces: str | int = "largest",
        paste: bool = True,
        aligned: bool = False,
        batch_size: int = 1,
        on_error: str = "raise",
    ) -> Any:
        """Complete a photo.

        Args:
            image: the photo: a path, PIL image, array, tensor, bytes or file object (see
                `facesym.faces.load.read_photo`), or a list of photos.
            mask: what is missing: the same kinds, white or True = missing, of the photo's size; or "auto", which finds
                glasses, sunglasses, face masks, objects (hands, microphones …) and the damage of old prints, or
                "auto:hair", "auto:glasses,mask" … for some of `facesym.faces.hidden.KINDS`. For a list of photos, a
                list of as many, or "auto".
            faces: "largest", "all" (every face that the mask touches), or an index from left to right.
            paste: False returns the completed crops instead of the photo.
            aligned: the image is an aligned square crop already; no face is looked for.
            batch_size: how many photos, and how many faces, of a list the network works on together.
            on_error: of a list: "raise", or "skip" photos that cannot be worked on: their places hold None, and a
                warning says why.

        Returns:
            CompleteResult. Pixels outside the mask are the photo's, bit for bit.

        Raises:
            ImageError: an image cannot be read, the sizes differ, the mask is empty, covers everything, or does
                not touch the face; or nothing was found that hides it.
            FaceNotFoundError: no face, or not the one asked for.
        """
        if isinstance(image, list | tuple) and automatic_kinds(mask):
            mask = [mask] * len(image)
        return self._process(
            image, mask, faces=faces, paste=paste, aligned=aligned, batch_size=batch_size, on_error=on_error
        )

    def find_mask(
        self, image: PictureSource, mask: str = AUTO, *, faces: str | int = "largest", aligned: bool = False
    ) -> Image.Image:
        """Mark what hides a face, as ``mask="auto"`` does, to look at or to edit before it is completed.

        Args:
            image, faces, aligned: see the call.
            mask: "auto", or "auto:" and names of `facesym.faces.hidden.KINDS`, joined by commas.

        Returns:
            Image of mode L and the photo's size, white = hidden.

        Raises:
            ImageError: the photo cannot be read, there is no such kind, or nothing was found.
            FaceNotFoundError: no face, or not the one asked for.
        """
        kinds = automatic_kinds(mask)
        if kinds is None:
            raise ImageError(f'mask must be "{AUTO}" or "{AUTO}:KIND,…", not {mask!r}.')
        found = _automatic_mask(read_photo(image), kinds, SimpleNamespace(faces=faces, aligned=aligned))
        return Image.fromarray(found * np.uint8(255))

    def _find(self, image, mask, options):
        photo, kinds = read_photo(image), automatic_kinds(mask)
        missing = _automatic_mask(photo, kinds, options) if kinds else None
        mask = load_mask(mask, photo.image.size, photo.full_size) if missing is None else missing
        if not mask.any():
            raise ImageError("The mask is empty: mark in white (or True) what is to be filled in.")
        if mask.all():
            raise ImageError("The mask covers the whole photo: nothing is left to complete it from.")
        # The kernels that cut the crop reach over the mask's rim: without this, the thing that hides the face
        # would tint crop pixels which count as visible.
        clean = fill_smoothly(photo.image, mask)
        # What hides the face may hide it from the detector too: look again with the mask smoothed over.
        found, chosen, transforms = find_faces(
            photo.image, options.faces, self.size, aligned=options.aligned, uncovered=clean
        )
        job = CompletePhoto(photo, found, chosen, transforms, mask=mask, clean=clean, own=[mask])
        if not options.aligned:
            job.own = _parts(mask, transforms, self.size)
            job.chosen = _touched(chosen, job.own)
        left = mask & ~np.any([job.own[i] for i in job.chosen], axis=0)
        if left.any():
            job.notes.append(
                f"{left.sum() / mask.sum():.0%} of the mask lies outside the square about the face, or nearer to "
                "another face, and was left as it was."
            )
        return job

    def _align(self, job, index, options):
        transform = job.transforms[index]
        mask = warp_mask_to_crop(job.mask, transform, self.size)
        if mask.all():
            raise ImageError("The mask hides the whole face: leave some of it to be completed from.")
        clean = align_face(job.clean, transform, self.size)
        points, (yaw, _) = find_points_and_pose(clean)
        return CompleteJob(
            job.photo,
            transform,
            align_face(job.photo.image, transform, self.size),
            yaw,
            points,
            whole=job,
            own=job.own[index],
            clean=clean,
            mask=mask,
        )

    @torch.inference_mode()
    def _run(self, faces, options):
        images = to_batch([face.clean for face in faces], self.net)
        visible = torch.from_numpy(~np.stack([face.mask for face in faces])[:, None])
        found = self.net(images, visible.to(self.net.device, self.net.dtype))
        for i, face in enumerate(faces):
            face.found = one_of(found, i)
            self._copy_detail(face)
            face.face = (face.found.face_region[0, 0] > 0.5).cpu().numpy()
            face.texture = find_texture(face.smooth, face.mask, face.face)
            textured = borrow_texture(face.smooth, face.mask, face.face, *face.texture)
            face.completed = Image.fromarray(textured)
            # The network is given a mask that is wider by a pixel: what is visible there comes back too.
            touched = warp_mask_to_crop(face.whole.mask, face.transform, self.size, margin=0)
            face.output = paste_completion(face.crop, face.completed, np.eye(2, 3), touched)

    @staticmethod
    def _copy_detail(face):
        """The network's output, with the detail that the mirrored half shows."""
        found, output = face.found, np.asarray(to_image(face.found.completed[0]))
        copy = np.asarray(to_image(found.warped[0]))
        trust = (found.confidence * (1 - found.half_mask))[0, 0].float().cpu().numpy()
        yaw, _ = head_pose(face.points)
        face.copied = copied_weight(output, copy, trust, face.mask, yaw)
        face.smooth = with_copied_detail(output, copy, face.copied)

    def _paste(self, photo, face):
        crop, transform = self._detailed(face) or (face.completed, face.transform)
        return paste_completion(photo, crop, transform, face.whole.mask, face.own)

    @torch.inference_mode()
    def _detailed(self, face):
        """The completed crop with the photo's own fine detail, where the photo shows the face larger than the network.

        The flow is smooth, so the flow at the network's size also holds for the photo's pixels: where the copy is
        trusted, detail is taken from the mirrored half of a larger crop. Patches that match at the network's size
        also match in the photo: outside the face, texture is copied from the photo's pixels at those coordinates.

        Returns:
            RGB crop, K·S x K·S with a whole K ≥ 2, and its transform; None where K would be 1.
        """
        larger, size = finer_transform(face.transform, self.size)
        times, found = size // self.size, face.found
        if times < 2:
            return None
        sharp = to_tensor(align_face(face.whole.clean, larger, size), self.net).float()

        def grow(x, mode="bilinear"):
            return F.interpolate(x.float(), (size, size), mode=mode, align_corners=False)

        copied = np.asarray(to_image(warp(sharp.flip(-1), grow(found.flow))[0]))
        output = np.asarray(to_image(grow(to_tensor(face.smooth, self.net), "bicubic")[0]))
        weight = cv2.resize(face.copied, (size, size), interpolation=cv2.INTER_LINEAR)
        detailed = with_copied_detail(output, copied, weight)
        # What is visible, as the photo has it: texture is taken from there.
        missing = warp_mask_to_crop(face.whole.mask, larger, size)
        shown = np.where(missing[..., None], detailed, np.asarray(to_image(sharp[0])))
        region = (grow(found.face_region) > 0.5)[0, 0].cpu().numpy()
        return Image.fromarray(borrow_texture(shown, missing, region, *face.texture, times=times)), larger

    def _fields(self, faces):
        found = [face.found for face in faces]
        return {
            "confidence": [(x.confidence * (1 - x.half_mask))[0, 0].float().cpu().numpy() for x in found],
            "stages": [
                tuple(
                    self._edited(face, image)
                    for image in (
                        to_image(face.found.warped[0]),
                        to_image(face.found.stage1[0]),
                        face.output,
                    )
                )
                for face in faces
            ],
            "mask_fraction": float(faces[0].whole.mask.mean()),
            "mask": faces[0].whole.mask,
        }


def _automatic_mask(photo, kinds, options):
    """What hides the chosen faces of a photo (`facesym.faces.load.Photo`): HxW bool."""
    size = occlusion_network().config.input_size
    _, chosen, transforms = find_faces(photo.image, options.faces, size, aligned=options.aligned)
    return hidden_mask(photo.image, [transforms[i] for i in chosen], kinds)


def _touched(chosen, own):
    """Those of the chosen faces (indices) that have a part in the mask.

    Args:
        own: HxW bool for each face: its part.

    Raises:
        ImageError: none has.
    """
    touched = [i for i, part in enumerate(own) if part.any()]
    kept = [i for i in chosen if i in touched]
    if kept:
        return kept
    if touched:
        numbers = " or ".join(f"faces={i}" for i in touched)
        raise ImageError(f'The mask does not touch the chosen face: try {numbers}, or faces="all".')
    raise ImageError(
        "The mask does not touch any face: paint over the part of the face that is to be filled in."
    )


def _parts(mask, transforms, size):
    """The part of the mask that belongs to each face (HxW bool): in its square, and nearer to it than to others.

    Nearness counts in crops, so that a large face in front has a larger reach than a small one behind it.
    """
    ys, xs = np.nonzero(mask)
    coordinates = np.stack([xs, ys, np.ones_like(xs)]).astype(np.float64)
    distance = [np.linalg.norm(t @ coordinates - (size - 1) / 2, axis=0) for t in transforms]
    nearest = np.argmin(distance, axis=0)
    parts = []
    for i, transform in enumerate(transforms):
        part = np.zeros_like(mask)
        part[ys[nearest == i], xs[nearest == i]] = True
        parts.append(part & inside_square(transform, size, mask.shape))
    return parts
