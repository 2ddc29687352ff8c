"""Remove the expression from photos: move the landmarks, close the mouth with another person's lips, and remove a
smile's folds and shading.

The counterpart of `expressions`, which synthesizes the expressive image; here that image is the photo. Models
trained only on synthetic smiles do not generalise to real ones. On aligned, frontal crops (FFHQ framing), SxSx3
uint8, landmarks 68x2 in pixels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.interpolate import LinearNDInterpolator

from ..errors import ImageError
from ..faces.geometry import border_points, flip_landmarks, warp_points
from ..faces.mouth import INNER_LIPS
from ..faces.pixels import to_uint8
from .expressions import Expressions, disc, eye_distance, from_eyes, in_eyes, mouth_opening, polygon
from .faces import read_face
from .metadata import read_landmarks, read_metadata
from .selection import is_frontal_neutral

# Factor on the predicted displacement. Brows, jaw and eyes vary between people more than with the expression; the ridge
# regression underestimates mouths.
GAIN = np.array([0.7] * 17 + [0.5] * 10 + [1.0] * 9 + [0.7] * 12 + [1.1] * 20)[:, None]
APART = 0.04  # `mouth_opening` above which the lips come from another face
FOLDS = (0.04, 0.3)  # minimum and maximum width of a smile's folds, in eye distances
OUTER = {61: 50, 62: 51, 63: 52, 65: 56, 66: 57, 67: 58}  # landmark of an inner lip: the outer lip next to it
MOUTHS = 120  # number of closed mouths per folder to choose lips from
RIDGE = 0.1  # regularization of the regression


@dataclass
class Lips:
    """A closed mouth."""

    image: np.ndarray  # SxSx3 uint8, the face it belongs to
    points: np.ndarray  # 68x2


class Neutral:
    """Predicts the landmarks of a face without its expression by ridge regression, and renders the face.

    The regression is fitted to landmarks of neutral faces with random expressions.

    Args:
        expressions: facesym.data.expressions.Expressions; its shading is removed from smiles.
        neutral: list of landmarks 68x2 of frontal neutral faces, at any scale.
        lips: list of Lips, closed mouths, at least one (`neutral_faces`).
        count: number of random faces.
        seed: of the random faces.
    """

    def __init__(
        self,
        expressions: Expressions,
        neutral: Sequence[np.ndarray],
        lips: Sequence[Lips],
        count: int = 6000,
        seed: int = 0,
    ):
        from sklearn.linear_model import Ridge

        self.lips, self.shading = lips, expressions.shading
        self.likeness = np.stack([_likeness(mouth.image, mouth.points, mouth.points) for mouth in lips])
        rng, before, after = np.random.default_rng(seed), [], []
        for _ in range(count):
            points = np.asarray(neutral[int(rng.integers(len(neutral)))], np.float64)
            moved = expressions.draw(rng, points)[1] if rng.random() < 0.9 else points
            before.append(in_eyes(moved + rng.normal(0, 0.006 * eye_distance(points), moved.shape)))
            after.append(in_eyes(points))
        before, after = np.array(before), np.array(after)
        known, wanted = _features(before), (after - before).reshape(count, -1)
        self.weights = Ridge(RIDGE, fit_intercept=False).fit(known, wanted).coef_.T

    def _move(self, points):
        return from_eyes((_features(in_eyes(points)) @ self.weights).reshape(68, 2), points)

    def landmarks(self, points: np.ndarray) -> np.ndarray:
        """Predict the landmarks without the expression: 68x2, with closed lips. Equivariant to mirroring."""
        points = np.asarray(points, np.float64)
        mirrored = flip_landmarks(points, 0)
        move = (self._move(points) + flip_landmarks(mirrored + self._move(mirrored), 0) - points) / 2
        output = points + GAIN * move
        unit = eye_distance(points)
        for upper, lower in INNER_LIPS:
            middle, half = (output[upper] + output[lower]) / 2, np.array([0, 0.002 * unit])
            output[upper], output[lower] = middle - half, middle + half
        return output

    def show(self, image: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Render a face without its expression.

        Args:
            image: SxSx3 uint8.
            points: 68x2, its landmarks in pixels.

        Returns:
            The face SxSx3 uint8, and its landmarks 68x2.
        """
        size, points = len(image), np.asarray(points, np.float64)
        goal, opening = self.landmarks(points), mouth_opening(points)
        # Landmarks are a pixel or two off. The lips close over a part of themselves, so that no teeth remain.
        ends = points.copy()
        for inner, outer in OUTER.items():
            ends[inner] += 0.45 * min(1, opening / 0.06) * (points[outer] - points[inner])
        border = border_points(size)
        # Piecewise linear at the lips, since a smooth map cannot close a mouth; smoothed elsewhere.
        map_back = LinearNDInterpolator(np.concatenate([goal, border]), np.concatenate([ends, border]))
        pixels = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1)
        move = (map_back(pixels.reshape(-1, 2)).reshape(size, size, 2) - pixels).astype(np.float32)
        lips = np.zeros((size, size), np.float32)
        hull = cv2.convexHull(np.round(goal[48:60] * 16).astype(np.int32))
        cv2.fillConvexPoly(lips, hull, 1.0, cv2.LINE_8, 4)
        lips = cv2.GaussianBlur(lips, (0, 0), size / 150)[..., None]
        rim = np.arange(size, dtype=np.float32)
        rim = np.clip(np.minimum(rim, rim[::-1]) / (size / 10), 0, 1)  # 0 at the border, which is fixed
        calm = cv2.GaussianBlur(move, (0, 0), size / 40) * np.minimum(rim[:, None], rim)[..., None]
        source = pixels.astype(np.float32) + lips * move + (1 - lips) * calm
        x, y = source[..., 0], source[..., 1]
        shown = cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        # The displacement of the mouth corners is the strength of the smile.
        corners = np.abs(in_eyes(points) - in_eyes(goal))[[48, 54]].sum(1).mean()
        shown = _without_folds(shown, goal, min(1, corners / 0.15))
        if opening > APART:
            # Remove remaining teeth at the lips' border first: they would shine through.
            teeth = cv2.dilate(polygon(points[60:68], size), disc(0.012 * size))
            left = np.uint8(255) * (cv2.remap(teeth, x, y, cv2.INTER_LINEAR) > 0.25)
            shown = cv2.inpaint(shown, left, 0.03 * size, cv2.INPAINT_TELEA)
            shown = self._closed(shown, goal, image, points)
        if self.shading:
            shown = self.shading.add(shown, goal, -self.shading.strength(points, goal))
        return shown, goal.astype(np.float32)

    def _closed(self, shown, goal, image, points):
        """Replace the lips by those of the best fitting closed mouth.

        Args:
            shown: SxSx3 uint8, the face without its expression.
            goal: 68x2, its landmarks.
            image: SxSx3 uint8, the face with its expression.
            points: 68x2, its landmarks.
        """
        size = len(shown)
        unlike = ((self.likeness - _likeness(image, points, goal)) ** 2).sum(1)
        mouth = self.lips[unlike.argmin()]
        mouth, _ = warp_points(mouth.image, mouth.points, goal)
        own, other = _colour(_red_of(points, size), image), _colour(_red_of(goal, size), mouth)
        region = polygon(goal[48:60], size)
        tint = cv2.GaussianBlur(region, (0, 0), size / 150)[..., None] * np.clip(own - other, -40, 40)
        mouth = to_uint8(mouth + tint)
        region = cv2.dilate(np.uint8(255) * (region > 0.5), disc(0.1 * eye_distance(goal)))
        region = np.pad(region[2:-2, 2:-2], 2)  # blending needs a border
        if not region.any():
            return shown
        x, y, width, height = cv2.boundingRect(region)
        middle = (x + width // 2, y + height // 2)
        return cv2.seamlessClone(mouth, shown, region, middle, cv2.NORMAL_CLONE)


def neutral_faces(folders: Iterable[str | Path], size: int) -> tuple[list[np.ndarray], list[Lips]]:
    """Collect the training data of `Neutral` from training people.

    Args:
        folders: of aligned faces.
        size: side of the images.

    Returns:
        landmarks: list of 68x2 in pixels, of frontal neutral faces.
        lips: list of Lips.

    Raises:
        ImageError: no frontal, neutral face with a closed mouth.
    """
    rng, landmarks, lips = np.random.default_rng(0), [], []
    for folder in map(Path, folders):
        points = read_landmarks(folder)
        rows = read_metadata(folder, ("train",))
        rows = [row for row in rows if is_frontal_neutral(row, points[row["index"]])]
        landmarks += [points[row["index"]] for row in rows]
        closed = [row for row in rows if mouth_opening(points[row["index"]]) < APART]
        for k in rng.permutation(len(closed))[:MOUTHS]:
            lips.append(Lips(*read_face(closed[k], points[closed[k]["index"]], size)))
    if not lips:
        raise ImageError(
            "no training image is frontal and neutral with a closed mouth, which removing expressions needs: add "
            "folders of such faces"
        )
    return landmarks, lips


def _likeness(image, points, goal):
    """Compute the descriptor (52 numbers) by which lips are chosen: colours of skin, upper lip, chin and lips, and the
    shape of the mouth.

    Args:
        image: SxSx3 uint8.
        points: 68x2, its landmarks, for the colours.
        goal: 68x2, landmarks with a closed mouth, for the shape.
    """
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    reach = max(1, round(0.08 * eye_distance(points)))

    def patch(place):
        x, y = np.clip(np.rint(place).astype(int), reach, len(image) - 1 - reach)
        return lab[y - reach : y + reach + 1, x - reach : x + reach + 1].mean((0, 1))

    skin = (patch(points[31] * 2.2 - points[33] * 1.2) + patch(points[35] * 2.2 - points[33] * 1.2)) / 2
    others = [
        patch((points[33] + points[51]) / 2),
        patch((points[57] + points[8]) / 2),
        _colour(_red_of(points, len(image)), lab),
    ]
    shape = in_eyes(goal)[48:68]
    shape = (shape - shape.mean(0)) * np.array([1, 2]) / 0.3
    return np.concatenate(
        [skin / np.array([80, 40, 40]), *((colour - skin) / 15 for colour in others), shape.ravel()]
    )


def _without_folds(image, points, fraction):
    """Remove a fraction of the structure with the width of a smile's folds from cheeks and chin; pores and light stay.

    Args:
        image: SxSx3 uint8.
        points: 68x2, its landmarks.
        fraction: 0 to 1.
    """
    size, unit = len(image), float(eye_distance(points))
    down = np.array([0, unit])
    top = [
        (points[1] + points[36]) / 2 + 0.25 * down,
        points[39] + 0.35 * down,
        points[31],
        points[33],
        points[35],
        points[42] + 0.35 * down,
        (points[15] + points[45]) / 2 + 0.25 * down,
    ]
    skin = polygon(np.array([*top, *points[[12, 10, 8, 6, 4]]]), size)
    lips, nose = (polygon(points[part], size) for part in (np.arange(48, 60), [27, 31, 32, 33, 34, 35]))
    skin *= (1 - cv2.dilate(lips, np.ones((3, 3)))) * (1 - nose)

    def low(width):
        """Structure on the skin that is wider than this."""
        blurred = cv2.GaussianBlur(image * skin[..., None], (0, 0), width * unit)
        return blurred / np.maximum(cv2.GaussianBlur(skin, (0, 0), width * unit), 1e-3)[..., None]

    inside = skin * np.clip(2 * cv2.GaussianBlur(skin, (0, 0), 0.06 * unit) - 1, 0, 1)
    narrow, wide = map(low, FOLDS)
    return to_uint8(image - fraction * inside[..., None] * (narrow - wide))


def _red_of(points, size):
    """Rasterize the lips: SxS float32, 1 on them, 0 between and around them."""
    return polygon(points[48:60], size) * (1 - cv2.dilate(polygon(points[60:68], size), np.ones((3, 3))))


def _colour(area, image):
    """Return the median colour (3) of an image within an area, or of the whole image if the area is empty."""
    inside = area > 0.5
    return np.median(image[inside] if inside.any() else image.reshape(-1, 3), 0).astype(np.float32)


def _features(points):
    """Compute the regression's features of landmarks in eye coordinates (…x68x2): the coordinates, the opening and
    width of the mouth, the thickness of the lips, and the squares of these."""
    ends = ((48, 54), (62, 66), (61, 67), (63, 65), (51, 62), (57, 66))
    spans = np.stack([np.linalg.norm(points[..., a, :] - points[..., b, :], axis=-1) for a, b in ends], -1)
    flat = points.reshape(*points.shape[:-2], -1)
    return np.concatenate([np.ones_like(flat[..., :1]), flat, spans, spans**2], -1)
