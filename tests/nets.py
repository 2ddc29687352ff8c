"""A small network of each class with random weights, and what goes in and comes out."""

import dataclasses
import inspect

import torch

from facesym import models

SETTINGS = {
    "AttributeGenerator": dict(widths=(8, 8, 16, 16, 16), blocks=1, input_size=64),
    "FaceParser": dict(widths=(4, 4, 4), input_size=64),
    "LandmarkNet": dict(width=8, input_size=64),
    "LightCNN": dict(widths=(4, 8, 8, 8), blocks=(0, 0, 0, 0)),
    "MouthRefiner": dict(widths=(4, 8), blocks=1, input_size=32),
    "NormalizedFaceGAN": dict(encoder_widths=(8,) * 5, hidden=16, latent=8, decoder_widths=(8,) * 5),
    "OcclusionNet": dict(widths=(4, 8, 8), input_size=64),
    "SymmetricDiscriminator": dict(size=32, widths=(8, 16)),
    "SymmetricEncoder": dict(size=32, widths=(8, 8)),
    "SymmetricGenerator": dict(first=4, widths=(16, 8, 8), latent=16, asymmetric=4, yaw=True),
    "SymmetrizerVAE": dict(widths=(8, 8, 16, 16), latent=4, fold=2, input_size=128),
}


def small(name):
    """A network in eval mode, the same each time."""
    torch.manual_seed(0)
    cls = getattr(models, name)
    return (cls.preset("tiny", input_size=128) if name == "SymmFCNet" else cls(**SETTINGS[name])).eval()


def inputs(net, batch=2):
    """Random input of a network, {name: tensor}."""
    wanted = inspect.signature(net.forward).parameters
    generator = torch.Generator().manual_seed(0)
    if "z" in wanted:
        return {"z": net.sample(batch, generator)}
    size = net.config.get("input_size") or net.config.get("size") or getattr(net, "size", 128)
    given = {
        "image": torch.rand(batch, net.config.get("channels", 3), size, size, generator=generator) * 2 - 1
    }
    if "mask" in wanted:
        given["mask"] = torch.ones(batch, 1, size, size)
        given["mask"][..., size // 3 : size // 2, size // 3 : size // 2] = 0
    if "condition" in wanted:
        names = {group: attributes[0] for group, attributes in net.groups.items()}
        given["condition"] = torch.rand(batch, 1, size, size, generator=generator)
        given["y"] = net.attributes(names, batch=batch)
    return given


def outputs(output):
    """The tensors of a network's output."""
    if dataclasses.is_dataclass(output):
        output = list(vars(output).values())
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, torch.Tensor):
        output = [output]
    return [tensor for tensor in output if isinstance(tensor, torch.Tensor)]
