"""`facesym evaluate complete`: irregular masks and a centre square on held-out people (Table II's protocol).

    facesym evaluate complete --faces FACES/scut FACES/generated --masks MASKS --alexnet ALEXNET --size 256 \\
        --models symmfc-256 -n 400 -o results/complete-256
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from .. import metrics
from ..faces.paste import fill_smoothly
from ..faces.pose import FARTHEST_YAW
from ..logging import progress_bar
from ..onnx import OnnxNet
from ..pipelines.complete import CompletePipeline
from .data import (
    add_common_arguments,
    count_images,
    digest,
    load_models,
    load_pictures,
    named_models,
    people_of,
    select_pictures,
    yaw_of,
)
from .fills import CLASSICAL
from .groups import group_gains, groups
from .masks import (
    centre_masks,
    eyewear_masks,
    irregular_masks,
    one_eye_masks,
    one_half_masks,
    one_side_masks,
)
from .report import picture_grid
from .tables import ALONE, markdown, mean_row, save_results, save_rows, zoo_metrics

GREY = 127  # value of masked pixels; 0 for the networks

COLUMNS = {
    "mask": "{mask_fraction:.1%}",
    "PSNR": "{psnr:.2f}",
    "SSIM": "{ssim:.3f}",
    "LPIPS": "{lpips:.3f}",
    "PSNR in mask": "{psnr_in_mask:.2f}",
    "same person": "{same_person:.1%}",
    "identity distance": "{identity_distance:.3f}",
    "sharpness": "{sharpness:.1f}",
    "filled by stage I": "{stage1_fraction_of_mask:.1%}",
}

GROUP_COLUMNS = {
    "images": "{n}",
    "dB above the best classical row": "{gain:+.2f}",
    "LPIPS, of it": "{lpips:.0%}",
    "same person": "{same_person:.1%}",
}


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_common_arguments(command, models=[], device=True, backend=True)
    command.add_argument("--masks", type=Path, required=True, help="folder of masks with metadata.csv")
    command.add_argument(
        "--alexnet", type=Path, help="torchvision's AlexNet features, for LPIPS (safetensors)"
    )
    command.add_argument(
        "--size",
        type=int,
        help="side of the images; datasets of smaller images are skipped (default: the largest input of the models, or "
        "256 without models)",
    )
    command.add_argument("-n", type=int, default=400, help="images at most (default 400)")
    command.add_argument(
        "--largest-mask", type=float, default=0.5,
        help="largest fraction that an irregular mask may cover (default 0.5)",
    )  # fmt: skip
    command.add_argument(
        "--centre", type=float, default=0.375,
        help="side of the centre square, as a fraction of the image's (default 0.375)",
    )  # fmt: skip
    command.add_argument("--grid", type=int, default=8, help="images in the grids (default 8)")


# --- models


@torch.inference_mode()
def complete_with(
    model: Any, images: np.ndarray, masks: np.ndarray, device: str | torch.device = "cpu", batch: int = 8
) -> tuple[np.ndarray, np.ndarray | None]:
    """Complete images with a network alone. Images smaller than its input size are resized for it and back.

    Args:
        model: a network with the interface of facesym.models.SymmFCNet.
        images: NxSxSx3 uint8; masked pixels are not visible to the network.
        masks: NxSxS bool, True = missing.
        device: of the computation.
        batch: images per forward pass.

    Returns:
        NxSxSx3 uint8 with visible pixels unchanged, and N floats: the fraction of the mask that stage I filled
        (None if the model has no stage I).
    """
    results, filled = np.empty_like(images), []
    for i in range(0, len(images), batch):
        part, mask = images[i : i + batch], masks[i : i + batch]
        image, known = _network_input(model, part, mask, device)
        out = model(image * known, known)
        done = ((out.completed.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        if done.shape[-1] > part.shape[1]:
            done = F.interpolate(done.float(), part.shape[1:3], mode="bilinear", antialias=True)
            done = done.round().clamp(0, 255).to(torch.uint8)
        done = done.permute(0, 2, 3, 1).cpu().numpy()
        results[i : i + batch] = np.where(mask[..., None], done, part)
        if getattr(out, "half_mask", None) is not None:  # 0 where stage I fills, 1 elsewhere
            copied = (1 - out.half_mask.float()) * (1 - known)
            filled.append((copied.sum((1, 2, 3)) / (1 - known).sum((1, 2, 3)).clamp(min=1)).cpu().numpy())
    return results, (np.concatenate(filled) if filled else None)


def complete_with_pipeline(model: Any, images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Complete images with `CompletePipeline`, which adds details and texture and pastes the result back.

    Arguments and result are those of `complete_with`, without the fraction that stage I filled.
    """
    pipe = CompletePipeline(model)
    results = [pipe(*each, aligned=True).images[0] for each in zip(images, masks)]
    return np.stack([np.asarray(result) for result in results])


