"""The shading of a smile (cheeks, nasolabial folds, bags below the eyes), which warping landmarks does not change.

It is an expression ratio image (Liu, Shan and Zhang, SIGGRAPH 2001) on a mean face: the ratio of the mean of many
smiling faces to the mean of many neutral faces, instead of two images of one person.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..faces.geometry import flip_landmarks, thin_plate, warp_points
from ..faces.pixels import to_uint8
from .attributes import UNKNOWN, expression_of
from .expressions import disc, in_eyes, polygon
from .faces import read_face
from .metadata import read_landmarks, read_metadata

STRONGEST = 2.0  # maximum strength, in mean smiles
DARKEST = 12.0  # added to pixels before the logarithm, to suppress noise in dark areas
LEAST_FACES, MOST_FACES = 20, 500  # minimum and maximum number of faces of each kind per folder
FRONTAL = 8.0  # maximum |yaw| in degrees


@dataclass
class SmileShading:
    """The mean smile's shading.

    Attributes:
        ratio: SxS float32, logarithm of smiling over neutral pixels; nonzero only on cheeks, chin and nose.
        points: 68x2 float32 in pixels, the mean face's landmarks.
        corners: displacement of the mean smile's mouth corners outwards and upwards, in eye distances.
    """

    ratio: np.ndarray
    points: np.ndarray
    corners: float

    def strength(self, smiling: np.ndarray, neutral: np.ndarray) -> float:
        """Measure the strength of a smile by its mouth corners.

        Args:
            smiling, neutral: 68x2, landmarks with and without the smile.

        Returns:
            Strength in mean smiles, 0 to `STRONGEST`.
        """
        return float(np.clip((_corners(smiling) - _corners(neutral)) / self.corners, 0, STRONGEST))

    def add(self, image: np.ndarray, points: np.ndarray, strength: float) -> np.ndarray:
        """Add a smile's shading to a face.

        Args:
            image: SxSx3 uint8.
            points: 68x2, its landmarks in pixels.
            strength: in mean smiles; negative removes shading.

        Returns:
            SxSx3 uint8.
        """
        source = thin_plate(points, self.points * len(image) / len(self.ratio), len(image))
        scale = len(self.ratio) / len(image)
        ratio = cv2.remap(self.ratio, source[..., 0] * scale, source[..., 1] * scale, cv2.INTER_LINEAR)
        lit = (image + DARKEST) * np.exp(strength * ratio[..., None]) - DARKEST
        return to_uint8(lit)


def mean_smile_shading(folders: Iterable[str | Path], size: int) -> SmileShading | None:
    """Measure the mean shading of smiles on training people.

    Differences are taken within each folder, so that one folder's light is not confused with another's smiles.

    Args:
        folders: of aligned faces with scores of expressions in metadata.csv.
        size: side of the images.

    Returns:
        SmileShading, or None if no folder has enough frontal faces, neutral and smiling.
    """
    rng, names = np.random.default_rng(0), ("neutral", "happy")
    ratio, corners, weight, mean = np.zeros((size, size)), 0.0, 0, None
    for folder in map(Path, folders):
        landmarks = read_landmarks(folder)
        rows_of: list[list] = [[], []]
        for row in read_metadata(folder, ("train",)):
            kind = expression_of(row, names) if not row.get("view") else UNKNOWN
            if kind != UNKNOWN and abs(float(row.get("yaw") or 90)) <= FRONTAL:
                rows_of[kind].append(row)
        if min(map(len, rows_of)) < LEAST_FACES:
            continue
        kinds = [
            [
                read_face(rows[k], landmarks[rows[k]["index"]], size)
                for k in rng.permutation(len(rows))[:MOST_FACES]
            ]
            for rows in rows_of
        ]
        if mean is None:
            mean = np.mean([points for _, points in kinds[0]], 0)
            mean = ((mean + flip_landmarks(mean, size)) / 2).astype(np.float32)
            skin = polygon(mean[np.r_[0:17, 26:16:-1]], size)
        logs = [_mean_log(faces, mean, skin > 0) for faces in kinds]
        reach = [np.mean([_corners(points) for _, points in faces]) for faces in kinds]
        count = len(kinds[1])
        ratio, corners = ratio + count * (logs[1] - logs[0]), corners + count * (reach[1] - reach[0])
        weight += count
    if mean is None:
        return None
    ratio = cv2.GaussianBlur((ratio + ratio[:, ::-1]) / (2 * weight), (0, 0), size / 128)
    ratio -= np.median(ratio[skin > 0])
    features = np.max([polygon(mean[part], size) for part in _FEATURES], 0)
    skin = cv2.erode(skin, disc(size // 32)) * (1 - cv2.dilate(features, disc(size // 64)))
    skin = cv2.GaussianBlur(skin, (0, 0), size / 80)
    return SmileShading((ratio * skin).astype(np.float32), mean, float(corners / weight))


_FEATURES = (np.arange(36, 42), np.arange(42, 48), np.arange(48, 60))  # both eyes, the lips


def _corners(points):
    """Mean position of the mouth corners outwards and upwards from between the eyes, in eye distances."""
    left, right = in_eyes(np.asarray(points, np.float64))[[48, 54]]
    return (right[0] - left[0] - left[1] - right[1]) / 2


def _mean_log(faces, mean, skin):
    """Average the logarithms of images warped to the mean face, each minus its median over the skin.

    Args:
        faces: list of (SxSx3 uint8, landmarks 68x2).
        mean: 68x2, landmarks of the mean face.
        skin: SxS bool.

    Returns:
        SxS.
    """
    total = 0.0
    for image, points in faces:
        laid, _ = warp_points(image, points, mean)
        log = np.log(cv2.GaussianBlur(laid.astype(np.float32), (0, 0), len(image) / 192) + DARKEST).mean(-1)
        total = total + log - np.median(log[skin])
    return total / len(faces)
