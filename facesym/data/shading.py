"""What a smile does to the light on a face, besides moving it: cheeks that bulge, folds from the nose to the mouth's
corners, bags below the eyes. Warps of the landmarks bring none of it, and take none away.

An expression ratio image (Liu, Shan and Zhang 2001), of a mean face: there of one person, here of the mean of many who
smile over the mean of many who do not.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..faces.geometry import flip_landmarks, thin_plate, warp_points
from .attributes import UNKNOWN, expression_of
from .expressions import disc, in_eyes, polygon
from .faces import read_face, read_metadata

STRONGEST = 2.0  # smile, in mean ones
DARKEST = 12.0  # added to pixels before their logarithm, so that noise in the dark does not count
LEAST_FACES, MOST_FACES = 20, 500  # of each kind in a folder
FRONTAL = 8.0  # degrees, at most


@dataclass
class SmileShading:
    """The mean smile's shading.

    Attributes:
        ratio: SxS float32, logarithm of smiling over neutral pixels; 0 but on the cheeks, the chin and the nose.
        points: 68x2 float32 pixels, the landmarks of the face it lies on.
        corners: how far the mean smile's corners of the mouth are out and up, in distances of the eyes.
    """

    ratio: np.ndarray
    points: np.ndarray
    corners: float

    def strength(self, smiling, neutral):
        """How strong a smile is, in mean ones, 0 to `STRONGEST`: by where the mouth's corners are in landmarks (68x2)
        with it and without."""
        return float(np.clip((_corners(smiling) - _corners(neutral)) / self.corners, 0, STRONGEST))

    def add(self, image, points, strength):
        """A face with that much of a smile's shading more: SxSx3 uint8.

        Args:
            image: SxSx3 uint8. points: its landmarks, 68x2.
            strength: in mean smiles; negative: less.
        """
        source = thin_plate(points, self.points * len(image) / len(self.ratio), len(image))
        scale = len(self.ratio) / len(image)
        ratio = cv2.remap(self.ratio, source[..., 0] * scale, source[..., 1] * scale, cv2.INTER_LINEAR)
        lit = (image + DARKEST) * np.exp(strength * ratio[..., None]) - DARKEST
        return np.clip(np.rint(lit), 0, 255).astype(np.uint8)


def mean_smile_shading(folders, size):
    """The shading of training people's smiles.

    The difference is taken within each folder, so that one folder's light and another's smiles are not mixed up.

    Args:
        folders: of aligned faces, with scores of expressions in metadata.csv. size: side of the pictures.

    Returns:
        `SmileShading`, or None where no folder has enough frontal faces, neutral and smiling.
    """
    rng, names = np.random.default_rng(0), ("neutral", "happy")
    ratio, corners, weight, mean = 0.0, 0.0, 0, None
    for folder in map(Path, folders):
        landmarks = np.load(folder / "landmarks.npy")
        kinds = [[], []]
        for row in read_metadata(folder, ("train",)):
            kind = expression_of(row, names) if not row.get("view") else UNKNOWN
            if kind != UNKNOWN and abs(float(row.get("yaw") or 90)) <= FRONTAL:
                kinds[kind].append(row)
        if min(map(len, kinds)) < LEAST_FACES:
            continue
        kinds = [
            [
                read_face(rows[k], landmarks[rows[k]["index"]], size)
                for k in rng.permutation(len(rows))[:MOST_FACES]
            ]
            for rows in kinds
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
    return SmileShading((ratio * skin).astype(np.float32), mean, corners / weight)


_FEATURES = (np.arange(36, 42), np.arange(42, 48), np.arange(48, 60))  # both eyes, the lips


def _corners(points):
    """How far the mouth's corners are out and up from between the eyes, the mean of both, in distances of the eyes."""
    left, right = in_eyes(np.asarray(points, np.float64))[[48, 54]]
    return (right[0] - left[0] - left[1] - right[1]) / 2


def _mean_log(faces, mean, skin):
    """The mean of pictures' logarithms, laid on the mean face, each without its own light: SxS.

    Args:
        faces: (SxSx3 uint8, landmarks). mean: landmarks, 68x2. skin: SxS bool.
    """
    total = 0.0
    for image, points in faces:
        laid, _ = warp_points(image, points, mean)
        log = np.log(cv2.GaussianBlur(laid.astype(np.float32), (0, 0), len(image) / 192) + DARKEST).mean(-1)
        total = total + log - np.median(log[skin])
    return total / len(faces)
