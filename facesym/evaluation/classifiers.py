"""Classifiers for evaluation: one of neutral faces; one of expression, pose and light."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from .. import metrics
from ..data.attributes import UNKNOWN, expression_of
from ..data.faces import FaceFolders, to_tensor
from ..data.lssl import NAMES, AttributeSamples, group_offsets
from ..logging import progress_bar
from ..models.lssl import GROUPS
from .features import alexnet_features

RECALL = 0.97  # of NeutralClassifier on neutral photos
SIZE, SIDE = 128, 64  # sides of the training images and of the attribute classifier's input


class NeutralClassifier:
    """Neutral or smiling: a linear classifier on AlexNet's last convolution over the face.

    Trained on training people: London's studio labels, and LFW's most confident scores. Its threshold is the one that
    RECALL of the neutral training photos exceed in cross-validation.

    Args:
        images: NxSxSx3 uint8.
        neutral: N bool.
        backbone: file of torchvision's AlexNet features.
    """

    def __init__(self, images: np.ndarray, neutral: Sequence[bool], backbone: str | Path):
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import cross_val_predict

        self.net = alexnet_features(backbone)
        x, y = self._features(images), np.asarray(neutral, bool)
        # StandardScaler would amplify features that hardly vary.
        self.mean, self.std = x.mean(0), x.std(0, ddof=1) + 1e-3
        weights = {True: float((1 - y.mean()) / y.mean()), False: 1.0}  # equal weight for both classes
        self.model = LogisticRegression(C=50 / len(y), class_weight=weights, max_iter=2000)
        x = (x - self.mean) / self.std
        scores = np.asarray(cross_val_predict(self.model, x, y, cv=2, method="decision_function"))
        self.threshold = np.quantile(scores[y], 1 - RECALL)
        self.model.fit(x, y)

    @torch.no_grad()
    def _features(self, images):
        features = []
        side = images.shape[1]
        # Crop the inner face, which shows the expression.
        top, bottom, left, right = (round(v * side) for v in (0.3, 0.95, 0.17, 0.83))
        for i in range(0, len(images), 64):
            x = torch.from_numpy(images[i : i + 64, top:bottom, left:right]).permute(0, 3, 1, 2) / 255
            x = F.interpolate(x, (224, 224), mode="bilinear", antialias=True)
            features.append(F.adaptive_avg_pool2d(self.net(x), 4).flatten(1))
        return torch.cat(features).numpy()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return whether each of NxSxSx3 images shows a neutral face: N bool."""
        scores = self.model.decision_function((self._features(images) - self.mean) / self.std)
        return np.asarray(scores >= self.threshold)


class AttributeClassifier:
    """Expression, pose and light: torchvision's ResNet-18, trained from scratch on photos of training people.

    Photos are mirrored, jittered and relit as for LSSL. LSSL's training does not use this network.
    """

    def __init__(self):
        self.net = metrics.import_torchvision().models.resnet18(num_classes=int(group_offsets()[-1]))

    def train(self, folders: Iterable[str | Path], steps: int, seed: int = 0, batch: int = 32) -> Self:
        """Minimise the cross-entropy of each group; rare expressions count as much as frequent ones.

        Args:
            folders: of aligned faces.
            steps: number of batches.
            seed: of the weights and the samples.
            batch: images per step.
        """
        torch.manual_seed(seed)
        faces = FaceFolders(folders, SIZE)
        labels = [expression_of(row, GROUPS["expression"]) for row in faces.rows]
        counts = np.bincount([k for k in labels if k != UNKNOWN], minlength=len(GROUPS["expression"]))
        weights = torch.from_numpy(counts.sum() / np.maximum(counts, 1) / len(counts)).float()
        self.net.train().to(memory_format=torch.channels_last)  # type: ignore
        optimizer = torch.optim.AdamW(self.net.parameters(), weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
        bar = progress_bar(total=steps, desc="classifier")
        samples = AttributeSamples(faces, seed)
        for data in DataLoader(samples, batch, sampler=range(steps * batch), num_workers=1):
            logits = self._logits(data["image"])
            loss = logits.new_zeros(())
            for group, (a, b) in enumerate(pairwise(group_offsets())):
                known = data["known"][:, a] > 0
                if known.any():
                    loss = loss + F.cross_entropy(
                        logits[known, a:b],
                        data["own"][known, a:b].argmax(1),
                        weights if NAMES[group] == "expression" else None,
                    )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            bar.update()
        bar.close()
        self.net.eval()
        return self

    def _logits(self, image):
        image = F.interpolate(image, (SIDE, SIDE), mode="bilinear", antialias=True)
        return self.net(image.contiguous(memory_format=torch.channels_last))

    @torch.no_grad()
    def __call__(self, images: np.ndarray, group: str) -> np.ndarray:
        """Predict one group's attribute.

        Args:
            images: NxSxSx3 uint8.
            group: name of the group.

        Returns:
            N, indices of the group's attributes.
        """
        a, b = group_offsets()[NAMES.index(group) :][:2]
        parts = [images[i : i + 64] for i in range(0, len(images), 64)]
        logits = [self._logits(torch.stack([to_tensor(x) for x in part])) for part in parts]
        return torch.cat(logits)[:, a:b].argmax(1).numpy()
