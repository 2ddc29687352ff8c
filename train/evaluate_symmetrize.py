"""`train/evaluate.py symmetrize` (Table 1) and `train/evaluate.py asymmetry` (the palsy plot), on held-out people.

    python train/evaluate.py symmetrize --faces FACES/lfw FACES/london FACES/scut FACES/mebeauty FACES/generated \
        --trunk ALEXNET --models symmetrize-256 -o results/symmetrize
    python train/evaluate.py asymmetry --faces FACES/scut FACES/generated -o results/asymmetry
"""

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from facesym import metrics
from facesym.data.symmetric import simulate_palsy, symmetric_faces
from facesym.errors import ImageError
from facesym.faces.geometry import face_region, face_shown, flip_landmarks, symmetric_landmarks
from facesym.faces.paste import paste_face
from facesym.pipelines.base import to_image
from facesym.pipelines.symmetrize import one_piece

FRONTAL = 20  # degrees of yaw: a palsy is simulated on faces that are turned less
PROFILE = 60  # from there on landmarks, and so every row and the judge, mean nothing: left out
STAYS = np.array([[1.0, 0, 0], [0, 1, 0]])  # an aligned crop's place in itself
STRENGTHS = (0, 0.25, 0.5, 0.75, 1.0, 1.25)


def add_parser(tasks):
    task = tasks.add_parser(
        "symmetrize", help="Table 1: recognition error of symmetric faces", description=symmetrize.__doc__
    )
    task.set_defaults(run=symmetrize)
    task.add_argument("--trunk", type=Path, help="torchvision's AlexNet features, for LPIPS (safetensors)")
    task.add_argument(
        "--models", nargs="*", default=["symmetrize"], help="zoo ids, folders, Hub repositories"
    )
    task.add_argument("--palsy", type=float, default=1.0, help="strength of the simulated palsy (default 1)")
    task.add_argument("-n", type=int, default=2000, help="pictures of each kind, at most (default 2000)")
    task.add_argument("--grid", type=int, default=8, help="pictures in the grids (default 8)")
    task.add_argument("--device", default="cpu")
    measure = tasks.add_parser(
        "asymmetry", help="asymmetry against the strength of a simulated palsy", description=asymmetry.__doc__
    )
    measure.set_defaults(run=asymmetry)
    measure.add_argument("-n", type=int, default=100, help="pictures at most (default 100)")
    for command in (task, measure):
        command.add_argument("--faces", nargs="+", type=Path, required=True, help="folders of aligned faces")
        command.add_argument("--size", type=int, default=256)
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("-o", "--out", type=Path, required=True, help="folder to write")


# --- Table 1


def baselines(picture):
    """The rows of mirroring, and of the training target, for one picture (SxSx3 uint8): a dict of pictures.

    All by dlib's landmarks of the picture itself, and pasted into it by the face's region as the models' are: the
    rows differ in the face alone.
    """
    from facesym.faces.mirror import mirror_composites, reflect

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


def symmetrize_with(model, pictures, device="cpu", batch=8):
    """A network's faces.

    Returns:
        The results as a user gets them, pasted into the crop; the faces alone (exact=False: as the network gives
        them). NxSxSx3 uint8 each.

    Raises:
        ImageError: the model is for pictures of another size.
    """
    import torch

    if model.config.input_size != pictures.shape[1]:
        raise ImageError(f"this model is for --size {model.config.input_size}, not {pictures.shape[1]}")
    whole, alone = np.empty_like(pictures), np.empty_like(pictures)
    with torch.inference_mode():
        for i in range(0, len(pictures), batch):
            x = torch.from_numpy(pictures[i : i + batch]).to(device).permute(0, 3, 1, 2) / 127.5 - 1
            exact, plain = model(x, exact=True), model(x)
            for k in range(len(x)):
                region = one_piece(exact.region[k, 0].float().cpu().numpy())
                before = Image.fromarray(pictures[i + k])
                shown = face_shown(metrics.dlib_landmarks(pictures[i + k]), before.width)
                pasted = paste_face(before, to_image(exact.picture[k]), STAYS, region, shown)
                whole[i + k], alone[i + k] = np.asarray(pasted), np.asarray(to_image(plain.face[k]))
    return whole, alone


