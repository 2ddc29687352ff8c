"""Tensor operations that models, losses and pipelines share: flows, relighting, crops of a face's parts."""

import torch
import torch.nn.functional as F

PARTS = {"right_eye": range(36, 42), "left_eye": range(42, 48), "nose": range(27, 36), "mouth": range(48, 68)}


def identity_grid(like):
    """Bx2xHxW pixel centres (x, y) of ``like`` in [-1, 1], as grid_sample(align_corners=False) counts them."""
    batch, _, height, width = like.shape
    xs = (2 * torch.arange(width, device=like.device, dtype=torch.float32) + 1) / width - 1
    ys = (2 * torch.arange(height, device=like.device, dtype=torch.float32) + 1) / height - 1
    return torch.stack(torch.meshgrid(xs, ys, indexing="xy")).expand(batch, -1, -1, -1)


def warp(image, flow, mode="bilinear"):
    """Equations (4), (5): sampling of ``image`` (BxCxHxW) at the places Φ (Bx2xHxW, [-1, 1])."""
    places = flow.permute(0, 2, 3, 1)
    return F.grid_sample(image.float(), places, mode, align_corners=False, padding_mode="border")


def relight(image, light):
    """I ⊙ R for a picture in [-1, 1]: the ratio acts on brightness, so on (I + 1) / 2."""
    return (image + 1) * light - 1


def crop_parts(image, landmarks, size, margin=1.6, parts=tuple(PARTS)):
    """Parts' squares about their landmarks, resized bilinearly (the paper: to 128×128).

    Args:
        image: Bx3xHxW.
        landmarks: Bx68x2 (x, y) in [-1, 1].
        size: side of the crops in pixels.
        margin: the square's side over the longer side of the landmarks' bounding box.
        parts: names in PARTS.

    Returns:
        A list of Bx3x``size``x``size``, one a part: of all four, right eye, left eye (the picture's left first), nose,
        mouth.
    """
    base = identity_grid(image.new_empty(len(image), 1, size, size)).permute(0, 2, 3, 1)
    crops = []
    for name in parts:
        points = landmarks[:, list(PARTS[name])]
        low, high = points.amin(1), points.amax(1)
        half = margin * (high - low).amax(1, keepdim=True) / 2
        grid = (low + high)[:, None, None] / 2 + base * half[:, None, None]
        crops.append(F.grid_sample(image.float(), grid, align_corners=False, padding_mode="reflection"))
    return crops


def bf16_is_fast():
    """Whether this machine multiplies bf16 in hardware (on other CPUs autocast is far slower than fp32)."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
