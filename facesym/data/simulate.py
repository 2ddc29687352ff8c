"""Simulate turned and expressive versions of frontal, neutral faces: training pairs where no real ones exist.

The face's depth comes from a mesh fitted to its landmarks. A head is turned by moving each pixel according to its
depth, front pixels over hidden ones; expressions come from `Expressions`. Images are aligned crops (FFHQ framing),
SxSx3 uint8, landmarks 68x2 in pixels. All random numbers come from the generator that is passed in.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import cv2
import numpy as np

from ..errors import ImageError
from ..faces.align import ffhq_transform, five_points
from ..faces.geometry import flip_landmarks, smooth_ramp
from ..faces.pixels import to_uint8

if TYPE_CHECKING:
    from .expressions import Expressions

# The vertices of ICT FaceKit's mesh that are the 68 landmarks.
LANDMARK_VERTICES = np.array(
    [
        *(1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443),
        *(268, 493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509),
        *(978, 4527, 4942, 4857, 1140, 2075, 1147, 4269, 3360),
        *(1507, 1542, 1537, 1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732),
        *(5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841),
        *(5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966),
    ]
)
GRID = 32  # side of the coordinate field of a pair


class FaceMesh:
    """A morphable face mesh (ICT FaceKit's face area, MIT licence).

    Args:
        path: ``ict_face_model.npz``: ``neutral`` Vx3 (x to the image's right, y up, z to the viewer), ``identity``
            KxVx3 and ``expression`` LxVx3 displacements, ``expression_names``.

    Raises:
        ImageError: the file does not hold such a mesh.
    """

    def __init__(self, path: str | Path):
        try:
            with np.load(path) as data:
                down = np.array([1, -1, 1], np.float32)  # pixels count from the top
                self.neutral = data["neutral"].astype(np.float32) * down
                self.identity = data["identity"].astype(np.float32) * down
                names = [str(name) for name in data["expression_names"]]
                moves = data["expression"][:, LANDMARK_VERTICES].astype(np.float32) * down
        except (OSError, EOFError, ValueError, KeyError, IndexError, BadZipFile) as error:
            raise ImageError(
                f"{path} is not a face mesh ({error}): pass ict_face_model.npz, the face area of ICT FaceKit"
            ) from error
        self.expression = dict(zip(names, moves))  # displacements of the landmarks only
        self.neck = self.neutral[:, 1] > self.neutral[LANDMARK_VERTICES, 1].max() + 1

    def fit(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fit the mesh to a face.

        Args:
            points: 68x2 in pixels. The more the face is turned, the less the jaw's landmarks match the mesh's.

        Returns:
            vertices: Vx3, x and y in pixels, z in pixels towards the viewer.
            pose: 3x3, rotation times scale.
        """
        points = np.asarray(points, np.float64)
        # Landmarks of the jaw slide along the outline of a turned face and count less.
        weight = np.where(np.arange(68) < 17, 0.3, 1.0)[:, None]
        basis = self.identity[:, LANDMARK_VERTICES]
        shape = self.neutral[LANDMARK_VERTICES].astype(np.float64)
        coefficients = np.zeros(len(basis))
        for _ in range(3):
            # Scaled-orthographic pose of the current shape, then the shape at that pose.
            centre_model = (weight * shape).sum(0) / weight.sum()
            centre = (weight * points).sum(0) / weight.sum()
            rays = np.linalg.lstsq(weight * (shape - centre_model), weight * (points - centre), rcond=None)
            u, singular, vt = np.linalg.svd(rays[0].T, full_matrices=False)
            rows = u @ vt
            pose = singular.mean() * np.stack([*rows, np.cross(*rows)])
            columns = (weight * (basis @ pose[:2].T)).reshape(len(basis), -1).T
            left = shape - (coefficients @ basis.reshape(len(basis), -1)).reshape(-1, 3)
            rest = weight * (points - centre - (left - centre_model) @ pose[:2].T)
            ridge = 0.2 * singular.mean() * np.eye(len(basis))
            coefficients = np.linalg.lstsq(
                np.concatenate([columns, ridge]),
                np.concatenate([rest.ravel(), np.zeros(len(basis))]),
                rcond=None,
            )[0]
            shape = left + (coefficients @ basis.reshape(len(basis), -1)).reshape(-1, 3)
        vertices = self.neutral + np.tensordot(coefficients.astype(np.float32), self.identity, 1)
        vertices = (vertices - centre_model) @ pose.T
        vertices[:, :2] += centre
        return vertices.astype(np.float32), pose


def _sample(field, x, y):
    """Sample a field (HxW or HxWxC float32) bilinearly at coordinates x and y (float32)."""
    return cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def head_depth(vertices: np.ndarray, neck: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute the depth of each pixel and the degree to which it belongs to the head.

    Args:
        vertices: Vx3, from `FaceMesh.fit`.
        neck: V bool, vertices below the head.
        size: side S of the image.

    Returns:
        depth: SxS float32, pixels towards the viewer, extrapolated smoothly beyond the vertices.
        weight: SxS float32 in [0, 1], 1 on the head with its hair, falling to 0 towards the border and the shoulders.
    """
    cells = 64
    cell = np.clip(((vertices[:, :2] + 0.5) * cells / size).astype(int), 0, cells - 1)
    front = np.full((cells, cells), -np.inf, np.float32)
    np.maximum.at(front, (cell[:, 1], cell[:, 0]), vertices[:, 2])
    seen = np.isfinite(front).astype(np.float32)
    depth, known = np.where(seen > 0, front, 0), seen.copy()
    for sigma in (1, 2, 4, 8, 16):  # fill unknown cells from farther and farther away
        blurred, coverage = (
            cv2.GaussianBlur(depth * known, (0, 0), sigma),
            cv2.GaussianBlur(known, (0, 0), sigma),
        )
        new = (known == 0) & (coverage > 0.05)
        depth, known = np.where(new, blurred / np.maximum(coverage, 1e-6), depth), np.maximum(known, new)
    depth = cv2.GaussianBlur(np.where(known > 0, depth, depth.min()), (0, 0), 0.7)
    head = np.zeros((cells, cells), np.uint8)
    head[cell[~neck, 1], cell[~neck, 0]] = 1
    head = cv2.morphologyEx(head, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    away = cv2.distanceTransform(1 - head, cv2.DIST_L2, 5) / cells
    weight = 1 - np.clip((away - 0.1) / 0.16, 0, 1)  # hair is up to a tenth of the side thick
    x = (np.arange(cells) + 0.5) / cells
    border = np.clip(np.minimum(x, 1 - x) / 0.08, 0, 1)
    weight = weight * np.minimum(border[:, None], border)
    weight = smooth_ramp(weight)
    depth, weight = (
        cv2.resize(a.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
        for a in (depth, weight)
    )
    return depth, weight


def _turn_rows(depth, weight, pivot, degrees):
    """Turn about a vertical axis: along rows, pixels move according to their depth, front ones over hidden ones.

    Args:
        depth, weight: SxS float32, from `head_depth`.
        pivot: (x, z) of the axis.
        degrees: angle.

    Returns:
        source: SxS float32, the x that each pixel of the turned image comes from.
        to: SxS float32, the x that each pixel of the image goes to.
        near: SxS float32, the depth of each pixel of the image after the turn.
        seen: SxS bool, whether it is visible after the turn.
    """
    size, finer = len(depth), 4
    angle = np.radians(degrees)
    x = (np.arange(size * finer) + 0.5) / finer - 0.5
    z, w = (cv2.resize(a, (size * finer, size), interpolation=cv2.INTER_LINEAR) for a in (depth, weight))
    z = z - pivot[1]
    to = x + w * ((x - pivot[0]) * (np.cos(angle) - 1) + z * np.sin(angle))
    near = z + w * (z * (np.cos(angle) - 1) - (x - pivot[0]) * np.sin(angle))
    cell = np.clip(np.rint(to).astype(int), 0, size - 1)
    row = np.arange(size)[:, None].repeat(size * finer, 1)
    front = np.full((size, size), -np.inf, np.float32)
    np.maximum.at(front, (row, cell), near.astype(np.float32))
    seen = near >= front[row, cell] - 0.04 * size
    source = np.empty((size, size), np.float32)
    pixels = np.arange(size)
    for k in range(size):
        to_x, from_x = to[k, seen[k]], x[seen[k]]
        order = np.argsort(to_x, kind="stable")
        source[k] = np.interp(pixels, to_x[order], from_x[order])
    source = cv2.medianBlur(source, 3)  # smooth the outlines, which each row determines on its own

    def shrink(a):
        return a.reshape(size, size, finer)[..., 1:3].mean(2)  # the two samples around the pixel's centre

    return (
        source,
        shrink(to).astype(np.float32),
        shrink(near).astype(np.float32) + pivot[1],
        shrink(seen.astype(np.float32)) > 0.5,
    )


def turn_head(
    image: np.ndarray, vertices: np.ndarray, neck: np.ndarray, yaw: float, pitch: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn the head in an image.

    Args:
        image: SxSx3 uint8.
        vertices, neck: the mesh fitted to it.
        yaw: change in degrees, positive to the image's right.
        pitch: change in degrees, positive down.

    Returns:
        turned: SxSx3 uint8.
        coordinates: SxSx2 float32, where each pixel of the image goes.
        seen: SxS bool, whether it is visible there.
    """
    size = len(image)
    depth, weight = head_depth(vertices, neck, size)
    ears = vertices[LANDMARK_VERTICES[[0, 16]]].mean(0)
    columns, rows = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    source_x, to_x, near, seen = _turn_rows(depth, weight, (ears[0], ears[2]), yaw)
    depth, weight = _sample(near, source_x, rows), _sample(weight, source_x, rows)
    source_y, to_y, _, seen_y = (
        field.T for field in _turn_rows(depth.T.copy(), weight.T.copy(), (ears[1], ears[2]), pitch)
    )
    source_y, to_y = np.ascontiguousarray(source_y), np.ascontiguousarray(to_y)
    turned = cv2.remap(
        image, _sample(source_x, columns, source_y), source_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    coordinates = np.stack([to_x, _sample(to_y, to_x, rows)], -1)
    seen = seen & (_sample(np.ascontiguousarray(seen_y).astype(np.float32), to_x, rows) > 0.5)
    return turned, coordinates, seen


@dataclass
class Simulated:
    """A simulated input for a real target.

    Attributes:
        image: SxSx3 uint8, the turned, expressive face, aligned again.
        points: 68x2, the target's landmarks in it, pixels.
        coordinates: GRIDxGRIDx2 float32, coordinates in it of the target's pixels (centres of GRIDxGRID cells).
        seen: GRIDxGRID bool, whether these are visible: neither behind other parts of the head nor outside the image.
        yaw, pitch: degrees by which the head was turned.
        expression: name of the expression, or "neutral".
    """

    image: np.ndarray
    points: np.ndarray
    coordinates: np.ndarray
    seen: np.ndarray
    yaw: float
    pitch: float
    expression: str


def simulate(
    rng: np.random.Generator,
    image: np.ndarray,
    points: np.ndarray,
    expressions: "Expressions",
    max_yaw: float = 45.0,
    max_pitch: float = 15.0,
) -> Simulated:
    """Simulate a random version of a frontal, neutral face: turned, expressive, or both.

    Args:
        rng: numpy Generator.
        image: SxSx3 uint8.
        points: 68x2, its landmarks in pixels.
        expressions: facesym.data.expressions.Expressions.
        max_yaw, max_pitch: maximum turns to either side in degrees.

    Returns:
        Simulated.
    """
    size, mesh = len(image), expressions.mesh
    points = np.asarray(points, np.float64)
    columns, rows = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    coordinates, seen = np.stack([columns, rows], -1), np.ones((size, size), bool)
    name, moved = "neutral", points
    if rng.random() < 0.65:
        name, moved = expressions.draw(rng, points)
        # An open mouth that does not smile is dark except for the edge of the upper teeth.
        image, coordinates = expressions.show(image, points, moved, teeth=1.0 if name == "smiling" else 0.3)
        if name == "smiling" and expressions.shading:
            image = expressions.shading.add(image, moved, expressions.shading.strength(moved, points))
    yaw = pitch = 0.0
    if rng.random() < 0.7:
        yaw, pitch = rng.uniform(-max_yaw, max_yaw), rng.uniform(-max_pitch, max_pitch)
        vertices, _ = mesh.fit(moved)
        image, turned, visible = turn_head(image, vertices, mesh.neck, yaw, pitch)
        x, y = coordinates[..., 0], coordinates[..., 1]
        seen = _sample(visible.astype(np.float32), x, y) > 0.5
        coordinates = _sample(turned, x, y)
    at = points.astype(np.float32)[None]
    now = _sample(coordinates, at[..., 0], at[..., 1])[0]
    image, align = _align_again(image, now)
    cell = ((np.arange(GRID, dtype=np.float32) + 0.5) * size / GRID - 0.5)[None].repeat(GRID, 0)
    rows = np.ascontiguousarray(cell.T)
    coarse, coarse_seen = _sample(coordinates, cell, rows), _sample(seen.astype(np.float32), cell, rows) > 0.5
    coarse = _transform(coarse, align)
    coarse_seen &= ((coarse > -0.5) & (coarse < size - 0.5)).all(-1)
    return Simulated(image, _transform(now, align), coarse.astype(np.float32), coarse_seen, yaw, pitch, name)


def turn_to(
    image: np.ndarray, points: np.ndarray, mesh: FaceMesh, yaw: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Turn a face to a yaw with the mesh, pitch levelled. Hidden parts are smeared.

    Args:
        image: SxSx3 uint8, an aligned face.
        points: 68x2, its landmarks in pixels.
        mesh: FaceMesh.
        yaw: target, degrees.

    Returns:
        turned: SxSx3 uint8, aligned again.
        points: 68x2 float32, the landmarks in it.
        yaw: the face's original yaw, degrees.
    """
    vertices, pose = mesh.fit(points)
    x, y, z = pose[:, 2] / np.linalg.norm(pose[:, 2])  # the direction the face looks in
    own, pitch = np.degrees(np.arctan2(x, z)), np.degrees(np.arcsin(np.clip(y, -1, 1)))
    turned, coordinates, _ = turn_head(image, vertices, mesh.neck, yaw - own, -pitch)
    at = np.asarray(points, np.float32)[None]
    moved = _sample(coordinates, at[..., 0], at[..., 1])[0]
    turned, align = _align_again(turned, moved)
    return turned, _transform(moved, align).astype(np.float32), own


def frontalize(image: np.ndarray, points: np.ndarray, mesh: FaceMesh) -> tuple[np.ndarray, np.ndarray]:
    """Frontalize a face the classical way, without learning.

    The mesh turns the face, and the mirror image fills in hidden parts. The expression stays.

    Args:
        image: SxSx3 uint8, an aligned face.
        points: 68x2, its landmarks in pixels.
        mesh: FaceMesh.

    Returns:
        frontal: SxSx3 uint8, aligned again.
        points: 68x2 float32, the landmarks in it.
    """
    size = len(image)
    turned, moved, yaw = turn_to(image, points, mesh, 0)
    if abs(yaw) < 10:
        return turned, moved
    # The side that the nose pointed to was hidden. The two halves blend over 6 % of the width.
    far = np.arange(size) - (size - 1) / 2 if yaw > 0 else (size - 1) / 2 - np.arange(size)
    weight = np.clip(far / (0.06 * size) + 0.5, 0, 1)[None, :, None]
    mirrored = flip_landmarks(moved, size)
    middle = (moved + mirrored)[:, :1] / 2 - (size - 1) / 2
    filled = middle > 0 if yaw > 0 else middle < 0
    marks = np.where(np.abs(middle) < 1e-3, (moved + mirrored) / 2, np.where(filled, mirrored, moved))
    mixed = weight * turned[:, ::-1] + (1 - weight) * turned
    return to_uint8(mixed), marks.astype(np.float32)


def _transform(points, matrix):
    """Apply a 2x3 affine matrix to points …x2."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def _align_again(image, points):
    """Align an image by its moved landmarks; return the image and the 2x3 transform."""
    size = len(image)
    align = ffhq_transform(five_points(points), size)
    framed = cv2.warpAffine(image, align, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return framed, align
