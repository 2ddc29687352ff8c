"""`facesym evaluate transfer`: recognition of transferred attributes and of identity on held-out people.

    facesym evaluate transfer --faces FACES/scut FACES/mebeauty FACES/lfw --alexnet ALEXNET \\
        --mesh ict_face_model.npz --models transfer -o results/transfer
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

import facesym

from .. import metrics
from ..data.attributes import POSES, UNKNOWN, expression_of, pose_of, relight
from ..data.lssl import NAMES
from ..data.simulate import FaceMesh, frontalize, turn_to
from ..faces.geometry import face_region
from ..faces.landmarks import find_points
from ..faces.pose import head_pose
from ..logging import progress_bar
from ..models.lssl import GROUPS
from .classifiers import AttributeClassifier
from .data import (
    add_common_arguments,
    count_images,
    load_models,
    load_pictures,
    named_models,
    people_of,
    select_pictures,
    yaw_of,
)
from .groups import group_means, groups
from .realism import add_realism, realistic
from .report import picture_grid
from .smiles import COLUMNS as SMILES
from .smiles import measure_smiles
from .strengths import COLUMNS as STRENGTHS
from .strengths import measure_strengths
from .tables import markdown, mean_row, save_results, zoo_metrics
from .views import COLUMNS as VIEWS
from .views import measure_views

SIZE = 128
STRENGTH_IMAGES = 24  # of the images, on which strengths are measured
ANGLES = (15, 30, 45)  # degrees, of Table 3; each with the images within 7.5 degrees
WAYS = [(group, name) for group, names in GROUPS.items() for name in names]

COLUMNS = {
    "accuracy": "{accuracy:.1%}",
    "identity distance": "{identity_distance:.3f}",
    "same person": "{same_person:.1%}",
    "sharpness": "{sharpness:.2f}",
    "LPIPS outside the face": "{lpips_outside:.3f}",
    "yaw error": "{yaw_error:.1f}",
}


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_common_arguments(command, models=["transfer"])
    command.add_argument(
        "--alexnet", type=Path, required=True, help="torchvision's AlexNet features, for LPIPS"
    )
    command.add_argument("--mesh", type=Path, required=True, help="ict_face_model.npz, for the classical row")
    command.add_argument(
        "--smiles", type=Path, nargs="*", default=[],
        help="folders of faces with neutral and smiling photos of the same people",
    )  # fmt: skip
    command.add_argument(
        "--views", type=Path, nargs="*", default=[],
        help="folders of faces with photos of the same people from the front and from the side",
    )  # fmt: skip
    add_realism(command)
    command.add_argument("--classifier", type=Path, help="classifier.pt of an earlier run")
    command.add_argument(
        "--classifier-steps", type=int, default=1500, help="training steps of the classifier (default 1500)"
    )
    command.add_argument("-n", type=int, default=100, help="images at most (default 100)")
    command.add_argument("--turned", type=int, default=300, help="turned images, at most (default 300)")
    command.add_argument("--grid", type=int, default=8, help="images in the grid (default 8)")


def run(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Give held-out faces each attribute that they lack, and measure: the fraction that a classifier recognises (with
    its accuracy on held-out photos); the distance between dlib's descriptors of output and photo, and the fraction
    within 0.6; the inner face's sharpness relative to the photo's; for expressions, LPIPS outside the face; for poses,
    the error of the measured yaw. Rows: the photos; for poses, a mesh; the models. Also Table 3: recognition of
    expressions in turned faces before and after turning them to the front; whether expressions grow with the strength;
    with ``--smiles``, how similar the mouths of added and removed smiles are to the person's own; and, with
    ``--views``, how similar turned heads are to the person's own photo from that side."""
    args.out.mkdir(parents=True, exist_ok=True)
    pipes = {name: facesym.load(model) for name, model in named_models(args.models).items()}
    nets, mesh = load_models(args.realism), FaceMesh(args.mesh)
    classifier = load_classifier(args)
    rows = select_pictures(args.faces, 0, None, args.seed)
    rows = [row for row in rows if _pose(row) != UNKNOWN]
    real = real_accuracy(classifier, rows, args.seed)
    chosen = [row for row in rows if abs(yaw_of(row)) <= 30][: args.n]
    images = load_pictures(chosen, SIZE)[0]
    own = [(_expression(row), _pose(row), 0) for row in chosen]
    outputs = transfer_all(pipes, mesh, images)
    table, by_group = measure(outputs, images, own, classifier, args.alexnet, groups(chosen))
    turned = table_3(classifier, rows, pipes, nets, mesh, args.turned)
    for name in pipes:
        columns = {"photo": images} | {value: outputs[name][group, value] for group, value in WAYS}
        grid = picture_grid({heading: faces[: args.grid] for heading, faces in columns.items()})
        grid.save(args.out / f"grid-{name}.png")
    people = people_of(chosen)
    settings = {
        "task": "transfer", "models": args.models, "realism": args.realism,
        "faces": [folder.name for folder in args.faces], "size": SIZE, "seed": args.seed, "pictures": len(images),
        "people": len(set(people)) if people else None,
        "classifier": str(args.classifier or f"{args.classifier_steps} steps"),
    }  # fmt: skip
    smiles = measure_smiles(pipes, args.smiles, args.alexnet) if args.smiles else []
    results = {
        "smiles": smiles,
        "views": measure_views(pipes, mesh, args.views, args.alexnet) if args.views else [],
        "strengths": measure_strengths(pipes, images[:STRENGTH_IMAGES]),
        "real": real,
        "attribute_groups": attribute_means(table),
        "groups": attribute_means(by_group),
        "attributes": table,
        "turned": turned,
    }
    save_results(args.out, settings, results)
    _print(settings, results)
    print(f"\nwrote {args.out}")
    return _zoo_metrics(settings, results)


