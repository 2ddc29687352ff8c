"""Run exported networks with onnxruntime, and select the backend that runs networks. This module does not import torch.

An exported network is read from the folder that `facesym export` writes to or, if it is not there, from the Hub or its
local cache; the field ``formats`` of zoo.json gives the name and checksum of the file on the Hub.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Unpack

import numpy as np

from . import zoo
from .errors import ZooError
from .files import CONFIG_NAME, WEIGHTS_NAME, check_sha256, read_file, sha256_of
from .hub import HubOptions, check_options, fetch_file
from .packages import require_packages

FILES = {
    "onnx": "model.onnx",
    "onnx-fp16": "model.fp16.onnx",
    "onnx-int8": "model.int8.onnx",
    "torch": "model.pt2",
}
BACKENDS = ("torch", "onnx", "onnx-fp16", "onnx-int8")
INT8 = ("SymmFCNet",)  # classes of networks that hold in int8; with "onnx-int8", others run as "onnx-fp16"

_backend: ContextVar[str | None] = ContextVar("backend", default=None)


def backend() -> str:
    """Return the backend that runs shared networks (landmarks, identity …), one of BACKENDS.

    It is the backend of the running pipeline. Outside pipelines it is torch, or onnx if torch is not installed.
    """
    return _backend.get() or ("torch" if find_spec("torch") else "onnx")


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Context manager: run shared networks with this backend (one of BACKENDS)."""
    token = _backend.set(name)
    try:
        yield
    finally:
        _backend.reset(token)


def folder() -> Path:
    """Return the folder that `facesym export` writes to: ``facesym`` in ``HF_HOME``, with one subfolder per model."""
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME) / "facesym"


def find_entry(name: str | os.PathLike) -> dict[str, Any]:
    """Return a model's entry in zoo.json or, for a model folder, those of its fields that an export needs.

    Args:
        name: a task, a zoo id, or a folder written by `save_pretrained`.

    Returns:
        The entry; of a folder, a dict of "id" (the folder's name), "class", "sha256", "revision" (None) and "folder".

    Raises:
        ZooError: the name is unknown, or the folder holds no model.
    """
    known = isinstance(name, str) and any(name in (entry["id"], entry["task"]) for entry in zoo.list_models())
    if known or not os.path.isdir(name):
        return zoo.get(str(name))
    folder = Path(name)
    try:
        kind = json.loads(read_file(folder / CONFIG_NAME))["_class_name"]
    except (ValueError, KeyError, TypeError) as error:
        raise ZooError(f"{folder} is not a model: its config.json does not name a class.") from error
    sha256 = sha256_of(folder / WEIGHTS_NAME)
    return {"id": folder.resolve().name, "class": kind, "sha256": sha256, "revision": None, "folder": folder}


def place(entry: dict[str, Any]) -> Path:
    """Return the folder of a model's exported files: a model folder itself, or a subfolder of `folder`."""
    return entry.get("folder") or folder() / entry["id"]


def load(name: str | os.PathLike, format: str = "onnx", **hub: Unpack[HubOptions]) -> OnnxNet:
    """Load an exported network.

    Args:
        name: a task (its default model), a zoo id, or a model folder with exported files.
        format: "onnx", "onnx-fp16" or "onnx-int8".
        hub: see `facesym.hub.HubOptions`.

    Raises:
        ZooError: the name is unknown, a ``revision`` or ``subfolder`` is given, or the network has not been exported on
            this machine and is not on the Hub.
        FacesymError: onnxruntime is not installed.
    """
    check_options(hub)
    require_packages(("onnxruntime",), 'backend="onnx"', "onnx")
    entry = find_entry(name)
    file = "onnx-fp16" if format == "onnx-int8" and entry["class"] not in INT8 else format
    return OnnxNet(_read(entry, file, hub), entry, format)