def landmark_residual(picture):
    """How far dlib's landmarks of a picture are from symmetric about their own middle line, in outer-eye distances."""
    from facesym.faces.mirror import midline

    points = metrics.dlib_landmarks(picture).astype(np.float64)
    centre, direction = midline(points)
    upright = (points - centre) @ np.array([[direction[1], direction[0]], [-direction[0], direction[1]]])
    d = upright - flip_landmarks(upright, 1.0)
    return float(np.linalg.norm(d, axis=1).mean() / np.linalg.norm(points[45] - points[36]))


def kinds(args):
    """The pictures of each column of Table 1: {name: (pictures, healthy pictures or None)}."""
    from train.evaluate import load_pictures, select_pictures

    found = {}
    for folder in args.faces:
        if folder.name not in ("lfw", "london"):
            continue
        rows = select_pictures([folder], 0, None, args.seed)
        yaw = np.array([abs(float(row.get("yaw") or 0)) for row in rows])
        parts = {folder.name: yaw < PROFILE}
        if folder.name == "london":  # studio views: 0, 45 and 90 degrees
            parts = {
                "london, front": yaw < FRONTAL,
                "london, three-quarter": (yaw >= FRONTAL) & (yaw < PROFILE),
            }
        for name, chosen in parts.items():
            if chosen.any():
                part = [row for row, inside in zip(rows, chosen) if inside][: args.n]
                found[name] = (load_pictures(part, args.size)[0], None)
    frontal = [f for f in args.faces if f.name not in ("lfw", "london")] or args.faces
    rows = select_pictures(frontal, 0, None, args.seed)
    rows = [row for row in rows if abs(float(row.get("yaw") or 0)) < FRONTAL][: args.n]
    if rows:
        healthy, points = load_pictures(rows, args.size)
        sick = [
            simulate_palsy(image, p, ("left", "right")[i % 2], args.palsy)[0]
            for i, (image, p) in enumerate(zip(healthy, points))
        ]
        found["simulated palsy"] = (np.stack(sick), healthy)
    return found


