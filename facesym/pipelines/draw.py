"""Run an AttributeGenerator on faces, with torch or as an exported network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..faces.geometry import heat_map
from ..onnx import OnnxNet
from .crops import like, one_of, to_batch, to_tensor


def draw(
    net: Any,
    faces: Sequence[Any],
    steps: Sequence[np.ndarray],
    more: Sequence[list[np.ndarray]] | None = None,
) -> tuple[Any, list[list]]:
    """Run the network on faces once or several times; each further run takes the output of the previous one.

    Args:
        net: facesym.models.AttributeGenerator, or an OnnxNet of one.
        faces: B `facesym.pipelines.transfer.TransferJob`.
        steps: the attributes y of each run, BxA.
        more: for each face, a list of 1x3xHxW float32 images to render like its crop; None renders no crops.

    Returns:
        The images at the network's size, Bx3xSxS in [-1, 1]; and for each face a list of its rendered crop and the
        rendered further images (empty if ``more`` is None).
    """
    points = np.stack([face.small_points for face in faces]).astype(np.float32)
    if isinstance(net, OnnxNet):
        others = [None] * len(faces) if more is None else more
        outputs = [
            _exported(net, face, points[i], others[i], [y[i : i + 1] for y in steps])
            for i, face in enumerate(faces)
        ]
        return np.concatenate([small for small, _ in outputs]), [larger for _, larger in outputs]
    import torch

    small = to_batch([face.small for face in faces], net)
    condition = heat_map(torch.from_numpy(points).to(net.device), net.config.input_size)
    larger = []
    for face, others in zip(faces, more or []):
        # In float32, whatever the network's type, so that copied pixels keep their colours.
        crop = to_tensor(face.crop, net, torch.float32)
        larger.append([crop, *(like(crop, other) for other in others)])
    for y in steps:
        wanted = torch.tensor(y, dtype=torch.float32, device=net.device)
        predictions = net.predict(net.encode(small, condition.to(net.dtype)), wanted)
        larger = [
            [net.render(one_of(predictions, i), x).image for x in each] for i, each in enumerate(larger)
        ]
        seen = net.render(predictions, small)
        small, condition = seen.image.to(net.dtype), seen.condition
    return small, larger


def _exported(net, face, points, others, steps):
    """Run an exported network on one face (crops may differ in size); see `draw`."""
    start, rendered = to_tensor(face.small, net), []
    small = start
    for image in [start] if others is None else [to_tensor(face.crop, net), *others]:
        small, condition = start, heat_map(points[None], net.config.input_size)
        for y in steps:
            out = net(small, condition, y, image)
            small, condition, image = out.changed, out.changed_condition, out.changed_larger
        rendered.append(image)
    return small, rendered
