"""`facesym evaluate augment`: expression recognition with LSSL's outputs as extra training data (its Table 1, Fig. 8).

facesym evaluate augment --faces FACES/lfw FACES/scut --ckplus CKPLUS --models transfer -o results/augment
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import facesym

from ..data.attributes import UNKNOWN, expression_of
from ..data.faces import FaceFolders
from ..logging import progress_bar
from ..models.lssl import GROUPS
from .data import add_common_arguments, named_models
from .expressions import SIDE, accuracy_row, folds, load_faces, predict, train_classifier
from .report import plot, save_sheet
from .tables import markdown, save_results

NAMES = GROUPS["expression"]
CKPLUS = {"happy": "happy", "surprise": "surprised"}  # CK+'s name: ours; it has no neutral faces
BOX = (0.21, 0.30, 0.79, 0.88)  # the part of an aligned crop that a tight face such as CK+'s shows


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_common_arguments(command, models=["transfer"], seed=False)
    command.add_argument(
        "--ckplus", type=Path, help="folder of 48x48 grey faces and metadata.csv, to measure on CK+ too"
    )
    command.add_argument(
        "--real", type=int, default=100, help="real faces of --faces per class (default 100)"
    )
    command.add_argument(
        "--counts", nargs="+", type=int, default=[0, 500, 1000, 2000, 5000, 10000],
        help="synthetic faces per class (default 0 500 1000 2000 5000 10000)",
    )  # fmt: skip
    command.add_argument("--folds", type=int, default=8, help="folds of CK+, by people (default 8)")
    command.add_argument("--seeds", type=int, default=3, help="runs with different seeds (default 3)")
    command.add_argument(
        "--steps", type=int, default=600, help="training steps of each classifier (default 600)"
    )


def tight(image: np.ndarray) -> np.ndarray:
    """Crop an aligned face (SxSx3 uint8) as the expression sets do: SIDExSIDE uint8, grey."""
    left, top, right, bottom = (round(edge * len(image)) for edge in BOX)
    return np.asarray(
        Image.fromarray(image)
        .convert("L")
        .crop((left, top, right, bottom))
        .resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    )


def synthesize(pipe: Any, images: np.ndarray, count: int, name: str) -> dict[str, np.ndarray]:
    """Give at most ``count`` faces each expression: {expression: NxSIDExSIDE uint8}."""
    side = pipe.net.config.input_size
    faces: dict[str, list[np.ndarray]] = {expression: [] for expression in NAMES}
    for image in progress_bar(images[:count], desc=name):
        crop = Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS)
        outputs = pipe.run(crop, crop, [{"expression": expression} for expression in NAMES])
        for expression, output in zip(NAMES, outputs):
            faces[expression].append(tight(np.asarray(output)))
    return {expression: np.stack(values) for expression, values in faces.items()}


def run(args: argparse.Namespace) -> None:
    """Measure the accuracy of a small expression classifier trained on few real faces and a number of synthetic ones
    per class: on held-out faces (neutral, happy, surprised), and on CK+ (seven expressions, folds by people, synthetic
    faces for the two that LSSL can change). Reports mean and standard deviation over seeds. All classifiers train for
    the same number of steps, with half of each batch real."""
    args.out.mkdir(parents=True, exist_ok=True)
    pipes = {name: facesym.load(model) for name, model in named_models(args.models).items()}
    (faces, labels), sources = labelled_faces(args.faces, "train")
    real = [np.flatnonzero(labels == k)[: args.real] for k in range(len(NAMES))]
    chosen = np.concatenate(real)
    train, (test, _) = (faces[chosen], labels[chosen]), labelled_faces(args.faces, "test")
    ckplus = load_faces(args.ckplus) if args.ckplus else None
    tables: dict[str, list] = {"held-out faces": []} | ({"CK+": []} if ckplus else {})
    for name, pipe in pipes.items():
        synthetic = synthesize(pipe, sources, max(args.counts), name)
        save_sheet([synthetic[e][:12] for e in NAMES], args.out / f"{name}.png")
        for count in args.counts:
            scores = held_out_scores(train, test, synthetic, count, args)
            tables["held-out faces"].append(accuracy_row(name, scores, count=count))
            if ckplus:
                tables["CK+"].append(
                    accuracy_row(name, ckplus_scores(ckplus, synthetic, count, args), count=count)
                )
    settings = {
        "task": "augment", "models": args.models, "real": [len(k) for k in real], "seeds": args.seeds,
        "steps": args.steps, "folds": args.folds, "tested": np.bincount(test[1], minlength=len(NAMES)).tolist(),
    }  # fmt: skip
    save_results(args.out, settings, tables)
    _plot(tables, args.out / "augment.png")
    for title, table in tables.items():
        print(f"\n{title}: accuracy by synthetic faces per class, {args.seeds} seeds\n")
        rows = [
            {"row": name, "cells": {row["count"]: row for row in table if row["row"] == name}}
            for name in pipes
        ]
        cell = "{{cells[{0}][accuracy]:.1%}} ± {{cells[{0}][std]:.1%}}"
        print(markdown(rows, {str(count): cell.format(count) for count in args.counts}))
    print(f"\nwrote {args.out}")


def labelled_faces(
    folders: Iterable[str | Path], split: str
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Load one split in a fixed shuffle: (NxSIDExSIDE faces, N labels), and all its images, uncropped."""
    faces = FaceFolders(folders, 128, splits=(split,))
    order = np.random.default_rng(0).permutation(len(faces))
    labels = np.array([expression_of(faces.rows[i], NAMES) for i in order])
    images = faces.images[order]
    sure = np.flatnonzero(labels != UNKNOWN)
    return (np.stack([tight(images[i]) for i in sure]), labels[sure]), images


