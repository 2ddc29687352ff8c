"""`facesym evaluate ckplus`: expression recognition with normalized faces as extra training data.

facesym evaluate ckplus --ckplus CKPLUS --models normalize --seeds 3 -o results/ckplus
"""

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

import facesym

from ..faces.align import ffhq_transform, five_points
from ..faces.landmarks import find_points
from ..faces.pose import head_pose
from ..logging import progress_bar
from .data import add_common_arguments, named_models
from .expressions import SIDE, accuracy_row, folds, load_faces, predict, train_classifier
from .report import save_sheet
from .tables import markdown, save_results

FOLDS = 8


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_common_arguments(command, faces=False, models=["normalize"], seed=False)
    command.add_argument(
        "--ckplus", type=Path, required=True,
        help="folder of 48x48 grey faces and metadata.csv (subject, expression)",
    )  # fmt: skip
    command.add_argument(
        "--seeds", type=int, default=3, help="runs of each fold with different seeds (default 3)"
    )
    command.add_argument("--epochs", type=int, default=30, help="epochs of each training (default 30)")


def normalized(pipe: Any, face: np.ndarray) -> np.ndarray:
    """Normalize a tight grey face (SIDExSIDE) and crop it again in the same way.

    The face is placed as in an aligned crop, then aligned by its landmarks.
    """
    size = pipe.net.size
    side, left, top = round(0.58 * size), round(0.21 * size), round(0.30 * size)
    lay = np.array([[side / SIDE, 0, left], [0, side / SIDE, top]])  # face pixel -> canvas pixel
    canvas = cv2.warpAffine(face, lay, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    points = find_points(Image.fromarray(canvas).convert("RGB"))
    # face pixel -> aligned pixel
    align = ffhq_transform(five_points(points), size) @ np.vstack([lay, [0, 0, 1]])
    crop = cv2.warpAffine(face, align, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    crop = Image.fromarray(crop).convert("RGB")
    output = np.asarray(pipe.run(crop, crop, head_pose(find_points(crop))[0])[0].convert("L"))
    output = cv2.GaussianBlur(output, (0, 0), 0.4 * np.hypot(*align[0, :2]))  # against aliasing
    return cv2.warpAffine(output, align, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def run(args: argparse.Namespace) -> None:
    """Measure expression recognition on CK+ in 8 subject-independent folds with several seeds: trained on the faces
    alone; with their normalized versions as an eighth class, neutral, which is ignored in the test fold, as half of the
    samples or as one in eight; and with its normalized version as a second channel of each face, which shows the
    classifier the person's neutral face. The classifier and the number of steps are the same. (The paper adds the faces
    to a metric-learning network, on its own selection of CK+.)"""
    args.out.mkdir(parents=True, exist_ok=True)
    images, subjects, expressions = load_faces(args.ckplus)
    names = sorted(set(expressions))
    labels, fold = np.array([names.index(e) for e in expressions]), folds(subjects, FOLDS)
    rows: dict[str, tuple[np.ndarray | None, float]] = {"faces alone": (None, 0.0)}
    for name, model in named_models(args.models).items():
        pipe = facesym.load(model)
        faces = np.stack([normalized(pipe, face) for face in progress_bar(images, desc=name)])
        every = slice(0, None, max(1, len(images) // 20))
        save_sheet([x[every][:20] for x in (images, faces)], args.out / f"{name}.png")
        rows |= {
            name: (faces, 0.5),
            f"{name}, one in eight": (faces, 0.125),
            f"{name}, second channel": (faces, 0.0),
        }
    table = [
        accuracy_row(name, _scores(name, *row, images, labels, fold, args)) for name, row in rows.items()
    ]
    people = len(set(subjects))
    settings = {
        "task": "ckplus", "models": args.models, "pictures": len(images), "people": people,
        "folds": FOLDS, "seeds": args.seeds, "epochs": args.epochs, "classes": names,
    }  # fmt: skip
    save_results(args.out, settings, table)
    print(f"\n{len(images)} faces of {people} people, {FOLDS} folds by people, {args.seeds} seeds\n")
    print(markdown(table, {"accuracy": "{accuracy:.2%} ± {std:.2%}"}))
    print(f"\nwrote {args.out}")


def _scores(name, extra, fraction, images, labels, fold, args):
    """Return the accuracy of each seed over all folds.

    ``extra``: normalized faces, or None. They are this fraction of the samples, as an additional class; or a second
    channel if the fraction is 0.
    """
    classes = labels.max() + 1
    steps = args.epochs * max(1, len(images) * (FOLDS - 1) // FOLDS // 64)
    if extra is not None and not fraction:
        images, extra = np.stack([images, extra], 1), None
    scores = []
    for seed in range(args.seeds):
        right = 0
        for k in progress_bar(range(FOLDS), desc=f"{name}, seed {seed}"):
            known = fold != k
            x, y, weights = images[known], labels[known], None
            if extra is not None:
                count = known.sum()
                x, y = np.concatenate([x, extra[known]]), np.concatenate([y, np.full(count, classes)])
                weights = np.repeat([1 - fraction, fraction], count)
            net = train_classifier(x, y, classes + (extra is not None), steps, 100 * seed + k, weights)
            right += int((predict(net, images[~known], classes) == labels[~known]).sum())
        scores.append(right / len(images))
    return scores
