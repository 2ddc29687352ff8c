"""`facesym evaluate symmetrize`: recognition error of symmetric faces of held-out people (Table 1).

    facesym evaluate symmetrize --faces FACES/lfw FACES/london FACES/scut FACES/mebeauty FACES/generated \\
        --alexnet ALEXNET --models symmetrize-256 -o results/symmetrize
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from .. import metrics
from ..asymmetry import landmark_asymmetry
from ..data.symmetric import simulate_palsy, symmetric_faces
from ..errors import ImageError
from ..faces.geometry import face_region, face_shown, symmetric_landmarks
from ..faces.mirror import mirror_composites, reflect
from ..faces.paste import paste_face
from ..logging import progress_bar
from ..pipelines.crops import to_image
from ..pipelines.symmetrize import SymmetrizePipeline
from .data import add_common_arguments, load_models, load_pictures, select_pictures, yaw_of
from .report import picture_grid
from .tables import markdown, save_results, zoo_metrics

FRONTAL = 20  # degrees of yaw: palsies are simulated on faces turned less
PROFILE = 60  # degrees of yaw: landmarks are unreliable beyond; these faces are excluded
STAYS = np.array([[1.0, 0, 0], [0, 1, 0]])  # the identity transform

COLUMNS = {
    "error": "{error:.3f}",
    "identity distance": "{identity_distance:.3f}",
    "to the healthy face": "{distance_to_healthy:.3f}",
    "sharpness": "{sharpness:.2f}",
    "landmark asymmetry": "{landmarks:.3f}",
    "error, face alone": "{error_alone:.3f}",
    "MAE to its mirror": "{mae:.2f}",
    "LPIPS to its mirror": "{lpips:.3f}",
}


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_common_arguments(command, models=["symmetrize"], device=True)
    command.add_argument(
        "--alexnet", type=Path, help="torchvision's AlexNet features, for LPIPS (safetensors)"
    )
    command.add_argument(
        "--palsy", type=float, default=1.0, help="strength of the simulated palsy (default 1)"
    )
    command.add_argument("-n", type=int, default=2000, help="images of each kind, at most (default 2000)")
    command.add_argument("--size", type=int, default=256, help="side of the images (default 256)")
    command.add_argument("--grid", type=int, default=8, help="images in the grids (default 8)")


def baselines(picture: np.ndarray) -> dict[str, np.ndarray]:
    """Return the baselines (mirroring, and the training target) for one image (SxSx3 uint8): a dict of images.

    All use dlib's landmarks of the image and are pasted into it like the models' outputs, so that only the face
    differs.
    """
    size, before = len(picture), Image.fromarray(picture)
    points = metrics.dlib_landmarks(picture).astype(np.float64)
    shown, goal = face_shown(points, size), symmetric_landmarks(points, size)
    composites = mirror_composites(before, points)
    region = face_region(points, size)
    region = np.maximum(region, reflect(region, points))
    rows = {
        f"mirror, {name}": paste_face(before, composites[name], STAYS, region, shown)
        for name in ("left", "right", "average")
    }
    region = face_region(goal, size)
    target = Image.fromarray(symmetric_faces(picture, points)[0])
    rows["landmark target, left"] = paste_face(
        before, target, STAYS, np.maximum(region, region[:, ::-1]), shown
    )
    return {name: np.asarray(image) for name, image in rows.items()}


@torch.inference_mode()
def symmetrize_with(
    model: Any, images: np.ndarray, device: str | torch.device = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """Symmetrize images with a network.

    Args:
        model: SymmetrizerVAE.
        images: NxSxSx3 uint8.
        device: of the computation.

    Returns:
        The outputs of `SymmetrizePipeline`; and the network's own faces (exact=False). NxSxSx3 uint8 each.

    Raises:
        ImageError: the model needs images of another size.
    """
    if model.config.input_size != images.shape[1]:
        raise ImageError(f"this model needs --size {model.config.input_size}, not {images.shape[1]}")
    pipe, alone = SymmetrizePipeline(model), np.empty_like(images)
    whole = np.stack([np.asarray(pipe(image, aligned=True).images[0]) for image in images])
    for i in range(0, len(images), 8):
        x = torch.from_numpy(images[i : i + 8]).to(device).permute(0, 3, 1, 2) / 127.5 - 1
        alone[i : i + 8] = np.stack([np.asarray(to_image(face)) for face in model(x).face])
    return whole, alone


def landmark_residual(image: np.ndarray) -> float:
    """Return the asymmetry of dlib's landmarks without that of the pose (see `landmark_asymmetry`): the mean distance
    of a landmark to its partner's mirror image, in outer-eye distances."""
    rest, *_ = landmark_asymmetry(metrics.dlib_landmarks(image).astype(np.float64))
    return float(2 * np.linalg.norm(rest, axis=1).mean())


