"""Transfer detail of the mirrored half to a completed face, without a network.

RecNet blurs the pixels that stage I copied and removes glasses, lashes and beards that the other half shows. Where the
copy fits, its detail replaces that of RecNet; illumination and colour remain RecNet's. The paper has no such step.
"""

import cv2
import numpy as np

from .geometry import ramp
from .pixels import to_uint8

# Sigma as a fraction of the side: coarser structure comes from RecNet, finer detail from the copy.
COARSE = 1 / 64
# C·(1 − M): the weight of the copy rises from 0 to 1 between these.
TRUSTED = (0.08, 0.16)
# Levels of 255: where the coarse copy differs by more, it shows something else, such as hair or background.
SAME_COLOUR = 20.0
# Degrees of yaw: the weight falls from 1 to 0 between these, since the halves of a turned head do not match.
FRONTAL = (8.0, 18.0)
# Fraction of the side: this close to what the copy lacks, it holds pixels mixed with the missing ones.
RIM = 1 / 64


def copied_weight(
    output: np.ndarray, copy: np.ndarray, trust: np.ndarray, mask: np.ndarray, yaw: float
) -> np.ndarray:
    """Compute the weight with which the detail of the copy replaces that of the output.

    Args:
        output: SxSx3 uint8, the network's output.
        copy: SxSx3 uint8, the warped flip.
        trust: SxS float32, C·(1 − M): the confidence where stage I copied, 0 elsewhere.
        mask: SxS bool, True = missing.
        yaw: yaw of the head in degrees.

    Returns:
        SxS float32 in [0, 1], 0 outside the mask.
    """
    copied = (trust > 1e-3).astype(np.float32)
    step = np.abs(_coarse(np.float32(copy) - output, copied)).mean(2)
    reach = round(RIM * len(mask))
    lacking = (mask & (copied == 0)).astype(np.uint8)
    whole = cv2.dilate(lacking, np.ones((2 * reach + 1,) * 2, np.uint8)) == 0
    same = np.exp(-((np.clip(step - SAME_COLOUR, 0, None) / SAME_COLOUR) ** 2))
    weight = whole * ramp(trust, *TRUSTED) * same
    weight = cv2.GaussianBlur((weight * mask).astype(np.float32), (0, 0), len(mask) / 170)
    return weight * mask * np.float32(1 - ramp(abs(yaw), *FRONTAL))


def with_copied_detail(output: np.ndarray, copy: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Replace the detail of the output with that of the copy.

    Args:
        output, copy: KxKx3 uint8.
        weight: KxK float32, from `copied_weight`, resized if need be.

    Returns:
        KxKx3 uint8.
    """
    inside = (weight > 0).astype(np.float32)
    detail = np.float32(copy) - output
    detail -= _coarse(detail, inside)
    return to_uint8(output + weight[..., None] * detail)


def _coarse(image, inside):
    """Smooth an image (SxSx3 float32) within a region (float32, 0 or 1), so that nothing from outside bleeds in."""
    sigma = COARSE * len(image)
    total = cv2.GaussianBlur(image * inside[..., None], (0, 0), sigma)
    return total / (cv2.GaussianBlur(inside, (0, 0), sigma)[..., None] + 1e-3)
