"""Run an AttributeGenerator on faces, with torch or as an exported network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..faces.geometry import heat_map
from ..onnx import OnnxNet
from .crops import one_of, to_array, to_batch, to_tensor


def draw(
    net: Any,
    faces: Sequence[Any],
    steps: Sequence[np.ndarray],
    larger: bool = False,
) -> tuple[Any, list]:
    """Run the network on faces once or several times; each further run takes the output of the previous one.

    Args:
        net: facesym.models.AttributeGenerator, or an OnnxNet of one.
        faces: B `facesym.pipelines.transfer.TransferJob`.
        steps: the attributes y of each run, BxA.
        larger: also render the faces' crops.

    Returns:
        The images at the network's size, Bx3xSxS in [-1, 1]; and the rendered crop of each face, 1x3xHxW (empty
        without ``larger``).
    """
    if isinstance(net, OnnxNet):
        outputs = [
            _exported(net, face, [y[i : i + 1] for y in steps], face.crop if larger else face.small)
            for i, face in enumerate(faces)
        ]
        return np.concatenate([small for small, _ in outputs]), [crop for _, crop in outputs if larger]
    runs, crops = list(_runs(net, faces, steps)), [_in_float32(face.crop, net) for face in faces if larger]
    for predictions, _ in runs:
        crops = [net.render(one_of(predictions, i), x).image for i, x in enumerate(crops)]
    return runs[-1][1], crops


def copy_images(
    net: Any, face: Any, steps: Sequence[np.ndarray], images: Sequence[Image.Image]
) -> list[np.ndarray]:
    """Copy the pixels of images to where the network moves those of a face's crop, without synthesized ones.

    Args:
        net: with ``copy``; see `draw`.
        face: a `facesym.pipelines.transfer.TransferJob`.
        steps: the attributes y of each run, 1xA.
        images: RGB, of the size of the face's crop.

    Returns:
        3xHxW float32 in [-1, 1] for each image.
    """
    if isinstance(net, OnnxNet):
        return [_exported(net, face, steps, image, "copied_larger")[1][0] for image in images]
    copied = [_in_float32(image, net) for image in images]
    for predictions, _ in _runs(net, [face], steps):
        copied = [net.render(predictions, x).copied for x in copied]
    return [to_array(x)[0] for x in copied]


def _in_float32(crop, net):
    """Convert a crop; in float32, whatever the network's type, so that copied pixels keep their colours."""
    import torch

    return to_tensor(crop, net, torch.float32)


def _runs(net, faces, steps):
    """Run the network in torch. Yields the predictions of each run and the images at the network's size."""
    import torch

    points = torch.from_numpy(np.stack([face.small_points for face in faces]).astype(np.float32))
    small = to_batch([face.small for face in faces], net)
    condition = heat_map(points.to(net.device), net.config.input_size)
    for y in steps:
        wanted = torch.tensor(y, dtype=torch.float32, device=net.device)
        predictions = net.predict(net.encode(small, condition.to(net.dtype)), wanted)
        seen = net.render(predictions, small)
        small, condition = seen.image.to(net.dtype), seen.condition
        yield predictions, small


def _exported(net, face, steps, image, rendered="changed_larger"):
    """Run an exported network on one face and render an image of its crop's size; see `draw`.

    Args:
        rendered: name of the output that renders the image.
    """
    small, image = to_tensor(face.small, net), to_tensor(image, net)
    condition = heat_map(face.small_points[None].astype(np.float32), net.config.input_size)
    for y in steps:
        out = net(small, condition, y, image)
        small, condition, image = out.changed, out.changed_condition, getattr(out, rendered)
    return small, image
