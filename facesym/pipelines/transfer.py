"""Change the expression, pose or lighting of the face in a photo."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, NamedTuple, overload

import numpy as np
from PIL import Image, ImageOps

from ..attributes import choose, encode, groups_of, list_attributes
from ..errors import ImageError
from ..faces.align import resized_transform
from ..faces.appearance import degrees_of, estimate_attributes
from ..faces.decode import PictureSource
from ..faces.geometry import face_region, flip_landmarks, resized_points
from ..faces.landmarks import find_points
from ..faces.light import LightChange, relight, relight_photo
from ..faces.mouth import finish_mouth
from ..faces.pose import FARTHEST_YAW, find_points_and_pose
from ..faces.save import mark_edited
from .base import FaceJob, Later, Pipeline, Result, inference
from .compose import compose, keep_outside_face
from .crops import to_image
from .draw import draw

TURNED = 8.0  # degrees of yaw from which a head turns to the other side by way of its mirror image
FAR = 18.0  # degrees of a turn from which the background is the photo's
MIRRORED = "The head faced the other way, so its mirror image was turned: left and right are swapped."
KEPT_SMILE = 0.25  # strength with which the network is asked to keep a face's open smile


@dataclass(kw_only=True, repr=False)
class TransferResult(Result):
    """Result of `TransferPipeline`. The fields are lists with one entry per face.

    Attributes:
        attributes: pairs of dicts {group: attribute}, estimated before and after the change; see
            `facesym.faces.appearance.estimate_attributes`.
        grid: dicts {attribute: RGB image, the aligned crop with only that attribute changed}; empty unless requested.
        crop: RGB images, the aligned input crops, at the size of the results.
    """

    attributes: list[tuple[dict[str, str], dict[str, str]]]
    grid: list[dict[str, Image.Image]]
    crop: list[Image.Image]


@dataclass(kw_only=True)
class TransferJob(FaceJob):
    """A face being processed.

    Attributes:
        small: RGB, the crop at the network's size.
        small_points: 68x2, its landmarks.
        unlit: RGB, the output before its light is changed.
        light: the change of light, or None.
        grid: see the result.
        layers: the person's matte and the background behind, kept for several turns; see
            `facesym.pipelines.compose.compose`. None until needed, also after `dataclasses.replace`.
        mirror: the face in the mirror image, kept likewise; see `mirrored`.
    """

    small: Image.Image
    small_points: np.ndarray
    unlit: Image.Image | None = None
    light: LightChange | None = None
    grid: dict = field(default_factory=dict)
    layers: tuple[np.ndarray, np.ndarray] | None = field(default=None, init=False)
    mirror: TransferJob | None = field(default=None, init=False)

    def mirrored(self) -> TransferJob:
        """Return the face in the mirror image, the same one in each call."""
        if self.mirror is None:
            crop, small = (ImageOps.mirror(image) for image in (self.crop, self.small))
            points = flip_landmarks(self.small_points, small.width)
            self.mirror = replace(self, crop=crop, small=small, small_points=points, yaw=-self.yaw)
        return self.mirror


class Edit(NamedTuple):
    """A change of a face: RGB crops with and without its change of light, and that change, if there is one."""

    crop: Image.Image
    unlit: Image.Image
    light: LightChange | None = None


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
            strength: strength of the change, from 0 (none) to 1.5; 1 matches the training data. Up to 1, "happy" leaves
                an open smile unchanged.
            faces: "largest", "all", or an index from left to right.
            paste: True pastes the face into the photo and changes the light of the whole photo; poses cannot be pasted.
                False returns the aligned crop.
            aligned: the image is already an aligned square crop; skip face detection.
            grid: also return an image per attribute, with only that attribute changed.
            batch_size: number of photos, and of faces, that the network processes at a time.
            on_error: "raise", or "skip" photos of a list that fail: their result is None, and a warning gives the
                reason.

        Returns:
            TransferResult. If the network copies from the photo, crops have up to four times the network's size, as far
            as the photo's resolution allows.

        Raises:
            ImageError: the image cannot be read, an attribute or the strength is invalid, or a pose is to be pasted.
            FaceNotFoundError: no face was found, or not the requested one.
        """
        wanted = self.wanted(to)
        if not wanted and not grid:
            raise ImageError(f"Name a target attribute: {list_attributes(self.groups)}.")
        if not isinstance(strength, Real) or not 0 <= strength <= 1.5:
            raise ImageError("strength must be a number from 0 to 1.5.")
        if paste and "pose" in wanted:
            raise ImageError(
                "A turned head does not fit into the photo: leave out paste to get the face alone."
            )
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
        own = resized_points(points, crop.width / small.width)
        return TransferJob(job.photo, transform, crop, yaw, own, small=small, small_points=points)

    def _run(self, faces, options):
        single = {name: {group: name} for group, names in self.groups.items() for name in names}
        ways = [options.wanted, *single.values()] if options.grid else [options.wanted]
        made = self.change(faces, ways, options.strength)
        for face, (edit, *others) in zip(faces, made):
            face.output, face.unlit, face.light = edit.crop, edit.unlit, edit.light
            face.grid = {name: other.crop for name, other in zip(single, others)}
            pose = options.wanted.get("pose") if options.strength > 0 else None
            if pose and _faces_away(face, degrees_of(pose)):
                face.notes.append(MIRRORED)

    def _images(self, job, faces, options):
        """Paste the faces that change in more than light; the light changes in the whole photo."""
        if not options.paste:
            return super()._images(job, faces, options)
        image = job.photo.image
        for face in faces:
            if face.unlit is not face.crop:
                image = self._paste(image, replace(face, output=face.unlit))
        if lit := [face for face in faces if face.light]:
            scales = [len(face.light.local) / face.crop.width for face in lit]
            transforms = [resized_transform(face.transform, scale) for face, scale in zip(lit, scales)]
            image = relight_photo(image, [face.light for face in lit], transforms)
        return [mark_edited(job.photo.restore(image), self.task)]

    def _fields(self, faces):
        crops = [(face.crop, face.output) for face in faces]
        return {
            "attributes": Later(
                lambda: [tuple(estimate_attributes(x, self.groups) for x in pair) for pair in crops]
            ),
            "grid": [{name: self._edited(face, x) for name, x in face.grid.items()} for face in faces],
            "crop": [face.photo.restore_crop(face.crop, face.crop) for face in faces],
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
        if to is not None and not isinstance(to, Iterable):
            raise ImageError(f"to must be the name of an attribute or a list of names, not {to!r}.")
        return choose(self.groups, [to] if isinstance(to, str) else to or [])

    def run(
        self,
        crop: Image.Image,
        larger: Image.Image,
        ways: Sequence[dict[str, str]],
        strength: float | Sequence[float] = 1.0,
    ) -> list[Image.Image]:
        """Run the network on one aligned crop.

        Args:
            crop: RGB, of the network's size.
            larger: RGB, the same crop at a higher resolution, from which pixels are copied; or ``crop`` itself.
            ways: target attributes of each output, as [{group: attribute}].
            strength: strength of the changes, or of each.

        Returns:
            A list of RGB images of ``larger``'s size. If only the expression changes, pixels outside the face do not
            change.
        """
        points, (yaw, _) = find_points_and_pose(crop)
        face = TransferJob(None, None, larger, yaw, small=crop, small_points=points)
        return [edit.crop for edit in self.change([face], ways, strength)[0]]

    @inference
    def change(
        self,
        faces: Sequence[TransferJob],
        ways: Sequence[dict[str, str]],
        strength: float | Sequence[float] = 1.0,
    ) -> list[list[Edit]]:
        """`run` on faces that have been aligned: for each a list of Edit, one per way."""
        made = [[Edit(face.crop, face.crop)] * len(ways) for face in faces]
        strengths = np.broadcast_to(strength, len(ways))
        smiling = self._smiling(faces) if _depend_on_smile(ways, strengths) else [False] * len(faces)
        for smile in sorted(set(smiling)):
            indices = [i for i, each in enumerate(smiling) if each == smile]
            for k, way in enumerate(ways):
                if strengths[k] > 0:
                    edits = self._edit([faces[i] for i in indices], way, float(strengths[k]), smile)
                    for i, edit in zip(indices, edits):
                        made[i][k] = edit
        return made

    def _edit(self, faces, way, strength, smile):
        """Change faces in one way. ``smile``: whether they all smile openly. Returns a list of Edit."""
        light = {group: name for group, name in way.items() if group == "light"}
        rest = {group: name for group, name in way.items() if group != "light"}
        if smile and rest.get("expression") == "happy" and strength <= 1:
            del rest["expression"]
        crops = [face.crop for face in faces]
        if rest:
            crops = self._reshape(faces, rest, strength, smile)
        if not light:
            return [Edit(crop, crop) for crop in crops]
        # A separate step, because the light is applied to the photo's own pixels.
        faces = [self.view(crop) for crop in crops] if rest else faces
        lights = self._light(faces, light, strength, smile)
        return [Edit(relight(crop, each), crop, each) for crop, each in zip(crops, lights)]

    def _smiling(self, faces):
        """Whether each face smiles openly: the network changes it less when asked for "happy" than when asked for
        nothing."""
        if "happy" not in self.groups.get("expression", ()):
            return [False] * len(faces)
        changes = []
        for wanted in ({}, {"expression": "happy"}):
            y = np.array([encode(self.net.config, wanted)] * len(faces))
            drawn, _ = draw(self.net, faces, [y])
            changes.append([_mouth_change(face, to_image(image)) for face, image in zip(faces, drawn)])
        return [happy < nothing for nothing, happy in zip(*changes)]

    def _encoded(self, wanted, strength, smile):
        """y of one face. Asked for nothing, the network closes an open smile halfway, so it is asked to keep it."""
        y = strength * np.array(encode(self.net.config, wanted))
        kept = max(1 - strength, 0) if "expression" in wanted else 1
        if smile and kept:
            y += kept * KEPT_SMILE * np.array(encode(self.net.config, {"expression": "happy"}))
        return y

    def _reshape(self, faces, way, strength, smile):
        """Change expression and pose. Returns RGB crops.

        An expression is applied ``passes`` times. A pose is applied once, because more passes smear the background. A
        head that faces the other side is turned from its mirror image, which shows that side. Far turns leave streaks
        in the background, so the moved person is composed over the photo's own background.
        """
        config, far = self.net.config, [False] * len(faces)
        if "pose" in way:
            goal = degrees_of(way["pose"])
            faces = [face.mirrored() if _faces_away(face, goal) else face for face in faces]
            far = [abs(goal - face.yaw) > FAR for face in faces]
        # In a far turn an open mouth smears.
        steps = [np.stack([self._encoded(way, strength, smile and not each) for each in far])]
        if "expression" in way:
            again = self._encoded({"expression": way["expression"]}, strength, smile)
            steps += [np.stack([again] * len(faces))] * (config.passes - 1)
        _, drawn = draw(self.net, faces, steps, larger=True)
        made, expression = [], way.get("expression")
        for i, (face, away, output) in enumerate(zip(faces, far, drawn)):
            image = to_image(output[0])
            points = resized_points(face.small_points, face.crop.width / config.input_size)
            drawn_points = find_points(image) if away or expression else points
            image = Image.fromarray(finish_mouth(np.asarray(image), drawn_points, expression, away, strength))
            if away and config.copy:
                image = compose(image, drawn_points, self.net, face, [y[i : i + 1] for y in steps], points)
            elif set(way) == {"expression"}:
                image = keep_outside_face(image, drawn_points, face.crop, points)
            made.append(image)
        return made

    def _light(self, faces, light, strength, smile):
        """Returns the LightChange of each face."""
        y = np.stack([self._encoded(light, strength, smile)] * len(faces))
        lit, _ = draw(self.net, faces, [y])
        return [
            LightChange(face.small, to_image(image), face.small_points) for face, image in zip(faces, lit)
        ]

    def view(self, crop: Image.Image) -> TransferJob:
        """The face in an aligned RGB crop, for `change`; its yaw is taken for 0."""
        side = self.net.config.input_size
        small = crop.resize((side, side), Image.Resampling.LANCZOS)
        return TransferJob(None, None, crop, 0.0, small=small, small_points=find_points(small))


def _faces_away(face, goal):
    """Whether a face (TransferJob) is turned to the other side than ``goal``, in degrees of yaw."""
    return goal * face.yaw < -abs(goal) * TURNED


def _depend_on_smile(ways, strengths):
    """Whether a change differs for faces that smile openly: not if it replaces their expression by another."""
    replaced = [
        strength == 0 or (strength >= 1 and way.get("expression", "happy") != "happy")
        for way, strength in zip(ways, strengths)
    ]
    return not all(replaced)


def _mouth_change(face, image):
    """Mean absolute difference below the nose between a face (TransferJob) and another RGB image of it, in [0, 255]."""
    region = face_region(face.small_points, image.width) > 0
    region[: int(face.small_points[33, 1])] = False
    return np.abs(np.asarray(image, np.float32) - np.asarray(face.small, np.float32))[region].mean()
