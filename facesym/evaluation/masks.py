"""Masks of `facesym evaluate complete`: NxSxS bool, True = missing."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ..data.masks import eyewear
from ..data.metadata import read_table
from ..errors import ImageError
from ..faces.geometry import face_region
from .data import digest

MIDDLE = [27, 30, 33, 51, 57, 8]  # landmarks on the midline, from top to bottom


def irregular_masks(
    folder: str | Path, rows: list[dict[str, Any]], size: int, largest: float, seed: int
) -> np.ndarray:
    """Choose a mask for each image from the test split of a folder of masks.

    Args:
        folder: images, white = missing, and metadata.csv with ``file_name, mask_fraction, split``; older folders call
            the fraction hole_share.
        rows: of the images' metadata.csv.
        size: side S of the masks.
        largest: masks with a larger missing fraction are excluded.
        seed: of the choice.

    Returns:
        NxSxS bool, True = missing.

    Raises:
        ImageError: no metadata.csv, or no such mask.
    """
    folder = Path(folder)
    if not (folder / "metadata.csv").is_file():
        raise ImageError(
            f"{folder} has no metadata.csv (file_name, mask_fraction, split): draw masks with `facesym prepare masks`"
        )
    listed = read_table(folder / "metadata.csv", ("file_name", "split"))
    files = sorted(
        row["file_name"]
        for row in listed
        if row["split"] == "test" and float(row.get("mask_fraction") or row["hole_share"]) <= largest
    )
    if not files:
        raise ImageError(
            f"{folder} has no masks in its test split that cover at most {largest:.0%}: draw more with "
            "`facesym prepare masks` (60 or more include some)"
        )
    masks = np.empty((len(rows), size, size), bool)
    for i, row in enumerate(rows):
        name = files[int(digest(seed, "hole", row["set"], row["file_name"]), 16) % len(files)]
        with Image.open(folder / name) as image:
            masks[i] = np.asarray(image.convert("L").resize((size, size), Image.Resampling.NEAREST)) > 127
    return masks


def centre_masks(count: int, size: int, side: float) -> np.ndarray:
    """Mask a centre square in each image (NxSxS bool); ``side`` is a fraction of the image's side."""
    masks = np.zeros((count, size, size), bool)
    length = round(size * side)
    start = (size - length) // 2
    masks[:, start : start + length, start : start + length] = True
    return masks


def one_eye_masks(rows: list[dict[str, Any]], landmarks: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Mask one eye and its brow, left or right at random: an ellipse of 0.68 × 0.56 outer-eye distances."""
    masks = np.zeros((len(rows), size, size), np.uint8)
    for i, (row, points) in enumerate(zip(rows, landmarks)):
        left = _left(seed, row)
        eye, brow = points[36:42] if left else points[42:48], points[17:22] if left else points[22:27]
        centre = (2 * eye.mean(0) + brow.mean(0)) / 3
        unit = np.linalg.norm(points[45] - points[36])
        axes = (round(0.34 * unit), round(0.28 * unit))
        cv2.ellipse(masks[i], tuple(np.rint(centre).astype(int).tolist()), axes, 0, 0, 360, 1, cv2.FILLED)
    return masks > 0


def one_half_masks(rows: list[dict[str, Any]], landmarks: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Mask one half of each face from forehead to chin, left or right at random, up to the landmarks' midline."""
    faces = np.stack([face_region(points, size) > 0 for points in landmarks])
    return faces & one_side_masks(rows, landmarks, size, seed)


def one_side_masks(rows: list[dict[str, Any]], landmarks: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Mask one side of each image, left or right at random, up to the landmarks' midline."""
    masks = np.zeros((len(rows), size, size), bool)
    for i, (row, points) in enumerate(zip(rows, landmarks)):
        middle = np.interp(np.arange(size), points[MIDDLE, 1], points[MIDDLE, 0])[:, None]
        masks[i] = np.arange(size)[None] < middle if _left(seed, row) else np.arange(size)[None] > middle
    return masks


def eyewear_masks(rows: list[dict[str, Any]], landmarks: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Mask drawn glasses (frames) or sunglasses on each face, at random (NxSxS bool)."""
    masks = np.empty((len(rows), size, size), bool)
    for i, (row, points) in enumerate(zip(rows, landmarks)):
        rng = np.random.default_rng(int(digest(seed, "eyewear", row["set"], row["file_name"]), 16))
        masks[i] = eyewear(rng, size, points) == 0
    return masks


def _left(seed, row):
    return int(digest(seed, "side", row["set"], row["file_name"]), 16) % 2 == 0
