"""Exported networks, run by onnxruntime, and which backend runs networks. Nothing here imports torch.

An exported network is looked for in the folder to which `facesym export` writes, then in the local Hub cache and on the
Hub, where its file and checksum are those of the entry's `formats` in zoo.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Unpack

import numpy as np

from . import zoo
from .errors import ZooError
from .files import check_sha256, read_file
from .hub import HubOptions, fetch_file
from .packages import require_packages

FILES = {"onnx": "model.onnx", "onnx-fp16": "model.fp16.onnx", "torch": "model.pt2"}
BACKENDS = ("torch", "onnx", "onnx-fp16")

_backend: ContextVar[str | None] = ContextVar("backend", default=None)


def backend() -> str:
    """What runs the networks of faces (landmarks, identity) now: "torch", "onnx" or "onnx-fp16".

    That of the pipeline at work; else torch where it is installed.
    """
    return _backend.get() or ("torch" if find_spec("torch") else "onnx")


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Run the networks of faces by this backend within the block."""
    token = _backend.set(name)
    try:
        yield
    finally:
        _backend.reset(token)


def folder() -> Path:
    """Where `facesym export` writes: a folder per model, beside the local Hub cache."""
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME) / "facesym"


def load(name: str, format: str = "onnx", **hub: Unpack[HubOptions]) -> OnnxNet:
    """An exported network.

    Args:
        name: a task (its default model) or a zoo id.
        format: "onnx" or "onnx-fp16".
        hub: see `facesym.hub.HubOptions`.

    Raises:
        ZooError: unknown name, or the network has not been exported here and is not on the Hub.
        FacesymError: onnxruntime is not installed.
    """
    require_packages(("onnxruntime",), 'backend="onnx"', "onnx")
    entry = zoo.get(name)
    return OnnxNet(_read(entry, format, hub), entry, format)


def _read(entry: dict[str, Any], format: str, hub: HubOptions) -> bytes:
    """The exported file's content."""
    local = folder() / entry["id"] / FILES[format]
    if local.exists():
        return read_file(local)
    published = entry.get("formats", {}).get(format)
    if published is None or entry["revision"] is None:
        raise ZooError(
            f"{entry['id']} has not been exported on this machine ({local}), nor published in this format on the Hub: "
            f"run `facesym export {entry['id']}` where torch is installed, and copy {folder()} here."
        )
    file = fetch_file(entry["repo_id"], published["file"], **{**hub, "revision": entry["revision"]})
    data = read_file(file)
    check_sha256(file, data, published["sha256"])
    return data


@lru_cache(maxsize=8)
def shared_network(task: str, backend: str) -> Any:
    """The default network of a task that pipelines share (landmarks, identity, mouth, occlusion), loaded once.

    Args:
        task: of zoo.json.
        backend: one of BACKENDS.

    Raises:
        ZooError: the zoo has no such network, or its weights are unavailable.
    """
    if backend != "torch":
        return load(task, backend)
    import torch

    return zoo.load(task).to(memory_format=torch.channels_last)


def run_network(net: Any, images: np.ndarray, output: str) -> np.ndarray:
    """Run a shared network that has one output.

    Args:
        net: see `shared_network`.
        images: Bx3xSxS float32.
        output: name of the output in the exported graph.

    Returns:
        The output, float32.
    """
    if isinstance(net, OnnxNet):
        return getattr(net(images), output)
    import torch

    with torch.inference_mode():
        return net(torch.from_numpy(images).to(net.device, net.dtype)).float().cpu().numpy()


class OnnxNet:
    """An exported network, called with arrays.

    Args:
        data: content of the .onnx file.
        entry: the network's entry in zoo.json.
        format: "onnx" or "onnx-fp16".

    Attributes:
        backend: the format.
        config: the settings of the network, as attributes.
        device: "cpu".
        dtype: float32.

    Raises:
        ZooError: the file is damaged, or was made from other weights than the entry's.
    """

    device, dtype = "cpu", np.dtype(np.float32)

    def __init__(self, data: bytes, entry: dict[str, Any], format: str = "onnx"):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        # Threads that wait by spinning take the cores from others, and from each other where cores are shared.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no common class
            raise ZooError(f"The exported {entry['id']} is damaged: {error} Export it again.") from error
        found = self._session.get_modelmeta().custom_metadata_map
        if found.get("sha256") != entry["sha256"]:
            raise ZooError(
                f"The exported {entry['id']} was made from other weights: run `facesym export {entry['id']}` again."
            )
        self.entry, self.backend = entry, format
        self.config = SimpleNamespace(**json.loads(found["config"]))
        self._inputs = [each.name for each in self._session.get_inputs()]
        self._outputs = [each.name for each in self._session.get_outputs()]

    def num_parameters(self) -> int:
        return self.entry["params"]

    def __call__(self, *inputs: np.ndarray) -> SimpleNamespace:
        """The outputs, by name.

        Args:
            inputs: arrays in the order of the graph's inputs.
        """
        feed = {
            name: np.ascontiguousarray(value, np.float32)
            for name, value in zip(self._inputs, inputs, strict=True)
        }
        return SimpleNamespace(**dict(zip(self._outputs, self._session.run(self._outputs, feed))))
