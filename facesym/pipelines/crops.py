"""Conversion between RGB crops and the inputs and outputs of networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..faces.pixels import to_uint8
from ..onnx import OnnxNet

if TYPE_CHECKING:
    import torch


def to_tensor(crop: Image.Image, net: Any, dtype: torch.dtype | None = None) -> Any:
    """Convert an RGB crop to the input of a network.

    Args:
        crop: RGB image, SxS.
        net: a facesym model, or an OnnxNet.
        dtype: type of the tensor; default: the network's.

    Returns:
        1x3xSxS in [-1, 1], a tensor on the network's device or, for an OnnxNet, a float32 array.
    """
    if isinstance(net, OnnxNet):
        return np.asarray(crop).transpose(2, 0, 1)[None] / np.float32(127.5) - 1
    import torch

    pixels = torch.from_numpy(np.array(crop)).permute(2, 0, 1)[None]
    return (pixels.float() / 127.5 - 1).to(net.device, dtype or net.dtype)


def to_batch(crops: Sequence[Image.Image], net: Any) -> Any:
    """Convert RGB crops of one size to Bx3xSxS; see `to_tensor`."""
    parts = [to_tensor(crop, net) for crop in crops]
    if isinstance(net, OnnxNet):
        return np.concatenate(parts)
    import torch

    return torch.cat(parts)


def like(images: Any, values: np.ndarray) -> Any:
    """Convert an array to the type and device of ``images`` (a tensor or an array)."""
    if isinstance(images, np.ndarray):
        return values.astype(images.dtype)
    import torch

    return torch.from_numpy(values).to(images.device, images.dtype)


def flip(images: Any) -> Any:
    """Mirror images (…xW, a tensor or an array)."""
    return images[..., ::-1] if isinstance(images, np.ndarray) else images.flip(-1)


def to_array(values: Any) -> np.ndarray:
    """Convert a tensor or array to a float32 array."""
    return np.asarray(values if isinstance(values, np.ndarray) else values.float().cpu(), np.float32)


def one_of(batch: Any, i: int) -> Any:
    """Select entry ``i`` of a network's batched output (dataclass, tuple or tensor), as a batch of one."""
    if is_dataclass(batch):
        kind: Any = type(batch)
        return kind(**{each.name: one_of(getattr(batch, each.name), i) for each in fields(batch)})
    if isinstance(batch, SimpleNamespace):
        return SimpleNamespace(**{name: one_of(each, i) for name, each in vars(batch).items()})
    if isinstance(batch, tuple):
        return tuple(one_of(each, i) for each in batch)
    return None if batch is None else batch[i : i + 1]


def to_image(values: Any) -> Image.Image:
    """Convert a 3xHxW tensor or array in [-1, 1] to an RGB image."""
    if isinstance(values, np.ndarray):
        pixels = to_uint8((values + 1) * 127.5)
    else:
        pixels = ((values.float().clamp(-1, 1) + 1) * 127.5).round().byte().cpu().numpy()
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
