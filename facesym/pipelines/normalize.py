"""Make a face frontal and neutral: photo in, face out."""

from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image

from ..errors import ImageError
from ..faces.landmarks import find_points
from ..faces.pose import head_pose
from .base import FaceJob, Pipeline, Result, to_image, to_tensor

TURNED = 45  # degrees of yaw beyond which no model was trained
MOST_FRAMES = 100  # of a walk
FRONTAL = 15  # degrees of yaw up to which a frontal face fits on the head in the photo


@dataclass(kw_only=True, repr=False)
class NormalizeResult(Result):
    """What `NormalizePipeline` returns. The fields are lists, one entry a face.

    Attributes:
        walk: lists of RGB images, aligned crops, evenly on the way from the face as it is to the frontal, neutral one;
            empty unless asked for. With a net that does not copy from the photo: the paper's walk between the latents
            of the face and of its result, all of which are drawn frontal.
        yaw: of the head in the photo, degrees; negative when the nose points to the picture's left.
        crop: RGB images, the aligned crops that were worked on, as large as the results.
    """

    walk: list[list[Image.Image]]
    yaw: list[float]
    crop: list[Image.Image]


@dataclass(kw_only=True)
class NormalizeJob(FaceJob):
    """A face on its way. ``small``: RGB, the crop at the net's size. ``yaw``: degrees. ``walk``: see the result."""

    small: Image.Image
    yaw: float
    walk: list = field(default_factory=list)


class NormalizePipeline(Pipeline):
    """Runs a NormalizedFaceGAN on photos; made by ``facesym.load("normalize")``.

    Args:
        net: facesym.models.NormalizedFaceGAN, in eval mode.
    """

    task = "normalize"
    result = NormalizeResult

    @property
    def size(self):
        return self.net.size

    def __call__(self, image, *, faces="largest", paste=False, aligned=False, walk=0):
        """Make the face in a photo frontal and neutral.

        Args:
            image: the photo: a path, PIL image or HxWx3 uint8 array (see `facesym.faces.load.load_image`).
            faces: "largest", "all", or an index from left to right.
            paste: True lays the face over the photo, which suits heads that are not turned; False returns the aligned
                crop, a picture of its own.
            aligned: the picture is an aligned square crop already; no face is looked for.
            walk: also return so many pictures on the way from the face as it is.

        Returns:
            NormalizeResult. With a net that copies from the photo a crop has up to four times the net's size, if the
            photo shows the face so large.

        Raises:
            ImageError: the picture cannot be read, or ``walk`` makes no sense.
            FaceNotFoundError: no face, or not the one asked for.
        """
        if not isinstance(walk, int) or walk not in (0, *range(2, MOST_FRAMES + 1)):
            raise ImageError(f"walk must be 0, or a whole number from 2 to {MOST_FRAMES}.")
        return self._process(image, faces=faces, paste=paste, aligned=aligned, walk=walk)

    def _align(self, job, index, options):
        small, crop, transform = self._cut(job, index)
        yaw, _ = head_pose(find_points(small))
        face = NormalizeJob(transform, crop, small=small, yaw=yaw)
        if abs(yaw) > TURNED:
            face.notes.append(
                f"The head is turned by about {abs(yaw):.0f} degrees: beyond {TURNED} half of the face is a guess."
            )
        if options.paste and abs(yaw) > FRONTAL:
            face.notes.append(
                f"The head is turned by about {abs(yaw):.0f} degrees: a frontal face does not fit on it."
            )
        return face

    def _run(self, faces, options):
        for face in faces:
            (face.output,) = self.run(face.small, face.crop, face.yaw)
            if options.walk:
                face.walk = self.run(face.small, face.crop, face.yaw, np.linspace(0, 1, options.walk))

    def _fields(self, faces):
        return {
            "walk": [face.walk for face in faces],
            "yaw": [round(face.yaw, 2) for face in faces],
            "crop": [face.crop for face in faces],
        }

    @torch.inference_mode()
    def run(self, crop, larger, yaw, shares=None):
        """The net on one aligned crop.

        Args:
            crop: RGB, of the net's size.
            larger: RGB, the same crop with more pixels, which are copied; or ``crop`` itself.
            yaw: of the head, degrees: the net wants the side that is turned away at the right.
            shares: of the walk, each in [0, 1]; None: the result alone.

        Returns:
            A list of RGB images of ``larger``'s size.
        """
        net = self.net
        small, large = to_tensor(crop, net), to_tensor(larger, net)
        if net.config.channels == 1:
            small, large = small.mean(1, keepdim=True), large.mean(1, keepdim=True)
        if yaw < 0:
            small, large = small.flip(-1), large.flip(-1)
        read = net.passes(small)
        if shares is None or net.config.copy:
            made = [self.compose(read, large, float(share)) for share in ([1] if shares is None else shares)]
        else:
            z = read[0][0]
            last = net.encode(net.decode(z, small).image.to(net.dtype))
            made = [net.decode(z + float(share) * (last - z), small).image for share in shares]
        made = torch.cat(made)
        made = made.flip(-1) if yaw < 0 else made
        return [to_image(picture) for picture in made.expand(-1, 3, -1, -1)]

    def compose(self, read, image, share):
        """The picture of each pass in turn, on the result before: so far (`NormalizedFaceGAN.compose`) on the way."""
        for each in read:
            image = self.net.render(each, image, share).image
        return image
