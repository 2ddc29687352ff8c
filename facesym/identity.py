"""How alike faces are, by the zoo's identity network."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from PIL import Image


@lru_cache(maxsize=1)
def _network():
    from . import zoo

    if not any(entry["task"] == "identity" and entry["default"] for entry in zoo.list_models()):
        return None
    return zoo.load("identity").to(memory_format=torch.channels_last)


@torch.inference_mode()
def identity_similarity(before: Sequence[Image.Image], after: Sequence[Image.Image]) -> list[float] | None:
    """How alike two lists of aligned crops are, pair by pair.

    Args:
        before, after: RGB images, square, of any sizes.

    Returns:
        Cosines, 1 = the same; None if the zoo has no identity network.

    Raises:
        ZooError: the network's weights are unavailable.
    """
    net = _network()
    if net is None:
        return None
    images = [
        net.resized(torch.from_numpy(np.array(crop)).permute(2, 0, 1)[None].float() / 127.5 - 1)
        for crop in (*before, *after)
    ]
    vectors = torch.cat([net(part) for part in torch.cat(images).split(32)])
    cosines = (vectors[: len(before)] * vectors[len(before) :]).sum(1)
    return [round(float(cosine), 4) for cosine in cosines]
