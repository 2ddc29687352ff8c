"""`facesym evaluate identity`: face verification on held-out people, compared with dlib's descriptor.

    facesym evaluate identity --faces FACES/lfw --models identity-128 -o results/identity

The test split gives pairs of one person and equally many of two people. In ten folds, a threshold is chosen on nine
tenths of the pairs and scored on the rest. Unlike LFW's own folds, these share people, but only the threshold is fitted
to them.
"""

import argparse
import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .. import metrics
from ..data.faces import to_tensor
from ..errors import ImageError
from ..logging import progress_bar
from .data import add_common_arguments, load_models, load_pictures, select_pictures
from .tables import markdown, save_results, zoo_metrics

FOLDS = 10
PER_PERSON = 20  # pairs
COLUMNS = {"accuracy": "{accuracy:.1%} ± {deviation:.1%}", "AUC": "{auc:.4f}"}


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_common_arguments(command, models=["identity"], device=True)
    command.add_argument("-n", type=int, default=1500, help="pairs of one person, at most (default 1500)")


def choose_pairs(people: Sequence[str], count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose pairs of indices into ``people`` (a list of names): Px2 of one person each, Px2 of two; P ≤ count.

    Each person gives at most `PER_PERSON` pairs.

    Raises:
        ImageError: fewer than ten pairs of one person, or one person only.
    """
    rng, images = np.random.default_rng(seed), defaultdict(list)
    for i, name in enumerate(people):
        images[name].append(i)
    same = []
    for indices in images.values():
        pairs = list(itertools.combinations(indices, 2))
        same += [pairs[k] for k in rng.permutation(len(pairs))[:PER_PERSON]]
    if len(same) < FOLDS or len(images) < 2:
        raise ImageError(
            f"verification needs at least {FOLDS} pairs of images of one person, and at least two people"
        )
    same = np.array(same)[rng.permutation(len(same))[:count]]
    different: list[tuple[int, int]] = []
    while len(different) < len(same):
        a, b = rng.integers(len(people), size=2)
        if people[a] != people[b]:
            different.append((a, b))
    return same, np.array(different)


def accuracy_and_auc(same: np.ndarray, different: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Compute verification figures from the distances of the pairs of one person and of two (P each).

    The folds are not scikit-learn's, which draw another order: the published figures were measured on these.

    Returns:
        Mean and standard deviation of the accuracy over the folds, and the area under the ROC curve.
    """
    from sklearn.metrics import roc_auc_score

    folds = np.random.default_rng(seed).permutation(len(same)) % FOLDS
    accuracies = []
    for k in range(FOLDS):
        test, rest = folds == k, folds != k
        if not test.any():
            continue
        candidates = np.sort(np.concatenate([same[rest], different[rest]]))
        right = np.searchsorted(np.sort(same[rest]), candidates, "right") - np.searchsorted(
            np.sort(different[rest]), candidates, "right"
        )
        threshold = candidates[np.argmax(right)]
        accuracies.append(((same[test] <= threshold).mean() + (different[test] > threshold).mean()) / 2)
    labels = np.repeat([1, 0], [len(same), len(different)])
    auc = roc_auc_score(labels, -np.concatenate([same, different]))
    return float(np.mean(accuracies)), float(np.std(accuracies)), float(auc)


@torch.no_grad()
def embed(net: Any, images: np.ndarray, device: str | torch.device = "cpu") -> np.ndarray:
    """Return an identity model's vectors of NxSxSx3 uint8 images: NxE float32, unit length."""
    vectors = []
    for start in range(0, len(images), 64):
        x = torch.stack([to_tensor(image) for image in images[start : start + 64]]).to(device)
        vectors.append(net(x).cpu().numpy())
    return np.concatenate(vectors)


def run(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure verification accuracy and AUC of identity models and of dlib's descriptor on the same pairs."""
    rows = [row for row in select_pictures(args.faces, 0, None, args.seed) if row["subject"]]  # known people
    people = [f"{row['set']}/{row['subject']}" for row in rows]
    same, different = choose_pairs(people, args.n, args.seed)
    used = np.unique(np.concatenate([same, different]))
    where = {old: new for new, old in enumerate(used)}
    same, different = (np.vectorize(where.get)(pairs) for pairs in (same, different))
    rows = [rows[i] for i in used]
    images, _ = load_pictures(rows, 256)
    vectors = {"dlib": np.stack([metrics.identity_descriptor(x) for x in progress_bar(images, desc="dlib")])}
    for name, net in load_models(args.models, args.device).items():
        vectors[name] = embed(net, images, args.device)
    results = {}
    for name, v in vectors.items():
        near, far = (np.linalg.norm(v[p[:, 0]] - v[p[:, 1]], axis=1) for p in (same, different))
        accuracy, deviation, auc = accuracy_and_auc(near, far, args.seed)
        results[name] = {"accuracy": accuracy, "deviation": deviation, "auc": auc}
    args.out.mkdir(parents=True, exist_ok=True)
    settings = {
        "task": "identity",
        "faces": [folder.name for folder in args.faces],
        "pictures": len(rows),
        "people": len({people[i] for i in used}),
        "pairs": 2 * len(same),
        "seed": args.seed,
    }
    save_results(args.out, settings, results)
    print(
        f"\n{settings['pairs']} pairs, half of one person; {len(rows)} images of {settings['people']} people\n"
    )
    table = [{"row": name} | row for name, row in results.items()]
    print(markdown(table, COLUMNS))
    print(f"\nwrote {args.out}")
    data = f"{settings['pairs']} pairs of {settings['pictures']} images of people held out"
    return [zoo_metrics(data, "facesym evaluate identity: threshold by ten-fold cross-validation", table)]
