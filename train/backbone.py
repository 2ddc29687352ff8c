"""Frozen networks for losses: VGG16 features, and models from the zoo.

Evaluation reports LPIPS on AlexNet, so training does not optimise the reported measure.
"""

from pathlib import Path

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

from facesym import zoo
from facesym.metrics import import_torchvision

TAPS = {"3": "relu1_2", "8": "relu2_2", "15": "relu3_3"}  # layers of torchvision's VGG16


class VGG16Features(nn.Module):
    """Return relu1_2, relu2_2 and relu3_3 of an image in [-1, 1].

    Args:
        source: "vgg16" to download torchvision's ImageNet weights once, or a safetensors file of them
            (``features.0.weight`` …).
    """

    def __init__(self, source):
        super().__init__()
        torchvision = import_torchvision()
        from torchvision.models.feature_extraction import create_feature_extractor

        with torch.device("meta"):  # without random weights
            layers = torchvision.models.vgg16(init_weights=False).features[:16]
        weights = _weights(source)
        weights = {name: weights[f"features.{name}"].float() for name in layers.state_dict()}
        layers.load_state_dict(weights, assign=True)
        self.layers = create_feature_extractor(layers, TAPS)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None])
        self.requires_grad_(False).eval()

    def forward(self, image):
        return tuple(self.layers(((image + 1) / 2 - self.mean) / self.std).values())


def two_views(images, rng, margin=0.0):
    """Return the backbone's view of images of equal size, of large shapes or of detail: all at half the size, or the
    same window of half the side.

    Args:
        images: of BxCxSxS.
        rng: numpy Generator.
        margin: distance of the window from the edge of the image, as a fraction of the window's side. Losses that count
            only on the face keep their windows near it.
    """
    side = images[0].shape[-1] // 2
    if rng.random() < 0.5:
        return [F.avg_pool2d(x, 2) for x in images]
    edge = int(margin * side)
    top, left = rng.integers(edge, side - edge + 1, 2)
    return [x[..., top : top + side, left : left + side] for x in images]


def _weights(source):
    """Load the weights: {name: tensor}.

    Raises:
        SystemExit: the file does not exist or the download fails.
    """
    if source == "vgg16":
        from torchvision.models import VGG16_Weights

        try:
            return VGG16_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
        except OSError as error:
            raise SystemExit(
                f"--perceptual vgg16: cannot download torchvision's weights ({error}); give a file of them instead"
            ) from error
    try:
        return safetensors.torch.load_file(source)
    except (OSError, safetensors.SafetensorError) as error:
        raise SystemExit(
            f"--perceptual: {source} is neither vgg16 nor a readable safetensors file: {error}"
        ) from error


def load_frozen(run, name, kind, part):
    """Load a frozen network on the run's device.

    Args:
        run: train.common.Run.
        name: a zoo id, a task, or the folder of a model or of a run; None or "none": no network.
        kind: the expected class.
        part: its name in ``--profile``.

    Returns:
        The network, or None.

    Raises:
        SystemExit: the model is of another class.
    """
    if name is None or name == "none":
        return None
    inside = Path(name) / "model"
    net = zoo.load(str(inside if inside.is_dir() else name))
    if not isinstance(net, kind):
        raise SystemExit(f"{name} is a {type(net).__name__}; a {kind.__name__} is needed")
    return run.freeze(net, part)
