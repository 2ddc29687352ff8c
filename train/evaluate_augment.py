"""`train/evaluate.py augment`: whether expressions that LSSL put on faces, as extra training data, help to recognise
expressions (its Table 1 and Fig. 8).

    python train/evaluate.py augment --faces FACES/lfw FACES/scut --ckplus CKPLUS --models transfer -o results/augment
"""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from facesym.data.attributes import UNKNOWN, expression_of
from facesym.data.faces import FaceFolders
from facesym.models.lssl import GROUPS
from train.evaluate_expressions import SIDE, as_input, folds, load_faces, train_classifier

NAMES = GROUPS["expression"]
CKPLUS = {"happy": "happy", "surprise": "surprised"}  # CK+'s name: ours; it has no neutral faces
BOX = (0.21, 0.30, 0.79, 0.88)  # of an aligned crop: what a tight face such as CK+'s shows


def add_parser(tasks):
    task = tasks.add_parser("augment", help="expressions with synthetic faces", description=augment.__doc__)
    task.set_defaults(run=augment)
    task.add_argument(
        "--faces", nargs="+", type=Path, required=True, help="folders of aligned faces with expressions"
    )
    task.add_argument(
        "--ckplus", type=Path, help="folder: 48x48 grey faces, metadata.csv; without: not measured"
    )
    task.add_argument("--models", nargs="+", default=["transfer"], metavar="[NAME=]MODEL")
    task.add_argument("--real", type=int, default=100, help="real faces a class, of --faces (default 100)")
    task.add_argument(
        "--counts",
        nargs="+",
        type=int,
        default=[0, 500, 1000, 2000, 5000, 10000],
        help="synthetic ones a class",
    )
    task.add_argument("--folds", type=int, default=8, help="of CK+, by people (default 8)")
    task.add_argument("--seeds", type=int, default=3, help="runs of each (default 3)")
    task.add_argument("--steps", type=int, default=600, help="of each classifier's training (default 600)")
    task.add_argument("-o", "--out", type=Path, required=True, help="folder to write")


def tight(picture):
    """An aligned crop (SxSx3 uint8) as the expression sets show faces: SIDExSIDE uint8, grey."""
    box = tuple(round(share * len(picture)) for share in BOX)
    return np.asarray(
        Image.fromarray(picture).convert("L").crop(box).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    )


def synthesise(pipe, pictures, count, name):
    """``count`` faces (at most) with each expression that they were given: {expression: NxSIDExSIDE uint8}."""
    side, found = pipe.net.config.input_size, {expression: [] for expression in NAMES}
    for picture in tqdm(pictures[:count], desc=name, disable=None):
        crop = Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS)
        made = pipe.run(crop, crop, [{"expression": expression} for expression in NAMES])
        for expression, face in zip(NAMES, made):
            found[expression].append(tight(np.asarray(face)))
    return {expression: np.stack(faces) for expression, faces in found.items()}