def _side(model):
    """Return the side of a network's input in pixels; 0 if it does not say."""
    return getattr(getattr(model, "config", None), "input_size", 0)


def _network_input(model, images, masks, device):
    """Return images (Bx3xHxW in [-1, 1]) and visible pixels (Bx1xHxW, 1 = visible) at the network's size."""
    side = _side(model)
    known = torch.from_numpy(~masks).to(device)[:, None].float()
    if side > images.shape[1]:
        # The mask's grey must not leak into visible pixels, see CompletePipeline.
        smooth = (fill_smoothly(Image.fromarray(p), h) for p, h in zip(images, masks))
        images = np.stack([np.asarray(p.resize((side, side), Image.Resampling.BICUBIC)) for p in smooth])
        known = F.interpolate(known, (side, side), mode="nearest")
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2) / 127.5 - 1, known


def _rows_of(name, model):
    """Return a model's rows: the pipeline and, if its output differs, the network alone.

    Without stage I there is no face region, so the pipeline adds no texture around it. Exported networks have the row
    of the pipeline only.
    """
    if isinstance(model, OnnxNet):
        return [name]
    return [name, name + ALONE] if getattr(getattr(model, "config", None), "stage1", False) else [name]


# --- measures


def measure(
    results: np.ndarray,
    targets: np.ndarray,
    masks: np.ndarray,
    descriptors: np.ndarray,
    backbone: str | Path | None = None,
    device: str | torch.device = "cpu",
) -> dict[str, np.ndarray]:
    """Return all measures of one row: a dict of arrays of N.

    Args:
        results: NxSxSx3 uint8, completed images.
        targets: NxSxSx3 uint8; visible pixels equal those of ``results``.
        masks: NxSxS bool, True = missing.
        descriptors: Nx128, identity descriptors of the targets.
        backbone: AlexNet's file; None leaves out LPIPS.
        device: for LPIPS.
    """
    far = np.linalg.norm(metrics.identity_descriptor(results) - descriptors, axis=-1)
    values = {
        "psnr": metrics.psnr(results, targets),
        "ssim": metrics.ssim(results, targets),
        "psnr_in_mask": metrics.psnr(results, targets, masks),
        "identity_distance": far,
        "same_person": far <= metrics.SAME_PERSON,
        "sharpness": metrics.sharpness(results),
    }
    if backbone:
        values["lpips"] = metrics.lpips(results, targets, backbone, device)
    return values


def chance_level(descriptors: np.ndarray, people: Sequence[str]) -> float | None:
    """Return the fraction of pairs of different people within ``SAME_PERSON``, the score of a random face.

    It depends on the sets, because dlib's descriptor separates some groups of people less than others.
    """
    distances = np.linalg.norm(descriptors[:, None] - descriptors[None], axis=-1)
    _, person = np.unique(people, return_inverse=True)
    different = person[:, None] != person[None]
    return float((distances[different] <= metrics.SAME_PERSON).mean()) if different.any() else None


def against_classical(rows: list[dict[str, Any]], classical: Iterable[str]) -> list[str]:
    """Describe each model's row relative to the best classical row: dB, LPIPS as a fraction, identity."""
    baseline = [row for row in rows if row["row"] in classical and row["row"] != "input"]
    best = max(row["psnr"] for row in baseline)
    lines = []
    for row in rows:
        if row["row"] in classical:
            continue
        line = f"{row['row']}: {row['psnr'] - best:+.2f} dB against the best classical row"
        if "lpips" in row:
            line += f", LPIPS {row['lpips'] / min(r['lpips'] for r in baseline):.0%} of it"
        lines.append(f"{line}, same person {row['same_person']:.1%}")
    return lines


# --- the task


