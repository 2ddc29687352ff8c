"""The images and models to measure, and the command-line options that select them."""

import argparse
import hashlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import onnx, zoo
from ..data.faces import read_face
from ..data.metadata import read_landmarks, read_metadata
from ..device import check_exported
from ..errors import ImageError

MODELS = "zoo ids, model folders, training runs or Hub repositories"

RELIABLE = 100  # images


def add_common_arguments(
    command: argparse.ArgumentParser,
    *,
    faces: bool = True,
    models: list[str] | None = None,
    device: bool = False,
    backend: bool = False,
    seed: bool = True,
) -> None:
    """Add the options that tasks share to a parser.

    Args:
        command: the task's parser.
        faces: whether the task takes ``--faces``.
        models: default of ``--models``, a list; None leaves the option out.
        device: whether the task takes ``--device``.
        backend: whether the task takes ``--backend``.
        seed: whether the task takes ``--seed``.
    """
    if faces:
        command.add_argument("--faces", nargs="+", type=Path, required=True, help="folders of aligned faces")
    if models is not None:
        command.add_argument("--models", nargs="*", default=models, metavar="[NAME=]MODEL", help=MODELS)
    if device:
        command.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    if backend:
        command.add_argument(
            "--backend", choices=onnx.BACKENDS, default="torch",
            help="what runs the networks, see facesym.load; others than torch take models of the zoo (default torch)",
        )  # fmt: skip
    if seed:
        command.add_argument("--seed", type=int, default=0, help="seed that selects the images (default 0)")
    command.add_argument("-o", "--out", type=Path, required=True, help="folder to write")


def select_pictures(
    folders: Iterable[str | Path], size: int, count: int | None, seed: int
) -> list[dict[str, Any]]:
    """Select test images in an order that depends on a hash of seed and name.

    Args:
        folders: folders of aligned faces; those with images of fewer than ``size`` pixels are skipped.
        size: minimum side of the images in pixels.
        count: maximum number of images; a smaller count returns the first images of a larger one. None: all.
        seed: seed of the order.

    Returns:
        Rows of metadata.csv with ``set``, the name of the folder.

    Raises:
        ImageError: no images match.
    """
    rows = []
    for folder in map(Path, folders):
        rows += [row | {"set": folder.name} for row in read_metadata(folder, ("test",), min_size=size)]
    if not rows:
        raise ImageError(
            f"none of {', '.join(map(str, folders))} has test images of at least {size} pixels: add folders to --faces"
        )
    return sorted(rows, key=lambda row: digest(seed, row["set"], row["file_name"]))[:count]


def load_pictures(rows: list[dict[str, Any]], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Load images (NxSxSx3 uint8) and their landmarks (Nx68x2 float64, pixels of the SxS image)."""
    tables = {folder: read_landmarks(folder) for folder in {row["path"].parent for row in rows}}
    images, landmarks = np.empty((len(rows), size, size, 3), np.uint8), np.empty((len(rows), 68, 2))
    for i, row in enumerate(rows):
        images[i], landmarks[i] = read_face(row, tables[row["path"].parent][row["index"]], size)
    return images, landmarks


def people_of(rows: list[dict[str, Any]]) -> list[str] | None:
    """Return the person of each row of `select_pictures`, as "set/subject"; None if one is unknown."""
    known = all(row["subject"] for row in rows)
    return [f"{row['set']}/{row['subject']}" for row in rows] if known else None


def count_images(count: int, people: int | None) -> str:
    """Describe the images of an evaluation, e.g. "400 images of 300 people", and warn of few images; ``people`` is None
    if unknown."""
    few = f" (too few images for reliable figures: use at least {RELIABLE})" if count < RELIABLE else ""
    return f"{count} images of {'unknown' if people is None else people} people{few}"


def yaw_of(row: dict[str, Any], default: float = math.nan) -> float:
    """Return the yaw of a row of metadata.csv in degrees, or ``default`` if it has none."""
    return float(row.get("yaw") or default)


def digest(*parts: Any) -> str:
    """Return the SHA-256 of some values in hex."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def named_models(given: Sequence[str]) -> dict[str, str]:
    """Name the models of ``--models``.

    Args:
        given: a list of [NAME=]MODEL; MODEL is a zoo id, a Hub repository, or the folder of a model or of a run.

    Returns:
        {name: argument of facesym.load}; without NAME, the last part of MODEL, or all of it if two models share that.

    Raises:
        ImageError: two models have the same name.
    """
    pairs = [text.rpartition("=")[::2] for text in given]
    last = [Path(model).name for name, model in pairs if not name]
    models = {}
    for name, model in pairs:
        short = Path(model).name
        name = name or (short if last.count(short) == 1 else model)
        if name in models:
            raise ImageError(f"two models are called {name}: give them different names with NAME=MODEL")
        run = Path(model) / "model"
        models[name] = str(run) if run.is_dir() else model
    return models


def load_models(
    given: Sequence[str], device: str | torch.device = "cpu", backend: str = "torch"
) -> dict[str, Any]:
    """Load the networks of ``--models`` in eval mode: {name: network}, see `named_models`.

    Args:
        given: see `named_models`.
        device: device of the networks; "cpu" for exported ones.
        backend: one of `facesym.onnx.BACKENDS`; with others than "torch", the networks are OnnxNets.

    Raises:
        ZooError: a model is unknown, or has not been exported (`facesym export`).
        DeviceError: the device is unavailable, or exported networks do not run on it.
    """
    if backend != "torch":
        check_exported(device)
        return {name: onnx.load(model, backend) for name, model in named_models(given).items()}
    return {name: zoo.load(model, device=device).eval() for name, model in named_models(given).items()}


def one_size(nets: dict[str, Any]) -> int:
    """Return the side of the images that all of these generators (a dict) produce.

    Raises:
        ImageError: the sizes differ.
    """
    sizes = {name: net.size for name, net in nets.items()}
    if len(set(sizes.values())) > 1:
        raise ImageError(f"the models must produce images of one size, not of several: {sizes}")
    return next(iter(sizes.values()))
