"""One pipeline per task, and `load`, which returns the pipeline of a model."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Literal, Unpack, overload

from ..device import check_exported
from ..errors import ZooError
from ..hub import HubOptions

if TYPE_CHECKING:
    import torch

    from .base import Pipeline
    from .complete import CompletePipeline
    from .normalize import NormalizePipeline
    from .rotate import RotatePipeline
    from .symmetrize import SymmetrizePipeline
    from .transfer import TransferPipeline

    Device = str | torch.device
    DType = torch.dtype | None

__all__ = [
    "CompletePipeline",
    "NormalizePipeline",
    "RotatePipeline",
    "SymmetrizePipeline",
    "TransferPipeline",
    "load",
]

# The class of the network determines its pipeline.
_PIPELINES = {
    "AttributeGenerator": ("transfer", "TransferPipeline"),
    "NormalizedFaceGAN": ("normalize", "NormalizePipeline"),
    "SymmFCNet": ("complete", "CompletePipeline"),
    "SymmetricGenerator": ("rotate", "RotatePipeline"),
    "SymmetrizerVAE": ("symmetrize", "SymmetrizePipeline"),
}


if not TYPE_CHECKING:  # it would make every name an attribute

    def __getattr__(name):
        for module, pipeline in _PIPELINES.values():
            if name == pipeline:
                return getattr(import_module(f".{module}", __name__), pipeline)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


@overload
def load(
    name: Literal["complete"],
    *,
    device: Device = ...,
    dtype: DType = ...,
    backend: str | None = ...,
    **hub: Unpack[HubOptions],
) -> CompletePipeline: ...
@overload
def load(
    name: Literal["symmetrize"],
    *,
    device: Device = ...,
    dtype: DType = ...,
    backend: str | None = ...,
    **hub: Unpack[HubOptions],
) -> SymmetrizePipeline: ...
@overload
def load(
    name: Literal["rotate"],
    *,
    device: Device = ...,
    dtype: DType = ...,
    backend: str | None = ...,
    **hub: Unpack[HubOptions],
) -> RotatePipeline: ...
@overload
def load(
    name: Literal["normalize"],
    *,
    device: Device = ...,
    dtype: DType = ...,
    backend: str | None = ...,
    **hub: Unpack[HubOptions],
) -> NormalizePipeline: ...
@overload
def load(
    name: Literal["transfer"],
    *,
    device: Device = ...,
    dtype: DType = ...,
    backend: str | None = ...,
    **hub: Unpack[HubOptions],
) -> TransferPipeline: ...
@overload
def load(
    name: str | os.PathLike,
    *,
    device: Device = ...,
    dtype: DType = ...,
    backend: str | None = ...,
    **hub: Unpack[HubOptions],
) -> Pipeline: ...
def load(
    name: str | os.PathLike,
    *,
    device: Device = "cpu",
    dtype: DType = None,
    backend: str | None = None,
    **hub: Unpack[HubOptions],
) -> Pipeline:
    """Load a pipeline.

    Args:
        name: a task ("complete"), a zoo id ("symmfc-256"), a local model folder, or a Hub repository "owner/name".
        device: device to run on, e.g. "cuda".
        dtype: type of the weights, e.g. torch.bfloat16; default float32.
        backend: "torch"; "onnx", which runs a network exported by `facesym export`, on the CPU and without torch; or
            "onnx-fp16", half the size, or "onnx-int8", faster for "complete". Default: torch if it is installed.
        hub: ``subfolder``, ``revision``, ``token``, ``cache_dir``, ``local_files_only``, ``force_download``: see
            `facesym.hub.HubOptions`.

    Raises:
        ZooError: the name is unknown, the weights are missing or altered, or no pipeline runs this network.
        DeviceError: the device is unavailable, or the type is not one of floating point.
    """
    from .. import onnx, zoo

    backend = backend or onnx.backend()
    if backend not in onnx.BACKENDS:
        raise ZooError(f"There is no backend {backend!r}: use one of {', '.join(onnx.BACKENDS)}.")
    if backend == "torch":
        net = zoo.load(name, device=device, dtype=dtype, **hub)
        kind = type(net).__name__
    else:
        check_exported(device, dtype)
        kind = onnx.find_entry(name)["class"]
        if kind == "SymmetricGenerator":
            raise ZooError('rotate fits its generator to the photo and needs torch: use backend="torch".')
        net = onnx.load(name, backend, **hub)
    if kind not in _PIPELINES:
        raise ZooError(f"{name} is a {kind}, which has no pipeline: use facesym.zoo.load({str(name)!r}).")
    module, pipeline = _PIPELINES[kind]
    return getattr(import_module(f".{module}", __name__), pipeline)(net)