def load_classifier(args: argparse.Namespace) -> AttributeClassifier:
    """Load the classifier of ``--classifier``, or train one on training people and save it as classifier.pt."""
    classifier = AttributeClassifier()
    if args.classifier:
        classifier.net.load_state_dict(torch.load(args.classifier, weights_only=True))
        classifier.net.eval()
    else:
        classifier.train(args.faces, args.classifier_steps, args.seed)
        torch.save(classifier.net.state_dict(), args.out / "classifier.pt")
    return classifier


def transfer_all(
    pipes: dict[str, Any], mesh: FaceMesh, images: np.ndarray
) -> dict[str, dict[tuple[str, str], np.ndarray]]:
    """Give each image each attribute: {row: {(group, attribute): NxSIZExSIZEx3 uint8}}."""
    outputs = {"photo": dict.fromkeys(WAYS, images), "mesh": {}}
    for group, value in progress_bar([way for way in WAYS if way[0] == "pose"], "mesh"):
        outputs["mesh"][group, value] = np.stack(
            [turn_to(x, find_points(Image.fromarray(x)), mesh, POSES[value])[0] for x in images]
        )
    for name, pipe in pipes.items():
        wanted = [{group: value} for group, value in WAYS]
        faces = [_run(pipe, image, wanted) for image in progress_bar(images, desc=name)]
        outputs[name] = {way: np.stack([each[k] for each in faces]) for k, way in enumerate(WAYS)}
    return outputs


