"""Write the zoo's networks in formats that run elsewhere: ONNX, and torch.export's programs.

Every network becomes one graph (`facesym.export.graphs`) for any number of faces at once, with its arithmetic in
float32. ONNX comes in two sizes: float32, and "onnx-fp16", half as large, whose weights are stored in float16, as the
zoo stores them.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from .. import zoo
from ..errors import ZooError
from ..files import write_atomic
from ..onnx import FILES
from ..packages import require_packages

if TYPE_CHECKING:
    from .graphs import GraphModule

OPSET = 20  # of ONNX: the first in which GridSample copies bicubically by its present name
FORMATS = {"onnx": ("onnx", "onnx-fp16"), "torch": ("torch",)}
PORTRAITS = ("astronaut.jpg", "grace-hopper.jpg")  # beside this file: aligned crops, in the public domain
# The greatest difference from torch, in units of the output (at least 1): colours are in [-1, 1].
TOLERANCE = {"onnx": 1e-3, "onnx-fp16": 2e-2, "torch": 1e-5}


class Exported(NamedTuple):
    """An exported network.

    Attributes:
        format: "onnx", "onnx-fp16" or "torch".
        data: the file's content.
        errors: {output: greatest absolute difference from torch on the portraits}.
    """

    format: str
    data: bytes
    errors: dict[str, float]


def export(name: str, format: str = "onnx") -> list[Exported]:
    """Export a network, and check the files against torch on two portraits.

    Args:
        name: a task (its default model) or a zoo id.
        format: "onnx", which gives both sizes, or "torch".

    Raises:
        ZooError: unknown name, its weights are missing or altered, the class has no graph, or an exported file does not
            give what torch gives.
        FacesymError: the packages of the extra "onnx" are missing.
    """
    import torch

    from .graphs import GraphModule

    if format == "onnx":
        require_packages(("onnx", "onnxruntime", "onnxscript"), "Exporting to ONNX", "onnx")
    entry = zoo.get(name)
    module = GraphModule(zoo.load(name)).eval()
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
                raise ZooError(f"{name} as {kind} does not give what torch gives: it differs by {errors}.")
        exported.append(Exported(kind, data, errors))
    return exported


def save(exported: Sequence[Exported], folder: Path) -> list[Path]:
    """Write exported files to a folder, under their names in FILES: their paths."""
    paths = [folder / FILES[each.format] for each in exported]
    for path, each in zip(paths, exported):
        write_atomic(path, each.data, ZooError)
    return paths


def describe(exported: Sequence[Exported]) -> dict[str, dict]:
    """ONNX files as an entry of zoo.json has them in ``formats``."""
    return {
        each.format: {
            "file": FILES[each.format],
            "sha256": hashlib.sha256(each.data).hexdigest(),
            "opset": OPSET,
        }
        for each in exported
    }


def _shapes(module: GraphModule) -> tuple:
    """The dimensions of the inputs that may have any size."""
    from torch.export import Dim

    graph, batch = module.graph, Dim("batch")
    shapes = []
    for name in graph.inputs:
        free = {d: Dim(f"{name}_{'height' if d == 2 else 'width'}") for d in (graph.free or {}).get(name, ())}
        shapes.append({} if name in graph.whole else {0: batch, **free})
    return (tuple(shapes),)  # of forward's *inputs, one argument


def _program(module, inputs):
    import torch

    file = io.BytesIO()
    with torch.no_grad():
        torch.export.save(torch.export.export(module, inputs, dynamic_shapes=_shapes(module)), file)
    return file.getvalue()


def _onnx(module, inputs, entry):
    """{format: file's content}."""
    import torch

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter, about its own parts
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
    # The exporter's notes on where in the source each part comes from: they hold paths of this machine.
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]
    config = json.dumps({key: value for key, value in module.net.config.items() if not key.startswith("_")})
    for key, value in {"facesym": entry["id"], "sha256": entry["sha256"], "config": config}.items():
        model.metadata_props.add(key=key, value=value)
    whole = model.SerializeToString(deterministic=True)
    return {"onnx": whole, "onnx-fp16": _halved(model).SerializeToString(deterministic=True)}


def _halved(model):
    """The model with its weights stored in float16, each cast to float32 where it is used."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    casts = []
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
    """{output: greatest absolute difference from what torch gives}."""
    import torch

    names = module.graph.outputs
    if kind == "torch":
        with torch.inference_mode():
            made = torch.export.load(io.BytesIO(data)).module()(*inputs)
    else:
        import onnxruntime

        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        feed = {name: value.numpy() for name, value in zip(module.graph.inputs, inputs)}
        made = [torch.from_numpy(value) for value in session.run(names, feed)]
    return {name: float((a - b).abs().max()) for name, a, b in zip(names, made, expected)}
