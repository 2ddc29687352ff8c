"""`facesym evaluate normalize`: pose, expression, sharpness and identity of normalized faces of held-out people.

    facesym evaluate normalize --london FACES/london --lfw FACES/lfw --mesh ict_face_model.npz --alexnet ALEXNET \\
        --models normalize -o results/normalize
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import facesym

from .. import metrics
from ..data.expressions import Expressions
from ..data.metadata import read_metadata
from ..data.neutral import Neutral, neutral_faces
from ..data.shading import mean_smile_shading
from ..data.simulate import FaceMesh, frontalize
from ..errors import ImageError
from ..faces.landmarks import find_points
from ..faces.pose import head_pose
from ..logging import progress_bar
from .classifiers import NeutralClassifier
from .data import add_common_arguments, load_models, load_pictures, named_models, select_pictures, yaw_of
from .groups import group_means, groups
from .realism import add_realism, realistic
from .report import picture_grid
from .tables import ALONE, markdown, mean_row, save_results, zoo_metrics

SIZE = 256
READ = 128  # side of the images that the classifier reads
TURNED = 45  # degrees of yaw (metadata): images turned further are excluded

COLUMNS = {
    "identity distance": "{identity_distance:.3f}",
    "same person": "{same_person:.1%}",
    "over 0.6 to the input": "{over_to_input:.1%}",
    "mean yaw": "{yaw:.1f}",
    "neutral": "{neutral:.1%}",
    "sharpness": "{sharpness:.2f}",
    "PSNR": "{psnr:.2f}",
    "SSIM": "{ssim:.3f}",
    "LPIPS": "{lpips:.3f}",
}


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_common_arguments(command, faces=False, models=["normalize"])
    command.add_argument(
        "--london", type=Path, required=True, help="folder of aligned faces with view and expression"
    )
    command.add_argument(
        "--lfw", type=Path, required=True, help="folder of aligned faces with yaw, neutral and happy"
    )
    command.add_argument(
        "--web", nargs="+", type=Path, default=[], help="more folders of aligned faces, measured like LFW"
    )
    command.add_argument("--mesh", type=Path, required=True, help="ict_face_model.npz, for the classical row")
    command.add_argument("--alexnet", type=Path, required=True, help="torchvision's AlexNet features")
    add_realism(command)
    command.add_argument(
        "-n", type=int, default=200, help="images of LFW, and of each folder of --web, at most (default 200)"
    )
    command.add_argument("--grid", type=int, default=10, help="images in the grids (default 10)")


def run(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure for each row: the distance of dlib's descriptors to the person's frontal, neutral photo (London) or to
    the input (LFW) and the fraction within 0.6; the mean |yaw| by landmarks; the fraction classified as neutral; PSNR,
    SSIM and LPIPS to the target photo (London); the inner face's sharpness relative to the target's (LFW: to the
    input's).
    Rows: the photos; turned to the front by a mesh with hidden parts mirrored; these with the expression removed by
    landmarks, like the training targets of expressive web photos; the models, and their networks alone; the mesh's
    faces refined by LSSL's mode (b)."""
    args.out.mkdir(parents=True, exist_ok=True)
    pipes = {name: facesym.load(model) for name, model in named_models(args.models).items()}
    nets, mesh = load_models(args.realism), FaceMesh(args.mesh)
    _check_columns(args.london, {"view", "expression"})
    _check_columns(args.lfw, {"neutral", "happy", "yaw"})
    bank = Expressions(args.london, mesh, SIZE, mean_smile_shading([args.lfw], SIZE))
    neutral = Neutral(bank, *neutral_faces([args.london, args.lfw], SIZE))
    classifier, accuracy = train_classifier(args)

    tables, counts = {}, {}
    wild_rows: list[dict[str, Any]] = []
    wild: list[dict[str, dict[str, np.ndarray]]] = []
    for name, (images, targets, rows) in picture_sets(args).items():
        outputs = _outputs(pipes, nets, mesh, neutral, images)
        values = measure(outputs, targets, classifier, None if rows else args.alexnet)
        tables[name] = [mean_row(row, own) for row, own in values.items()]
        counts[name] = len(images)
        if rows:
            wild_rows += rows
            wild.append(values)
        columns = {row: faces[: args.grid] for row, faces in outputs.items()}
        picture_grid(columns | ({} if rows else {"target photo": targets[: args.grid]})).save(
            args.out / f"grid-{name.lower().replace(', ', '-').replace(' ', '-')}.png"
        )
    pooled = {
        row: {key: np.concatenate([values[row][key] for values in wild]) for key in own}
        for row, own in wild[0].items()
    }
    by_group = group_means(groups(wild_rows), pooled)
    settings = {
        "task": "normalize", "models": args.models, "realism": args.realism, "size": SIZE, "seed": args.seed,
        "pictures": counts,
    } | accuracy  # fmt: skip
    save_results(args.out, settings, tables | {"groups": by_group})
    for name, table in tables.items():
        print(f"\n{name}: {counts[name]} images\n\n{markdown(table, COLUMNS)}")
    print(f"\nIn-the-wild images by group\n\n{markdown(by_group, {'images': '{n}'} | COLUMNS)}")
    print(
        f"\nThe classifier of neutral faces is right for {accuracy['neutral_classifier_accuracy']:.1%} of "
        f"{accuracy['neutral_classifier_checked_on']} held-out photos and classifies "
        f"{accuracy['neutral_photos_taken_for_neutral']:.1%} of the neutral ones as neutral."
    )
    print(f"\nwrote {args.out}")
    return [
        zoo_metrics(
            f"{counts[name]} images of people held out, {SIZE} pixels: {name}",
            "facesym evaluate normalize",
            table,
        )
        for name, table in tables.items()
    ]


