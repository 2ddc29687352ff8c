"""From photo to photo: one pipeline per task, and `load`, which finds the one that a model belongs to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Unpack

from ..errors import ZooError
from ..hub import HubOptions

if TYPE_CHECKING:
    import torch

    from .base import Pipeline

# The class of the network says which pipeline runs it.
_PIPELINES = {
    "AttributeGenerator": ("transfer", "TransferPipeline"),
    "NormalizedFaceGAN": ("normalize", "NormalizePipeline"),
    "SymmFCNet": ("complete", "CompletePipeline"),
    "SymmetricGenerator": ("rotate", "RotatePipeline"),
    "SymmetrizerVAE": ("symmetrize", "SymmetrizePipeline"),
}


def load(
    name: str | os.PathLike,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    **hub: Unpack[HubOptions],
) -> Pipeline:
    """A pipeline, ready to be called.

    Args:
        name: a task ("complete"), a zoo id ("symmfc-256"), a local model folder, or a Hub repository "owner/name".
        device: where the network runs, e.g. "cuda".
        dtype: type of its weights, e.g. torch.bfloat16; default float32.
        hub: ``subfolder``, ``revision``, ``token``, ``cache_dir``, ``local_files_only``, ``force_download``: see
            `facesym.hub.HubOptions`.

    Raises:
        ZooError: nothing of that name, its weights are missing or altered, or no pipeline runs this network.
        DeviceError: no such device on this machine.
    """
    from importlib import import_module

    from .. import zoo

    net = zoo.load(name, device=device, dtype=dtype, **hub)
    kind = type(net).__name__
    if kind not in _PIPELINES:
        raise ZooError(
            f"{name} is a {kind}, which has no pipeline of its own: use facesym.zoo.load({str(name)!r})."
        )
    module, pipeline = _PIPELINES[kind]
    return getattr(import_module(f".{module}", __name__), pipeline)(net)