def kinds(args: argparse.Namespace) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Load the images of each column of Table 1: {name: (images, healthy images or None)}."""
    sets: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
    for folder in args.faces:
        if folder.name not in ("lfw", "london"):
            continue
        rows = select_pictures([folder], 0, None, args.seed)
        yaw = np.array([abs(yaw_of(row, 0)) for row in rows])
        parts = {folder.name: yaw < PROFILE}
        if folder.name == "london":  # studio views: 0, 45 and 90 degrees
            parts = {
                "london, front": yaw < FRONTAL,
                "london, three-quarter": (yaw >= FRONTAL) & (yaw < PROFILE),
            }
        for name, chosen in parts.items():
            if chosen.any():
                part = [row for row, inside in zip(rows, chosen) if inside][: args.n]
                sets[name] = (load_pictures(part, args.size)[0], None)
    frontal = [f for f in args.faces if f.name not in ("lfw", "london")] or args.faces
    rows = select_pictures(frontal, 0, None, args.seed)
    rows = [row for row in rows if abs(yaw_of(row, 0)) < FRONTAL][: args.n]
    if rows:
        healthy, points = load_pictures(rows, args.size)
        sick = [
            simulate_palsy(image, p, ("left", "right")[i % 2], args.palsy)[0]
            for i, (image, p) in enumerate(zip(healthy, points))
        ]
        sets["simulated palsy"] = (np.stack(sick), healthy)
    return sets


def run(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure symmetric faces: the recognition error (the fraction of outputs that dlib's descriptor does not recognise
    as the input's person), identity distance, sharpness of the inner face relative to the input's, and symmetry of the
    output. Rows: mirroring, the training target from landmarks, and models."""
    models = load_models(args.models, args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    tables: dict[str, dict[str, Any]] = {}
    for kind, (images, healthy) in kinds(args).items():
        mirrored = [baselines(p) for p in progress_bar(images, f"{kind}: mirroring")]
        results: dict[str, tuple[np.ndarray, np.ndarray | None]] = {
            name: (np.stack([each[name] for each in mirrored]), None) for name in mirrored[0]
        }
        for name, model in progress_bar(models.items(), f"{kind}: models"):
            results[name] = symmetrize_with(model, images, args.device)
        table = measure(results, images, healthy, args.alexnet, args.device)
        tables[kind] = {"pictures": len(images), "rows": table}
        columns = {"input": images} | {name: whole for name, (whole, _) in results.items()}
        grid = {name: values[: args.grid] for name, values in columns.items()}
        picture_grid(grid).save(args.out / f"grid-{kind.replace(',', '').replace(' ', '-')}.png")
    settings = {
        "task": "symmetrize",
        "size": args.size,
        "seed": args.seed,
        "palsy": args.palsy,
        "models": args.models,
        "faces": [folder.name for folder in args.faces],
    }
    save_results(args.out, settings, tables)
    for kind, table in tables.items():
        print(f"\n{kind}: {table['pictures']} images\n\n{markdown(table['rows'], COLUMNS)}")
    print(f"\nwrote {args.out}")
    return [
        zoo_metrics(
            f"{table['pictures']} images of the test split, {args.size} pixels: {kind}",
            "facesym evaluate symmetrize: recognition error by dlib's descriptor, through the pipeline",
            table["rows"],
        )
        for kind, table in tables.items()
    ]


def measure(
    results: dict[str, tuple[np.ndarray, np.ndarray | None]],
    images: np.ndarray,
    healthy: np.ndarray | None,
    backbone: str | Path | None = None,
    device: str | torch.device = "cpu",
) -> list[dict[str, Any]]:
    """Compute the rows of one kind of image.

    Args:
        results: {row: (outputs pasted into the crops, the networks' own faces or None)}, NxSxSx3 uint8 each.
        images: NxSxSx3 uint8, the inputs.
        healthy: the images without the simulated palsy, or None.
        backbone: AlexNet's file; None leaves out LPIPS.
        device: for LPIPS.
    """
    before = metrics.identity_descriptor(images)
    descriptors = None if healthy is None else metrics.identity_descriptor(healthy)
    sharp = metrics.sharpness(images)
    table = []
    for name, (whole, alone) in results.items():
        after = metrics.identity_descriptor(whole)
        distance = np.linalg.norm(after - before, axis=1)
        row = {
            "row": name,
            "error": float((distance > metrics.SAME_PERSON).mean()),
            "identity_distance": float(distance.mean()),
            "sharpness": float((metrics.sharpness(whole) / np.maximum(sharp, 1e-6)).mean()),
            "landmarks": float(np.mean([landmark_residual(p) for p in whole])),
        }
        if descriptors is not None:
            row["distance_to_healthy"] = float(np.linalg.norm(after - descriptors, axis=1).mean())
        if alone is not None:
            inside = np.linalg.norm(metrics.identity_descriptor(alone) - before, axis=1)
            row["error_alone"] = float((inside > metrics.SAME_PERSON).mean())
            mirrored = np.ascontiguousarray(alone[:, :, ::-1])
            face = (alone > 8).any(-1) | (mirrored > 8).any(-1)  # outside the face both are black
            row["mae"] = float(np.abs(alone.astype(float) - mirrored)[face].mean())
            if backbone:
                row["lpips"] = float(metrics.lpips(alone, mirrored, backbone, device).mean())
        table.append(row)
    return table