def _outputs(pipes, nets, mesh, neutral, images):
    """Compute the rows of a set: {row: NxSxSx3 uint8}."""
    lists: dict[str, Any] = {"photo": images, "mesh and mirror": [], "mesh, mirror, landmarks": []}
    for image in progress_bar(images, desc="mesh"):
        frontal, points = frontalize(image, find_points(Image.fromarray(image)), mesh)
        lists["mesh and mirror"].append(frontal)
        lists["mesh, mirror, landmarks"].append(neutral.show(frontal, points)[0])
    for model, pipe in pipes.items():
        lists[model] = [_resized(_whole(pipe, image)) for image in progress_bar(images, model)]
        if pipe.net.config.copy:
            alone = [_alone(pipe, image) for image in progress_bar(images, model + ALONE)]
            lists[model + ALONE] = [_resized(image) for image in alone]
    for model, net in nets.items():
        lists[model] = [realistic(net, image, mesh) for image in progress_bar(images, model)]
    return {row: np.stack(values) for row, values in lists.items()}


def _check_columns(folder, columns):
    missing = columns - read_metadata(folder, ("train", "val", "test"))[0].keys()
    if missing:
        raise ImageError(f"{folder}/metadata.csv has no column {', '.join(sorted(missing))}")


def train_classifier(args: argparse.Namespace) -> tuple[NeutralClassifier, dict[str, Any]]:
    """Train the classifier of neutral faces; return it and a dict of its accuracy on held-out photos."""
    known = _studio(args.london, ("train",))
    known += [row for row in read_metadata(args.lfw, ("train",)) if _sure(row)][:2000]
    classifier = NeutralClassifier(
        load_pictures(known, READ)[0], [_neutral(row) for row in known], args.alexnet
    )
    checked = _studio(args.london, ("test",))
    checked += [row for row in select_pictures([args.lfw], 0, None, args.seed) if _sure(row)]
    output = classifier(load_pictures(checked, READ)[0])
    target = np.array([_neutral(row) for row in checked])
    return classifier, {
        "neutral_classifier_accuracy": float((output == target).mean()),
        "neutral_classifier_checked_on": len(checked),
        "neutral_photos_taken_for_neutral": float(output[target].mean()),
    }


