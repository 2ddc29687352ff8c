"""Crops of mouths, their refinement, and the inside of open ones."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from ..onnx import backend, run_network, shared_network
from .geometry import ramp, smooth_ramp
from .pixels import to_input, to_uint8

MOUTH = slice(48, 68)  # of the 68 landmarks
INNER = slice(60, 68)  # the inner edge of the lips
REFINED = ("neutral", "happy")  # expressions whose mouth is refined; in wide open mouths detail looks wrong
OPEN = "surprised"  # the expression whose mouth is wide open
SIDE = 1.7  # side of a crop, in the longer sides of the mouth's bounding box
INNER_LIPS = ((61, 67), (62, 66), (63, 65))  # opposite landmarks, upper and lower
UPPER_LIP, LOWER_LIP = [60, 61, 62, 63, 64], [60, 67, 66, 65, 64]  # inner edges, from left to right
# Red, green and blue that an open mouth reflects, relative to the network's output.
CAVITY = (0.52, 0.40, 0.38)
DARKEST = 28  # level of 255 below which nothing is darkened
OPENED = (0.04, 0.10)  # opening in outer-eye distances between which the darkening sets in
# Depths below the upper lip, relative to the opening: teeth end between the first two, the lower lip begins
# between the last two.
DARK = (0.12, 0.37, 0.82, 1.02)
TEETH = 6.0  # lightness (CIELAB) by which teeth may exceed the cheeks, measured on smiles of 28 people
EXCESS = 0.4  # fraction that is kept of what exceeds it
LINES = 0.5  # fraction by which fine detail of teeth is amplified
CHEEKS = ((2, 31), (14, 35))  # landmarks of the jaw and the nose; the middle of a cheek lies between them
# Weights of `mouth_shape` and the bias for the logit of an expression, fitted by train/expression.py.
EXPRESSION, EXPRESSION_BIAS = (27.8, 23.9, 16.5, -19.4), -13.2


def network() -> Any:
    """The zoo's MouthRefiner, for the backend at work."""
    return shared_network("mouth", backend())


def lip_gap(points: np.ndarray) -> np.ndarray:
    """Return the mean distance between the inner lips, from landmarks (…x68x2), in their unit."""
    upper, lower = (np.array(rows) for rows in zip(*INNER_LIPS))
    return np.linalg.norm(points[..., upper, :] - points[..., lower, :], axis=-1).mean(-1)


def mouth_shape(points: np.ndarray) -> np.ndarray:
    """Compute four lengths that show an expression, in units of the distance between the outer eye corners.

    Args:
        points: …x68x2, landmarks.

    Returns:
        …x4: the opening of the inner lips, the width of the mouth, the height of its corners above the middle of the
        lips, and the distance from the nose to the upper lip.
    """
    across = points[..., 45, :] - points[..., 36, :]
    unit = np.linalg.norm(across, axis=-1, keepdims=True)
    across = across / unit

    def length(vectors):
        return np.linalg.norm(vectors, axis=-1)

    width = length(points[..., 48, :] - points[..., 54, :])
    lift = (points[..., 62, :] + points[..., 66, :] - points[..., 48, :] - points[..., 54, :]) / 2
    height = lift[..., 1] * across[..., 0] - lift[..., 0] * across[..., 1]
    lip = length(points[..., 33, :] - points[..., 51, :])
    return np.stack([lip_gap(points), width, height, lip], -1) / unit


def shows_expression(points: np.ndarray) -> bool:
    """Whether the mouth is open or smiles, from the landmarks (68x2) of a head turned by at most 30 degrees."""
    return bool(mouth_shape(points) @ np.array(EXPRESSION) + EXPRESSION_BIAS > 0)


def mouth_box(points: np.ndarray, size: int, side: float = SIDE) -> tuple[int, int, int]:
    """The square around a mouth.

    Args:
        points: 68x2, landmarks in pixels.
        size: side of the image; the square lies within it.
        side: of the square, in the longer sides of the mouth's bounding box.

    Returns:
        Its left and top edge and its side, in pixels.
    """
    low, high = points[MOUTH].min(0), points[MOUTH].max(0)
    length = int(np.clip(round(side * float((high - low).max())), 8, size))
    x, y = np.clip(np.round((low + high + 1 - length) / 2), 0, size - length).astype(int)
    return int(x), int(y), length


def cut_mouth(image: np.ndarray, box: tuple[int, int, int], size: int) -> np.ndarray:
    """Cut a square out of an SxSxC uint8 image and resize it to ``size`` pixels."""
    x, y, side = box
    how = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    return cv2.resize(
        np.ascontiguousarray(image[y : y + side, x : x + side]), (size, size), interpolation=how
    )


