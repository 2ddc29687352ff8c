"""Folders of aligned faces, decoded into memory, and their augmentation for training.

A folder holds images cut in the FFHQ framing, ``metadata.csv`` (at least ``file_name, subject, split``; the
subject is empty if the person is unknown) and ``landmarks.npy`` (Nx68x2 float32, pixels of that row's image): what
`facesym prepare` writes.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from ..errors import ImageError
from ..faces.geometry import resized_points
from .decoded import decoded
from .metadata import find_folders, read_landmarks, split_rows


def read_face(row: dict[str, Any], points: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Read an image and resize it and its landmarks.

    Args:
        row: of `facesym.data.metadata.read_metadata`.
        points: 68x2, landmarks in pixels of the stored image.
        size: side S of the output in pixels.

    Returns:
        The image, SxSx3 uint8, and its landmarks, 68x2 in pixels.

    Raises:
        ImageError: the image cannot be read.
    """
    try:
        with Image.open(row["path"]) as image:
            scale = size / image.width
            pixels = np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.LANCZOS))
    except OSError as error:
        raise ImageError(
            f"cannot read {row['path']} ({error}): restore it, or prepare the folder again"
        ) from error
    return pixels, resized_points(points, scale)


class FaceFolders:
    """All images of some folders, decoded.

    Args:
        folders: folders of aligned faces, or their parent folders; see `facesym.data.metadata.find_folders`.
        size: side S of the images in pixels.
        splits: the splits to load.
        min_size: skip folders whose images have a smaller side, in pixels.
        limit: load only this number of images, the first ones.
        val_fraction: see `facesym.data.metadata.hold_out`.
        keep: called with a row of metadata.csv; images for which it returns False are skipped.
        cache: folder for decoded images (`facesym.data.decoded`); None keeps them in memory only.

    Attributes:
        images: NxSxSx3 uint8.
        landmarks: Nx68x2 float32 in pixels.
        rows: N dicts, the rows of metadata.csv.
        note: a sentence on what was held out, see `facesym.data.metadata.hold_out`.

    Raises:
        ImageError: no images match, or an image cannot be read.
    """

    def __init__(
        self,
        folders: Iterable[str | Path],
        size: int,
        splits: Sequence[str] = ("train",),
        min_size: int = 0,
        limit: int | None = None,
        val_fraction: float | str | None = None,
        keep: Callable | None = None,
        cache: Any = None,
    ):
        folders = find_folders(folders)
        rows, self.note = split_rows(folders, splits, min_size, val_fraction)
        self.size, self.rows = size, [row for row in rows if keep is None or keep(row)][:limit]
        if not self.rows:
            least = f" of at least {min_size} pixels" if min_size else ""
            names = ", ".join(str(folder) for folder in folders)
            raise ImageError(
                f"no images of split {'/'.join(splits)}{least} in {names}: add folders, or use another split or size"
            )
        tables = {folder: read_landmarks(folder) for folder in folders}
        landmarks = np.stack([tables[row["path"].parent][row["index"]] for row in self.rows])
        self.images, self.landmarks = decoded(self.rows, landmarks, size, read_face, cache)

    def keep(self, indices: Sequence[int] | np.ndarray) -> Self:
        """Keep only these images, in this order; returns self."""
        self.images, self.landmarks = self.images[indices], self.landmarks[indices]
        self.rows = [self.rows[i] for i in indices]
        return self

    def spread(self, count: int) -> Self:
        """Keep at most ``count`` images, evenly spread over the folders; returns self."""
        return self.keep(np.linspace(0, len(self) - 1, min(count, len(self))).astype(int))

    def __len__(self):
        return len(self.rows)


def affine_jitter(
    rng: np.random.Generator, size: int, degrees: float, scale: float, shift: float
) -> np.ndarray:
    """Draw a random similarity transform about the centre of the image: 2x3.

    Args:
        rng: numpy Generator.
        size: side of the image in pixels.
        degrees: maximum rotation to either side.
        scale: maximum relative change of scale.
        shift: maximum shift along each axis, as a fraction of the side.
    """
    matrix = cv2.getRotationMatrix2D(
        ((size - 1) / 2, (size - 1) / 2), rng.uniform(-degrees, degrees), 1 + rng.uniform(-scale, scale)
    )
    matrix[:, 2] = matrix[:, 2] + rng.uniform(-shift, shift, 2) * size
    return matrix


def colour_jitter(rng: np.random.Generator, image: np.ndarray, strength: float = 0.25) -> np.ndarray:
    """Change brightness, contrast and channel gain of an SxSx3 uint8 image at random; returns float32 [0, 255]."""
    gain = 1 + rng.uniform(-strength, strength)
    bias = 255 * rng.uniform(-strength, strength) / 2
    channel = 1 + rng.uniform(-strength, strength, 3) / 4
    mean = image.mean()
    jittered = (image - mean) * gain * channel.astype(np.float32) + mean + bias
    return np.clip(jittered, 0, 255).astype(np.float32)


