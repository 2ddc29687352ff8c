"""The graph that is exported for each class of network: named input and output tensors, and the function between them.

A graph returns only the outputs that the pipelines use. S is the network's ``input_size``, B the batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn

from ..errors import ZooError
from ..faces.geometry import heat_map
from ..pipelines.crops import to_batch


class Graph(NamedTuple):
    """Exported graph of a class of network.

    Attributes:
        inputs: names of the inputs.
        outputs: names of the outputs.
        run: called with (network, *inputs); returns a tuple of the outputs.
        sample: called with (network, Bx3xSxS crops in [-1, 1]); returns a tuple of example inputs.
        dynamic: {input: its dynamic dimensions besides the batch}.
        unbatched: inputs without a batch dimension.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    run: Callable[..., tuple[Tensor, ...]]
    sample: Callable[[Any, Tensor], tuple[Tensor, ...]]
    dynamic: dict[str, tuple[int, ...]] | None = None
    unbatched: tuple[str, ...] = ()


class GraphModule(nn.Module):
    """The graph of a network as a module, which exporters require.

    Args:
        net: a network of facesym.models, in eval mode.

    Raises:
        ZooError: networks of this class cannot be exported.
    """

    def __init__(self, net: Any):
        super().__init__()
        kind = type(net).__name__
        if kind not in GRAPHS:
            raise ZooError(f"A {kind} cannot be exported; {', '.join(sorted(GRAPHS))} can.")
        self.net, self.graph = net, GRAPHS[kind]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.graph.run(self.net, *inputs)

    def sample(self, crops: Sequence[Image.Image], side: int) -> tuple[Tensor, ...]:
        """Return example inputs.

        Args:
            crops: aligned crops, RGB images of any size.
            side: S, the input size of the network in pixels.
        """
        faces = [crop.resize((side, side), Image.Resampling.LANCZOS) for crop in crops]
        return self.graph.sample(self.net, to_batch(faces, self.net))


def _symmetrize(net, image):
    out = net(image, exact=True)
    return out.face, out.picture, out.region


def _complete(net, image, mask):
    out = net(image, mask)
    return out.completed, out.warped, out.stage1, out.flow, out.face_region, out.half_mask, out.confidence


def _normalize(net, image, larger, fraction):
    predictions = net.predict(net.encode(image))
    return net.render(predictions, image).image, net.render(predictions, larger, fraction).image


def _transfer(net, image, condition, attributes, larger):
    predictions = net.predict(net.encode(image, condition), attributes)
    small, changed = net.render(predictions, image), net.render(predictions, larger)
    copied = changed.image if changed.copied is None else changed.copied
    return small.image, small.condition, changed.image, copied


def _twice_as_large(image):
    larger = nn.functional.interpolate(image, scale_factor=2.0, mode="bicubic", align_corners=False)
    return larger.clamp(-1, 1)


def _masked(net, image):
    mask = torch.ones_like(image[:, :1])
    side = image.shape[-1]
    mask[..., side // 3 : side // 2, : side // 2] = 0  # the eye on the image's left
    return image, mask


def _attributes(net, image):
    from ..faces.landmarks import find_points
    from ..pipelines.crops import to_image

    points = torch.stack([torch.from_numpy(find_points(to_image(face))) for face in image])
    wanted = {group: names[-1] for group, names in net.groups.items()}
    condition = heat_map(points, image.shape[-1])
    return image, condition, net.attributes(wanted, len(image)), _twice_as_large(image)


def _latents(net, image):
    return (net.sample(len(image), torch.Generator().manual_seed(0)),)


def _itself(net, image):
    return (image,)


GRAPHS = {
    "AttributeGenerator": Graph(
        ("image", "condition", "attributes", "larger"),
        ("changed", "changed_condition", "changed_larger", "copied_larger"),
        _transfer,
        _attributes,
        dynamic={"larger": (2, 3)},
    ),
    "FaceParser": Graph(("image",), ("logits",), lambda net, image: (net(image),), _itself),
    "LandmarkNet": Graph(
        ("image",), ("points", "pose"), lambda net, image: (net(image), net.pose(image)), _itself
    ),
    "LightCNN": Graph(("image",), ("vector",), lambda net, image: (net(image),), _itself),
    "NormalizedFaceGAN": Graph(
        ("image", "larger", "fraction"),
        ("normalized", "normalized_larger"),
        _normalize,
        lambda net, image: (image, _twice_as_large(image), torch.tensor(0.8)),
        dynamic={"larger": (2, 3)},
        unbatched=("fraction",),
    ),
    "MouthRefiner": Graph(("image",), ("refined",), lambda net, image: (net(image),), _itself),
    "OcclusionNet": Graph(("image",), ("logits",), lambda net, image: (net(image),), _itself),
    "SymmFCNet": Graph(
        ("image", "mask"),
        ("completed", "warped", "stage1", "flow", "face_region", "half_mask", "confidence"),
        _complete,
        _masked,
    ),
    "SymmetricEncoder": Graph(("image",), ("normal",), lambda net, image: (net(image),), _itself),
    "SymmetricGenerator": Graph(("latent",), ("image",), lambda net, latent: (net(latent),), _latents),
    "SymmetrizerVAE": Graph(("image",), ("face", "picture", "region"), _symmetrize, _itself),
}