def symmetrize(args):
    """Recognition error (share of outputs that dlib's descriptor does not take for the input's person), identity
    distance, sharpness of the inner face against the input's, symmetry of the output: mirroring, the target that
    landmarks make, and models."""
    from train.evaluate import load_models, picture_grid

    models = load_models(args.models, args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    tables, lines = {}, []
    for kind, (pictures, healthy) in kinds(args).items():
        before = metrics.identity_descriptor(pictures)
        truth = None if healthy is None else metrics.identity_descriptor(healthy)
        sharp = metrics.sharpness(pictures)
        made = [baselines(p) for p in tqdm(pictures, f"{kind}: mirroring", disable=None)]
        results = {name: (np.stack([m[name] for m in made]), None) for name in made[0]}
        for name, model in models.items():
            results[name] = symmetrize_with(model, pictures, args.device)
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
            if truth is not None:
                row["distance_to_healthy"] = float(np.linalg.norm(after - truth, axis=1).mean())
            if alone is not None:
                inside = np.linalg.norm(metrics.identity_descriptor(alone) - before, axis=1)
                row["error_alone"] = float((inside > metrics.SAME_PERSON).mean())
                mirrored = np.ascontiguousarray(alone[:, :, ::-1])
                face = (alone > 8).any(-1) | (mirrored > 8).any(-1)  # around it both are black
                row["mae"] = float(np.abs(alone.astype(float) - mirrored)[face].mean())
                if args.trunk:
                    row["lpips"] = float(metrics.lpips(alone, mirrored, args.trunk, args.device).mean())
            table.append(row)
        tables[kind] = {"pictures": len(pictures), "rows": table}
        columns = {"input": pictures} | {name: whole for name, (whole, _) in results.items()}
        grid = {name: values[: args.grid] for name, values in columns.items()}
        picture_grid(grid).save(args.out / f"grid-{kind.replace(',', '').replace(' ', '-')}.png")
        lines += [f"\n{kind}: {len(pictures)} pictures\n", _table(table)]
    settings = {
        "task": "symmetrize",
        "size": args.size,
        "seed": args.seed,
        "palsy": args.palsy,
        "models": args.models,
        "faces": [folder.name for folder in args.faces],
    }
    text = json.dumps({"settings": settings, "results": tables}, indent=1)
    (args.out / "results.json").write_text(text + "\n")
    print("\n".join(lines))
    print(f"\nwritten: {args.out}")
    return tables


COLUMNS = {  # heading, key, format
    "error": ("error", "{:.3f}"),
    "identity distance": ("identity_distance", "{:.3f}"),
    "to the healthy face": ("distance_to_healthy", "{:.3f}"),
    "sharpness": ("sharpness", "{:.2f}"),
    "landmark asymmetry": ("landmarks", "{:.3f}"),
    "error, face alone": ("error_alone", "{:.3f}"),
    "MAE to its mirror": ("mae", "{:.2f}"),
    "LPIPS to its mirror": ("lpips", "{:.3f}"),
}


def _table(rows):
    columns = {head: spec for head, spec in COLUMNS.items() if any(spec[0] in row for row in rows)}
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        cells = [form.format(row[key]) if key in row else "" for key, form in columns.values()]
        lines.append(f"| {row['row']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


# --- the palsy plot


def asymmetry(args):
    """The asymmetry indices of held-out faces with a simulated palsy of growing strength: a table, a CSV file and a
    plot."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from facesym.asymmetry import measure_asymmetry
    from train.evaluate import load_pictures, select_pictures

    rows = select_pictures(args.faces, 0, None, args.seed)
    rows = [row for row in rows if abs(float(row.get("yaw") or 0)) < FRONTAL][: args.n]
    if not rows:
        raise ImageError(f"no test picture is turned by less than {FRONTAL} degrees")
    pictures, points = load_pictures(rows, args.size)
    found = []
    for i, (picture, p) in enumerate(tqdm(list(zip(pictures, points)), disable=None)):
        for strength in STRENGTHS:
            image, _ = simulate_palsy(picture, p, ("left", "right")[i % 2], strength)
            numbers = measure_asymmetry(Image.fromarray(image)).numbers()
            found.append(
                {"picture": f"{rows[i]['set']}/{rows[i]['file_name']}", "strength": strength, **numbers}
            )
    names = [name for name in found[0] if name not in ("picture", "strength", "roll", "yaw")]
    values = np.array([[row[name] for name in names] for row in found]).reshape(len(rows), len(STRENGTHS), -1)
    steps = (np.diff(values, axis=1) > 0).mean((0, 1))
    args.out.mkdir(parents=True, exist_ok=True)
    with open(args.out / "pictures.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, found[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), constrained_layout=True)
    for k, name in enumerate(names):
        axis = axes[1] if name == "appearance" else axes[0]
        middle = values[:, :, k].mean(0)
        style = dict(linewidth=3, color="black") if name == "overall" else {}
        axis.plot(STRENGTHS, middle, marker="o", markersize=3, label=name, **style)
        if name in ("overall", "appearance"):
            low, high = np.quantile(values[:, :, k], [0.1, 0.9], axis=0)
            axis.fill_between(STRENGTHS, low, high, alpha=0.15, color="black")
    axes[0].set(xlabel="strength of the simulated palsy", ylabel="index (outer-eye distances)")
    axes[1].set(xlabel="strength of the simulated palsy", ylabel="mean of the heat map", ylim=(0, None))
    axes[0].legend(fontsize=8)
    axes[1].set_title("appearance", fontsize=10)
    axes[0].set_title("landmarks", fontsize=10)
    figure.savefig(args.out / "palsy.png", dpi=110)
    print(
        f"\n{len(rows)} pictures; steps of the strength at which the index grows, and its mean at each strength\n"
    )
    print(
        "| | grows | "
        + " | ".join(f"{s:g}" for s in STRENGTHS)
        + " |\n"
        + "|---" * (len(STRENGTHS) + 2)
        + "|"
    )
    for k, name in enumerate(names):
        print(
            f"| {name} | {steps[k]:.0%} | " + " | ".join(f"{v:.3f}" for v in values[:, :, k].mean(0)) + " |"
        )
    print(f"\nwritten: {args.out}")
    return {name: values[:, :, k] for k, name in enumerate(names)}
