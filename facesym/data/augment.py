"""Differentiable augmentation for GANs on small data: the discriminator sees augmented real and generated images.

S. Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020.
"""

import torch

SHIFT = 0.125  # largest translation as a fraction of the side; filled with zeros


def augment(x: torch.Tensor, generator: torch.Generator | None = None, cut: float = 0.5) -> torch.Tensor:
    """Change brightness, saturation, contrast and position of each image at random, and erase a square.

    Args:
        x: BxCxHxW in [-1, 1].
        generator: torch.Generator; default: torch's global one.
        cut: side of the erased square as a fraction of the image's.

    Returns:
        BxCxHxW; gradients flow through.
    """
    batch, _, height, width = x.shape

    def draw():
        return torch.rand(batch, 1, 1, 1, generator=generator).to(x.device, x.dtype)

    x = x + draw() - 0.5
    mean = x.mean(1, keepdim=True)
    x = (x - mean) * (2 * draw()) + mean
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * (draw() + 0.5) + mean
    ys, xs = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    down, right = (
        ((2 * draw() - 1) * SHIFT * side).round().long().view(batch, 1) for side in (height, width)
    )
    sources = ys - down, xs - right  # Bxside
    inside = [(s >= 0) & (s < n) for s, n in zip(sources, (height, width))]
    index = torch.arange(batch, device=x.device)[:, None, None]
    moved = x.permute(0, 2, 3, 1)[
        index, sources[0].clamp(0, height - 1)[:, :, None], sources[1].clamp(0, width - 1)[:, None, :]
    ].permute(0, 3, 1, 2)
    keep = (inside[0][:, :, None] & inside[1][:, None, :])[:, None]
    x = torch.where(keep, moved, torch.zeros_like(moved))
    centre_y, centre_x = (draw() * height).long().view(batch, 1), (draw() * width).long().view(batch, 1)
    erased = ((ys - centre_y).abs() < cut * height / 2)[:, :, None] & (
        (xs - centre_x).abs() < cut * width / 2
    )[:, None, :]
    return x * ~erased[:, None]
