"""Quantize the convolutions of an exported SymmFCNet's RecNet to 8 bits (static quantization by onnxruntime).

Stage I stays in float32, because small errors of the flow shift the copy. The ranges of the activations are
calibrated on faces of the zoo's symmetric GAN, so no photos are needed. Weights take 7 bits: on CPUs with
AVX2 and without VNNI, sums of products with 8-bit weights overflow (onnxruntime's documentation, "reduce_range").
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import zoo

if TYPE_CHECKING:
    from .graphs import GraphModule

FACES = 12  # for calibration
PERCENTILE = 99.999  # of the activations; larger ones, and as many small ones, are clipped


def quantized(model: Any, module: GraphModule, side: int) -> Any:
    """Quantize the convolutions of RecNet.

    Args:
        model: onnx.ModelProto of a SymmFCNet's graph, float32.
        module: the graph as a module.
        side: S, the input size in pixels.

    Returns:
        onnx.ModelProto with the same inputs and outputs.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.samples = iter(_masked_faces(side))

        def get_next(self):
            inputs = next(self.samples, None)
            return inputs and dict(zip(module.graph.inputs, inputs))

    nodes = [node.name for node in model.graph.node if node.op_type == "Conv" and "recnet" in node.input[1]]
    with TemporaryDirectory() as folder:
        before, after = Path(folder, "before.onnx"), Path(folder, "after.onnx")
        before.write_bytes(model.SerializeToString())
        quantize_static(
            before,
            after,
            Reader(),
            nodes_to_quantize=nodes,
            per_channel=True,
            reduce_range=True,
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": PERCENTILE},
        )
        return onnx.load(after)


def _masked_faces(side):
    """Return FACES pairs of a face (1x3xSxS float32 in [-1, 1]) and a mask (1x1xSxS, 1 = visible): a large square is
    missing, or several small rectangles."""
    import torch
    from torch.nn.functional import interpolate

    rng, net, samples = np.random.default_rng(0), zoo.load("rotate"), []
    with torch.inference_mode():
        faces = net(net.sample(FACES, torch.Generator().manual_seed(0)))
        faces = interpolate(faces, (side, side), mode="bicubic").clamp(-1, 1).numpy()
    for i, face in enumerate(faces):
        mask = np.ones((1, 1, side, side), np.float32)
        for _ in range(6 if i % 2 else 1):
            smallest, largest = (0.06, 0.24) if i % 2 else (0.28, 0.42)
            height, width = (side * rng.uniform(smallest, largest, 2)).astype(int)
            top, left = rng.integers(0, side - height), rng.integers(0, side - width)
            mask[..., top : top + height, left : left + width] = 0
        samples.append((face[None] * mask, mask))
    return samples
