"""Expression recognition on small grey faces such as CK+'s: the faces, and the classifier."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from ..data.excluded import is_excluded_file
from ..data.metadata import read_table
from ..errors import ImageError

SIDE = 48  # of the faces, in pixels


def load_faces(folder: Path) -> tuple[np.ndarray, list[str], list[str]]:
    """Read a folder of labelled faces.

    Args:
        folder: images of tight grey faces, and metadata.csv with ``file_name, subject, expression``.

    Returns:
        NxSIDExSIDE uint8, and the subject and the expression of each.

    Raises:
        ImageError: the folder has another format.
    """
    try:
        rows = read_table(folder / "metadata.csv", ("file_name", "subject", "expression"))
        rows = [row for row in rows if not is_excluded_file(folder / row["file_name"])]
        images = []
        for row in rows:
            with Image.open(folder / row["file_name"]) as image:
                images.append(np.asarray(image.convert("L").resize((SIDE, SIDE))))
    except OSError as error:
        raise ImageError(f"{folder} is not a folder of labelled faces: {error}") from error
    return np.stack(images), [row["subject"] for row in rows], [row["expression"] for row in rows]


def folds(subjects: Sequence[str], count: int) -> np.ndarray:
    """Assign each image to a fold; all images of a person are in the same one.

    scikit-learn's GroupKFold draws another order of people: the published figures were measured on these folds.
    """
    people = sorted(set(subjects))
    order = np.random.default_rng(0).permutation(len(people))
    fold_of = {people[k]: i % count for i, k in enumerate(order)}
    return np.array([fold_of[subject] for subject in subjects])


def classifier(classes: int, channels: int = 1) -> nn.Module:
    """Create a small convolutional network: BxCx48x48, C = ``channels``, to ``classes`` logits."""
    layers = []
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


def as_input(images: np.ndarray) -> torch.Tensor:
    """Normalize each image (NxSIDExSIDE or NxCxSIDExSIDE) by its own mean and standard deviation: NxCxSIDExSIDE."""
    x = torch.from_numpy(images.reshape(len(images), -1, SIDE, SIDE).astype(np.float32))
    return (x - x.mean((2, 3), keepdim=True)) / (x.std((2, 3), keepdim=True) + 1)


def train_classifier(
    images: np.ndarray,
    labels: np.ndarray,
    classes: int,
    steps: int,
    seed: int,
    weights: np.ndarray | None = None,
) -> nn.Module:
    """Train a classifier with flips and shifts.

    Args:
        images: NxSIDExSIDE uint8, or NxCxSIDExSIDE with C channels.
        labels: N integers below ``classes``.
        steps: number of batches, independent of the number of images.
        seed: of the weights, the batches and the augmentation.
        weights: N sampling weights of the images; None: uniform.
    """
    torch.manual_seed(seed)
    often = torch.ones(len(images)) if weights is None else torch.from_numpy(weights)
    x, y = as_input(images), torch.from_numpy(labels)
    net = classifier(classes, x.shape[1])
    net.to(memory_format=torch.channels_last)  # type: ignore
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    net.train()
    for _ in range(steps):
        chosen = torch.multinomial(often, 64, replacement=True)
        batch = F.pad(x[chosen], (4, 4, 4, 4), mode="reflect")
        top, left = torch.randint(9, (2,)).tolist()
        batch = batch[..., top : top + SIDE, left : left + SIDE]
        batch = torch.where(torch.rand(64, 1, 1, 1) < 0.5, batch.flip(-1), batch)
        logits = net(batch.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits, y[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


@torch.no_grad()
def predict(net: nn.Module, images: np.ndarray, classes: int | None = None) -> np.ndarray:
    """Predict labels of images, see `train_classifier`, among the first ``classes`` classes if given."""
    logits = [net(as_input(images[i : i + 256]))[:, :classes] for i in range(0, len(images), 256)]
    return torch.cat(logits).argmax(1).numpy()


def accuracy_row(name: str, scores: Sequence[float], **more: Any) -> dict[str, Any]:
    """Return the mean and standard deviation of accuracies over seeds as a row of a table."""
    spread = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
    seeds = [float(score) for score in scores]
    return {"row": name} | more | {"accuracy": float(np.mean(scores)), "std": spread, "seeds": seeds}
