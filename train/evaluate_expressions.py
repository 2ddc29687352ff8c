"""`train/evaluate.py ckplus`: whether normalised faces, as extra training data, help to recognise expressions.

python train/evaluate.py ckplus --ckplus CKPLUS --models normalize --seeds 3 -o results/ckplus
"""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from tqdm import tqdm

from facesym.errors import ImageError
from facesym.faces.align import ffhq_transform, five_points
from facesym.faces.landmarks import find_points
from facesym.faces.pose import head_pose
from train.common import bf16_is_fast

FOLDS = 8
SIDE = 48


def add_parser(tasks):
    task = tasks.add_parser("ckplus", help="expressions with normalised faces", description=ckplus.__doc__)
    task.set_defaults(run=ckplus)
    task.add_argument(
        "--ckplus",
        type=Path,
        required=True,
        help="folder: 48x48 grey faces, metadata.csv (subject, expression)",
    )
    task.add_argument("--models", nargs="+", default=["normalize"], metavar="[NAME=]MODEL")
    task.add_argument("--seeds", type=int, default=3, help="runs of each fold (default 3)")
    task.add_argument("--epochs", type=int, default=30)
    task.add_argument("-o", "--out", type=Path, required=True, help="folder to write")


def load_faces(folder):
    """NxSIDExSIDE uint8, subjects, expressions."""
    try:
        with open(folder / "metadata.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        pictures = []
        for row in rows:
            with Image.open(folder / row["file_name"]) as picture:
                pictures.append(np.asarray(picture.convert("L").resize((SIDE, SIDE))))
    except (OSError, KeyError) as error:
        raise ImageError(f"{folder} is no folder of labelled faces: {error}") from error
    return np.stack(pictures), [row["subject"] for row in rows], [row["expression"] for row in rows]


def folds(subjects, count):
    """Each picture's fold; a person's are in one."""
    people = sorted(set(subjects))
    order = np.random.default_rng(0).permutation(len(people))
    fold_of = {people[k]: i % count for i, k in enumerate(order)}
    return np.array([fold_of[subject] for subject in subjects])


def normalised(pipe, face):
    """A tight grey face (SIDExSIDE), normalised and cut out again as it was.

    It is laid where faces are in an aligned crop, its landmarks are found, and the crop is aligned by them.
    """
    size = pipe.net.size
    side, left, top = round(0.58 * size), round(0.21 * size), round(0.30 * size)
    lay = np.array([[side / SIDE, 0, left], [0, side / SIDE, top]])  # face pixel -> canvas pixel
    canvas = cv2.warpAffine(face, lay, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    points = find_points(Image.fromarray(canvas).convert("RGB"))
    whole = lambda m: np.vstack([m, [0, 0, 1]])  # noqa: E731
    align = (whole(ffhq_transform(five_points(points), size)) @ whole(lay))[:2]  # face pixel -> aligned pixel
    crop = cv2.warpAffine(face, align, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    crop = Image.fromarray(crop).convert("RGB")
    made = np.asarray(pipe.run(crop, crop, head_pose(find_points(crop))[0])[0].convert("L"))
    made = cv2.GaussianBlur(made, (0, 0), 0.4 * np.hypot(*align[0, :2]))  # before it is made smaller
    return cv2.warpAffine(made, align, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def classifier(classes):
    """A small convolutional network: Bx1x48x48 to ``classes`` logits."""
    layers, channels = [], 1
    for width in (32, 64, 128):
        layers += [
            nn.Conv2d(channels, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        layers += [nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        layers += [nn.MaxPool2d(2)]
        channels = width
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Dropout(0.5), nn.Linear(channels * (SIDE // 8) ** 2, classes)
    )


def as_input(pictures):
    """Each picture with its own mean and deviation taken out."""
    x = torch.from_numpy(pictures[:, None].astype(np.float32))
    return (x - x.mean((2, 3), keepdim=True)) / (x.std((2, 3), keepdim=True) + 1)


def train_classifier(pictures, labels, classes, epochs, steps, seed, often=None):
    """Adam on the cross-entropy, with flips and shifts; ``steps`` an epoch whatever the number of pictures, so that
    rows with more pictures are not trained longer. ``often``: how often each picture is drawn (N); None: all alike."""
    torch.manual_seed(seed)
    often = torch.ones(len(pictures)) if often is None else torch.from_numpy(often)
    net = classifier(classes).to(memory_format=torch.channels_last)
    x, y = as_input(pictures), torch.from_numpy(labels)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=epochs * steps)
    net.train()
    for _ in range(epochs * steps):
        chosen = torch.multinomial(often, 64, replacement=True)
        batch = F.pad(x[chosen], (4, 4, 4, 4), mode="reflect")
        top, left = torch.randint(9, (2,)).tolist()
        batch = batch[..., top : top + SIDE, left : left + SIDE]
        batch = torch.where(torch.rand(64, 1, 1, 1) < 0.5, batch.flip(-1), batch)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16_is_fast()):
            logits = net(batch.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), y[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def ckplus(args):
    """Expression recognition on CK+, 8 subject-independent folds, several seeds: with the training folds' faces alone;
    with their normalised versions as an eighth class, neutral, which is left out when the test fold is judged. The same
    classifier and number of steps. (The paper adds them to a metric-learning network, on its own selection of CK+.)"""
    import facesym
    from train.evaluate_rotate import named_models

    args.out.mkdir(parents=True, exist_ok=True)
    pictures, subjects, expressions = load_faces(args.ckplus)
    names = sorted(set(expressions))
    labels = np.array([names.index(e) for e in expressions])
    fold = folds(subjects, FOLDS)
    extra = {"faces alone": None}
    for name, model in named_models(args.models).items():
        pipe = facesym.load(model)
        extra[name] = np.stack([normalised(pipe, face) for face in tqdm(pictures, desc=name, disable=None)])
        sheet = np.concatenate(
            [np.concatenate(list(x[:: max(1, len(x) // 20)][:20]), 1) for x in (pictures, extra[name])]
        )
        Image.fromarray(sheet).save(args.out / f"{name}.png")
    table = []
    steps = max(1, len(pictures) * (FOLDS - 1) // FOLDS // 64)
    for name, more in extra.items():
        scores = []
        for seed in range(args.seeds):
            right = 0
            for k in tqdm(range(FOLDS), desc=f"{name}, seed {seed}", disable=None):
                known = fold != k
                x, y, classes = pictures[known], labels[known], len(names)
                if more is not None:
                    x = np.concatenate([x, more[known]])
                    y = np.concatenate([y, np.full(known.sum(), len(names))])
                    classes += 1
                net = train_classifier(x, y, classes, args.epochs, steps, 100 * seed + k)
                with torch.no_grad():
                    logits = net(as_input(pictures[~known]))[:, : len(names)]
                right += int((logits.argmax(1).numpy() == labels[~known]).sum())
            scores.append(right / len(pictures))
        spread = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
        table.append({"row": name, "accuracy": float(np.mean(scores)), "std": spread, "seeds": scores})
    settings = {
        "task": "ckplus", "models": args.models, "pictures": len(pictures), "people": len(set(subjects)),
        "folds": FOLDS, "seeds": args.seeds, "epochs": args.epochs, "classes": names,
    }  # fmt: skip
    (args.out / "results.json").write_text(
        json.dumps({"settings": settings, "results": table}, indent=1) + "\n"
    )
    print(
        f"\n{len(pictures)} faces of {len(set(subjects))} people, {FOLDS} folds by people, {args.seeds} seeds\n"
    )
    print("| | accuracy |\n|---|---|")
    for row in table:
        print(f"| {row['row']} | {row['accuracy']:.2%} ± {row['std']:.2%} |")
    print(f"\nwritten: {args.out}")
    return table
