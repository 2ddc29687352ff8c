"""Predict the 68 landmarks of aligned faces with the zoo's landmark network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..onnx import backend, shared_network
from .geometry import flip_landmarks
from .pixels import to_input


def predict(crops: Sequence[Image.Image], points: bool = True) -> tuple[Any, np.ndarray]:
    """Run the network on crops and on their mirror images.

    Args:
        crops: N RGB images, square crops of one face each, of any size.
        points: False skips the landmarks, for speed.

    Returns:
        The landmarks, 2Nx68x2 as fractions of the side (or None), and the poses, 2Nx2: of the crops, then of their
        mirror images.

    Raises:
        ZooError: the zoo has no landmark network, or its weights are unavailable.
    """
    net = shared_network("landmarks", backend())
    side = net.config.input_size
    small = [crop.convert("RGB").resize((side, side), Image.Resampling.BICUBIC) for crop in crops]
    images = to_input(np.stack([np.asarray(crop) for crop in small]))
    images = np.concatenate([images, images[..., ::-1]])
    if backend() != "torch":
        found = net(images)
        return found.points, found.pose
    import torch

    with torch.inference_mode():
        tensor = torch.from_numpy(images)
        landmarks, pose = net.landmarks_and_pose(tensor) if points else (None, net.pose(tensor))
    return None if landmarks is None else landmarks.float().numpy(), pose.numpy()


def find_points(crops: Image.Image | Sequence[Image.Image]) -> np.ndarray:
    """Predict the landmarks of aligned faces, averaged over each crop and its mirror image to cancel the network's
    left-right bias.

    Args:
        crops: an RGB image, or a list of them: square crops of one face each, of any size.

    Returns:
        68x2 float32 (or Nx68x2 for a list of N ≥ 0), (x, y) in pixels of the crop, in the order of iBUG's 68 points.

    Raises:
        ZooError: the zoo has no landmark network, or its weights are unavailable.
    """
    if isinstance(crops, Image.Image):
        return find_points([crops])[0]
    if not crops:
        return np.empty((0, 68, 2), np.float32)
    found = []
    for start in range(0, len(crops), 16):
        found.append(both_ways(predict(crops[start : start + 16])[0]))
    sides = np.array([crop.size for crop in crops], np.float32)[:, None]
    return to_pixels(np.concatenate(found), sides)


def both_ways(predicted: np.ndarray) -> np.ndarray:
    """Average the landmarks of images and of their mirror images: 2Nx68x2 to Nx68x2."""
    plain, mirrored = predicted.reshape(2, -1, 68, 2)
    return (plain + flip_landmarks(mirrored, 1.0) + [1, 0]) / 2


def to_pixels(fractions: np.ndarray, side: float | np.ndarray) -> np.ndarray:
    """Convert fractions of a crop's side to pixels, with pixel centres at integers: float32."""
    return (fractions * side - 0.5).astype(np.float32)
