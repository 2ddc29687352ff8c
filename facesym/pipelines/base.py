"""What the pipelines share: the way from a photo to its aligned faces, and what every result carries."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from PIL import Image

from ..errors import ImageError
from ..faces.align import ffhq_transform, scale_of
from ..faces.detect import Face, detect_faces, select_faces


@dataclass
class Result:
    """What a pipeline returns.

    Attributes:
        images: PIL images: the photo with every result pasted back; or, with ``paste=False``, the aligned crops.
        faces: the faces worked on (box, 5 points, detector score), from left to right; empty with ``aligned=True``.
        identity: similarity of output and input (aligned crops) by the zoo's identity network, one cosine a face
            (1 = the same); None if the zoo has no such network.
    """

    images: list[Image.Image]
    faces: list[Face]
    identity: list[float] | None


def whole_picture_transform(photo, size):
    """The transform of a picture that is an aligned crop already: a change of scale (2x3, pixel centres).

    Raises:
        ImageError: the picture is not square.
    """
    if photo.width != photo.height:
        raise ImageError(
            f"With aligned=True the picture must be a square crop of a face, not {photo.width}x{photo.height}; "
            "leave aligned out, and the face will be found in the photo."
        )
    scale = size / photo.width
    return np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2]])


def find_faces(photo, faces, size, *, aligned=False, uncovered=None):
    """The faces asked for, with their transforms.

    Args:
        photo: RGB image.
        faces: "largest", "all" or an index from left to right.
        size: side of the crops.
        aligned: the photo is one face's crop already; nothing is looked for.
        uncovered: another version of the photo, in which what hides a face is gone: faces that show only there
            count too.

    Returns:
        All faces of the photo from left to right (none if aligned), the indices of those chosen, and one 2x3 transform
        per face.

    Raises:
        FaceNotFoundError: there is no face, or not that one.
        ImageError: aligned, and not square.
    """
    if aligned:
        return [], [0], [whole_picture_transform(photo, size)]
    found = detect_faces(photo)
    if uncovered is not None:
        more = [face for face in detect_faces(uncovered) if not any(_same(face, other) for other in found)]
        found = sorted(found + more, key=lambda face: face.box[0] + face.box[2])
    chosen = select_faces(found, faces)
    indices = [i for i, face in enumerate(found) if any(face is other for other in chosen)]
    return found, indices, [ffhq_transform(face.points, size) for face in found]


def _same(face, other):
    """Whether two boxes are about the same face: the middle of one lies in the other."""
    inside = lambda a, b: all(b.box[k] <= (a.box[k] + a.box[k + 2]) / 2 <= b.box[k + 2] for k in (0, 1))  # noqa: E731
    return inside(face, other) or inside(other, face)


def finer_transform(transform, size, most=4):
    """The same crop with as many pixels as the photo has there: a whole multiple of ``size``, at most ``most``.

    Args:
        transform: 2x3, photo pixel -> pixel of a crop of side ``size``.

    Returns:
        The transform to the larger crop, and its side.
    """
    times = max(1, min(int(1 / scale_of(transform)), most))
    larger = np.array(transform) * times
    # Pixel centres: crop pixel c is pixel times·(c + ½) − ½ of the larger crop.
    larger[:, 2] += (times - 1) / 2
    return larger, times * size


def per_face(values, faces, aligned):
    """A result's field: the list of all faces' values with ``faces="all"``, else the one face's value."""
    return values if faces == "all" and not aligned else values[0]


def to_tensor(crop, net):
    """RGB crop to a 1x3xSxS tensor in [-1, 1] of the network's type, on its device."""
    pixels = torch.from_numpy(np.array(crop, np.float32)).permute(2, 0, 1)[None]
    return (pixels / 127.5 - 1).to(net.device, net.dtype)


def to_image(tensor):
    """A 3xHxW tensor in [-1, 1] to an RGB image."""
    pixels = ((tensor.float().clamp(-1, 1) + 1) * 127.5).round().byte()
    return Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).cpu().numpy()))


@lru_cache(maxsize=1)
def _identity_net():
    from .. import zoo

    if not any(entry["task"] == "identity" and entry["default"] for entry in zoo.list()):
        return None
    return zoo.load("identity")


@torch.inference_mode()
def identity_similarity(before, after):
    """How alike two lists of aligned crops (RGB images) are, pair by pair: cosines; None without a network."""
    net = _identity_net()
    if net is None:
        return None
    # One by one: crops of one photo may differ in size.
    vectors = [torch.cat([net(to_tensor(crop, net)) for crop in crops]) for crops in (before, after)]
    return [round(float(cosine), 4) for cosine in (vectors[0] * vectors[1]).sum(1)]