def held_out_scores(
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    synthetic: dict[str, np.ndarray],
    count: int,
    args: argparse.Namespace,
) -> list[float]:
    """Return the accuracy on held-out faces for each seed.

    Args:
        train: (faces, labels).
        test: (faces, labels).
        synthetic: from `synthesize`.
        count: number of synthetic faces per class.
        args: the parsed options.
    """
    x = [train[0], *(synthetic[e][:count] for e in NAMES)]
    y = [train[1], *(np.full(len(synthetic[e][:count]), k) for k, e in enumerate(NAMES))]
    scores = []
    for seed in progress_bar(range(args.seeds), desc=f"held-out faces, {count}"):
        output = predict(train_mixed(x, y, len(NAMES), args.steps, seed), test[0])
        # Classes have equal weight, since surprised faces are rare.
        scores.append(np.mean([(output == k)[test[1] == k].mean() for k in np.unique(test[1])]))
    return scores


def ckplus_scores(
    ckplus: tuple[np.ndarray, list[str], list[str]],
    synthetic: dict[str, np.ndarray],
    count: int,
    args: argparse.Namespace,
) -> list[float]:
    """Return the accuracy on CK+ over all folds for each seed; ``ckplus``: from `load_faces`."""
    images, subjects, expressions = ckplus
    classes = sorted(set(expressions))
    labels, fold = np.array([classes.index(e) for e in expressions]), folds(subjects, args.folds)
    extra = {classes.index(theirs): synthetic[ours][:count] for theirs, ours in CKPLUS.items()}
    scores = []
    for seed in range(args.seeds):
        right = 0
        for k in progress_bar(range(args.folds), desc=f"CK+, {count}, seed {seed}"):
            train = fold != k
            x = [images[train], *extra.values()]
            y = [labels[train], *(np.full(len(faces), number) for number, faces in extra.items())]
            net = train_mixed(x, y, len(classes), args.steps, 100 * seed + k)
            right += int((predict(net, images[~train]) == labels[~train]).sum())
        scores.append(right / len(images))
    return scores


def train_mixed(
    x: Sequence[np.ndarray], y: Sequence[np.ndarray], classes: int, steps: int, seed: int
) -> torch.nn.Module:
    """Train a classifier on real faces (the first array) and, equally often, on synthetic ones (the others)."""
    real, synthetic = len(x[0]), sum(map(len, x[1:]))
    weights = np.repeat([1 / real, 1 / max(synthetic, 1)], [real, synthetic])
    return train_classifier(np.concatenate(x), np.concatenate(y), classes, steps, seed, weights)


def _plot(tables, path):
    """Plot accuracy against the number of synthetic faces per class."""
    with plot(path, len(tables), figsize=(5 * len(tables), 3.4)) as axes:
        for axis, (title, table) in zip(axes, tables.items()):
            for name in dict.fromkeys(row["row"] for row in table):
                rows = [row for row in table if row["row"] == name]
                axis.errorbar(
                    [row["count"] for row in rows], [100 * row["accuracy"] for row in rows],
                    [100 * row["std"] for row in rows], marker="o", capsize=3, label=name,
                )  # fmt: skip
            axis.set(title=title, xlabel="synthetic faces per class", ylabel="accuracy, %")
            least = min((row["count"] for row in table if row["count"]), default=1)
            axis.set_xscale("symlog", linthresh=least)
            axis.legend()
