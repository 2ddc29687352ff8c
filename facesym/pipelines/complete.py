"""Complete the missing part of a face in a photo."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, overload

import cv2
import numpy as np
from PIL import Image

from ..errors import ImageError
from ..faces import surroundings
from ..faces.align import align_face, finer_transform, warp_mask_to_crop
from ..faces.copied import copied_weight, with_copied_detail
from ..faces.decode import PictureSource
from ..faces.find import check_not_inverted, search_faces, touched_faces
from ..faces.grain import with_grain
from ..faces.load import load_mask, read_photo
from ..faces.occlusion import AUTO, automatic_kinds, find_occlusions
from ..faces.paste import fill_smoothly, inside_square, nearest_face, paste_completion
from ..faces.pose import FARTHEST_YAW, find_points_and_pose, head_pose
from ..faces.texture import borrow_texture, find_texture
from ..onnx import use_backend
from .base import FaceJob, PhotoJob, Pipeline, Result, inference
from .crops import like, to_array, to_batch, to_image
from .notes import mask_notes

# Fields used of facesym.models.SymmFCNetOutput.
USED = ("completed", "warped", "stage1", "flow", "face_region", "half_mask", "confidence")


@dataclass(kw_only=True, repr=False)
class CompleteResult(Result):
    """Result of `CompletePipeline`. The first three fields are lists with one entry per face.

    Attributes:
        confidence: HxW float32 in [0, 1], in the aligned crop: confidence of stage I's copy from the mirrored half; 0
            where nothing was copied.
        stages: tuples of three RGB images, aligned crops: the warped flip, stage I, the final crop.
        covered: what an automatic mask found on the face: {kind, one of `facesym.attributes.OCCLUSIONS`: fraction of
            the face that it covers}; empty with a mask image.
        mask_fraction: fraction of the photo's pixels that are masked.
        mask: HxW bool, the mask of the photo, True = missing; with ``mask="auto"``, the mask that was found.
    """

    confidence: list[np.ndarray]
    stages: list[tuple[Image.Image, Image.Image, Image.Image]]
    covered: list[dict[str, float]]
    mask_fraction: float
    mask: np.ndarray


@dataclass(kw_only=True)
class CompletePhoto(PhotoJob):
    """A photo with its mask.

    Attributes:
        mask: HxW bool, True = missing.
        clean: RGB, the photo with missing pixels filled in smoothly.
        hidden: HxW bool, True = missing or transparent.
        own: HxW bool per face found, its part of the mask inside its aligned crop.
        beyond: {index of a chosen face: HxW bool, its part of the mask outside all crops}.
        cropped: {index of a chosen face: SxS bool, the mask in its crop}.
        covered: {index of a face: what covers it}, see `CompleteResult`.
    """

    mask: np.ndarray
    clean: Image.Image
    hidden: np.ndarray
    own: list[np.ndarray]
    beyond: dict[int, np.ndarray] = field(default_factory=dict)
    cropped: dict[int, np.ndarray] = field(default_factory=dict)
    covered: dict[int, dict[str, float]] = field(default_factory=dict)


@dataclass(kw_only=True)
class CompleteJob(FaceJob):
    """A face being processed. ``points`` are the landmarks of ``clean``.

    Attributes:
        whole: the photo with its mask.
        own, beyond: HxW bool, the face's part of the photo's mask inside and outside the crop.
        clean: RGB crop of the photo with missing pixels filled in smoothly.
        mask: SxS bool, True = missing in the crop.
        covered: see `CompleteResult`.
        network_output: the fields USED of the network's output for this face: CxSxS float32 arrays.
        completed: RGB crop with texture; the output keeps the crop's own pixels outside the mask.
        copied: SxS float32, weight of the detail copied from the mirrored half.
        face: SxS bool, True = face.
        reflection: 2x3, from `facesym.faces.surroundings.fit_reflection`.
        mirrored: 2x3, the transform to the mirror image of the crop.
        around: SxS float32, weight of the mirror image.
        smooth: SxSx3 uint8, the network's output with that detail and those surroundings.
        texture: the matches of `facesym.faces.texture.find_texture` outside the face.
    """

    whole: CompletePhoto
    own: np.ndarray
    beyond: np.ndarray
    clean: Image.Image
    mask: np.ndarray
    covered: dict[str, float]
    network_output: SimpleNamespace | None = None
    completed: Image.Image | None = None
    copied: np.ndarray | None = None
    face: np.ndarray | None = None
    reflection: np.ndarray | None = None
    mirrored: np.ndarray | None = None
    around: np.ndarray | None = None
    smooth: np.ndarray | None = None
    texture: tuple[np.ndarray, np.ndarray] | None = None


class CompletePipeline(Pipeline):
    """Runs a SymmFCNet on photos; made by ``facesym.load("complete")``.

    Args:
        net: facesym.models.SymmFCNet, in eval mode.
    """

    task = "complete"
    result = CompleteResult
    trained_yaw = FARTHEST_YAW
    farthest_yaw = 90.0  # missing pixels are also filled from their surroundings

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
            mask: the mask, of any of these types and of the photo's size, white or True = missing. "auto" finds
                glasses, sunglasses, face masks, objects (hands, microphones …) and damage of old prints;
                "auto:glasses,hair" finds only some of `facesym.attributes.OCCLUSIONS`. For a list of photos, a list of
                masks, or "auto".
            faces: "largest", "all" (every face that the mask touches), or an index from left to right.
            paste: False returns the completed crops instead of the photo.
            aligned: the image is already an aligned square crop; skip face detection.
            batch_size: number of photos, and of faces, that the network processes at a time.
            on_error: "raise", or "skip" photos of a list that fail: their result is None, and a warning gives the
                reason.

        Returns:
            CompleteResult. Pixels outside the mask equal the photo's bit for bit.

        Raises:
            ImageError: an image cannot be read, the sizes differ, the mask is empty, inverted, covers everything, or
                does not touch the face. Its subclass NothingFoundError: an automatic mask found nothing.
            FaceNotFoundError: no face was found, or not the requested one.
        """
        if isinstance(image, list | tuple) and automatic_kinds(mask):
            mask = [mask] * len(image)
        return self._process(
            image, mask, faces=faces, paste=paste, aligned=aligned, batch_size=batch_size, on_error=on_error
        )

    def find_mask(
        self, image: PictureSource, mask: str = AUTO, *, faces: str | int = "largest", aligned: bool = False
    ) -> Image.Image:
        """Find the mask that ``mask="auto"`` would use, to look at it or edit it before completing the photo.

        Args:
            image, faces, aligned: see `__call__`.
            mask: "auto", or "auto:" and names of `facesym.attributes.OCCLUSIONS`, separated by commas.

        Returns:
            Image of mode L and the photo's full size, white = covered.

        Raises:
            ImageError: the photo cannot be read, or a kind does not exist. Its subclass NothingFoundError: nothing was
                found.
            FaceNotFoundError: no face was found, or not the requested one.
        """
        kinds = automatic_kinds(mask)
        if kinds is None:
            raise ImageError(f'mask must be "{AUTO}" or "{AUTO}:KIND,…", not {mask!r}.')
        photo = read_photo(image)
        with use_backend(self.backend):
            found, *_ = find_occlusions(photo, faces, self.size, kinds, aligned=aligned)
        found = Image.fromarray(found * np.uint8(255))
        return (
            found
            if found.size == photo.full_size
            else found.resize(photo.full_size, Image.Resampling.NEAREST)
        )

    def _find(self, image, mask, options):
        photo, kinds = read_photo(image), automatic_kinds(mask)
        covered: list[dict[str, float]] = []
        if kinds:
            mask, covered, found = find_occlusions(
                photo, options.faces, self.size, kinds, aligned=options.aligned
            )
        else:
            mask, found = load_mask(mask, photo.image.size, photo.full_size), None
        if not mask.any():
            raise ImageError("The mask is empty: mark missing pixels in white (or True).")
        if mask.all():
            raise ImageError("The mask covers the whole photo: leave part of the photo visible.")
        # Resampling mixes pixels across the border of the mask: without this, the object that covers the face would
        # tint visible pixels of the crop.
        clean = fill_smoothly(photo.image, mask)
        if found is None:
            found = search_faces(
                photo.image, options.faces, self.size, aligned=options.aligned, mask=mask, uncovered=clean
            )
        _, chosen, transforms, beside = found
        if not kinds:
            check_not_inverted(mask, photo.image, [transforms[i] for i in chosen], self.size)
        hidden = mask if photo.transparent is None else mask | photo.transparent
        job = CompletePhoto(photo, *found[:3], mask=mask, clean=clean, hidden=hidden, own=[mask])
        job.others = beside if kinds else 0  # a mask image tells which faces to complete
        job.covered = dict(zip(chosen, covered))
        if not options.aligned:
            nearest = nearest_face(mask, transforms, self.size)
            squares = (inside_square(transform, self.size, mask.shape) for transform in transforms)
            job.own = [(nearest == i) & square for i, square in enumerate(squares)]
            job.chosen = touched_faces(chosen, job.own)
        own = np.any(job.own, axis=0)
        others = own & ~np.any([job.own[i] for i in job.chosen], axis=0)
        self._leave_covered(job)
        rest = mask & ~own
        nearest = nearest_face(rest, [transforms[i] for i in job.chosen], self.size)
        job.beyond = {i: nearest == k for k, i in enumerate(job.chosen)}
        job.notes += mask_notes(mask, rest & options.paste, others)
        return job

    def _leave_covered(self, job):
        """Leave out chosen faces of which the mask leaves nothing visible.

        Raises:
            ImageError: no face is left.
        """
        job.cropped = {i: warp_mask_to_crop(job.mask, job.transforms[i], self.size) for i in job.chosen}
        covered = [i for i, mask in job.cropped.items() if mask.all()]
        job.chosen = [i for i in job.chosen if i not in covered]
        if covered and not job.chosen:
            raise ImageError("The mask covers the whole face: leave part of the face visible.")
        if covered:
            are = "faces are" if len(covered) > 1 else "face is"
            job.notes.append(f"{len(covered)} {are} covered entirely by the mask and not completed.")

    def _align(self, job, index, options):
        transform = job.transforms[index]
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
            beyond=job.beyond[index],
            clean=clean,
            mask=job.cropped[index],
            covered=job.covered.get(index, {}),
        )

    @inference
    def _run(self, faces, options):
        images = to_batch([face.clean for face in faces], self.net)
        out = self.net(images, like(images, ~np.stack([face.mask for face in faces])[:, None]))
        fields = {name: to_array(getattr(out, name)) for name in USED}
        for i, face in enumerate(faces):
            face.network_output = SimpleNamespace(**{name: values[i] for name, values in fields.items()})
            face.face = face.network_output.face_region[0] > 0.5
            self._copy_mirrored(face)
            face.texture = find_texture(face.smooth, face.mask, face.face)
            textured = borrow_texture(face.smooth, face.mask, face.face, *face.texture)
            face.completed = Image.fromarray(with_grain(textured, face.mask, face.face))
            # The network's mask is dilated by a pixel: restore the visible pixels there.
            touched = warp_mask_to_crop(face.whole.mask, face.transform, self.size, margin=0)
            face.output = paste_completion(face.crop, face.completed, np.eye(2, 3), touched)

    @staticmethod
    def _copy_mirrored(face):
        """Add the detail and the surroundings of the mirrored half to the network's output."""
        net, output = face.network_output, np.asarray(to_image(face.network_output.completed))
        copy = np.asarray(to_image(net.warped))
        trust = (net.confidence * (1 - net.half_mask))[0]
        yaw, _ = head_pose(face.points)
        face.copied = copied_weight(output, copy, trust, face.mask, yaw)
        face.reflection = surroundings.fit_reflection(net.flow, face.face, face.mask)
        face.mirrored = surroundings.mirrored_transform(face.reflection, face.transform)
        shown = surroundings.shown_in_mirror(face.whole.hidden, face.mirrored, len(face.mask))
        face.around = surroundings.mirrored_weight(face.reflection, shown, face.face, face.mask, face.yaw)
        detailed = with_copied_detail(output, copy, face.copied)
        face.smooth = surroundings.with_surroundings(detailed, face.whole.clean, face.mirrored, face.around)

    def _paste_all(self, job, faces):
        """Paste the completed crops; fill the rest of the mask from the mirror image and smoothly."""
        image, beyond = super()._paste_all(job, faces), [face.beyond for face in faces]
        if not np.any(beyond):
            return image
        rest = job.mask & ~np.any([face.own for face in faces], axis=0)
        for face in faces:
            image, filled = surroundings.mirror_beyond(
                image, job.hidden, face.beyond, face.reflection, face.transform, self.size, face.yaw
            )
            rest &= ~filled
        image.paste(fill_smoothly(image, rest), mask=Image.fromarray(rest & np.any(beyond, axis=0)))
        return image

    def _paste(self, photo, face):
        crop, transform = self._detailed(face) or (face.completed, face.transform)
        return paste_completion(photo, crop, transform, face.whole.mask, face.own)

    def _detailed(self, face):
        """Complete a larger crop with fine detail if the photo's resolution exceeds the network's.

        The flow is smooth, so the flow at the network's size also applies to the photo's pixels: where the confidence
        is high, detail is copied from the mirrored half of a larger crop. Patches that match at the network's size also
        match in the photo: outside the face, texture is copied from the photo's pixels at those coordinates.

        Returns:
            RGB crop, K·S x K·S with an integer K ≥ 2, and its transform; None if K would be 1.
        """
        larger, size = finer_transform(face.transform, self.size)
        times, net = size // self.size, face.network_output
        if times < 2:
            return None
        sharp = np.asarray(align_face(face.whole.clean, larger, size))

        def grow(x, kind=cv2.INTER_LINEAR):
            return cv2.resize(x, (size, size), interpolation=kind)

        x, y = cv2.split(((grow(net.flow.transpose(1, 2, 0)) + 1) * size - 1) / 2)
        mirrored = np.ascontiguousarray(sharp[:, ::-1])
        copied = cv2.remap(mirrored, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        output = grow(np.asarray(face.smooth), cv2.INTER_CUBIC)
        weight = grow(face.copied)
        detailed = with_copied_detail(output, copied, weight)
        detailed = surroundings.with_surroundings(detailed, face.whole.clean, face.mirrored, face.around)
        # Keep the photo's own visible pixels, the source of the texture.
        missing = warp_mask_to_crop(face.whole.mask, larger, size)
        shown = np.where(missing[..., None], detailed, sharp)
        region = grow(net.face_region[0]) > 0.5
        textured = borrow_texture(shown, missing, region, *face.texture, times=times)
        return Image.fromarray(with_grain(textured, missing, region)), larger

    def _uncovered(self, job):
        return job.clean

    def _fields(self, faces):
        outputs = [face.network_output for face in faces]
        return {
            "confidence": [(x.confidence * (1 - x.half_mask))[0] for x in outputs],
            "stages": [
                tuple(
                    self._edited(face, image)
                    for image in (
                        to_image(face.network_output.warped),
                        to_image(face.network_output.stage1),
                        face.output,
                    )
                )
                for face in faces
            ],
            "covered": [face.covered for face in faces],
            "mask_fraction": float(faces[0].whole.mask.mean()),
            "mask": faces[0].whole.mask,
        }
