"""Masks for training. As in the paper, 1 = visible and 0 = missing (SxS float32)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ..errors import ImageError
from .metadata import read_metadata
from .occluders import draw_occluders

# Fractions of the image that irregular masks of the six sizes cover.
MASK_SIZES = ((0.01, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5), (0.5, 0.6))


def load_irregular(folder: str | Path, size: int, splits: Sequence[str] = ("train",)) -> np.ndarray:
    """Load the irregular masks of a folder.

    Args:
        folder: PNG files, white = missing, with metadata.csv.
        size: side S in pixels to which the masks are resized.
        splits: the splits to load.

    Returns:
        NxSxS uint8, 1 = missing.

    Raises:
        ImageError: the folder has no metadata.csv or no masks of these splits.
    """
    rows = read_metadata(Path(folder), splits)
    if not rows:
        raise ImageError(
            f"{folder} has no masks of split {'/'.join(splits)}: draw some with `facesym prepare masks`"
        )
    masks = np.empty((len(rows), size, size), np.uint8)
    for i, row in enumerate(rows):
        with Image.open(row["path"]) as image:
            masks[i] = np.asarray(image.convert("L").resize((size, size), Image.Resampling.NEAREST)) > 127
    return masks


def centre_square(size: int, fraction: float = 0.5, shift: Any = (0, 0)) -> np.ndarray:
    """Mask a square.

    Args:
        size: side S of the image.
        fraction: ratio of the square's side to the image's.
        shift: (x, y), offset in pixels of the square's centre from the image's.
    """
    mask = np.ones((size, size), np.float32)
    half = fraction * size / 2
    x0, x1 = np.clip(np.round(size / 2 + shift[0] + np.array([-half, half])), 0, size).astype(int)
    y0, y1 = np.clip(np.round(size / 2 + shift[1] + np.array([-half, half])), 0, size).astype(int)
    mask[y0:y1, x0:x1] = 0
    return mask


def half_face(rng: np.random.Generator, size: int, points: np.ndarray) -> np.ndarray:
    """Mask the face on one side of a line through the bridge of the nose, up to its outline or slightly beyond."""
    centre = points[27:31].mean(0) + rng.normal(0, 0.02, 2) * size
    angle = rng.choice([0, np.pi]) if rng.random() < 0.8 else rng.uniform(0, 2 * np.pi)
    angle += rng.normal(0, 0.15)
    ys, xs = np.mgrid[:size, :size]
    side = (xs - centre[0]) * np.cos(angle) + (ys - centre[1]) * np.sin(angle) > 0
    reach = np.linalg.norm(points - centre, axis=1).max() * rng.uniform(0.9, 1.4)
    inside = (xs - centre[0]) ** 2 + (ys - centre[1]) ** 2 < reach**2
    return 1 - (side & inside).astype(np.float32)


def brush(rng: np.random.Generator, size: int) -> np.ndarray:
    """Mask one to four thick strokes, as painted by hand."""
    missing = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(1, 5)):
        thickness = int(size * rng.uniform(0.04, 0.18))
        angle, point = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.85, 2) * size
        for _ in range(rng.integers(2, 7)):
            angle += rng.normal(0, 0.8)
            end = np.clip(
                point + rng.uniform(0.05, 0.22) * size * np.array([np.cos(angle), np.sin(angle)]), 0, size
            )
            cv2.line(missing, point.astype(int).tolist(), end.astype(int).tolist(), 1, thickness)
            point = end
    return 1 - missing.astype(np.float32)


def _polygon(size, points):
    missing = np.zeros((size, size), np.uint8)
    cv2.fillPoly(missing, [np.round(points).astype(np.int32)], 1)
    return missing


def eyewear(rng: np.random.Generator, size: int, points: np.ndarray) -> np.ndarray:
    """Mask drawn glasses (frames; the eyes stay visible) or sunglasses, dilated as automatic masks are."""
    kind = "glasses" if rng.random() < 0.5 else "sunglasses"
    _, labels = draw_occluders(rng, np.zeros((size, size, 3), np.uint8), points, kind)
    width = 2 * int(rng.integers(1, max(2, size // 50))) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    return 1 - cv2.dilate(np.minimum(labels, 1), kernel).astype(np.float32)


def face_mask(rng: np.random.Generator, size: int, points: np.ndarray) -> np.ndarray:
    """Mask the area of a face mask: from the nose to the chin and from ear to ear."""
    top = points[rng.integers(28, 31)] + rng.normal(0, 0.01, 2) * size
    outline = np.concatenate(
        [points[1:16], [points[14] * 0.3 + top * 0.7], [top], [points[2] * 0.3 + top * 0.7]]
    )
    centre = outline.mean(0)
    return 1 - _polygon(size, centre + (outline - centre) * rng.uniform(1.0, 1.2)).astype(np.float32)


def hand(rng: np.random.Generator, size: int, points: np.ndarray) -> np.ndarray:
    """Mask a hand that reaches over the face from outside: an ellipse with fingers and a wrist."""
    missing = np.zeros((size, size), np.uint8)
    palm = points[rng.integers(0, 68)] + rng.normal(0, 0.04, 2) * size
    outward = palm - points[27:36].mean(0) + rng.normal(0, 0.05, 2) * size
    outward /= np.linalg.norm(outward) + 1e-6
    radius = size * rng.uniform(0.08, 0.14)
    box = (tuple(palm.tolist()), (2 * radius, 2.4 * radius), float(rng.uniform(0, 180)))
    cv2.ellipse(missing, box, 1, -1)
    wrist = palm + outward * size * 0.6
    cv2.line(
        missing,
        np.round(palm).astype(int).tolist(),
        np.round(wrist).astype(int).tolist(),
        1,
        int(1.5 * radius),
    )
    inward = np.arctan2(-outward[1], -outward[0])
    for spread in np.linspace(-0.7, 0.7, rng.integers(2, 5)):
        tip = palm + rng.uniform(1.4, 2.4) * radius * np.array(
            [np.cos(inward + spread), np.sin(inward + spread)]
        )
        cv2.line(
            missing,
            np.round(palm).astype(int).tolist(),
            np.round(tip).astype(int).tolist(),
            1,
            max(1, int(radius * 0.55)),
        )
    return 1 - missing.astype(np.float32)


def irregular(rng: np.random.Generator, masks: np.ndarray) -> np.ndarray:
    """Choose one of ``masks`` (from `load_irregular`); mirror, shift and rotate it by quarter turns at random."""
    missing = np.rot90(masks[rng.integers(len(masks))], int(rng.integers(4)))
    if rng.random() < 0.5:
        missing = missing[:, ::-1]
    shift = rng.integers(-len(missing) // 6, len(missing) // 6 + 1, 2)
    # Rolling preserves the masked area.
    return 1 - np.roll(missing, shift, (0, 1)).astype(np.float32)


def random_mask(
    rng: np.random.Generator,
    size: int,
    points: np.ndarray,
    masks: np.ndarray | None,
    *,
    bare: bool = True,
) -> np.ndarray:
    """Draw a training mask for a face.

    Args:
        rng: numpy Generator.
        size: side S of the image.
        points: 68x2 landmarks in pixels.
        masks: NxSxS irregular masks (`load_irregular`), or None for none.
        bare: the person wears no glasses. Masks of eyewear are drawn only then: under them are bare eyes.

    Returns:
        SxS float32, 1 = visible, 0 = missing; between 1 and 65 % of the pixels are missing.
    """
    kinds = ["irregular", "centre", "half", "brush", "eyewear", "mask", "hand"]
    probability = np.array([0.25 if masks is not None else 0, 0.15, 0.1, 0.1, 0.3 if bare else 0, 0.14, 0.08])
    for _ in range(8):
        kind = rng.choice(kinds, p=probability / probability.sum())
        if kind == "irregular" and masks is not None:
            mask = irregular(rng, masks)
        elif kind == "centre":
            mask = centre_square(size, rng.uniform(0.25, 0.55), rng.normal(0, 0.05, 2) * size)
        elif kind == "half":
            mask = half_face(rng, size, points)
        elif kind == "brush":
            mask = brush(rng, size)
        else:
            mask = {"eyewear": eyewear, "mask": face_mask, "hand": hand}[kind](rng, size, points)
        if 0.01 < 1 - mask.mean() < 0.65:
            return mask
    return centre_square(size, 0.4)


def prepare_masks(out: str | Path, count: int, size: int, seed: int = 0) -> None:
    """Draw irregular masks, as many of each of MASK_SIZES, and write them to a folder for `load_irregular`.

    Args:
        out: a new or empty folder.
        count: number of masks.
        size: side in pixels.
        seed: seed of the masks.

    Raises:
        ImageError: the folder is not empty.
    """
    out = Path(out)
    if out.exists() and any(out.iterdir()):
        raise ImageError(f"{out} is not empty: choose another folder, or delete it")
    out.mkdir(parents=True, exist_ok=True)
    rows = ["file_name,mask_fraction,split"]
    for i in range(count):
        rng, low = np.random.default_rng((seed, i)), i % len(MASK_SIZES)
        hidden, wanted = np.zeros((size, size), bool), rng.uniform(*MASK_SIZES[low])
        while hidden.mean() < MASK_SIZES[low][0]:
            more = hidden | (brush(rng, size) == 0)
            hidden = more if more.mean() <= MASK_SIZES[low][1] else _thinner(rng, hidden, wanted)
        Image.fromarray(np.where(hidden, np.uint8(255), np.uint8(0))).save(out / f"{i:05d}.png")
        split = {8: "val", 9: "test"}.get(i // len(MASK_SIZES) % 10, "train")
        rows.append(f"{i:05d}.png,{hidden.mean():.4f},{split}")
    (out / "metadata.csv").write_text("\n".join(rows) + "\n")


def _thinner(rng, hidden, wanted):
    """Add a thin stroke to a mask (SxS bool) until it covers the fraction ``wanted``; `brush` is too thick for that."""
    size, missing = len(hidden), np.asarray(hidden, np.uint8).copy()
    point, angle = rng.uniform(0.15, 0.85, 2) * size, rng.uniform(0, 2 * np.pi)
    thickness = max(1, int(size * rng.uniform(0.01, 0.06)))
    while missing.mean() < wanted:
        angle += rng.normal(0, 0.8)
        end = np.clip(point + 0.08 * size * np.array([np.cos(angle), np.sin(angle)]), 0, size)
        cv2.line(missing, point.astype(int).tolist(), end.astype(int).tolist(), 1, thickness)
        if np.allclose(point, end):
            angle = rng.uniform(0, 2 * np.pi)
        point = end
    return missing > 0
