"""Fit the weights that recognise an expression from landmarks: in `facesym.faces.mouth.shows_expression`, whether there
is one, and in `facesym.faces.appearance`, which.

    python train/expression.py --data FACES/flickr FACES/lfw …

The fits are logistic regressions: for the first on faces whose score "neutral" in metadata.csv is below 0.1 or above
0.9, for the second on faces with an expression by their label or a score of at least 0.85, the rare ones weighted more.
The script prints the weights and their accuracy on the held-out faces of each folder.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from facesym.attributes import GROUPS
from facesym.data.attributes import UNKNOWN, expression_of
from facesym.data.metadata import read_landmarks, read_metadata
from facesym.faces.mouth import mouth_shape
from train.arguments import launch

SURE = 0.1  # maximum distance of the score from 0 or 1
NAMES = GROUPS["expression"]
TURNED = 30.0  # degrees of yaw: faces turned further are skipped


def mouths(folder, split):
    """Return the shapes of the mouths in a split of a folder, Nx4, and whether they show an expression, N bool."""
    rows, points = read_metadata(folder, (split,)), read_landmarks(folder)
    sure = [
        (row["index"], float(row["neutral"]))
        for row in rows
        if row.get("neutral")
        and row.get("yaw")
        and abs(float(row["yaw"])) <= TURNED
        and abs(float(row["neutral"]) - 0.5) > 0.5 - SURE
    ]
    if not sure:
        raise SystemExit(
            f'{folder} has no {split} images with a yaw and a sure score "neutral" in metadata.csv'
        )
    indices, scores = map(np.array, zip(*sure))
    return mouth_shape(points[indices]), scores < 0.5


def labelled(folders, split):
    """Return the shapes of the mouths of near-frontal faces with a known expression, Nx4, and its index, N ints."""
    shapes, labels = [], []
    for folder in folders:
        rows, points = read_metadata(folder, (split,)), read_landmarks(folder)
        for row in rows:
            label = expression_of(row, NAMES)
            if label != UNKNOWN and row.get("yaw") and abs(float(row["yaw"])) <= TURNED:
                shapes.append(mouth_shape(points[row["index"]]))
                labels.append(label)
    return np.array(shapes), np.array(labels)


def main(words=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", type=Path, required=True, help="folders of aligned faces")
    args = parser.parse_args(words)
    shapes, shown = (
        np.concatenate(parts) for parts in zip(*(mouths(folder, "train") for folder in args.data))
    )
    model = LogisticRegression(C=100, max_iter=1000).fit(shapes, shown)
    weights = ", ".join(f"{value:.1f}" for value in model.coef_[0])
    print(f"{len(shown)} faces: weights ({weights}), bias {model.intercept_[0]:.1f}")
    for folder in args.data:
        shapes, shown = mouths(folder, "test")
        found = model.predict(shapes)
        print(
            f"{folder.name}: {len(shown)} held-out faces, area under the curve "
            f"{roc_auc_score(shown, model.decision_function(shapes)):.3f}; expressions found "
            f"{found[shown].mean():.0%}, neutral faces taken for one {found[~shown].mean():.0%}"
        )
    shapes, labels = labelled(args.data, "train")
    if len(np.unique(labels)) < len(NAMES):
        return
    model = LogisticRegression(C=100, max_iter=5000, class_weight="balanced").fit(shapes, labels)
    for name, weights, bias in zip(NAMES, model.coef_, model.intercept_):
        print(f"{name}: weights ({', '.join(f'{value:.1f}' for value in weights)}), bias {bias:.1f}")
    shapes, labels = labelled(args.data, "test")
    for label, name in enumerate(NAMES):
        chosen = shapes[labels == label]
        if len(chosen):
            print(
                f"{name}: {len(chosen)} held-out faces, {(model.predict(chosen) == label).mean():.0%} recognised"
            )


if __name__ == "__main__":
    launch(main)
