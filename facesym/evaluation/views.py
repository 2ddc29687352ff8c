"""Compare turned heads with photos of the same people from that side, for `facesym evaluate transfer`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .. import metrics
from ..data.attributes import POSES
from ..data.simulate import FaceMesh, turn_to
from ..faces.landmarks import find_points
from ..logging import progress_bar
from .data import load_pictures, select_pictures, yaw_of
from .smiles import change

SIZE = 256  # pixels
TURNS = ("left 45", "right 45")
NEAR = 15  # degrees of yaw between a photo and a pose, at most

COLUMNS = {
    "photos": "{photos}",
    "LPIPS to the person's own": "{lpips:.3f}",
    "identity distance": "{identity_distance:.3f}",
    "sharpness": "{sharpness:.2f}",
}


def view_pairs(folders: Iterable[str | Path]) -> list[tuple[dict[str, Any], dict[str, Any], str]]:
    """Find the held-out people with neutral photos from the front and from a side: a list of (frontal row, turned row,
    pose)."""
    people: dict[tuple, dict[str, dict]] = {}
    for row in select_pictures(folders, SIZE, None, 0):
        if row.get("expression") == "neutral" and row.get("view") and row["subject"]:
            people.setdefault((row["set"], row["subject"]), {})[row["view"]] = row
    return [
        (views["front"], row, pose)
        for views in people.values()
        if "front" in views
        for row in views.values()
        for pose in TURNS
        if abs(yaw_of(row) - POSES[pose]) <= NEAR
    ]


def measure_views(
    pipes: dict[str, Any], mesh: FaceMesh, folders: Iterable[str | Path], backbone: str | Path
) -> list[dict[str, Any]]:
    """Turn heads from the front to the side, and compare them with the people's own photos from there.

    Args:
        pipes: {name: TransferPipeline}.
        mesh: for the classical row.
        folders: of aligned faces with the columns ``view`` ("front" and others) and ``expression``.
        backbone: AlexNet's file, for LPIPS.

    Returns:
        A row for the unchanged photo, the mesh and each model: mean LPIPS and mean distance of dlib's descriptors to
        the turned photo, and the inner face's sharpness relative to it (median). Empty if no person has such photos.
    """
    pairs = view_pairs(folders)
    if not pairs:
        return []
    images = load_pictures([front for front, _, _ in pairs], SIZE)[0]
    targets = load_pictures([side for _, side, _ in pairs], SIZE)[0]
    poses = [pose for _, _, pose in pairs]
    outputs = {
        "unchanged photo": images,
        "mesh": np.stack([
            turn_to(x, find_points(Image.fromarray(x)), mesh, POSES[pose])[0] for x, pose in zip(images, poses)
        ]),
    }  # fmt: skip
    for name, pipe in pipes.items():
        faces = progress_bar(list(zip(images, poses)), desc=f"{name}: views")
        outputs[name] = np.stack(
            [np.asarray(change(pipe, image, {"pose": pose})[0]) for image, pose in faces]
        )
    descriptors, sharp = metrics.identity_descriptor(targets), metrics.sharpness(targets)
    table = []
    for name, faces in outputs.items():
        distance = np.linalg.norm(metrics.identity_descriptor(faces) - descriptors, axis=1)
        table.append({
            "row": name, "photos": len(pairs), "lpips": float(metrics.lpips(faces, targets, backbone).mean()),
            "identity_distance": float(distance.mean()),
            "sharpness": float(np.median(metrics.sharpness(faces) / np.maximum(sharp, 1e-6))),
        })  # fmt: skip
    return table
