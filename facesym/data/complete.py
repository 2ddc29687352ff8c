"""Training samples for completion: faces, each with a mask (1 = visible, 0 = missing)."""

import cv2
import numpy as np
import torch

from ..faces.geometry import FLIP_68, flip_landmarks
from .balance import balanced_weights, kinds
from .faces import FaceFolders, Samples, affine_jitter, colour_jitter, compress, expose, side_light, to_tensor
from .masks import random_mask


class CompletionSamples(Samples):
    """Augmented faces, sampled with `balanced_weights`, each with a mask, landmarks and a face region; see `sample` for
    the format.

    Args:
        faces: FaceFolders.
        masks: NxSxS irregular masks (`facesym.data.masks.load_irregular`), or None.
        bare: N bool, the person wears no glasses (see `facesym.data.masks.random_mask`); default: nobody does.
        seed: seed of the stream.
    """

    def __init__(
        self, faces: FaceFolders, masks: np.ndarray | None, bare: np.ndarray | None = None, seed: int = 0
    ):
        super().__init__(faces, seed, balanced_weights(kinds(faces)))
        self.masks, self.bare = masks, bare

    def sample(self, i: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        image, points, size = self.faces.images[i], self.faces.landmarks[i], self.faces.size
        if rng.random() < 0.5:
            image, points = image[:, ::-1], flip_landmarks(points, size)
        matrix = affine_jitter(rng, size, degrees=6, scale=0.06, shift=0.02)
        image = cv2.warpAffine(
            np.ascontiguousarray(image),
            matrix,
            (size, size),
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT,
        )
        points = points @ matrix[:, :2].T + matrix[:, 2]
        if rng.random() < 0.15:
            image = compress(rng, image, 40, 95)
        image = colour_jitter(rng, image, 0.15)
        if rng.random() < 0.3:
            image = side_light(rng, image)
        if rng.random() < 0.3:
            image = expose(rng, image)
        bare = self.bare is None or bool(self.bare[i])
        return sample(image, points, random_mask(rng, size, points, self.masks, bare=bare), rng)


def sample(
    image: np.ndarray, points: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> dict[str, torch.Tensor]:
    """A training sample as tensors.

    Args:
        image: SxSx3 in [0, 255].
        points: 68x2, landmarks in pixels.
        mask: SxS, 1 = visible.
        rng: numpy Generator.

    Returns:
        A dict: "image", 3xSxS in [-1, 1]; "mask" and "face", 1xSxS of 0 and 1; "landmarks" and "flipped" (those of the
        flipped image), 68x2 in [-1, 1]; and "spot", (x, y) of a missing pixel, the centre of the window for the
        perceptual loss.
    """
    size, missing = len(mask), np.argwhere(mask == 0)
    # Half of the windows are centred on a masked eye, nose or mouth, if any, where errors are most visible.
    inner = np.clip(np.round(points[27:]).astype(int), 0, size - 1)[:, ::-1]
    inner = inner[mask[inner[:, 0], inner[:, 1]] == 0]
    if len(inner) and rng.random() < 0.5:
        missing = inner
    region = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(region, cv2.convexHull(np.round(points).astype(np.int32)), 1)
    points = (2 * points + 1) / size - 1
    flipped = points[FLIP_68] * [-1, 1]
    return {
        "image": to_tensor(image),
        "mask": torch.from_numpy(mask)[None],
        "face": torch.from_numpy(region)[None].float(),
        "landmarks": torch.from_numpy(points).float(),
        "flipped": torch.from_numpy(flipped).float(),
        "spot": torch.from_numpy(missing[rng.integers(len(missing))][::-1].copy()),
    }