def picture_sets(args: argparse.Namespace) -> dict[str, tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]]:
    """Load the sets.

    Returns:
        {name: (images, targets, rows)}, images as NxSxSx3 uint8. London's targets are the frontal neutral photos of
        the same people, and ``rows`` is empty. The targets of in-the-wild images are the images; ``rows`` are those of
        metadata.csv.
    """
    sets: dict[str, tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]] = {}
    rows = _studio(args.london, ("test",))
    front = {row["subject"]: i for i, row in enumerate(rows) if row["view"] == "front" and _neutral(row)}
    front.pop("", None)  # unknown people
    images, _ = load_pictures(rows, SIZE)
    for view, name in (("front", "London, front"), ("quarter", "London, three-quarter")):
        for expression in ("neutral", "smiling"):
            chosen = [
                i
                for i, row in enumerate(rows)
                if row["subject"] in front and view in row["view"] and row["expression"] == expression
            ]
            if chosen:
                targets = [front[rows[i]["subject"]] for i in chosen]
                sets[f"{name}, {expression}"] = (images[chosen], images[targets], [])
    for folder, name in [(args.lfw, "LFW"), *((folder, folder.name) for folder in args.web)]:
        wild = select_pictures([folder], 0, None, args.seed)
        wild = [row for row in wild if abs(yaw_of(row, 90)) <= TURNED][: args.n]
        images = load_pictures(wild, SIZE)[0]
        sets[name] = (images, images, wild)
    return sets


def measure(
    rows: dict[str, np.ndarray],
    targets: np.ndarray,
    classifier: NeutralClassifier,
    backbone: str | Path | None = None,
) -> dict[str, dict[str, np.ndarray]]:
    """Measure the images of one set.

    Args:
        rows: {row: NxSxSx3 uint8}; "photo" holds the inputs.
        targets: NxSxSx3 uint8.
        classifier: NeutralClassifier.
        backbone: AlexNet's file; None: the targets are the inputs, and differences to them are left out.

    Returns:
        {row: its measures, a dict of arrays of N}.
    """
    target_vectors, own = metrics.identity_descriptor(targets), metrics.identity_descriptor(rows["photo"])
    values = {}
    for name, outputs in rows.items():
        vectors = metrics.identity_descriptor(outputs)
        far = np.linalg.norm(vectors - target_vectors, axis=1)
        values[name] = {
            "identity_distance": far,
            "same_person": far <= metrics.SAME_PERSON,
            "over_to_input": np.linalg.norm(vectors - own, axis=1) > metrics.SAME_PERSON,
            "yaw": np.array([abs(head_pose(metrics.dlib_landmarks(image))[0]) for image in outputs]),
            "neutral": classifier(np.stack([_resized(x, READ) for x in outputs])),
            "sharpness": metrics.sharpness(outputs) / np.maximum(metrics.sharpness(targets), 1e-6),
        }
        if backbone is not None:
            values[name] |= {
                "psnr": metrics.psnr(outputs, targets),
                "ssim": metrics.ssim(outputs, targets),
                "lpips": metrics.lpips(outputs, targets, backbone),
            }
    return values


def _whole(pipe, image):
    """Normalize one aligned crop with a pipeline: RGB."""
    return pipe(Image.fromarray(image), aligned=True).images[0]


def _alone(pipe, image):
    """Normalize one aligned crop with a pipeline's network alone: RGB."""
    crop = Image.fromarray(image)
    small = crop.resize((pipe.size, pipe.size), Image.Resampling.LANCZOS)
    yaw, _ = head_pose(find_points(small))
    return pipe.run(small, crop, yaw)[0]


def _resized(image, side=SIZE):
    """An RGB image or an array as an array of a side."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    return np.asarray(image if image.width == side else image.resize((side, side), Image.Resampling.LANCZOS))


def _studio(folder, splits):
    """Select London's images with an expression, without profiles."""
    rows = read_metadata(folder, splits)
    return [row for row in rows if row.get("expression") and "profile" not in row["view"]]


def _neutral(row):
    return row["expression"] == "neutral" if row.get("view") else float(row["neutral"]) > 0.5


def _sure(row):
    """Whether LFW's scores leave no doubt."""
    score = max(float(row["neutral"] or 0), float(row["happy"] or 0))
    return score >= 0.95 and abs(yaw_of(row, 90)) <= TURNED
