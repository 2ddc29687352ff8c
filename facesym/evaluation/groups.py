"""Results of `facesym evaluate complete` by group of face."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import metrics
from ..data.balance import DARK, LIGHT, cheek_lightness
from .data import yaw_of

TURNED = 20.0  # degrees of yaw
OPEN = 0.06  # opening of the inner lips, in outer-eye distances


def groups(rows: list[dict[str, Any]], images: np.ndarray, landmarks: np.ndarray) -> dict[str, np.ndarray]:
    """Return the images of each group: {name: N bool}.

    Args:
        rows: rows of metadata.csv, with ``set``.
        images: NxSxSx3 uint8.
        landmarks: Nx68x2, pixels.
    """
    sets = np.array([row["set"] for row in rows])
    turned = np.array([abs(yaw_of(row, 0)) >= TURNED for row in rows])
    light = np.array([cheek_lightness(*each) for each in zip(images, landmarks)])
    unit = np.linalg.norm(landmarks[:, 45] - landmarks[:, 36], axis=1)
    mouth = np.linalg.norm(landmarks[:, 66] - landmarks[:, 62], axis=1) / unit
    return {f"set {name}": sets == name for name in np.unique(sets)} | {
        "yaw under 20°": ~turned,
        "yaw from 20°": turned,
        f"cheek L* under {DARK:.0f}": light < DARK,
        f"cheek L* over {LIGHT:.0f}": light > LIGHT,
        "open mouth": mouth > OPEN,
    }


def group_rows(
    rows: list[dict[str, Any]],
    images: np.ndarray,
    landmarks: np.ndarray,
    values: dict[str, dict[str, np.ndarray]],
    classical: Iterable[str],
) -> list[dict[str, Any]]:
    """Return a row for each model and group: dB above the best classical row, LPIPS as a fraction of the best classical
    row's, and the fraction of faces recognised as the same person.

    Args:
        rows: see `groups`.
        images: see `groups`.
        landmarks: see `groups`.
        values: {row's name: its measures, a dict of arrays of N}.
        classical: names of the classical rows.
    """
    others = [name for name in values if name in classical and name != "input"]
    best = max(others, key=lambda name: values[name]["psnr"].mean())
    table = []
    for name, own in values.items():
        if name in classical:
            continue
        for group, inside in groups(rows, images, landmarks).items():
            if not inside.any():
                continue
            row = {"row": f"{name}, {group}", "n": int(inside.sum())}
            row["gain"] = float((own["psnr"] - values[best]["psnr"])[inside].mean())
            row["same_person"] = float((own["identity_distance"][inside] <= metrics.SAME_PERSON).mean())
            if "lpips" in own:
                lowest = min(values[other]["lpips"][inside].mean() for other in others)
                row["lpips"] = float(own["lpips"][inside].mean() / lowest)
            table.append(row)
    return table
