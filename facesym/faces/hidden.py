"""What hides a face, by the zoo's occlusion network: a mask for completion that nobody has to paint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ..errors import ImageError
from .align import align_face
from .geometry import face_region
from .landmarks import find_points

# In the order of OcclusionNet's channels. An object is a hand, a microphone or whatever else is held before a face;
# damage is that of old prints: scratches, folds, tears, stains.
KINDS = ("glasses", "sunglasses", "mask", "object", "hair", "damage")
AUTO = "auto"
ON_REQUEST = ("hair",)  # kinds that "auto" alone leaves out: a fringe belongs to a face
SURE = 0.75  # a region counts if the network is that sure of it somewhere
SPECK = 0.001  # the smallest region, as a fraction of the crop
MOST_CUT = 0.02  # of the visible face, by the mask's rim
RIM = 3  # pixels of the network's crop by which the mask reaches beyond what was found, at most


@lru_cache(maxsize=1)
def network() -> Any:
    from .. import zoo

    return zoo.load("occlusion")


def automatic_kinds(mask: Any) -> list[str] | None:
    """The kinds of things that an automatic mask is asked for.

    Args:
        mask: a mask as a pipeline is given it. "auto" asks for all kinds but hair, "auto:glasses" or
            "auto:glasses,hair" for some.

    Returns:
        Names of `KINDS`; None for a mask of any other sort.

    Raises:
        ImageError: there is no such kind.
    """
    if not isinstance(mask, str) or mask.partition(":")[0] != AUTO:
        return None
    if mask == AUTO:
        return [kind for kind in KINDS if kind not in ON_REQUEST]
    asked = [word.strip() for word in mask.partition(":")[2].split(",")]
    unknown = [word for word in asked if word not in KINDS]
    if unknown:
        raise ImageError(
            f'mask="{mask}": there is no kind {unknown[0]!r}; name one or several, joined by commas, of '
            f"{', '.join(KINDS)}. (A mask file of that name: ./{mask})"
        )
    return asked


def hidden_mask(photo: Image.Image, transforms: Sequence[np.ndarray], kinds: Iterable[str]) -> np.ndarray:
    """Mark what hides some faces of a photo.

    Args:
        photo: RGB image.
        transforms: 2x3 of each face, photo pixel -> pixel of an aligned crop of the network's size.
        kinds: names of KINDS.

    Returns:
        HxW bool, True = hidden.

    Raises:
        ImageError: nothing was found.
        ZooError: the zoo has no occlusion network, or its weights are unavailable.
    """
    size, kinds = network().config.input_size, list(kinds)
    mask = np.zeros((photo.height, photo.width), bool)
    for transform in transforms:
        found = hidden_in_crop(align_face(photo, transform, size), kinds).astype(np.float32)
        # Enlarged, the steps of the crop's pixels become a smooth outline.
        mask |= (
            cv2.warpAffine(found, transform, mask.shape[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
            > 0.4
        )
    if not mask.any():
        several = len(transforms) > 1
        raise ImageError(
            f"Nothing was found that hides the face{'s' if several else ''} ({', '.join(kinds)}): paint over it in "
            "white on black, in a picture of the photo's size, and pass that as the mask."
        )
    return mask


def hidden_in_crop(crop: Image.Image, kinds: Iterable[str]) -> np.ndarray:
    """Mark what hides an aligned face.

    Args:
        crop: RGB image of the network's size.
        kinds: names of KINDS.

    Returns:
        SxS bool, True = hidden: regions that touch the face, and damage anywhere; with the rim.
    """
    probability = hidden_probability(crop)
    channels = [1 + KINDS.index(kind) for kind in kinds]
    damage = 1 + KINDS.index("damage")
    face = face_region(find_points(crop), crop.width, forehead=1.0) > 0
    anywhere = probability[damage] > 0.5 if damage in channels else np.zeros_like(face)
    found = _regions(probability[channels].sum(0), face, anywhere)
    return _with_rim(found, face & (probability[0] > 0.5) & ~found)


def hidden_probability(crop: Image.Image) -> np.ndarray:
    """What the network says of an aligned face and of its mirror image, averaged.

    Args:
        crop: RGB image of the network's size.

    Returns:
        (1+K)xSxS float32, the probability that a pixel is visible, then of each of the KINDS; their sum is 1.
    """
    import torch

    net = network()
    pixels = torch.from_numpy(np.array(crop)).permute(2, 0, 1)[None].to(net.device, net.dtype) / 127.5 - 1
    with torch.inference_mode():
        plain, mirrored = net(torch.cat([pixels, pixels.flip(-1)])).softmax(1)
    return ((plain + mirrored.flip(-1)) / 2).float().cpu().numpy()


def _regions(probability, face, anywhere):
    """The regions (SxS bool) in which something is found for certain, none of them a speck.

    Args:
        probability: SxS, of what was asked for.
        face: SxS bool; a region must touch it, or ``anywhere``.
    """
    found = probability > 0.5
    # A thin rim may be broken: its pieces count together.
    joined = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    kept = np.zeros_like(found)
    for k in range(1, count):
        part = parts == k
        large = stats[k, cv2.CC_STAT_AREA] >= SPECK * found.size
        if large and probability[part].max() >= SURE and (part & (face | anywhere)).any():
            kept |= part
    return kept & (joined > 0)


def _with_rim(found, visible):
    """A mask (SxS bool) with as wide a rim as cuts no more than `MOST_CUT` of the visible face (SxS bool)."""
    for width in range(RIM, 0, -1):
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1,) * 2)
        wider = cv2.dilate(found.astype(np.uint8), kernel) > 0
        if (wider & visible).sum() <= MOST_CUT * visible.sum():
            return wider
    return found
