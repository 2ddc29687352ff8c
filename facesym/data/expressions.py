"""Expressions put on neutral faces: warps of the landmarks, by displacements measured on real people or by a mesh's
blendshapes, with the inside of the mouth taken from real photos."""

from dataclasses import dataclass

import cv2
import numpy as np

from ..errors import ImageError
from ..faces.geometry import thin_plate
from .faces import FaceFolders

INNER_LIPS = ((61, 67), (62, 66), (63, 65))  # landmarks that face each other, upper and lower
DARK = (62, 26, 26)  # RGB, of an open mouth
# Blendshapes that go together (both sides of each at once, strengths of their own), beside smiles, which are
# measured on people.
EXPRESSIONS = {
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
    move: np.ndarray  # 68x2, in distances of the eyes: from the neutral face's landmarks to the smiling one's
    image: np.ndarray  # SxSx3, the smiling face
    points: np.ndarray  # 68x2
    opening: float  # of the inner lips, in distances of the eyes


class Expressions:
    """A bank of expressions: smiles measured on people, with what is seen in their mouths; the mesh's blendshapes.

    Args:
        folder: aligned faces whose metadata.csv has ``view`` and ``expression``: frontal views, neutral and smiling,
            of the same subjects. Training people only are used.
        mesh: FaceMesh.
        size: of the pictures.
        shading: facesym.data.shading.SmileShading, or None: smiles are warps and teeth alone.

    Raises:
        ImageError: the folder has no such pairs.
    """

    def __init__(self, folder, mesh, size, shading=None):
        faces = FaceFolders([folder], size)
        front = {
            (row["subject"], row["expression"]): i
            for i, row in enumerate(faces.rows)
            if row.get("view") == "front" and row.get("expression")
        }
        self.smiles, self.mesh, self.shading = [], mesh, shading
        for (subject, expression), i in front.items():
            if expression != "smiling" or (subject, "neutral") not in front:
                continue
            neutral, smiling = faces.landmarks[front[subject, "neutral"]], faces.landmarks[i]
            move = in_eyes(smiling) - in_eyes(neutral)
            opening = np.linalg.norm(in_eyes(smiling)[62] - in_eyes(smiling)[66])
            self.smiles.append(Smile(move, faces.images[i], smiling, opening))
        if not self.smiles:
            raise ImageError(f"{folder} has no frontal neutral and smiling pictures of the same people")
        self.mouths = [smile for smile in self.smiles if smile.opening > 0.08]

    def draw(self, rng, points):
        """A random expression: its name, and the moved landmarks (68x2) of the face that has ``points``."""
        kind = rng.random()
        if kind < 0.5:
            smile = self.smiles[rng.integers(len(self.smiles))]
            return "smiling", points + from_eyes(rng.uniform(0.5, 1.6) * smile.move, points)
        # Surprise more often than the rest: it is what LSSL is asked for, beside smiles.
        name = "surprised" if kind < 0.7 else list(EXPRESSIONS)[rng.integers(len(EXPRESSIONS))]
        move = 0
        for shape, (low, high) in EXPRESSIONS[name].items():
            strength = rng.uniform(low, high)
            for side in ("", "_L", "_R"):
                if shape + side in self.mesh.expression:
                    move = move + strength * self.mesh.expression[shape + side]
        _, pose = self.mesh.fit(points)
        return name, points + move @ pose[:2].T

    def show(self, image, points, moved, teeth=1.0):
        """The face with its landmarks moved, the inside of an opened mouth filled in from a smiling person's.

        Args:
            image: SxSx3 uint8. points, moved: its landmarks, 68x2, now and then.
            teeth: how much of an opened mouth shows them, from the top; below is the dark.

        Returns:
            SxSx3 uint8, and SxSx2 float32: where each pixel has gone to.
        """
        size = len(image)
        source, places = thin_plate(moved, points, size), thin_plate(points, moved, size)
        warped = cv2.remap(
            image, source[..., 0], source[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
        )
        inner = moved[60:68]
        if mouth_opening(moved) < max(1.5 * mouth_opening(points), 0.05) or not self.mouths:
            return warped, places
        # The one shaped most alike: what is seen in a mouth then follows from its shape, and can be learned.
        shape = _mouth_shape(inner)
        mouth = min(self.mouths, key=lambda smile: abs(_mouth_shape(smile.points[60:68]) - shape))
        # A mouth that is open farther than a smile is shows no more of them.
        teeth = teeth / max(shape / max(_mouth_shape(mouth.points[60:68]), 1e-6), 1)
        bottom = inner.copy()
        bottom[5:] = inner[3:0:-1] + (inner[5:] - inner[3:0:-1]) * teeth
        homography, _ = cv2.findHomography(mouth.points[60:68], bottom)
        if homography is None:
            return warped, places
        filling = cv2.warpPerspective(mouth.image, homography, (size, size), flags=cv2.INTER_LINEAR).astype(
            np.float32
        )
        # Its light, and half of its tint: the other half is the skin's.
        tints = (_skin(warped, moved) + 10.0) / (_skin(mouth.image, mouth.points) + 10.0)
        gain = np.sqrt(tints * tints.mean())
        region, bright = (_soft_polygon(outline, size) for outline in (inner, bottom))
        filling = bright * filling + (1 - bright) * np.array(DARK, np.float32)
        mixed = region * np.clip(filling * np.clip(gain, 0.4, 1.6), 0, 255) + (1 - region) * warped
        return np.rint(mixed).astype(np.uint8), places


def polygon(points, size):
    """SxS float32: 1 within an outline (Kx2, pixels), 0 outside."""
    region = np.zeros((size, size), np.float32)
    cv2.fillPoly(region, [np.round(points * 16).astype(np.int32)], 1.0, cv2.LINE_8, shift=4)
    return region


def disc(radius):
    """A round structuring element for erosion and dilation, ``radius`` in pixels."""
    side = 2 * round(radius) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def _soft_polygon(points, size):
    """SxSx1 float32: the same with a soft rim."""
    return cv2.GaussianBlur(polygon(points, size), (0, 0), size / 200)[..., None]


def _mouth_shape(inner):
    """How high the inner lips' outline (8x2) is, over its width."""
    return np.linalg.norm(inner[2] - inner[6]) / max(np.linalg.norm(inner[0] - inner[4]), 1e-6)


def _skin(image, points):
    """The colour (3) of a face's middle: of a patch about the nose's tip, between the cheeks."""
    x, y = points[30]
    reach = np.linalg.norm(points[42] - points[39]) / 2
    patch = image[int(max(y - reach, 0)) : int(y + reach) + 1, int(max(x - reach, 0)) : int(x + reach) + 1]
    return patch.mean((0, 1)) if patch.size else np.full(3, 128.0)


def in_eyes(points):
    """Landmarks with the eyes' middle as the origin and the line between the eyes as the unit, level."""
    left, right = points[36:42].mean(0), points[42:48].mean(0)
    across = right - left
    level = np.array([[across[0], -across[1]], [across[1], across[0]]]) / (across @ across)
    return (points - (left + right) / 2) @ level


def from_eyes(move, points):
    """A displacement (68x2) in the units of `in_eyes`, in pixels of the face that has ``points``."""
    x, y = points[42:48].mean(0) - points[36:42].mean(0)
    return move @ np.array([[x, y], [-y, x]])


def eye_distance(points):
    """From the middle of one eye to that of the other, of landmarks (68x2)."""
    return np.linalg.norm(points[42:48].mean(0) - points[36:42].mean(0))


def mouth_opening(points):
    """How far the inner lips of landmarks (68x2) are apart, in distances of the eyes."""
    gaps = [np.linalg.norm(points[upper] - points[lower]) for upper, lower in INNER_LIPS]
    return np.mean(gaps) / eye_distance(points)
