"""`facesym evaluate rotate`: fits of the generator on held-out faces.

facesym evaluate rotate --faces FACES/scut … --alexnet ALEXNET --models rotate -n 50 -o results/rotate
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import facesym

from .. import metrics
from ..asymmetry import landmark_asymmetry
from ..faces.geometry import turn, warp_points
from ..faces.landmarks import find_points
from ..logging import progress_bar
from ..pipelines.crops import to_image
from .data import add_common_arguments, load_pictures, named_models, one_size, select_pictures, yaw_of
from .groups import group_means, groups
from .report import picture_grid
from .tables import markdown, save_results, zoo_metrics

TURNS = (-20, -10, 0, 10, 20)  # degrees of yaw at which a turned face is compared with its photo
FRONTAL = 30  # degrees of yaw; photos turned further are excluded
REACHED = 0.95  # fraction of the largest of TURNS that a head has to reach on both sides
WARP = "landmark warp"


def _each(key, form):
    """Return the format of a table cell that lists a number for each of TURNS."""
    return ", ".join(f"{{{key}[{i}]:{form}}}" for i in range(len(TURNS)))


_AT = ", ".join(f"{yaw:+d}°" if yaw else "0°" for yaw in TURNS)
COLUMNS = {
    "PSNR before, after": "{psnr_before:.1f}, {psnr_after:.1f}",
    "LPIPS before, after": "{lpips_before:.3f}, {lpips_after:.3f}",
    "identity before, after": "{identity_before:.2f}, {identity_after:.2f}",
    f"identity at {_AT}": _each("identity_turned", ".2f"),
    "same person at these": _each("same_person_turned", ".0%"),
    "yaw measured at these": _each("yaw_measured", ".0f"),
    "sharpness at 0°": "{sharpness:.2f}",
    "range": "{range[0]:.0f} to {range[1]:.0f}",
    f"reach ±{TURNS[-1]}°": "{reached:.0%}",
    "seconds": "{seconds:.0f}",
}


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_common_arguments(command, models=["rotate"], device=True)
    command.add_argument("--alexnet", type=Path, required=True, help="torchvision's AlexNet features")
    command.add_argument("-n", type=int, default=50, help="images at most (default 50)")
    command.add_argument("--steps", type=int, default=200, help="number of tuning steps (default 200)")
    command.add_argument("--ablation", action="store_true", help="also fit without warped views of the photo")
    command.add_argument("--grid", type=int, default=8, help="images in the grid (default 8)")


def run(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure fits to held-out faces: PSNR, LPIPS and identity (dlib's descriptor) of the fitted face before and after
    tuning, identity and yaw of the turned head, the range of yaw, and seconds. Rows: the pipeline; the same fits
    without the photo's detail (the generator's own images); with ``--ablation``, fits without warped views; and a warp
    of the photo by its landmarks, without a network."""
    args.out.mkdir(parents=True, exist_ok=True)
    models = named_models(args.models)
    pipes = {name: facesym.load(model, device=args.device) for name, model in models.items()}
    size = one_size({name: pipe.net for name, pipe in pipes.items()})
    rows = select_pictures(args.faces, size, None, args.seed)
    rows = [row for row in rows if abs(yaw_of(row, 0)) < FRONTAL][: args.n]
    images, _ = load_pictures(rows, size)
    outputs = fit_all(pipes, images, args.steps, args.ablation)
    descriptors = metrics.identity_descriptor(images)
    values = {
        name: measure(output, images, descriptors, args.alexnet, args.device)
        for name, output in outputs.items()
    }
    table = [mean_fit(name, own) for name, own in values.items()]
    own = {name: values[name] for name in pipes}
    by_group = group_means(groups(rows), own, mean_fit)
    _grid(outputs, images, next(iter(pipes)), args.grid).save(args.out / "grid.png")
    settings = {
        "task": "rotate", "models": args.models, "pictures": len(images), "size": size, "steps": args.steps,
        "seed": args.seed, "faces": [folder.name for folder in args.faces], "turned_less_than": FRONTAL,
    }  # fmt: skip
    save_results(args.out, settings, {"rows": table, "groups": by_group})
    print(f"\n{len(images)} held-out faces of {size} pixels; identity: dlib's distance to the photo\n")
    print(markdown(_with_lists(table), COLUMNS))
    print("\nby group\n\n" + markdown(_with_lists(by_group), {"images": "{n}"} | COLUMNS))
    print(f"\nwrote {args.out}")
    data = f"{len(images)} images of the test split of {', '.join(settings['faces'])}, {size} pixels"
    return [zoo_metrics(data, "facesym evaluate rotate; identity is dlib's distance to the photo", table)]