def run(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure completion with irregular masks and a centre square on held-out people (Table II)."""
    models = load_models(args.models, args.device, args.backend)
    args.size = args.size or max(map(_side, models.values()), default=256)
    rows = select_pictures(args.faces, args.size, None, args.seed)
    rows = [row for row in rows if abs(yaw_of(row, 0)) <= FARTHEST_YAW][: args.n]  # not profiles
    targets, landmarks = load_pictures(rows, args.size)
    if args.alexnet:  # check the file before the slow parts
        metrics.lpips(targets[:1], targets[:1], args.alexnet, args.device)
    descriptors = metrics.identity_descriptor(targets)
    all_masks = {
        "irregular": irregular_masks(args.masks, rows, args.size, args.largest_mask, args.seed),
        "centre": centre_masks(len(rows), args.size, args.centre),
        "one eye": one_eye_masks(rows, landmarks, args.size, args.seed),
        "one half": one_half_masks(rows, landmarks, args.size, args.seed),
        "one side": one_side_masks(rows, landmarks, args.size, args.seed),
        "eyewear": eyewear_masks(rows, landmarks, args.size, args.seed),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    members, images = groups(rows, targets, landmarks), []
    tables: dict[str, dict[str, Any]] = {}
    names = [*CLASSICAL, *(row for name, net in models.items() for row in _rows_of(name, net))]
    with progress_bar(total=len(all_masks) * len(names), unit="row") as bar:
        for kind, masks in all_masks.items():
            table, grid, values_of = [], {}, {}
            for name in names:
                bar.set_description(f"{kind}, {name}")
                results, extra = _row(name, models, targets, masks, landmarks, args.device)
                values = measure(results, targets, masks, descriptors, args.alexnet, args.device) | extra
                table.append(mean_row(name, values))
                values_of[name] = values
                images += _picture_rows(kind, name, rows, values)
                if name != "Navier-Stokes":  # looks like Telea's
                    grid[name] = results[: args.grid]
                bar.update()
            tables[kind] = {"rows": table, "sharpness_of_target": float(metrics.sharpness(targets).mean())}
            picture_grid(grid | {"target": targets[: args.grid]}).save(args.out / f"grid-{kind}.png")
            tables[kind]["groups"] = group_gains(members, values_of, CLASSICAL)
    settings = _settings(args, rows, models, descriptors)
    save_results(args.out, settings, tables)
    save_rows(args.out / "pictures.csv", images)
    _print(settings, tables)
    print(f"\nwrote {args.out}")
    data = f"{len(rows)} images of the test split of {', '.join(settings['sets'])}, {args.size} pixels"
    protocol = "facesym evaluate complete, through the pipeline"
    return [zoo_metrics(f"{data}; mask: {kind}", protocol, table["rows"]) for kind, table in tables.items()]


def _row(name, models, targets, masks, landmarks, device):
    """Return a row's images (NxSxSx3 uint8) and a dict of additional figures (arrays of N)."""
    inputs, extra = np.where(masks[..., None], np.uint8(GREY), targets), {"mask_fraction": masks.mean((1, 2))}
    model = models.get(name.removesuffix(ALONE))
    if model is None:
        fill = CLASSICAL[name]
        return np.stack([fill(*x) for x in zip(inputs, masks, landmarks, strict=True)]), extra
    if isinstance(model, OnnxNet) or (not name.endswith(ALONE) and len(_rows_of(name, model)) > 1):
        return complete_with_pipeline(model, inputs, masks), extra
    results, filled = complete_with(model, inputs, masks, device)
    if filled is not None:
        extra |= {
            "stage1_fraction_of_mask": filled,
            "stage1_fraction_of_picture": filled * masks.mean((1, 2)),
        }
    return results, extra


def _picture_rows(kind, name, rows, values):
    about = [
        {"mask": kind, "row": name} | {k: row.get(k, "") for k in ("set", "file_name", "yaw")} for row in rows
    ]
    return [
        line | {key: round(float(value[i]), 5) for key, value in values.items()}
        for i, line in enumerate(about)
    ]


def _settings(args, rows, models, descriptors):
    people = people_of(rows)
    sources = named_models(args.models)
    return {
        "task": "complete",
        "size": args.size,
        "pictures": len(rows),
        "people": len(set(people)) if people else None,
        "sets": dict(sorted(Counter(row["set"] for row in rows).items())),
        "pictures_sha256": digest(*(f"{row['set']}/{row['file_name']}" for row in rows)),
        "masks": {
            "irregular": f"masks of split test, at most {args.largest_mask:.0%} hidden",
            "centre": f"square of {args.centre} of the side",
            "one eye": "an eye and its brow, left or right at random",
            "one half": "one half of the face, left or right at random",
            "one side": "all of the image on one side of the face's midline, left or right at random",
            "eyewear": "drawn glasses or sunglasses, dilated",
        },
        "seed": args.seed,
        "models": {name: {"source": sources[name]} | _about(net) for name, net in models.items()},
        "lpips": "AlexNet, version 0.1" if args.alexnet else "not measured (no --alexnet)",
        "identity": f"dlib descriptor, the same person within {metrics.SAME_PERSON}",
        "different_people_within": chance_level(descriptors, people) if people else None,
        "device": args.device,
        "backend": args.backend,
    }


def _about(model):
    if isinstance(model, OnnxNet):
        return {"class": model.entry["class"], "parameters": model.num_parameters()}
    return {"class": type(model).__name__, "parameters": sum(p.numel() for p in model.parameters())}


def _print(settings, tables):
    sets, size = ", ".join(f"{count} {name}" for name, count in settings["sets"].items()), settings["size"]
    print(f"\n{count_images(settings['pictures'], settings['people'])} at {size}x{size} ({sets})")
    if settings["different_people_within"] is not None:
        print(f"recognised as the same person by chance: {settings['different_people_within']:.1%} of pairs")
    for kind, table in tables.items():
        print(f"\n{kind} masks; sharpness of the targets {table['sharpness_of_target']:.1f}\n")
        print(markdown(table["rows"], COLUMNS))
        for line in against_classical(table["rows"], CLASSICAL):
            print(f"\n{line}")
        print("\n" + markdown(table["groups"], GROUP_COLUMNS))
