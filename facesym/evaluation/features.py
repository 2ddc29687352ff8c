"""Features of ImageNet's AlexNet, and the Fréchet distance of two sets of them."""

from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

from .. import metrics


def alexnet_features(path: str | Path) -> nn.Module:
    """Load torchvision's AlexNet up to its last convolution, in eval mode: Bx3xHxW in [0, 1] to Bx256xhxw.

    Args:
        path: safetensors file with torchvision's names.
    """
    torchvision = metrics.import_torchvision()
    with torch.random.fork_rng(devices=[]):  # the random initial weights are not used
        layers = torchvision.models.alexnet().features[:12]
    weights = safetensors.torch.load_file(path)
    layers.load_state_dict({name: weights[f"features.{name}"].float() for name in layers.state_dict()})
    normalize = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return nn.Sequential(normalize, layers).requires_grad_(False).eval()


@torch.inference_mode()
def mean_features(images: np.ndarray, net: nn.Module) -> np.ndarray:
    """Return AlexNet's last convolution, averaged over positions.

    Args:
        images: NxSxSx3 uint8.
        net: from `alexnet_features`.

    Returns:
        Nx256 float64.
    """
    vectors = []
    for i in range(0, len(images), 64):
        x = torch.from_numpy(images[i : i + 64]).permute(0, 3, 1, 2) / 255
        x = F.interpolate(x, (224, 224), mode="bilinear", antialias=True)
        vectors.append(net(x).mean((2, 3)))
    return torch.cat(vectors).double().numpy()


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of normal distributions fitted to NxC and MxC: |μ − μ'|² + tr(Σ + Σ' − 2 (ΣΣ')^½).

    torchmetrics' distance takes a network and images, not features, and needs Inception's weights.
    """
    one, other = np.cov(a.T), np.cov(b.T)
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    # (ΣΣ')^½ and (Σ^½ Σ' Σ^½)^½ have the same trace; the latter is symmetric.
    both = np.sqrt(np.linalg.eigvalsh(root @ other @ root).clip(0)).sum()
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(one) + np.trace(other) - 2 * both)
