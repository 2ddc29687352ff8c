"""Tensor operations shared by models, losses and pipelines: flows, relighting, crops of facial parts."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

PARTS = {"right_eye": range(36, 42), "left_eye": range(42, 48), "nose": range(27, 36), "mouth": range(48, 68)}
MARGIN = 1.6  # side of a part's square, in the longer sides of its landmarks' bounding box


def identity_grid(like: torch.Tensor) -> torch.Tensor:
    """Return the identity flow for an image.

    Args:
        like: BxCxHxW, the image.

    Returns:
        Bx2xHxW pixel centres (x, y) in [-1, 1], in the convention of grid_sample(align_corners=False).
    """
    batch, _, height, width = like.shape
    xs = (2 * torch.arange(width, device=like.device, dtype=torch.float32) + 1) / width - 1
    ys = (2 * torch.arange(height, device=like.device, dtype=torch.float32) + 1) / height - 1
    return torch.stack(torch.meshgrid(xs, ys, indexing="xy")).expand(batch, -1, -1, -1)


def warp(image: torch.Tensor, flow: torch.Tensor, mode: str = "bilinear") -> torch.Tensor:
    """Sample an image at a flow's coordinates: SymmFCNet's equations (4) and (5).

    Args:
        image: BxCxHxW.
        flow: Bx2xHxW, Φ: coordinates (x, y) in ``image``, in [-1, 1].
        mode: of grid_sample.

    Returns:
        BxCxHxW float32.
    """
    coordinates = flow.permute(0, 2, 3, 1)
    return F.grid_sample(image.float(), coordinates, mode, align_corners=False, padding_mode="border")


def relight(image: torch.Tensor, light: torch.Tensor) -> torch.Tensor:
    """Compute I ⊙ R for an image in [-1, 1]; the ratio R multiplies the brightness (I + 1) / 2.

    Args:
        image: Bx3xHxW in [-1, 1].
        light: Bx3xHxW, R ≥ 0.

    Returns:
        Bx3xHxW ≥ -1.
    """
    return (image + 1) * light - 1


def box_blur(image: torch.Tensor, side: int) -> torch.Tensor:
    """Average BxCxHxW images over windows of ``side`` pixels (odd), inside the image only."""
    for window in ((side, 1), (1, side)):  # separable, since a square window is slow
        padding = (window[0] // 2, window[1] // 2)
        image = F.avg_pool2d(image, window, 1, padding, count_include_pad=False)
    return image


def soft_step(x: torch.Tensor) -> torch.Tensor:
    """Threshold at 0, linear between -0.05 and 0.05 so that rounding errors have little effect."""
    return (10 * x + 0.5).clamp(0, 1)


def crop_parts(
    image: torch.Tensor,
    landmarks: torch.Tensor,
    size: int,
    parts: Sequence[str] = tuple(PARTS),
) -> list[torch.Tensor]:
    """Crop a square around each facial part, resized bilinearly (the paper: to 128×128).

    Args:
        image: Bx3xHxW.
        landmarks: Bx68x2 (x, y) in [-1, 1].
        size: side of the crops in pixels.
        parts: names in PARTS.

    Returns:
        A list of Bx3x``size``x``size``, one per part. By default: right eye (on the image's left), left eye, nose,
        mouth.
    """
    base = identity_grid(image.new_empty(len(image), 1, size, size)).permute(0, 2, 3, 1)
    crops = []
    for name in parts:
        points = landmarks[:, list(PARTS[name])]
        low, high = points.amin(1), points.amax(1)
        half = MARGIN * (high - low).amax(1, keepdim=True) / 2
        grid = (low + high)[:, None, None] / 2 + base * half[:, None, None]
        crops.append(F.grid_sample(image.float(), grid, align_corners=False, padding_mode="reflection"))
    return crops
