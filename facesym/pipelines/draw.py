"""Run an AttributeGenerator on faces, with torch or as an exported network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..faces.geometry import heat_map
from ..onnx import OnnxNet
from .crops import one_of, to_batch, to_tensor


def draw(
    net: Any,
    faces: Sequence[Any],
    steps: Sequence[np.ndarray],
    larger: bool = False,
    copied: bool = False,
) -> tuple[Any, list]:
    """Run the network on faces once or several times; each further run takes the output of the previous one.

    Args:
        net: facesym.models.AttributeGenerator, or an OnnxNet of one.
        faces: B `facesym.pipelines.transfer.TransferJob`.
        steps: the attributes y of each run, BxA.
        larger: also render the faces' crops.
        copied: render the crops by copying alone, without synthesized pixels; for networks with ``copy``.

    Returns:
        The images at the network's size, Bx3xSxS in [-1, 1]; and the rendered crop of each face, 1x3xHxW (empty
        without ``larger``).
    """
    points = np.stack([face.small_points for face in faces]).astype(np.float32)
    if isinstance(net, OnnxNet):
        outputs = [
            _exported(net, face, points[i], larger, copied, [y[i : i + 1] for y in steps])
            for i, face in enumerate(faces)
        ]
        return np.concatenate([small for small, _ in outputs]), [crop for _, crop in outputs if larger]
    import torch

    small = to_batch([face.small for face in faces], net)
    condition = heat_map(torch.from_numpy(points).to(net.device), net.config.input_size)
    # In float32, whatever the network's type, so that copied pixels keep their colours.
    crops = [to_tensor(face.crop, net, torch.float32) for face in faces if larger]
    for y in steps:
        wanted = torch.tensor(y, dtype=torch.float32, device=net.device)
        predictions = net.predict(net.encode(small, condition.to(net.dtype)), wanted)
        rendered = [net.render(one_of(predictions, i), x) for i, x in enumerate(crops)]
        crops = [output.copied if copied else output.image for output in rendered]
        seen = net.render(predictions, small)
        small, condition = seen.image.to(net.dtype), seen.condition
    return small, crops


def _exported(net, face, points, larger, copied, steps):
    """Run an exported network on one face (crops may differ in size); see `draw`."""
    small = to_tensor(face.small, net)
    image = to_tensor(face.crop, net) if larger else small
    condition = heat_map(points[None], net.config.input_size)
    for y in steps:
        out = net(small, condition, y, image)
        small, condition = out.changed, out.changed_condition
        image = out.copied_larger if copied else out.changed_larger
    return small, image