def measure(
    outputs: dict[str, dict[tuple[str, str], np.ndarray]],
    images: np.ndarray,
    own: Sequence[tuple[int, int, int]],
    classifier: AttributeClassifier,
    backbone: str | Path,
    members: dict[str, np.ndarray],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Compute a row for each model and attribute, and one for each model, attribute and group of images.

    Args:
        outputs: from `transfer_all`.
        images: NxSIZExSIZEx3 uint8.
        own: N tuples, the index of each image's attribute in each of NAMES.
        classifier: AttributeClassifier.
        backbone: AlexNet's file.
        members: {group: N bool}, from `groups`.
    """
    descriptors, sharp = metrics.identity_descriptor(images), metrics.sharpness(images)
    table, by_group = [], []
    for name, results in outputs.items():
        for (group, value), faces in progress_bar(results.items(), f"measure {name}"):
            wanted = GROUPS[group].index(value)
            asked = [i for i, has in enumerate(own) if has[NAMES.index(group)] != wanted]
            if not asked:
                continue
            faces = faces[asked]
            far = np.linalg.norm(metrics.identity_descriptor(faces) - descriptors[asked], axis=1)
            values = {
                "accuracy": classifier(faces, group) == wanted,
                "identity_distance": far,
                "same_person": far <= metrics.SAME_PERSON,
                "sharpness": metrics.sharpness(faces) / np.maximum(sharp[asked], 1e-6),
            }
            if group == "expression":
                values["lpips_outside"] = lpips_outside(faces, images[asked], backbone)
            if group == "pose":
                yaw = np.array([head_pose(metrics.dlib_landmarks(face))[0] for face in faces])
                values["yaw_error"] = np.abs(yaw - POSES[value])
            about = {"group": group, "attribute": value}
            table.append(mean_row(name, values) | about | {"pictures": len(asked)})
            each = group_means({key: inside[asked] for key, inside in members.items()}, {name: values})
            by_group += [row | about for row in each]
    return table, by_group


def lpips_outside(faces: np.ndarray, images: np.ndarray, backbone: str | Path) -> np.ndarray:
    """LPIPS outside the photo's face (dilated by a twentieth of the side)."""
    grown = np.ones((SIZE // 10 + 1,) * 2, np.uint8)
    inside = np.stack(
        [cv2.dilate(face_region(find_points(Image.fromarray(x)), SIZE), grown) > 0 for x in images]
    )
    return metrics.lpips(np.where(inside[..., None], images, faces), images, backbone)


def real_accuracy(
    classifier: AttributeClassifier, rows: list[dict[str, Any]], seed: int
) -> dict[str, dict[str, float]]:
    """Return the classifier's accuracy on held-out photos: {group: {"mean": …, attribute: …}}."""
    rng = np.random.default_rng(seed)
    images = load_pictures(rows, SIZE)[0]
    labels = {
        "expression": np.array([_expression(row) for row in rows]),
        "pose": np.array([_pose(row) for row in rows]),
        "light": rng.integers(len(GROUPS["light"]), size=len(rows)),
    }
    lit = [relight(rng, x, GROUPS["light"][k]) for x, k in zip(images, labels["light"])]
    accuracy = {}
    for group, names in GROUPS.items():
        output = classifier(np.stack(lit).round().astype(np.uint8) if group == "light" else images, group)
        each = {
            name: float((output == k)[labels[group] == k].mean())
            for k, name in enumerate(names)
            if (labels[group] == k).any()
        }
        accuracy[group] = {"mean": float(np.mean(list(each.values())))} | each
    return accuracy


def table_3(
    classifier: AttributeClassifier,
    rows: list[dict[str, Any]],
    pipes: dict[str, Any],
    nets: dict[str, Any],
    mesh: FaceMesh,
    count: int,
) -> list[dict[str, Any]]:
    """Compute Table 3: accuracy on neutral, happy and surprised faces by yaw.

    Rows: the photos; turned to the front by the mesh and completed by mirroring; by the models ("frontal"); and by
    mode (b).
    """
    table = []
    for angle in ANGLES:
        near = [row for row in rows if abs(abs(yaw_of(row)) - angle) <= 7.5]
        chosen = [row for row in near if _expression(row) != UNKNOWN][:count]
        if not chosen:
            continue
        images, labels = load_pictures(chosen, SIZE)[0], np.array([_expression(row) for row in chosen])
        ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "photo": lambda x: x,
            "mesh and mirror": lambda x: frontalize(x, find_points(Image.fromarray(x)), mesh)[0],
            **{name: partial(_frontal, pipe) for name, pipe in pipes.items()},
            **{name: partial(realistic, net, mesh=mesh) for name, net in nets.items()},
        }
        for name, bring_to_front in progress_bar(ways.items(), f"±{angle}°"):
            faces = np.stack([bring_to_front(x) for x in images])
            accuracy = float((classifier(faces, "expression") == labels).mean())
            table.append({"row": name, "angle": angle, "pictures": len(chosen), "accuracy": accuracy})
    return table


def _frontal(pipe, image):
    return _run(pipe, image, [{"pose": "frontal"}])[0]


def attribute_means(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Average over each group's attributes: a row for each group and model."""
    means = []
    for group in GROUPS:
        for name in dict.fromkeys(row["row"] for row in table):
            rows = [row for row in table if row["row"] == name and row["group"] == group]
            if rows:
                keys = [key for key, value in rows[0].items() if isinstance(value, float)]
                mean = {key: float(np.mean([row[key] for row in rows])) for key in keys}
                means.append({"row": name, "group": group} | mean)
    return means


def _zoo_metrics(settings, results):
    data = f"{settings['pictures']} images of people held out, {SIZE} pixels"
    metrics = [
        zoo_metrics(
            f"{data}: {group}",
            "facesym evaluate transfer",
            [row for row in results["attribute_groups"] if row["group"] == group],
        )
        for group in GROUPS
    ]
    for change in dict.fromkeys(row["change"] for row in results["smiles"]):
        rows = [row for row in results["smiles"] if row["change"] == change]
        metrics.append(
            zoo_metrics(
                f"photos of the same people: {change}", "facesym evaluate transfer --smiles: the mouth", rows
            )
        )
    return metrics


def _expression(row):
    return expression_of(row, GROUPS["expression"])


def _pose(row):
    return pose_of(yaw_of(row), tuple(POSES))


def _run(pipe, image, ways):
    """Run a model on one aligned crop: faces of SIZExSIZEx3 uint8."""
    crop = Image.fromarray(image)
    side = pipe.net.config.input_size
    if side != crop.width:
        crop = crop.resize((side, side), Image.Resampling.LANCZOS)
    faces = pipe.run(crop, crop, ways)
    return [np.asarray(face.resize((SIZE, SIZE), Image.Resampling.LANCZOS)) for face in faces]


def _print(settings, results):
    print(f"\n{count_images(settings['pictures'], settings['people'])}, held out\n")
    rows = []
    for group in GROUPS:
        rows.append({"row": f"{group}: held-out photos", "accuracy": results["real"][group]["mean"]})
        rows += [
            row | {"row": f"{group}: {row['row']}"}
            for row in results["attribute_groups"]
            if row["group"] == group
        ]
    print(markdown(rows, COLUMNS))
    for group in GROUPS:
        print(f"\n{group}, by group of images\n")
        print(markdown([row for row in results["groups"] if row["group"] == group], COLUMNS))
    turned = results["turned"]
    angles = sorted({row["angle"] for row in turned})
    print(f"\nExpressions recognised in faces turned by {', '.join(f'±{angle}°' for angle in angles)}\n")
    rows = []
    for name in dict.fromkeys(row["row"] for row in turned):
        rows.append(
            {"row": name, "at": {row["angle"]: row["accuracy"] for row in turned if row["row"] == name}}
        )
    print(markdown(rows, {f"±{angle}°": f"{{at[{angle}]:.1%}}" for angle in angles}))
    for change in dict.fromkeys(row["change"] for row in results["smiles"]):
        print(f"\n{change}, compared with a photo of the person\n")
        print(markdown([row for row in results["smiles"] if row["change"] == change], SMILES))
    if results["views"]:
        print("\nTurned by 45 degrees, compared with a photo of the person from that side\n")
        print(markdown(results["views"], VIEWS))
    print("\nLengths at growing strengths, in distances of the outer eye corners\n")
    print(markdown(results["strengths"], STRENGTHS))
