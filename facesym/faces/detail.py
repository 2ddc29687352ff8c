"""Add the detail that a network at a lower resolution leaves out."""

from __future__ import annotations

import cv2
import numpy as np

from ..onnx import backend, run_network, shared_network


def add_detail(task: str, image: np.ndarray, box: tuple[int, int, int], strength: float = 1.0) -> np.ndarray:
    """Refine a square of an image with a DetailRefiner of the zoo.

    Args:
        task: of the network: "mouth" or "detail".
        image: SxSx3 uint8.
        box: left and top edge and side of the square, in pixels.
        strength: factor on the added detail.

    Returns:
        SxSx3 uint8. Pixels outside the square do not change.
    """
    net = shared_network(task, backend())
    x, y, side = box
    crop = resized(image[y : y + side, x : x + side], net.config.input_size)
    pixels = crop.astype(np.float32).transpose(2, 0, 1)[None] / np.float32(127.5) - 1
    refined = run_network(net, pixels, "refined")
    # The difference is added, so that detail finer than the network's is kept.
    added = cv2.resize(
        127.5 * strength * (refined - pixels)[0].transpose(1, 2, 0),
        (side, side),
        interpolation=cv2.INTER_CUBIC,
    )
    out = image.astype(np.float32)
    out[y : y + side, x : x + side] += added
    return np.rint(np.clip(out, 0, 255)).astype(np.uint8)


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """Resize a square uint8 image to ``size`` pixels."""
    how = cv2.INTER_AREA if len(image) > size else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(image), (size, size), interpolation=how)
