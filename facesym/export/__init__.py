"""Export the zoo's networks to formats that run without facesym's model code: ONNX and torch.export programs.

Each network becomes one graph (`facesym.export.graphs`) with a dynamic batch size that computes in float32. "onnx"
stores the weights in float32, "onnx-fp16" in float16, as the zoo does, which halves the file. "onnx-int8" computes the
convolutions of completion's RecNet in 8 bits (`facesym.export.int8`).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from .. import zoo
from ..errors import ZooError
from ..files import write_atomic
from ..onnx import FILES, INT8, find_entry
from ..packages import require_packages

if TYPE_CHECKING:
    from .graphs import GraphModule

OPSET = 20  # of ONNX: the first in which GridSample calls its bicubic mode "cubic"
FORMATS = {"onnx": ("onnx", "onnx-fp16", "onnx-int8"), "torch": ("torch",)}
PORTRAITS = ("astronaut.jpg", "grace-hopper.jpg")  # next to this file: aligned crops, in the public domain
# Largest accepted difference from torch, as a fraction of the output's largest value (at least 1).
TOLERANCE = {"onnx": 1e-3, "onnx-fp16": 2e-2, "onnx-int8": 0.2, "torch": 1e-5}


class Exported(NamedTuple):
    """An exported network.

    Attributes:
        format: "onnx", "onnx-fp16", "onnx-int8" or "torch".
        data: content of the file.
        errors: {output: largest absolute difference from torch on the portraits}.
    """

    format: str
    data: bytes
    errors: dict[str, float]


def export(name: str | os.PathLike, format: str = "onnx") -> list[Exported]:
    """Export a network and compare the outputs of the files with torch on two portraits.

    Args:
        name: a task (its default model), a zoo id, or a model folder.
        format: "onnx" (returns "onnx", "onnx-fp16" and, for completion, "onnx-int8") or "torch".

    Returns:
        One `Exported` per file.

    Raises:
        ZooError: the name is unknown, the weights are missing or altered, the network's class cannot be exported, or
            the outputs of an exported file differ from torch.
        FacesymError: the packages of the extra "onnx" are missing.
    """
    import torch

    from .graphs import GraphModule

    if format == "onnx":
        require_packages(("onnx", "onnxruntime", "onnxscript"), "Exporting to ONNX", "onnx")
    entry = find_entry(name)
    module = GraphModule(zoo.load(name)).eval()
    if "input_size" not in entry:
        net: Any = module.net
        sides = (net.config.get(key) for key in ("input_size", "size"))
        entry["input_size"] = next(filter(None, sides), None) or net.size
        entry["params"] = net.num_parameters()
    portraits = [Image.open(Path(__file__).with_name(file)) for file in PORTRAITS]
    inputs = module.sample(portraits, entry["input_size"])
    with torch.inference_mode():
        expected = module(*inputs)
    files = _onnx(module, inputs, entry) if format == "onnx" else {"torch": _program(module, inputs)}
    exported = []
    for kind, data in files.items():
        errors = _errors(module, data, kind, inputs, expected)
        for error, output in zip(errors.values(), expected):
            if not error <= TOLERANCE[kind] * max(1, float(output.abs().max())):
                raise ZooError(
                    f"The outputs of {name} as {kind} differ too much from torch ({errors}), so it was not exported. "
                    "Install the versions of torch and onnx that requirements.txt lists."
                )
        exported.append(Exported(kind, data, errors))
    return exported


def save(exported: Sequence[Exported], folder: Path) -> list[Path]:
    """Write exported files to a folder, under their names in FILES; return the paths."""
    paths = [folder / FILES[each.format] for each in exported]
    for path, each in zip(paths, exported):
        write_atomic(path, each.data, ZooError)
    return paths


def describe(exported: Sequence[Exported]) -> dict[str, dict]:
    """Describe ONNX files as in the field ``formats`` of zoo.json."""
    return {
        each.format: {
            "file": FILES[each.format],
            "sha256": hashlib.sha256(each.data).hexdigest(),
            "opset": OPSET,
        }
        for each in exported
    }


def _shapes(module: GraphModule) -> tuple:
    """Return the dynamic dimensions of the inputs, as torch.export expects them."""
    from torch.export import Dim

    graph, batch = module.graph, Dim("batch")
    shapes = []
    for name in graph.inputs:
        dynamic = {
            d: Dim(f"{name}_{'height' if d == 2 else 'width'}") for d in (graph.dynamic or {}).get(name, ())
        }
        shapes.append({} if name in graph.unbatched else {0: batch, **dynamic})
    return (tuple(shapes),)  # forward(*inputs) counts as one argument


def _program(module, inputs):
    import torch

    file = io.BytesIO()
    with torch.no_grad():
        torch.export.save(torch.export.export(module, inputs, dynamic_shapes=_shapes(module)), file)
    return file.getvalue()


def _onnx(module, inputs, entry):
    """Export to ONNX; return {format: content of the file}."""
    import torch

    from .int8 import quantized

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            module,
            inputs,
            dynamo=True,
            dynamic_shapes=_shapes(module),
            input_names=module.graph.inputs,
            output_names=module.graph.outputs,
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    # Remove source locations, which contain paths of this machine.
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]
    config = json.dumps({key: value for key, value in module.net.config.items() if not key.startswith("_")})
    said = {key: str(entry[key]) for key in ("sha256", "params", "input_size")}
    for key, value in {"facesym": entry["id"], "config": config, **said}.items():
        model.metadata_props.add(key=key, value=value)
    models = {"onnx": model, "onnx-fp16": _halved(model)}
    if type(module.net).__name__ in INT8:
        models["onnx-int8"] = _halved(quantized(model, module, entry["input_size"]))
    return {kind: each.SerializeToString(deterministic=True) for kind, each in models.items()}


def _halved(model):
    """Return an ONNX model whose float32 weights are stored in float16 and cast to float32 in the graph."""
    import numpy as np
    from onnx import ModelProto, TensorProto, helper, numpy_helper

    model, original, casts = ModelProto(), model, []
    model.CopyFrom(original)
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.data_type != TensorProto.FLOAT or values.size < 256:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.fp16"))
        casts.append(helper.make_node("Cast", [weight.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _errors(module, data, kind, inputs, expected):
    """Run an exported file; return {output: largest absolute difference from ``expected``}."""
    import torch

    names = module.graph.outputs
    if kind == "torch":
        with torch.inference_mode():
            outputs = torch.export.load(io.BytesIO(data)).module()(*inputs)
    else:
        import onnxruntime

        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        feed = {name: value.numpy() for name, value in zip(module.graph.inputs, inputs)}
        outputs = [torch.from_numpy(value) for value in session.run(names, feed)]
    return {name: float((a - b).abs().max()) for name, a, b in zip(names, outputs, expected)}