def augment(args):
    """How many expressions a small classifier tells, trained on few real faces and a number of synthetic ones a class:
    on held-out faces (neutral, happy, surprised), and on CK+ (seven expressions; folds by people; synthetic faces of
    the two that LSSL knows). Mean and deviation of several seeds; the same number of steps in all, in which half of the
    faces are real ones however many are synthetic."""
    import facesym
    from train.evaluate_rotate import named_models

    args.out.mkdir(parents=True, exist_ok=True)
    pipes = {name: facesym.load(model) for name, model in named_models(args.models).items()}
    known, sources = _labelled(args.faces, "train")
    real = [np.flatnonzero(known[1] == k)[: args.real] for k in range(len(NAMES))]
    chosen = np.concatenate(real)
    test, _ = _labelled(args.faces, "test")
    tables = {"held-out faces": []}
    if args.ckplus:
        pictures, subjects, expressions = load_faces(args.ckplus)
        classes = sorted(set(expressions))
        labels, fold = np.array([classes.index(e) for e in expressions]), folds(subjects, args.folds)
        tables["CK+"] = []
    for name, pipe in pipes.items():
        more = synthesise(pipe, sources, max(args.counts), name)
        Image.fromarray(np.concatenate([np.concatenate(list(more[e][:12]), 1) for e in NAMES])).save(
            args.out / f"{name}.png"
        )
        for count in args.counts:
            x = [known[0][chosen], *(more[e][:count] for e in NAMES)]
            y = [known[1][chosen], *(np.full(len(more[e][:count]), k) for k, e in enumerate(NAMES))]
            scores = []
            for seed in range(args.seeds):
                net = _train(x, y, len(NAMES), args.steps, seed)
                told = _tell(net, test[0])
                # Each class counts alike: surprised faces are rare.
                scores.append(np.mean([(told == k)[test[1] == k].mean() for k in np.unique(test[1])]))
            tables["held-out faces"].append(_row(name, count, scores))
            if not args.ckplus:
                continue
            scores = []
            for seed in range(args.seeds):
                right = 0
                for k in tqdm(range(args.folds), desc=f"CK+, {count}, seed {seed}", disable=None):
                    train = fold != k
                    extra = {ours: more[ours][:count] for ours in CKPLUS.values()}
                    x = [pictures[train], *extra.values()]
                    numbers = [
                        np.full(len(extra[ours]), classes.index(theirs)) for theirs, ours in CKPLUS.items()
                    ]
                    net = _train(x, [labels[train], *numbers], len(classes), args.steps, 100 * seed + k)
                    right += int((_tell(net, pictures[~train]) == labels[~train]).sum())
                scores.append(right / len(pictures))
            tables["CK+"].append(_row(name, count, scores))
    settings = {
        "task": "augment", "models": args.models, "real": [len(k) for k in real], "seeds": args.seeds,
        "steps": args.steps, "folds": args.folds, "tested": np.bincount(test[1], minlength=len(NAMES)).tolist(),
    }  # fmt: skip
    (args.out / "results.json").write_text(
        json.dumps({"settings": settings, "results": tables}, indent=1) + "\n"
    )
    _plot(tables, args.out / "augment.png")
    for title, table in tables.items():
        print(f"\n{title}: accuracy by synthetic faces a class, {args.seeds} seeds\n")
        counts = list(dict.fromkeys(row["count"] for row in table))
        print("| | " + " | ".join(map(str, counts)) + " |")
        print("|---" * (len(counts) + 1) + "|")
        for name in pipes:
            cells = [f"{row['accuracy']:.1%} ± {row['std']:.1%}" for row in table if row["row"] == name]
            print(f"| {name} | " + " | ".join(cells) + " |")
    print(f"\nwritten: {args.out}")
    return tables


def _labelled(folders, split):
    """(NxSIDExSIDE faces, N labels) of one split, in a fixed shuffle; and all pictures of it, as they are."""
    faces = FaceFolders(folders, 128, splits=(split,))
    order = np.random.default_rng(0).permutation(len(faces))
    labels = np.array([expression_of(faces.rows[i], NAMES) for i in order])
    images = faces.images[order]
    sure = np.flatnonzero(labels != UNKNOWN)
    return (np.stack([tight(images[i]) for i in sure]), labels[sure]), images


def _train(x, y, classes, steps, seed):
    """A classifier of real faces (the first of the arrays) and, as often, of synthetic ones (the others)."""
    real, synthetic = len(x[0]), sum(map(len, x[1:]))
    often = np.repeat([1 / real, 1 / max(synthetic, 1)], [real, synthetic])
    return train_classifier(np.concatenate(x), np.concatenate(y), classes, 1, steps, seed, often)


@torch.no_grad()
def _tell(net, pictures):
    return np.concatenate(
        [net(as_input(pictures[i : i + 256])).argmax(1).numpy() for i in range(0, len(pictures), 256)]
    )


def _row(name, count, scores):
    spread = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
    return {
        "row": name, "count": count, "accuracy": float(np.mean(scores)), "std": spread,
        "seeds": [float(score) for score in scores],
    }  # fmt: skip


def _plot(tables, path):
    """Accuracy by how many synthetic faces a class."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(tables), figsize=(5 * len(tables), 3.4), squeeze=False, layout="constrained"
    )
    for axis, (title, table) in zip(axes[0], tables.items()):
        for name in dict.fromkeys(row["row"] for row in table):
            rows = [row for row in table if row["row"] == name]
            axis.errorbar(
                [row["count"] for row in rows], [100 * row["accuracy"] for row in rows],
                [100 * row["std"] for row in rows], marker="o", capsize=3, label=name,
            )  # fmt: skip
        axis.set(title=title, xlabel="synthetic faces a class", ylabel="accuracy, %")
        axis.set_xscale("symlog", linthresh=min((row["count"] for row in table if row["count"]), default=1))
        axis.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)