def fit_all(
    pipes: dict[str, Any], images: np.ndarray, steps: int, ablation: bool = False
) -> dict[str, dict[str, list]]:
    """Fit each image with each pipeline, with ``ablation`` also without warped views of it, and turn it.

    Returns:
        {row: dict of lists with one entry per image}: images "before" and "after" tuning, "turned" (images at TURNS),
        their measured "yaw", the "range" of yaw, and "seconds".
    """
    ways = {}
    for name, pipe in pipes.items():
        ways[name] = (pipe, True)
        if ablation and pipe.net.config.yaw:
            ways[f"{name}, no views"] = (pipe, False)
    names = [*ways, *(f"{name}, no detail" for name in pipes), WARP]
    keys = ("before", "after", "turned", "yaw", "range", "seconds")
    outputs: dict[str, dict[str, list]] = {name: {key: [] for key in keys} for name in names}
    for image in progress_bar(images, unit="face"):
        crop = Image.fromarray(image)
        for name, (pipe, views) in ways.items():
            turner = pipe.fit(crop, steps=steps, views=views)
            row = outputs[name]
            row["before"].append(np.asarray(to_image(turner.fit.before[0])))
            row["after"].append(np.asarray(to_image(turner.fit.after[0])))
            _add_turned(row, turner.frames(TURNS))
            if views:
                _add_turned(outputs[f"{name}, no detail"], turner.frames(TURNS, detail=False))
            row["range"].append(turner.range)
            row["seconds"].append(turner.fit.seconds)
        points = find_points(crop).astype(np.float64)
        own = landmark_asymmetry(points)[2]
        warped = [warp_points(image, points, turn(points, yaw - own))[0] for yaw in TURNS]
        _add_turned(outputs[WARP], [Image.fromarray(w) for w in warped])
    return outputs


def _add_turned(row, frames):
    """Add the images of a face at TURNS and their measured yaws to a row."""
    row["turned"].append([np.asarray(frame) for frame in frames])
    row["yaw"].append([landmark_asymmetry(find_points(frame))[2] for frame in frames])


def measure(
    output: dict[str, list],
    images: np.ndarray,
    descriptors: np.ndarray,
    backbone: str | Path,
    device: str | torch.device = "cpu",
) -> dict[str, np.ndarray]:
    """Measure the outputs of `fit_all` for N images: a dict of arrays of N, NxT at the yaws of TURNS, and Nx2 for
    "range". ``descriptors``: Nx128, those of the images."""
    values: dict[str, np.ndarray] = {}
    for when in ("before", "after"):
        if output[when]:
            fitted = np.stack(output[when])
            values |= {
                f"psnr_{when}": metrics.psnr(fitted, images),
                f"lpips_{when}": metrics.lpips(fitted, images, backbone, device),
                f"identity_{when}": _distances(fitted, descriptors),
            }
    turned = np.stack(output["turned"])  # NxTxSxSx3
    far = np.stack([_distances(turned[:, k], descriptors) for k in range(len(TURNS))], 1)
    values |= {
        "identity_turned": far,
        "same_person_turned": far <= metrics.SAME_PERSON,
        "yaw_measured": np.array(output["yaw"]),
        "sharpness": metrics.sharpness(turned[:, TURNS.index(0)])
        / np.maximum(metrics.sharpness(images), 1e-6),
    }
    if output["range"]:
        ranges = np.array(output["range"])
        values |= {
            "range": ranges,
            "reached": np.all(np.abs(ranges) >= REACHED * TURNS[-1], axis=1),
            "seconds": np.array(output["seconds"]),
        }
    return values


def mean_fit(name: str, values: dict[str, np.ndarray]) -> dict[str, Any]:
    """Average the measures of `measure` over images; those at TURNS become dicts of {yaw: mean}."""
    row: dict[str, Any] = {"row": name}
    for key, value in values.items():
        mean = np.round(value.mean(0), 4).tolist()
        row[key] = dict(zip(map(str, TURNS), mean)) if value.shape[1:] == (len(TURNS),) else mean
    return row


def _with_lists(table):
    """Replace the dicts of rows by lists of their values."""
    return [{key: list(v.values()) if isinstance(v, dict) else v for key, v in row.items()} for row in table]


def _distances(images, descriptors):
    return np.linalg.norm(metrics.identity_descriptor(images) - descriptors, axis=1)


def _grid(outputs, images, name, count):
    """Arrange the photos, the fits of one model, its turned faces with and without detail, and the warped photos."""
    columns = {"photo": images, "fitted": np.stack(outputs[name]["after"])}
    for heading, row in (("yaw", name), ("no detail", f"{name}, no detail"), ("warp", WARP)):
        turned = np.stack(outputs[row]["turned"])
        columns |= {f"{heading} {yaw}": turned[:, k] for k, yaw in enumerate(TURNS)}
    return picture_grid({heading: values[:count] for heading, values in columns.items()})
