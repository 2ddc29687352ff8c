"""Measure models on held-out people.

    python train/evaluate.py complete --faces FACES/scut FACES/generated --masks MASKS --trunk ALEXNET \
        --size 256 --models symmfc-256 runs/ablation/export -n 400 -o results/complete-256

Every task is a subcommand. Each writes results.json (means and all settings), pictures.csv (every picture by
every row) and grids of pictures to look at, and prints its table in Markdown. The same command gives the same
numbers.
"""

import argparse
import csv
import hashlib
import json
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from facesym import metrics
from facesym.data.faces import read_face, read_metadata
from facesym.errors import FacesymError, ImageError
from facesym.faces.paste import fill_smoothly
from facesym.faces.texture import with_texture
from train import (
    evaluate_augment,
    evaluate_expressions,
    evaluate_identity,
    evaluate_normalize,
    evaluate_rotate,
    evaluate_symmetrize,
    evaluate_transfer,
)

ALONE = ", network alone"  # of a model's row: without the borrowed texture
GREY = 127  # what stands in a hole; 0 for the networks


# --- what is measured on


def select_pictures(folders, size, count, seed):
    """Test pictures (rows of metadata.csv, plus ``set``) of the sets that are not smaller than ``size``.

    They are ordered by a hash of seed and name, so that a smaller count takes the first of a larger one's.
    """
    rows = []
    for folder in map(Path, folders):
        rows += [row | {"set": folder.name} for row in read_metadata(folder, ("test",), min_size=size)]
    if not rows:
        raise ImageError(
            f"none of {', '.join(map(str, folders))} has test pictures of at least {size} pixels"
        )
    return sorted(rows, key=lambda row: _hash(seed, row["set"], row["file_name"]))[:count]


def load_pictures(rows, size):
    """Pictures (NxSxSx3 uint8) and their landmarks (Nx68x2 float64, pixels of the SxS picture)."""
    tables = {folder: np.load(folder / "landmarks.npy") for folder in {row["path"].parent for row in rows}}
    pictures, landmarks = np.empty((len(rows), size, size, 3), np.uint8), np.empty((len(rows), 68, 2))
    for i, row in enumerate(rows):
        pictures[i], landmarks[i] = read_face(row, tables[row["path"].parent][row["index"]], size)
    return pictures, landmarks


def irregular_holes(folder, rows, size, largest, seed):
    """A hole for each picture (NxSxS bool, True = missing) from the test split of a folder of masks.

    Args:
        folder: pictures, white = hole, and metadata.csv with ``file_name, hole_share, split``.
        largest: masks that hide more than this share of the picture are left out.
    """
    folder = Path(folder)
    if not (folder / "metadata.csv").is_file():
        raise ImageError(f"{folder} has no metadata.csv (file_name, hole_share, split)")
    with open(folder / "metadata.csv", newline="") as file:
        masks = [row for row in csv.DictReader(file) if row["split"] == "test"]
    masks = sorted(row["file_name"] for row in masks if float(row["hole_share"]) <= largest)
    if not masks:
        raise ImageError(f"{folder} has no masks of split test with a hole of at most {largest:.0%}")
    holes = np.empty((len(rows), size, size), bool)
    for i, row in enumerate(rows):
        name = masks[int(_hash(seed, "hole", row["set"], row["file_name"]), 16) % len(masks)]
        with Image.open(folder / name) as mask:
            holes[i] = np.asarray(mask.convert("L").resize((size, size), Image.Resampling.NEAREST)) > 127
    return holes


def centre_holes(count, size, side):
    """A square in the middle of each picture (NxSxS bool); ``side`` is its share of the picture's side."""
    holes = np.zeros((count, size, size), bool)
    length = round(size * side)
    start = (size - length) // 2
    holes[:, start : start + length, start : start + length] = True
    return holes


def _hash(*parts):
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


# --- classical rows of `complete`: picture (SxSx3 uint8, grey in the hole), hole (SxS), landmarks -> picture


def fill_none(picture, hole, landmarks):
    return picture