def finish_mouth(
    image: np.ndarray, points: np.ndarray, expression: str | None, away: bool, strength: float
) -> np.ndarray:
    """Finish a synthesized mouth as its new expression requires.

    Args:
        image: SxSx3 uint8, an aligned face.
        points: 68x2, its landmarks in pixels.
        expression: the new expression; None if it was kept.
        away: whether the head was turned far, which smears the mouth.
        strength: strength of the change, from 0.

    Returns:
        SxSx3 uint8.
    """
    if expression in REFINED or (away and expression is None):
        image = refine_mouth(image, points)
    if expression == "happy":
        return shade_teeth(image, points)
    return darken_opening(image, points, strength) if expression == OPEN else image


def refine_mouth(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Refine a synthesized mouth.

    Args:
        image: SxSx3 uint8, an aligned face.
        points: 68x2, its landmarks in pixels.

    Returns:
        SxSx3 uint8. Pixels beside the mouth do not change.
    """
    net = network()
    box = x, y, side = mouth_box(points, len(image))
    crop = cut_mouth(image, box, net.config.input_size)
    pixels = to_input(crop[None])
    refined = run_network(net, pixels, "refined")
    # The difference is added, so that detail finer than the network's is kept.
    added = cv2.resize(
        127.5 * (refined - pixels)[0].transpose(1, 2, 0), (side, side), interpolation=cv2.INTER_CUBIC
    )
    out = image.astype(np.float32)
    out[y : y + side, x : x + side] += added
    return to_uint8(out)


def shade_teeth(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Give synthesized teeth the light of the face and clearer lines; the network draws them white and blurred.

    Args:
        image: SxSx3 uint8, an aligned face.
        points: 68x2, its landmarks in pixels.

    Returns:
        SxSx3 uint8. Pixels outside the inner lips hardly change.
    """
    size = len(image)
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    light, reach = lab[..., 0], max(1, size // 64)
    limit = TEETH + np.mean([_mean_around(light, points[list(pair)].mean(0), reach) for pair in CHEEKS])
    shaded = np.where(light > limit, limit + EXCESS * (light - limit), light)
    shaded += LINES * (shaded - cv2.GaussianBlur(shaded, (0, 0), size / 256))
    weight = cv2.GaussianBlur(_inside_lips(points, size), (0, 0), size / 170)
    lab[..., 0] = light + weight * (np.clip(shaded, 0, 100) - light)
    return to_uint8(255 * cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))


def _mean_around(values, at, reach):
    x, y = np.clip(np.round(at).astype(int), 0, len(values) - 1)
    return values[max(y - reach, 0) : y + reach, max(x - reach, 0) : x + reach].mean()


def _inside_lips(points, size):
    """Mask the opening between the inner lips: SxS float32 in [0, 1]."""
    opening = np.zeros((size, size), np.uint8)
    outline = np.round(16 * points[INNER]).astype(np.int32)
    cv2.fillPoly(opening, [outline], 255, cv2.LINE_AA, 4)  # coordinates in sixteenths of a pixel
    return opening.astype(np.float32) / 255


def darken_opening(image: np.ndarray, points: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Darken the inside of a synthesized wide open mouth, which the network draws grey; upper teeth stay light.

    Args:
        image: SxSx3 uint8, an aligned face.
        points: 68x2, its landmarks in pixels.
        strength: strength of the change of expression, from 0; the darkening grows up to 1.

    Returns:
        SxSx3 uint8. Pixels outside the inner lips do not change, and none do if the mouth is nearly closed.
    """
    size = len(image)
    gap = float(lip_gap(points))
    amount = min(strength, 1) * ramp(gap / np.linalg.norm(points[45] - points[36]), *OPENED)
    if not amount:
        return image
    upper, lower = points[UPPER_LIP], points[LOWER_LIP]
    opening = _inside_lips(points, size)
    inside = opening * cv2.GaussianBlur(opening, (0, 0), max(0.003 * size, 0.08 * gap))
    columns = np.arange(size)
    top, bottom = np.interp(columns, *upper.T), np.interp(columns, *lower.T)
    depth = (np.arange(size)[:, None] - top) / np.maximum(bottom - top, 1)
    weight = np.minimum(ramp(depth, *DARK[:2]), 1 - ramp(depth, *DARK[2:]))
    weight = (amount * inside * smooth_ramp(weight))[..., None]
    values = image.astype(np.float32)
    dark = np.maximum(values * np.array(CAVITY, np.float32), np.minimum(values, DARKEST))
    return to_uint8(values + weight * (dark - values))
