"""Similarity of faces by the zoo's identity model."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image

from . import zoo
from .faces.pixels import to_input
from .onnx import backend, shared_network

SAME_PERSON = 0.4  # minimum cosine similarity of two faces of the same person


@lru_cache(maxsize=2)
def _network(backend):
    if not any(entry["task"] == "identity" and entry["default"] for entry in zoo.list_models()):
        return None
    return shared_network("identity", backend)


def identity_similarity(before: Sequence[Image.Image], after: Sequence[Image.Image]) -> list[float] | None:
    """Measure the identity similarity of pairs of aligned crops.

    Args:
        before, after: N ≥ 0 RGB images each, square, of any sizes.

    Returns:
        N cosines, 1 = identical; None if the zoo has no identity model.

    Raises:
        ZooError: the network's weights are unavailable.
    """
    net = _network(backend())
    if net is None:
        return None
    if not before:
        return []
    vectors = (_embed_by_torch if backend() == "torch" else _embed)(net, [*before, *after])
    cosines = (vectors[: len(before)] * vectors[len(before) :]).sum(1)
    return [round(float(cosine), 4) for cosine in cosines]


def _embed(net, crops):
    """Compute the identity vectors of crops (RGB images) with an exported network: NxD float32."""
    side = net.config.input_size
    # Pillow's bilinear filter has the antialiasing of torch's.
    small = [crop.resize((side, side), Image.Resampling.BILINEAR) for crop in crops]
    images = to_input(np.stack([np.asarray(crop) for crop in small]))
    return np.concatenate([net(images[i : i + 32]).vector for i in range(0, len(images), 32)])


def _embed_by_torch(net, crops):
    import torch

    with torch.inference_mode():
        images = [net.resized(torch.from_numpy(to_input(np.asarray(crop)[None]))) for crop in crops]
        return torch.cat([net(part) for part in torch.cat(images).split(32)]).numpy()