def _read(entry: dict[str, Any], format: str, hub: HubOptions) -> bytes:
    """Read an exported file: from this machine or the Hub."""
    for option in ("revision", "subfolder"):
        if hub.get(option):
            raise ZooError(
                f"Exported networks exist only for this version's weights, not for another {option}: leave out "
                f'{option}, or use backend="torch".'
            )
    local = place(entry) / FILES[format]
    published = entry.get("formats", {}).get(format) if entry["revision"] is not None else None
    if local.exists() and not (published and hub.get("force_download")):
        return read_file(local)
    if published is None and "folder" in entry:
        raise ZooError(f"{local} is missing: run `facesym export {entry['folder']}` on a machine with torch.")
    if published is None:
        raise ZooError(
            f"{entry['id']} has not been exported on this machine ({local} is missing), and the Hub does not have it "
            f"in this format: run `facesym export {entry['id']}` on a machine with torch, then copy its folder "
            f"{folder()} to this machine."
        )
    file = fetch_file(entry["repo_id"], published["file"], **{**hub, "revision": entry["revision"]})
    data = read_file(file)
    check_sha256(file, data, published["sha256"])
    return data


@cache
def shared_network(task: str, backend: str) -> Any:
    """Load the default network of a task that pipelines share, such as landmarks or identity; it is loaded only once.

    Args:
        task: a task in zoo.json.
        backend: one of BACKENDS.

    Returns:
        A torch module in eval mode, or an OnnxNet.

    Raises:
        ZooError: the zoo has no such network, or its weights are unavailable.
    """
    if backend != "torch":
        return load(task, backend)
    import torch

    return zoo.load(task).to(memory_format=torch.channels_last)


def run_network(net: Any, images: np.ndarray, output: str) -> np.ndarray:
    """Run a shared network with a single output.

    Args:
        net: see `shared_network`.
        images: Bx3xSxS float32 in [-1, 1].
        output: name of the output in the exported graph.

    Returns:
        The output as a float32 array.
    """
    if isinstance(net, OnnxNet):
        return getattr(net(images), output)
    import torch

    with torch.inference_mode():
        return net(torch.from_numpy(images).to(net.device, net.dtype)).float().cpu().numpy()


class Outputs(SimpleNamespace):
    """Outputs of an exported network, float32 arrays by name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise ZooError(
            f"The exported network has no output {name!r}: an older version wrote it. Run `facesym export` again."
        )


class OnnxNet:
    """An exported network. It is called with float32 arrays and runs on the CPU.

    Args:
        data: content of the .onnx file.
        entry: the network's entry in zoo.json.
        format: "onnx", "onnx-fp16" or "onnx-int8".

    Attributes:
        backend: the format.
        config: namespace with the network's config.
        device: "cpu".
        dtype: float32.

    Raises:
        ZooError: the file is damaged, or was exported from weights other than the zoo's.
    """

    device, dtype = "cpu", np.dtype(np.float32)

    def __init__(self, data: bytes, entry: dict[str, Any], format: str = "onnx"):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        # Spinning threads slow down other processes, and each other if cores are shared.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        name = entry.get("folder", entry["id"])
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no common class
            raise ZooError(
                f"The exported {name} is damaged ({error}): run `facesym export {name}` again."
            ) from error
        found = self._session.get_modelmeta().custom_metadata_map
        if found.get("sha256") != entry["sha256"]:
            raise ZooError(
                f"The exported {name} does not match this version's weights: run "
                f"`facesym export {name}` again."
            )
        self.entry = {key: int(found[key]) for key in ("params", "input_size") if key in found} | entry
        self.backend = format
        self.config = SimpleNamespace(**json.loads(found["config"]))
        self._inputs = [each.name for each in self._session.get_inputs()]
        self._outputs = [each.name for each in self._session.get_outputs()]

    def num_parameters(self) -> int:
        return self.entry["params"]

    def __call__(self, *inputs: np.ndarray) -> Outputs:
        """Run the network.

        Args:
            inputs: arrays, in the order of the graph's inputs (`facesym.export.graphs`).

        Returns:
            The graph's outputs. One that the file lacks raises a ZooError when it is read.
        """
        feed = {
            name: np.ascontiguousarray(value, np.float32)
            for name, value in zip(self._inputs, inputs, strict=True)
        }
        return Outputs(**dict(zip(self._outputs, self._session.run(self._outputs, feed))))