def side_light(
    rng: np.random.Generator,
    image: np.ndarray,
    strength: float = 0.7,
    least: float = 0.0,
    ways: Sequence[int] = (-1, 1),
) -> np.ndarray:
    """Light an image from one side: its brightness rises along a random, mostly horizontal direction.

    Args:
        rng: numpy Generator.
        image: SxSx3 in [0, 255].
        strength: the brightness rises from end to end by a factor of at most exp(2·strength).
        least: and by a factor of at least exp(2·least).
        ways: sides to choose from: -1 is brighter on the left, 1 on the right.

    Returns:
        SxSx3 float32 in [0, 255].
    """
    ys, xs = np.mgrid[: len(image), : len(image)].astype(np.float32) * 2 / len(image) - 1
    angle = rng.normal(0, 0.4)
    slope = rng.choice(ways) * rng.uniform(least, strength)
    factor = np.exp(slope * (xs * np.cos(angle) + ys * np.sin(angle)))
    return np.clip(image * factor[..., None], 0, 255)


def expose(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Change the mid-tones of an SxSx3 image in [0, 255] at random, mostly to darker ones, for other exposures and skin
    tones; returns float32."""
    return 255 * (image.astype(np.float32) / 255) ** float(np.exp(rng.uniform(-0.5, 0.9)))


def downscale_blur(rng: np.random.Generator, image: np.ndarray, smallest: float = 0.25) -> np.ndarray:
    """Blur an image by downscaling it to between ``smallest`` and 0.7 of its side and back, like a small photo."""
    size = len(image)
    side = int(size * rng.uniform(smallest, 0.7))
    return cv2.resize(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), (size, size))


def compress(rng: np.random.Generator, image: np.ndarray, lowest: int, highest: int) -> np.ndarray:
    """Compress an SxSx3 RGB image in [0, 255] as JPEG with a quality from ``lowest`` to below ``highest``: uint8."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(lowest, highest))]
    bgr = cv2.cvtColor(np.clip(image, 0, 255).astype(np.uint8), cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", bgr, quality)[1]
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None  # it was encoded here
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def random_erasing(rng: np.random.Generator, image: np.ndarray, largest: float = 0.4) -> float:
    """Fill a random box with one colour, in place.

    Args:
        rng: numpy Generator.
        image: SxSx3, changed in place.
        largest: largest side of the box as a fraction of the image's.

    Returns:
        The box's middle column in pixels.
    """
    size = len(image)
    centre, half = rng.uniform(0, size, 2), rng.uniform(0.03, largest / 2, 2) * size
    (x0, y0), (x1, y1) = np.clip([centre - half, centre + half], 0, size).astype(int)
    image[y0:y1, x0:x1] = rng.uniform(0, 255, 3)
    return (x0 + x1) / 2


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """Convert an image, SxSx3 in [0, 255], to a 3xSxS float tensor in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image, np.float32)).permute(2, 0, 1) / 127.5 - 1


def cumulative(weights: np.ndarray) -> np.ndarray:
    """Normalize and accumulate sampling weights (N), for `pick`."""
    return np.cumsum(weights) / np.sum(weights)


def pick(cumulative: np.ndarray, rng: np.random.Generator) -> int:
    """Draw an index at random, by `cumulative` weights."""
    return min(int(np.searchsorted(cumulative, rng.random())), len(cumulative) - 1)


class Samples(Dataset):
    """An endless, seeded stream: sample n depends only on the seed and n.

    A run that resumes at step s continues at sample s·batch and gets the same samples as an uninterrupted run, for any
    number of loader workers. Subclasses implement `sample`.

    Args:
        faces: FaceFolders, or anything with a length.
        seed: seed of the stream.
        weights: N sampling weights of the faces (`facesym.data.balance`); default: each face once per epoch.
    """

    def __init__(self, faces: Any, seed: int = 0, weights: np.ndarray | None = None):
        self.faces, self.seed = faces, seed
        self._epoch, self._order = -1, np.empty(0, int)
        self._cumulative = None if weights is None else cumulative(weights)

    def __getitem__(self, n: int) -> Any:
        if self._cumulative is not None:
            rng = np.random.default_rng((self.seed, 1, n))
            return self.sample(pick(self._cumulative, rng), rng)
        epoch, i = divmod(n, len(self.faces))
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng((self.seed, epoch)).permutation(len(self.faces))
        return self.sample(int(self._order[i]), np.random.default_rng((self.seed, 1, n)))

    def sample(self, i: int, rng: np.random.Generator) -> Any:
        """Return a sample of face ``i``; all randomness comes from ``rng``."""
        raise NotImplementedError
