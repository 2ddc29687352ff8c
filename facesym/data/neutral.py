"""Expressions taken off real faces: what a photo that smiles would be with its mouth closed, by landmarks alone.

The other way round from `expressions`: there the picture without an expression is a photo and the one with it is made,
here it is the one with it. Nets that have seen only made smiles know those by how they were made, and leave real ones
as they are. On aligned, frontal crops (FFHQ framing), SxSx3 uint8, landmarks 68x2 in pixels.
"""

from pathlib import Path

import cv2
import numpy as np
from scipy.interpolate import LinearNDInterpolator

from .expressions import INNER_LIPS, eye_distance, from_eyes, in_eyes, mouth_opening
from .faces import flip_landmarks, read_metadata
from .simulate import is_frontal_neutral
from .symmetric import border_points

# How much of what is predicted is done: brows, the jaw and eyes differ between people more than by expression.
SHARE = np.array([0.7] * 17 + [0.5] * 10 + [1.0] * 9 + [0.7] * 12 + [1.0] * 20)[:, None]
OUTER = {61: 50, 62: 51, 63: 52, 65: 56, 66: 57, 67: 58}  # the outer lips' beside them
RIDGE = 0.1


class Neutral:
    """Where the landmarks of a face with an expression would be without it: a ridge regression, learned from neutral
    faces' landmarks with drawn expressions.

    Args:
        expressions: facesym.data.expressions.Expressions.
        neutral: landmarks (68x2 each) of frontal neutral faces, of any scale (`neutral_landmarks`).
        count: of faces drawn.
    """

    def __init__(self, expressions, neutral, count=6000, seed=0):
        rng, before, after = np.random.default_rng(seed), [], []
        for _ in range(count):
            points = np.asarray(neutral[rng.integers(len(neutral))], np.float64)
            moved = expressions.draw(rng, points)[1] if rng.random() < 0.9 else points
            before.append(in_eyes(moved + rng.normal(0, 0.006 * eye_distance(points), moved.shape)))
            after.append(in_eyes(points))
        before, after = np.array(before), np.array(after)
        known, wanted = _features(before), (after - before).reshape(count, -1)
        self.weights = np.linalg.solve(known.T @ known + RIDGE * np.eye(known.shape[1]), known.T @ wanted)

    def _move(self, points):
        return from_eyes((_features(in_eyes(points)) @ self.weights).reshape(68, 2), points)

    def landmarks(self, points):
        """The landmarks without the expression: 68x2, the lips closed. A mirrored face gives the mirror image."""
        points = np.asarray(points, np.float64)
        mirrored = flip_landmarks(points, 0)
        move = (self._move(points) + flip_landmarks(mirrored + self._move(mirrored), 0) - points) / 2
        found = points + SHARE * move
        unit = eye_distance(points)
        for upper, lower in INNER_LIPS:
            middle, half = (found[upper] + found[lower]) / 2, np.array([0, 0.002 * unit])
            found[upper], found[lower] = middle - half, middle + half
        return found

    def show(self, image, points):
        """The face without its expression.

        Args:
            image: SxSx3 uint8. points: its landmarks, 68x2.

        Returns:
            SxSx3 uint8; and its landmarks, 68x2.
        """
        size, points = len(image), np.asarray(points, np.float64)
        goal, opening = self.landmarks(points), mouth_opening(points)
        # Landmarks are a pixel or two off, and teeth must not be left: the lips close over some of themselves as well.
        ends = points.copy()
        for inner, outer in OUTER.items():
            ends[inner] += 0.45 * min(1, opening / 0.06) * (points[outer] - points[inner])
        border = border_points(size)
        # Linear between landmarks, since a smooth map cannot close a mouth; smoothed away from the lips.
        map_back = LinearNDInterpolator(np.concatenate([goal, border]), np.concatenate([ends, border]))
        pixels = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1)
        move = (map_back(pixels.reshape(-1, 2)).reshape(size, size, 2) - pixels).astype(np.float32)
        lips = np.zeros((size, size), np.float32)
        hull = cv2.convexHull(_sixteenths(goal[48:60]))
        cv2.fillConvexPoly(lips, hull, 1.0, cv2.LINE_8, 4)
        lips = cv2.GaussianBlur(lips, (0, 0), size / 150)[..., None]
        rim = np.arange(size, dtype=np.float32)
        rim = np.clip(np.minimum(rim, rim[::-1]) / (size / 10), 0, 1)  # where nothing moves
        calm = cv2.GaussianBlur(move, (0, 0), size / 40) * np.minimum(rim[:, None], rim)[..., None]
        source = pixels.astype(np.float32) + lips * move + (1 - lips) * calm
        x, y = source[..., 0], source[..., 1]
        shown = cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        # What is left of teeth at the lips' rim goes, and closed lips have a dark line between them.
        if opening > 0.03:
            teeth = np.zeros((size, size), np.uint8)
            cv2.fillPoly(teeth, [_sixteenths(points[60:68])], 255, cv2.LINE_8, 4)
            teeth = cv2.dilate(teeth, np.ones((2 * round(size * 0.012) + 1,) * 2, np.uint8))
            left = np.uint8(255) * (cv2.remap(teeth, x, y, cv2.INTER_LINEAR) > 64)
            shown = cv2.inpaint(shown, left, 0.03 * size, cv2.INPAINT_TELEA)
            middles = [(goal[upper] + goal[lower]) / 2 for upper, lower in INNER_LIPS]
            line = np.zeros((size, size), np.float32)
            path = _sixteenths(np.array([goal[60], *middles, goal[64]]))
            cv2.polylines(
                line, [path], False, 1.0, max(1, round(eye_distance(points) * 0.015)), cv2.LINE_AA, 4
            )
            line = cv2.GaussianBlur(line, (0, 0), size * 0.006)
            shown = np.rint(shown * (1 - 0.4 * line[..., None] / max(line.max(), 1e-6))).astype(np.uint8)
        return shown, goal.astype(np.float32)


def neutral_landmarks(folders):
    """The landmarks (68x2 each, pixels) of the frontal neutral faces of training people in folders of aligned faces."""
    found = []
    for folder in folders:
        points = np.load(Path(folder) / "landmarks.npy")
        rows = read_metadata(folder, ("train",))
        found += [points[row["index"]] for row in rows if is_frontal_neutral(row, points[row["index"]])]
    return found


def _features(points):
    """What the regression sees of landmarks in units of the eyes (...x68x2): themselves, how open and wide the mouth
    and how thick the lips are, and the squares of these."""
    ends = ((48, 54), (62, 66), (61, 67), (63, 65), (51, 62), (57, 66))
    spans = np.stack([np.linalg.norm(points[..., a, :] - points[..., b, :], axis=-1) for a, b in ends], -1)
    flat = points.reshape(*points.shape[:-2], -1)
    return np.concatenate([np.ones_like(flat[..., :1]), flat, spans, spans**2], -1)


def _sixteenths(points):
    """Pixels as cv2's drawing takes them with a shift of 4."""
    return np.round(points * 16).astype(np.int32)