def fill_telea(picture, hole, landmarks):
    return cv2.inpaint(picture, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA)


def fill_navier_stokes(picture, hole, landmarks):
    return cv2.inpaint(picture, hole.astype(np.uint8), 3, cv2.INPAINT_NS)


def fill_mirror(picture, hole, landmarks):
    """Copy what the mirrored face shows and match its light; Telea for the rest.

    The mirrored face is warped onto the face triangle by triangle, by the 68 landmarks of the unhidden
    picture: better ones than could be found in the input, so the row shows what copying can do at most.
    """
    from facesym.faces.geometry import flip_landmarks

    size = len(picture)
    x, y = warp_by_landmarks(landmarks, flip_landmarks(landmarks, size), size)
    # Not at the rim, where the landmarks' errors let the background in, nor where the turned-away side would
    # have to be stretched over the other (the determinant is the warp's local change of area).
    det = np.gradient(x, axis=1) * np.gradient(y, axis=0) - np.gradient(x, axis=0) * np.gradient(y, axis=1)
    inside = np.isfinite(x) & (det > 1 / 3) & (det < 3)
    inside = cv2.erode(inside.astype(np.uint8), np.ones((3, 3)), iterations=size // 32, borderValue=0) > 0
    flipped = cv2.remap(picture[:, ::-1].copy(), x, y, cv2.INTER_LINEAR)
    missing = cv2.remap(hole[:, ::-1].astype(np.float32), x, y, cv2.INTER_LINEAR, borderValue=1)
    known = inside & (missing == 0)  # no part of the mixture is from the mirrored hole

    # The ratio of light between the two halves, from pixels near by that are known in both.
    both = (known & ~hole)[..., None].astype(np.float32)
    here, there = (cv2.GaussianBlur(x * both, (0, 0), size / 25) + 0.25 for x in (picture, flipped))
    flipped = np.clip(flipped * np.clip(here / there, 0.5, 2), 0, 255).round().astype(np.uint8)
    copied = hole & known
    return fill_telea(np.where(copied[..., None], flipped, picture), hole & ~copied, landmarks)


def warp_by_landmarks(points, partners, size):
    """Where each pixel's partner lies, linear in every triangle of ``points``: two SxS float32 maps (x, y) as
    for cv2.remap, NaN outside the points' hull."""
    from scipy.interpolate import LinearNDInterpolator

    xs, ys = np.meshgrid(np.arange(size), np.arange(size))
    partner = LinearNDInterpolator(points, partners)(xs, ys).astype(np.float32)
    return np.ascontiguousarray(partner[..., 0]), np.ascontiguousarray(partner[..., 1])


CLASSICAL = {
    "input": fill_none,
    "Telea": fill_telea,
    "Navier-Stokes": fill_navier_stokes,
    "mirror + Telea": fill_mirror,
}


# --- the models' rows of `complete`


def complete_with(model, pictures, holes, device="cpu", batch=8, texture=True):
    """Complete pictures with a network, at the size that it was made for, as the pipeline does: smaller pictures are
    enlarged for it and its results shrunk.

    Args:
        model: called as facesym.models.SymmFCNet.
        pictures: NxSxSx3 uint8; what is under the hole is not shown to the network.
        holes: NxSxS bool, True = missing.
        texture: False: the network's own picture, without what the pipeline borrows beside the face.

    Returns:
        NxSxSx3 uint8 with known pixels as they were, and N floats: the share of the hole which stage I filled
        (None if the model has no stage I).
    """
    import torch
    import torch.nn.functional as F

    results, filled = np.empty_like(pictures), []
    larger = getattr(getattr(model, "config", None), "input_size", 0) / pictures.shape[1]
    with torch.inference_mode():
        for i in range(0, len(pictures), batch):
            part, hole = pictures[i : i + batch], holes[i : i + batch]
            known = torch.from_numpy(~hole).to(device)[:, None].float()
            if larger > 1:
                # Nothing of the hole's grey may reach what is known: see CompletePipeline.
                size = (model.config.input_size,) * 2
                smooth = (fill_smoothly(Image.fromarray(p), h) for p, h in zip(part, hole))
                shown = np.stack([np.asarray(p.resize(size, Image.Resampling.BICUBIC)) for p in smooth])
                known = F.interpolate(known, size, mode="nearest")
            else:
                shown = part
            image = torch.from_numpy(shown).to(device).permute(0, 3, 1, 2) / 127.5 - 1
            out = model(image * known, known)
            done = ((out.completed.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
            if texture and getattr(out, "face_region", None) is not None:
                missing, faces = ((x[:, 0] > 0.5).cpu().numpy() for x in (1 - known, out.face_region))
                crops = done.permute(0, 2, 3, 1).cpu().numpy()
                crops = np.stack([with_texture(*x) for x in zip(crops, missing, faces)])
                done = torch.from_numpy(crops).permute(0, 3, 1, 2)
            if larger > 1:
                done = F.interpolate(done.float(), pictures.shape[1:3], mode="bilinear", antialias=True)
                done = done.round().clamp(0, 255).to(torch.uint8)
            done = done.permute(0, 2, 3, 1).cpu().numpy()
            results[i : i + batch] = np.where(hole[..., None], done, part)
            if getattr(out, "half_mask", None) is not None:  # 0 where stage I fills, 1 elsewhere
                copied = (1 - out.half_mask.float()) * (1 - known)
                filled.append((copied.sum((1, 2, 3)) / (1 - known).sum((1, 2, 3)).clamp(min=1)).cpu().numpy())
    return results, (np.concatenate(filled) if filled else None)


def load_models(names, device):
    """The models of the zoo, of folders or of the Hub, in eval mode, by the names that the table shows."""
    from facesym import zoo

    short = [Path(name).name for name in names]
    shown = short if len(set(short)) == len(names) else names
    return {label: zoo.load(name, device=device).eval() for label, name in zip(shown, names, strict=True)}


# --- measuring


def measure(results, truths, holes, descriptors, trunk=None, device="cpu"):
    """All measures of one row: a dict of arrays of N.

    Args:
        results, truths: NxSxSx3 uint8; known pixels are equal.
        holes: NxSxS bool.
        descriptors: Nx128, identity descriptors of the truths.
        trunk: AlexNet's file; without it LPIPS is left out.
    """
    values = {
        "psnr": metrics.psnr(results, truths),
        "ssim": metrics.ssim(results, truths),
        "psnr_in_hole": metrics.psnr(results, truths, holes),
        "identity_distance": np.linalg.norm(metrics.identity_descriptor(results) - descriptors, axis=-1),
        "sharpness": metrics.sharpness(results),
    }
    if trunk:
        values["lpips"] = metrics.lpips(results, truths, trunk, device)
    return values


def mean_row(name, values):
    """The means over pictures, and the share of faces that pass as the same person."""
    row = {"row": name} | {key: float(np.mean(value)) for key, value in values.items()}
    row["same_person"] = float(np.mean(values["identity_distance"] <= metrics.SAME_PERSON))
    return row


def chance_level(descriptors, people):
    """The share of pairs of different people within ``SAME_PERSON``: what a face of just anybody would get.

    dlib's descriptor keeps some groups of people less apart than others, so this depends much on the sets.
    """
    distances = np.linalg.norm(descriptors[:, None] - descriptors[None], axis=-1)
    _, person = np.unique(people, return_inverse=True)
    different = person[:, None] != person[None]
    return float((distances[different] <= metrics.SAME_PERSON).mean()) if different.any() else None


def against_classical(rows, classical):
    """For each model's row: dB above the best classical row, and its LPIPS as a share of that row's best."""
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


COLUMNS = {  # of the printed table: heading, key, format
    "PSNR": ("psnr", "{:.2f}"),
    "SSIM": ("ssim", "{:.3f}"),
    "LPIPS": ("lpips", "{:.3f}"),
    "PSNR in hole": ("psnr_in_hole", "{:.2f}"),
    "same person": ("same_person", "{:.1%}"),
    "identity distance": ("identity_distance", "{:.3f}"),
    "sharpness": ("sharpness", "{:.1f}"),
    "filled by stage I": ("stage1_share_of_hole", "{:.1%}"),
}


def markdown_table(rows):
    """A table of the columns that any of the rows has."""
    columns = {head: spec for head, spec in COLUMNS.items() if any(spec[0] in row for row in rows)}
    lines = ["| | hole | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for row in rows:
        cells = [form.format(row[key]) if key in row else "" for key, form in columns.values()]
        lines.append(f"| {row['row']} | {row['hole_share']:.1%} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def picture_grid(columns):
    """One picture of all: a dict of heading -> kxSxSx3 uint8, a column each."""
    size = next(iter(columns.values())).shape[1]
    body = np.concatenate([np.concatenate(list(pictures)) for pictures in columns.values()], axis=1)
    grid = Image.new("RGB", (body.shape[1], body.shape[0] + 24), "white")
    grid.paste(Image.fromarray(body), (0, 24))
    draw = ImageDraw.Draw(grid)
    for i, heading in enumerate(columns):
        draw.text((i * size + 4, 4), heading, fill="black", font_size=max(9, min(16, size // 10)))
    return grid


# --- tasks


def complete(args):
    """Table II's protocol: irregular holes and a centre square, on people never seen in training."""
    rows = select_pictures(args.faces, args.size, args.n, args.seed)
    truths, landmarks = load_pictures(rows, args.size)
    models = load_models(args.models, args.device)
    if args.trunk:  # a wrong file shall end the run now, not after the slow parts
        metrics.lpips(truths[:1], truths[:1], args.trunk, args.device)
    descriptors = metrics.identity_descriptor(truths)
    all_holes = {
        "irregular": irregular_holes(args.masks, rows, args.size, args.largest_hole, args.seed),
        "centre": centre_holes(len(rows), args.size, args.centre),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    tables, pictures_csv = {}, []
    names = [*CLASSICAL, *(name + part for name, net in models.items() for part in _rows_of(net))]
    bar = tqdm(total=len(all_holes) * len(names), unit="row", disable=None)
    for kind, holes in all_holes.items():
        inputs = np.where(holes[..., None], np.uint8(GREY), truths)
        grid, table = {}, []
        for name in names:
            bar.set_description(f"{kind}, {name}")
            extra, model = {}, models.get(name.removesuffix(ALONE))
            if model:
                results, filled = complete_with(
                    model, inputs, holes, args.device, texture=not name.endswith(ALONE)
                )
                if filled is not None:
                    extra = {
                        "stage1_share_of_hole": filled,
                        "stage1_share_of_picture": filled * holes.mean((1, 2)),
                    }
            else:
                results = np.stack([CLASSICAL[name](*x) for x in zip(inputs, holes, landmarks, strict=True)])
            values = measure(results, truths, holes, descriptors, args.trunk, args.device)
            values |= {"hole_share": holes.mean((1, 2))} | extra
            table.append(mean_row(name, values))
            pictures_csv += _picture_rows(kind, name, rows, values)
            if name != "Navier-Stokes":  # looks like Telea's
                grid[name] = results[: args.grid]
            bar.update()
        truth_sharpness = float(metrics.sharpness(truths).mean())
        tables[kind] = {"rows": table, "sharpness_of_truth": truth_sharpness}
        picture_grid(grid | {"truth": truths[: args.grid]}).save(args.out / f"grid-{kind}.png")
    bar.close()

    settings = {
        "task": "complete",
        "size": args.size,
        "pictures": len(rows),
        "people": len({(row["set"], row["subject"]) for row in rows}),
        "sets": dict(sorted(Counter(row["set"] for row in rows).items())),
        "pictures_sha256": _hash(*(f"{row['set']}/{row['file_name']}" for row in rows)),
        "holes": {
            "irregular": f"masks of split test, at most {args.largest_hole:.0%} hidden",
            "centre": f"square of {args.centre} of the side",
        },
        "seed": args.seed,
        "models": {
            name: {"source": source} | _about(models[name])
            for name, source in zip(models, args.models, strict=True)
        },
        "lpips": "AlexNet, version 0.1" if args.trunk else "not measured (no --trunk)",
        "identity": f"dlib descriptor, the same person within {metrics.SAME_PERSON}",
        "different_people_within": chance_level(
            descriptors, [f"{row['set']}/{row['subject']}" for row in rows]
        ),
        "device": args.device,
    }
    _save(args.out, settings, tables, pictures_csv)
    sets = ", ".join(f"{count} {name}" for name, count in settings["sets"].items())
    print(f"\n{len(rows)} pictures of {settings['people']} people at {args.size}x{args.size} ({sets})")
    if settings["different_people_within"] is not None:
        print(f"pass as the same person by chance: {settings['different_people_within']:.1%} of pairs")
    for kind, table in tables.items():
        print(f"\n{kind} holes; sharpness of the truth {table['sharpness_of_truth']:.1f}\n")
        print(markdown_table(table["rows"]))
        for line in against_classical(table["rows"], CLASSICAL):
            print(f"\n{line}")
    print(f"\nwritten: {args.out}")
    return tables


def _about(model):
    return {"class": type(model).__name__, "parameters": sum(p.numel() for p in model.parameters())}


def _rows_of(model):
    """A model's rows: as the pipeline does it, and the network alone, where that is another picture: without stage I
    no face is found, beside which texture would be borrowed."""
    return ("", ALONE) if getattr(getattr(model, "config", None), "stage1", False) else ("",)


def _picture_rows(kind, name, rows, values):
    about = [
        {"hole": kind, "row": name} | {k: row.get(k, "") for k in ("set", "file_name", "yaw")} for row in rows
    ]
    return [
        line | {key: round(float(value[i]), 5) for key, value in values.items()}
        for i, line in enumerate(about)
    ]


def _save(out, settings, tables, pictures):
    text = json.dumps({"settings": settings, "results": tables}, indent=1)
    (out / "results.json").write_text(text + "\n")
    fields = list(dict.fromkeys(key for row in pictures for key in row))
    with open(out / "pictures.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, fields, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(pictures)


def _parser():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tasks = parser.add_subparsers(dest="task", required=True)
    task = tasks.add_parser(
        "complete", help="face completion: irregular and centre holes", description=complete.__doc__
    )
    task.set_defaults(run=complete)
    task.add_argument(
        "--faces",
        nargs="+",
        type=Path,
        required=True,
        help="folders of aligned faces, as train/prepare.py writes",
    )
    task.add_argument("--masks", type=Path, required=True, help="folder of hole masks with metadata.csv")
    task.add_argument("--trunk", type=Path, help="torchvision's AlexNet features, for LPIPS (safetensors)")
    task.add_argument(
        "--size", type=int, default=256, help="sets of smaller pictures are left out (default 256)"
    )
    task.add_argument("--models", nargs="*", default=[], help="zoo ids, folders or Hub repositories")
    task.add_argument("-n", type=int, default=400, help="pictures at most (default 400)")
    task.add_argument(
        "--largest-hole",
        type=float,
        default=0.5,
        help="share hidden by an irregular mask, at most (default 0.5)",
    )
    task.add_argument(
        "--centre", type=float, default=0.375, help="centre square's side, share (default 0.375)"
    )
    task.add_argument("--seed", type=int, default=0, help="chooses pictures and holes (default 0)")
    task.add_argument("--grid", type=int, default=8, help="pictures in the grids (default 8)")
    task.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    task.add_argument("-o", "--out", type=Path, required=True, help="folder to write")
    for module in (
        evaluate_identity, evaluate_symmetrize, evaluate_rotate, evaluate_normalize, evaluate_expressions,
        evaluate_transfer, evaluate_augment,
    ):  # fmt: skip
        module.add_parser(tasks)
    return parser


def main(argv=None):
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except FacesymError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
