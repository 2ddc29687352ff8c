"""`train/evaluate.py identity`: face verification on held-out people, beside dlib's descriptor on the same pairs.

    python train/evaluate.py identity --faces FACES/lfw --models identity-128 -o results/identity

Pairs of one person and as many of two, from the test split, told apart by a threshold that is chosen on nine tenths
of the pairs and counted on the last, ten times. Unlike LFW's own folds, these share people; nothing but the threshold
is fitted to them. One look at each picture, for the networks and for dlib.
"""

import itertools
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from facesym import metrics
from facesym.errors import ImageError

FOLDS = 10


def add_parser(tasks):
    task = tasks.add_parser(
        "identity", help="face verification on held-out people", description=verify.__doc__
    )
    task.set_defaults(run=verify)
    task.add_argument("--faces", nargs="+", type=Path, required=True, help="folders of aligned faces")
    task.add_argument("--models", nargs="+", default=["identity"], help="zoo ids, folders, Hub repositories")
    task.add_argument("-n", type=int, default=1500, help="pairs of one person, at most (default 1500)")
    task.add_argument("--seed", type=int, default=0)
    task.add_argument("--device", default="cpu")
    task.add_argument("-o", "--out", type=Path, required=True, help="folder to write")


def choose_pairs(people, count, seed, most=20):
    """Pairs of indices into ``people`` (a list of names): Px2 of one person each, Px2 of two; P ≤ count.

    A person with many pictures gives at most ``most`` pairs.

    Raises:
        ImageError: fewer than ten pairs of one person, or one person only.
    """
    rng, pictures = np.random.default_rng(seed), defaultdict(list)
    for i, name in enumerate(people):
        pictures[name].append(i)
    same = []
    for indices in pictures.values():
        pairs = list(itertools.combinations(indices, 2))
        same += [pairs[k] for k in rng.permutation(len(pairs))[:most]]
    if len(same) < FOLDS or len(pictures) < 2:
        raise ImageError(
            f"verification needs {FOLDS} pairs of pictures of one person or more, and at least two people"
        )
    same = np.array(same)[rng.permutation(len(same))[:count]]
    different = []
    while len(different) < len(same):
        a, b = rng.integers(len(people), size=2)
        if people[a] != people[b]:
            different.append((a, b))
    return same, np.array(different)


def accuracy_and_auc(same, different, seed=0):
    """Verification from the distances of the pairs of one person and of two (P each).

    Returns:
        Mean and standard deviation of the accuracy over the folds, and the area under the ROC curve.
    """
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
    ranks = np.searchsorted(np.sort(different), same, "right") + np.searchsorted(np.sort(different), same)
    return float(np.mean(accuracies)), float(np.std(accuracies)), float(1 - ranks.mean() / 2 / len(different))


def verify(args):
    """Verification accuracy and AUC of identity networks and of dlib's descriptor, on the same pairs."""
    from train.evaluate import load_models, load_pictures, select_pictures
    from train.identity import embed

    rows = select_pictures(args.faces, 0, None, args.seed)
    people = [f"{row['set']}/{row['subject']}" for row in rows]
    same, different = choose_pairs(people, args.n, args.seed)
    used = np.unique(np.concatenate([same, different]))
    where = {old: new for new, old in enumerate(used)}
    same, different = (np.vectorize(where.get)(pairs) for pairs in (same, different))
    rows = [rows[i] for i in used]
    pictures, _ = load_pictures(rows, 256)
    vectors = {"dlib": metrics.identity_descriptor(pictures)}
    for name, net in load_models(args.models, args.device).items():
        vectors[name] = embed(net, pictures, args.device)
    table = {}
    for name, v in vectors.items():
        distances = [np.linalg.norm(v[p[:, 0]] - v[p[:, 1]], axis=1) for p in (same, different)]
        accuracy, deviation, auc = accuracy_and_auc(*distances, args.seed)
        table[name] = {"accuracy": accuracy, "deviation": deviation, "auc": auc}
    args.out.mkdir(parents=True, exist_ok=True)
    settings = {
        "task": "identity",
        "faces": [folder.name for folder in args.faces],
        "pictures": len(rows),
        "people": len({people[i] for i in used}),
        "pairs": 2 * len(same),
        "seed": args.seed,
    }
    text = json.dumps({"settings": settings, "results": table}, indent=1)
    (args.out / "results.json").write_text(text + "\n")
    print(
        f"\n{settings['pairs']} pairs, half of one person; {len(rows)} pictures of {settings['people']} people\n"
    )
    print("| | accuracy | AUC |\n|---|---|---|")
    for name, row in table.items():
        print(f"| {name} | {row['accuracy']:.1%} ± {row['deviation']:.1%} | {row['auc']:.4f} |")
    print(f"\nwritten: {args.out}")
    return table
