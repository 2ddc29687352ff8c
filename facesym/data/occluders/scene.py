"""The canvas of the occluders: an aligned face with its coordinates, illumination and drawing operations."""

from functools import cache
from typing import Any

import cv2
import numpy as np

from ...attributes import OCCLUSIONS

_SHIFT = 4  # cv2 draws in sixteenths of a pixel
# Minimum opacity that counts as an occlusion. It is low: if the soft rim of an object stayed, it would tint the
# completed pixels.
_HIDDEN = 0.2


class Scene:
    """An aligned face with the occlusions drawn so far.

    Args:
        rng: numpy Generator.
        image: SxSx3 uint8.
        points: 68x2, its landmarks in pixels.

    Attributes:
        image: SxSx3 float32 in [0, 255], the face with the occlusions.
        labels: SxS uint8, see `facesym.data.occluders.draw_occluders`.
        unit: the outer-eye distance in pixels.
        light: SxS float32, the photo's illumination relative to its mean over the face.
        exposure: brightness of the face, 1 for a grey value of 140.
        blur: rough estimate of the photo's blur, standard deviation in pixels.
    """

    def __init__(self, rng: np.random.Generator, image: np.ndarray, points: np.ndarray):
        self.rng, self.size = rng, len(image)
        self.image, self.points = image.astype(np.float32), np.asarray(points, np.float64)
        self.labels = np.zeros((self.size, self.size), np.uint8)
        self._origin = self.points[27]
        axis = self.points[45] - self.points[36]
        self.unit = max(float(np.linalg.norm(axis)), 0.2 * self.size)
        right = axis / max(np.linalg.norm(axis), 1e-6)
        down = np.array([-right[1], right[0]])
        # The averted half of a turned head is narrower.
        widths = [
            np.clip(2 * abs((self.points[k] - self._origin) @ right), 0.4 * self.unit, 1.5 * self.unit)
            for k in (36, 45)
        ]
        self._left, self._right, self._down = widths[0] * right, widths[1] * right, self.unit * down
        grey = image.mean(-1, dtype=np.float32)
        small = cv2.GaussianBlur(cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA), (0, 0), 2)
        cheeks = self.points[[2, 14, 30, 31, 35, 48, 54]].mean(0)
        x, y = np.clip(cheeks / self.size * 32, 4, 27).astype(int)
        mean = max(float(small[y - 4 : y + 5, x - 4 : x + 5].mean()), 20.0)
        light = np.clip(cv2.resize(small, (self.size, self.size)) / mean, 0.4, 1.5)
        self.light = light ** rng.uniform(0.2, 0.9)
        self.exposure = float(np.clip(mean / 140, 0.35, 1.3))
        detail = cv2.Laplacian(grey, cv2.CV_32F).std()
        self.blur = float(np.clip(1.5 - detail / 14, 0.45, 1.6)) * self.size / 256

    def at(self, x: Any, y: Any) -> np.ndarray:
        """Convert face coordinates to pixels.

        Args:
            x, y: numbers or arrays, in outer-eye distances from the bridge of the nose: the eyes' outer corners are at
                x = ±0.5, y ≈ 0; y grows downwards.

        Returns:
            …x2 float64.
        """
        x, y = np.asarray(x, np.float64)[..., None], np.asarray(y, np.float64)[..., None]
        return self._origin + np.where(x < 0, self._left, self._right) * x + self._down * y

    def fill(self, outline: np.ndarray) -> np.ndarray:
        """Rasterize a polygon (Nx2, pixels): SxS float32 in [0, 1]."""
        area = np.zeros((self.size, self.size), np.uint8)
        cv2.fillPoly(area, [_fixed(outline)], 255, cv2.LINE_AA, _SHIFT)
        return area.astype(np.float32) / 255

    def stroke(self, line: np.ndarray, width: float, closed: bool = False) -> np.ndarray:
        """Rasterize a line (Nx2, pixels): SxS float32 in [0, 1]. Its width in pixels may be fractional."""
        area = np.zeros((self.size, self.size), np.uint8)
        whole = max(1, round(width))
        cv2.polylines(area, [_fixed(line)], closed, 255, whole, cv2.LINE_AA, _SHIFT)
        return area.astype(np.float32) * (min(1.0, width / whole) / 255)

    def blob(self, centre: Any, radius: float, roughness: float = 0.25) -> np.ndarray:
        """Rasterize a random round shape with a wavy outline: SxS float32 in [0, 1].

        Args:
            centre: (x, y) in pixels.
            radius: mean radius in pixels.
            roughness: amplitude of the waves, relative to the radius.
        """
        angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        reach = np.ones(48)
        for k in (2, 3, 4, 5):
            reach += roughness / (k - 1) * self.rng.normal() * np.cos(k * angle + self.rng.uniform(0, 6.3))
        reach = radius * np.clip(reach, 0.3, 2)[:, None]
        turn, stretch = self.rng.uniform(0, np.pi), self.rng.uniform(0.5, 1)
        ring = np.stack([np.cos(angle), stretch * np.sin(angle)], 1) * reach
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        return self.fill(np.asarray(centre) + ring @ rotation)

    def put(
        self,
        kind: str,
        alpha: np.ndarray,
        colour: Any,
        *,
        shadow: float = 0.0,
        reach: float = 0.02,
        lit: bool = True,
    ) -> None:
        """Draw an object over the face.

        Args:
            kind: one of OCCLUSIONS.
            alpha: SxS float32 in [0, 1], opacity of the object.
            colour: three numbers, or SxSx3, in [0, 255].
            shadow: darkness of its shadow, 0 to 1; 0 draws none.
            reach: offset of the shadow in outer-eye distances.
            lit: whether the photo's illumination applies to it.
        """
        if shadow:
            self.cast_shadow(alpha, shadow, reach)
        alpha = cv2.GaussianBlur(alpha, (0, 0), self.blur)
        self.labels[alpha > _HIDDEN] = OCCLUSIONS.index(kind) + 1
        colour = np.broadcast_to(np.asarray(colour, np.float32), self.image.shape)
        if lit:
            colour = colour * (self.exposure * self.light)[..., None]
        self.image += alpha[..., None] * (colour - self.image)

    def cast_shadow(self, alpha: np.ndarray, darkness: float, reach: float) -> None:
        """Draw the shadow of an object; see `put` for the arguments."""
        away = self.rng.normal(0, 1, 2) * [1, 0.5] + [0, 0.8]
        shift = away / (np.linalg.norm(away) + 1e-6) * reach * self.unit
        soft = max(0.6, self.rng.uniform(0.3, 1.0) * reach * self.unit)
        moved = cv2.warpAffine(
            alpha,
            np.array([[1, 0, shift[0]], [0, 1, shift[1]]]),
            (self.size, self.size),
            borderMode=cv2.BORDER_REPLICATE,
        )
        self.image *= 1 - darkness * cv2.GaussianBlur(moved, (0, 0), soft)[..., None]

    def texture(self, contrast: float = 0.5) -> np.ndarray:
        """Draw a random surface: plain, stripes, checks, or a piece of a photo: SxSx3 in [0, 255]."""
        rng, size = self.rng, self.size
        kind, base = rng.random(), rng.uniform(10, 245, 3)
        if rng.random() < 0.3:
            base = np.full(3, base.mean())
        plain = np.broadcast_to(np.float32(base), (size, size, 3))
        if kind < 0.35:
            return plain
        if kind < 0.65:
            return self._photo()
        ys, xs = np.mgrid[:size, :size].astype(np.float32)
        angle, period = rng.uniform(0, np.pi), rng.uniform(0.02, 0.15) * size
        wave = np.sin((xs * np.cos(angle) + ys * np.sin(angle)) * 2 * np.pi / period)
        if kind < 0.8:
            other = np.sin((ys * np.cos(angle) - xs * np.sin(angle)) * 2 * np.pi / period)
            wave = wave * other if kind < 0.72 else np.maximum(wave, other)
        wave = np.clip(wave * rng.uniform(1, 6), -1, 1)[..., None]
        return np.clip(plain + contrast * wave * np.float32(rng.uniform(-150, 150, 3)), 0, 255)

    def _photo(self):
        """Cut a random piece out of a photo, rotated by quarter turns: SxSx3 in [0, 255]."""
        source = _photos()[self.rng.integers(len(_photos()))]
        side = int(self.rng.uniform(0.25, 1) * min(source.shape[:2]))
        y, x = (int(self.rng.integers(0, n - side + 1)) for n in source.shape[:2])
        piece = np.rot90(source[y : y + side, x : x + side], int(self.rng.integers(4)))
        piece = cv2.resize(np.ascontiguousarray(piece), (self.size, self.size), interpolation=cv2.INTER_AREA)
        return np.clip(piece.astype(np.float32) * np.float32(self.rng.uniform(0.6, 1.3, 3)), 0, 255)

    def round_shading(self, alpha: np.ndarray, depth: float = 0.5) -> np.ndarray:
        """Shading of a rounded object, darker towards its rim: SxS float32, about 1.

        Args:
            alpha: SxS float32, opacity of the object.
            depth: darkening at the rim, 0 to 1.
        """
        inside = cv2.distanceTransform((alpha > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
        away = 1 - inside / max(float(inside.max()), 1e-3)
        slope = cv2.Sobel(cv2.GaussianBlur(inside, (0, 0), 2), cv2.CV_32F, 1, 0, scale=0.125)
        side = self.rng.uniform(-0.35, 0.35) * np.clip(slope, -1, 1)
        return np.clip(1.05 - depth * away**2 + side, 0.1, 1.6)

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the image, SxSx3 uint8, and its labels, SxS uint8."""
        return np.clip(self.image + 0.5, 0, 255).astype(np.uint8), self.labels


@cache
def _photos():
    """Photos without people from scikit-image, in the public domain: list of HxWx3 uint8."""
    from skimage import data

    pictures = [data.chelsea(), data.coffee(), data.rocket(), data.brick(), data.grass(), data.gravel()]
    return [each if each.ndim == 3 else np.repeat(each[..., None], 3, 2) for each in pictures]


def _fixed(points):
    return np.round(np.clip(points, -2000, 4000) * 2**_SHIFT).astype(np.int32)
