"""Results by group of face."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from PIL import Image

from ..data.balance import DARK, LIGHT, cheek_lightness
from ..faces.occlusion import find_occlusion, network
from .data import load_pictures, yaw_of
from .tables import finite_mean, mean_row

TURNED = 20.0  # degrees of yaw
RATED_LIGHT, RATED_DARK = 25.0, 50.0  # ratings of skin, 0 = light and 100 = dark
EYEWEAR = ("glasses", "sunglasses")
OPEN = 0.06  # opening of the inner lips, in outer-eye distances


def groups(
    rows: list[dict[str, Any]], images: np.ndarray | None = None, landmarks: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return the images of each group: {name: N bool}.

    Skin is dark or light by people's ratings where a set has them, else by the lightness of the cheek. Eyewear is what
    the zoo's occlusion network finds.

    Args:
        rows: rows of metadata.csv, with ``set`` and, where known, ``skin``.
        images: NxSxSx3 uint8; default: loaded from the rows' files, with their landmarks.
        landmarks: Nx68x2, pixels; required with ``images``.
    """
    side = network().config.input_size
    if images is None or landmarks is None:
        images, landmarks = load_pictures(rows, side)
    sets = np.array([row["set"] for row in rows])
    turned = np.array([abs(yaw_of(row, 0)) >= TURNED for row in rows])
    dark, light = np.array([_skin(*each) for each in zip(rows, images, landmarks)]).T
    crops = [Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC) for image in images]
    worn = np.array([find_occlusion(crop, EYEWEAR).any() for crop in crops])
    unit = np.linalg.norm(landmarks[:, 45] - landmarks[:, 36], axis=1)
    mouth = np.linalg.norm(landmarks[:, 66] - landmarks[:, 62], axis=1) / unit
    return {f"set {name}": sets == name for name in np.unique(sets)} | {
        "yaw under 20°": ~turned,
        "yaw from 20°": turned,
        "dark skin": dark,
        "light skin": light,
        "glasses or sunglasses": worn,
        "open mouth": mouth > OPEN,
    }


def _skin(row, image, landmarks):
    """Return whether the skin of a face is dark, and whether it is light."""
    if row.get("skin"):
        rated = float(row["skin"])
        return rated > RATED_DARK, rated < RATED_LIGHT
    lightness = cheek_lightness(image, landmarks)
    return lightness < DARK, lightness > LIGHT


def group_means(
    members: dict[str, np.ndarray],
    values: dict[str, dict[str, np.ndarray]],
    mean: Callable[[str, dict[str, np.ndarray]], dict[str, Any]] = mean_row,
) -> list[dict[str, Any]]:
    """Average measures over the images of each group: a row for each model and group with images.

    Args:
        members: {group: N bool}, from `groups`.
        values: {row's name: its measures, a dict of arrays of N}.
        mean: averages the measures of a group to a row with this name.
    """
    return [
        mean(f"{name}, {group}", {key: value[inside] for key, value in own.items()})
        | {"n": int(inside.sum())}
        for name, own in values.items()
        for group, inside in members.items()
        if inside.any()
    ]


def group_gains(
    members: dict[str, np.ndarray], values: dict[str, dict[str, np.ndarray]], classical: Iterable[str]
) -> list[dict[str, Any]]:
    """Return a row for each model and group: dB above the best classical row, LPIPS as a fraction of the best classical
    row's, and the fraction of faces recognised as the same person.

    Args:
        members: {group: N bool}, from `groups`.
        values: {row's name: its measures, a dict of arrays of N}.
        classical: names of the classical rows.
    """
    others = [name for name in values if name in classical and name != "input"]
    best = max(others, key=lambda name: finite_mean(values[name]["psnr"]))
    table = []
    for name, own in values.items():
        if name in classical:
            continue
        for group, inside in members.items():
            if not inside.any():
                continue
            row = {"row": f"{name}, {group}", "n": int(inside.sum())}
            gains = own["psnr"][inside] - values[best]["psnr"][inside]
            if np.isfinite(gains).any():
                row["gain"] = finite_mean(gains)
            row["same_person"] = float(own["same_person"][inside].mean())
            if "lpips" in own:
                lowest = min(values[other]["lpips"][inside].mean() for other in others)
                row["lpips"] = float(own["lpips"][inside].mean() / lowest)
            table.append(row)
    return table
