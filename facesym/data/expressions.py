"""Synthesize expressions on neutral faces.

Landmarks are warped by displacements measured on real people or by a mesh's blendshapes; the inside of the mouth comes
from real photos.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..errors import ImageError
from ..faces.geometry import thin_plate
from ..faces.mouth import lip_gap
from ..faces.pixels import to_uint8
from .faces import FaceFolders

if TYPE_CHECKING:
    from .shading import SmileShading
    from .simulate import FaceMesh

DARK = (62, 26, 26)  # RGB of the inside of an open mouth
# Blendshapes of each expression with ranges of their strengths, both sides alike. Smiles are measured on people.
EXPRESSIONS: dict[str, dict[str, tuple[float, float]]] = {
    "surprised": {
        "jawOpen": (0.2, 0.8),
        "mouthFunnel": (0, 0.4),
        "browInnerUp": (0.3, 1.2),
        "browOuterUp": (0.3, 1.2),
        "eyeWide": (0.5, 1.5),
    },
    "angry": {"browDown": (0.5, 1.2), "eyeSquint": (0.2, 0.8), "mouthPress": (0, 0.8), "noseSneer": (0, 0.6)},
    "sad": {"browInnerUp": (0.3, 1), "mouthFrown": (0.4, 1.2), "eyeSquint": (0, 0.4)},
    "disgusted": {"noseSneer": (0.5, 1.2), "mouthUpperUp": (0.3, 0.9), "browDown": (0.2, 0.8)},
    "talking": {"jawOpen": (0.08, 0.35), "mouthLowerDown": (0, 0.6), "mouthUpperUp": (0, 0.4)},
    "pursed": {"mouthPucker": (0.3, 1)},
    "eyes closed": {"eyeBlink": (0.6, 1)},
}


@dataclass
class Smile:
    """A smile measured on a person.

    Attributes:
        move: 68x2, displacements from the neutral to the smiling landmarks, in eye distances.
        image: SxSx3 uint8, the smiling face.
        points: 68x2, its landmarks in pixels.
        opening: distance of the inner lips, in eye distances.
    """

    move: np.ndarray
    image: np.ndarray
    points: np.ndarray
    opening: float


class Expressions:
    """A bank of expressions: smiles measured on people, with the inside of their mouths, and the mesh's blendshapes.

    Args:
        folder: aligned faces whose metadata.csv has ``view`` and ``expression``: frontal views, neutral and smiling, of
            the same subjects. Only training people are used.
        mesh: facesym.data.simulate.FaceMesh.
        size: side S of the images in pixels.
        shading: facesym.data.shading.SmileShading, or None for smiles without shading.

    Raises:
        ImageError: the folder has no such views.
    """

    def __init__(
        self, folder: str | Path, mesh: "FaceMesh", size: int, shading: "SmileShading | None" = None
    ):
        faces = FaceFolders([folder], size)
        front = {
            (row["subject"], row["expression"]): i
            for i, row in enumerate(faces.rows)
            if row.get("view") == "front" and row.get("expression") and row["subject"]
        }
        self.smiles, self.mesh, self.shading = [], mesh, shading
        for (subject, expression), i in front.items():
            if expression != "smiling" or (subject, "neutral") not in front:
                continue
            neutral, smiling = faces.landmarks[front[subject, "neutral"]], faces.landmarks[i]
            move = in_eyes(smiling) - in_eyes(neutral)
            opening = float(np.linalg.norm(in_eyes(smiling)[62] - in_eyes(smiling)[66]))
            self.smiles.append(Smile(move, faces.images[i], smiling, opening))
        if not self.smiles:
            raise ImageError(f"{folder} has no frontal neutral and smiling images of the same people")
        self.mouths = [smile for smile in self.smiles if smile.opening > 0.08]

    def draw(self, rng: np.random.Generator, points: np.ndarray) -> tuple[str, np.ndarray]:
        """Draw a random expression.

        Args:
            rng: numpy Generator.
            points: 68x2, landmarks of a neutral face in pixels.

        Returns:
            The expression's name, and the landmarks with it, 68x2.
        """
        kind = rng.random()
        if kind < 0.5:
            smile = self.smiles[rng.integers(len(self.smiles))]
            return "smiling", points + from_eyes(rng.uniform(0.5, 1.6) * smile.move, points)
        # Surprise is drawn more often: like smiles, it is an attribute of LSSL.
        name = "surprised" if kind < 0.7 else list(EXPRESSIONS)[rng.integers(len(EXPRESSIONS))]
        move = np.zeros((68, 3))
        for shape, (low, high) in EXPRESSIONS[name].items():
            strength = rng.uniform(low, high)
            for side in ("", "_L", "_R"):
                if shape + side in self.mesh.expression:
                    move = move + strength * self.mesh.expression[shape + side]
        _, pose = self.mesh.fit(points)
        return name, points + move @ pose[:2].T

    def show(
        self, image: np.ndarray, points: np.ndarray, moved: np.ndarray, teeth: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Render a face with moved landmarks; a smiling person's mouth fills an opened mouth.

        Args:
            image: SxSx3 uint8.
            points: 68x2, its landmarks in pixels.
            moved: 68x2, the landmarks with the expression.
            teeth: fraction of an opened mouth that shows teeth, from the top; the rest is dark.

        Returns:
            rendered: SxSx3 uint8.
            coordinates: SxSx2 float32, where each pixel of the image goes.
        """
        size = len(image)
        source, coordinates = thin_plate(moved, points, size), thin_plate(points, moved, size)
        warped = cv2.remap(
            image, source[..., 0], source[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
        )
        inner = moved[60:68]
        if mouth_opening(moved) < max(1.5 * mouth_opening(points), 0.05) or not self.mouths:
            return warped, coordinates
        # Choose the mouth of the most similar shape, so that its inside follows from the shape and can be learned.
        shape = _mouth_shape(inner)
        mouth = min(self.mouths, key=lambda smile: abs(_mouth_shape(smile.points[60:68]) - shape))
        # A mouth that is open wider than the smile shows no more teeth.
        teeth = teeth / max(float(shape / max(_mouth_shape(mouth.points[60:68]), 1e-6)), 1)
        bottom = inner.copy()
        bottom[5:] = inner[3:0:-1] + (inner[5:] - inner[3:0:-1]) * teeth
        homography, _ = cv2.findHomography(mouth.points[60:68], bottom)
        if homography is None:
            return warped, coordinates
        filling = cv2.warpPerspective(mouth.image, homography, (size, size), flags=cv2.INTER_LINEAR)
        filling = filling.astype(np.float32)
        # Match the light of the face, and half of its tint.
        tints = (_skin(warped, moved) + 10.0) / (_skin(mouth.image, mouth.points) + 10.0)
        gain = np.sqrt(tints * tints.mean())
        region, bright = (_soft_polygon(outline, size) for outline in (inner, bottom))
        filling = bright * filling + (1 - bright) * np.array(DARK, np.float32)
        mixed = region * np.clip(filling * np.clip(gain, 0.4, 1.6), 0, 255) + (1 - region) * warped
        return to_uint8(mixed), coordinates


def polygon(points: np.ndarray, size: int) -> np.ndarray:
    """Rasterize an outline (Kx2, pixels): SxS float32, 1 inside."""
    region = np.zeros((size, size), np.float32)
    cv2.fillPoly(region, [np.round(points * 16).astype(np.int32)], 1.0, cv2.LINE_8, shift=4)
    return region


def disc(radius: float) -> np.ndarray:
    """Return a round structuring element for erosion and dilation; ``radius`` in pixels."""
    side = 2 * round(radius) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def _soft_polygon(points, size):
    """`polygon` with a soft border: SxSx1 float32."""
    return cv2.GaussianBlur(polygon(points, size), (0, 0), size / 200)[..., None]


def _mouth_shape(inner):
    """Return the ratio of height to width of the inner lips (8x2)."""
    return np.linalg.norm(inner[2] - inner[6]) / max(np.linalg.norm(inner[0] - inner[4]), 1e-6)


def _skin(image, points):
    """Return the mean colour (3) of a patch around the tip of the nose."""
    x, y = points[30]
    reach = np.linalg.norm(points[42] - points[39]) / 2
    patch = image[int(max(y - reach, 0)) : int(y + reach) + 1, int(max(x - reach, 0)) : int(x + reach) + 1]
    return patch.mean((0, 1)) if patch.size else np.full(3, 128.0)


def in_eyes(points: np.ndarray) -> np.ndarray:
    """Convert landmarks (68x2) to eye coordinates: levelled, origin between the eyes, their distance as the unit."""
    left, right = points[36:42].mean(0), points[42:48].mean(0)
    across = right - left
    level = np.array([[across[0], -across[1]], [across[1], across[0]]]) / (across @ across)
    return (points - (left + right) / 2) @ level


def from_eyes(move: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Convert a displacement (68x2) from the units of `in_eyes` to pixels of the face with landmarks ``points``."""
    x, y = points[42:48].mean(0) - points[36:42].mean(0)
    return move @ np.array([[x, y], [-y, x]])


def eye_distance(points: np.ndarray) -> float:
    """Return the distance of the eyes' centres, from landmarks (68x2)."""
    return float(np.linalg.norm(points[42:48].mean(0) - points[36:42].mean(0)))


def mouth_opening(points: np.ndarray) -> float:
    """Return the distance of the inner lips in eye distances, from landmarks (68x2)."""
    return float(lip_gap(points)) / eye_distance(points)
