"""Measure the asymmetry of a face: an index per region from landmarks, one from appearance, and a heat map.

A turned or tilted head does not make a face asymmetric: the effect of roll and yaw on the landmarks is fitted and
removed first.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image
from scipy.optimize import least_squares

from .faces.geometry import DEPTH_68, face_region, flip_landmarks, symmetric_landmarks, warp_points
from .faces.landmarks import find_points

# Landmarks that facial muscles hardly move. Pose is fitted only to these, so that a drooping brow or mouth corner is
# not mistaken for a tilted head.
_STABLE = [0, 1, 2, 14, 15, 16, 27, 28, 29, 30, 33, 36, 39, 42, 45]

REGIONS = ("brow", "eye opening", "mouth corner", "nose", "appearance")

CLEAR = 2.0  # the value of a heat map that gets its brightest colour

# Shifts of the crop, as fractions of its side, over which `steady_points` averages.
SHIFTS = ((0, 0), (0.012, 0), (-0.012, 0), (0, 0.012), (0, -0.012))


@dataclass
class Asymmetry:
    """The result of `measure_asymmetry`.

    Attributes:
        regions: an index for each of REGIONS, 0 = symmetric. All but the last are left-right differences as fractions
            of the distance between the outer eye corners. "appearance" is the mean of the heat map over the
            face.
        overall: root mean square of the asymmetry of brows, nose, eyes and mouth, in the same unit.
        heatmap: HxW float32 ≥ 0, local difference between the face and its mirror image without smooth illumination; 0
            outside the face. In units of the contrast of the face: 0.4 is common, 2 is a clear difference.
        points: 68x2 float32, the landmarks in pixels of the crop.
        roll: fitted roll of the head in the crop in degrees.
        yaw: fitted yaw of the head in the crop in degrees; negative when the nose points to the left of the image.
            Beyond about 30° the indices are unreliable.
    """

    regions: dict[str, float]
    overall: float
    heatmap: np.ndarray
    points: np.ndarray
    roll: float
    yaw: float

    def numbers(self) -> dict[str, float]:
        """Return all indices and angles as one flat dict, for tables and JSON."""
        return {"overall": self.overall, **self.regions, "roll": self.roll, "yaw": self.yaw}


def steady_points(crop: Image.Image) -> tuple[np.ndarray, float]:
    """Average landmarks over slightly shifted crops (and, by `find_points`, their mirror images).

    This cancels the effect of the network's pixel grid, for measurements, at five times the cost.

    Args:
        crop: RGB image, a square crop of an aligned face.

    Returns:
        68x2 float32 in pixels of the crop; and the mean standard deviation of the landmarks over the crops, as a
        fraction of the distance between the outer eye corners.
    """
    pixels = np.asarray(crop.convert("RGB"))
    shifts = np.array(SHIFTS, np.float32) * crop.width
    moved = [
        cv2.warpAffine(
            pixels, np.array([[1, 0, x], [0, 1, y]], np.float32), crop.size, borderMode=cv2.BORDER_REFLECT
        )
        for x, y in shifts
    ]
    found = find_points([Image.fromarray(each) for each in moved]) - shifts[:, None]
    points = found.mean(0)
    spread = np.linalg.norm(found.std(0), axis=1).mean() / np.linalg.norm(points[45] - points[36])
    return points, float(spread)


def landmark_asymmetry(points: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Compute the asymmetry of each landmark after removing position, roll and yaw of the head.

    The asymmetry d of a landmark is half the vector from its partner's mirror image to it. A symmetric head with yaw θ
    and roll ρ has d_x = shift + sin θ · depth − ρ · y and d_y = ρ' · x. ρ' is fitted separately from ρ, because pitch
    and yaw together tilt the features too.

    Args:
        points: 68x2 in pixels of an aligned crop.

    Returns:
        residuals: 68x2 in units of the distance between the outer eye corners.
        roll: degrees.
        yaw: degrees.
    """
    rest, _, roll, yaw = _fit_pose(points)
    return rest, roll, yaw


def frontal_points(points: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Transform the landmarks to an upright, frontal head: roll and yaw are removed, the asymmetry is kept.

    Args:
        points: 68x2 in pixels of an aligned crop.

    Returns:
        68x2 float64, with x to the right of the image and y down from the midpoint of the eye centres, in units of
        their distance; roll and yaw in degrees.
    """
    points = np.asarray(points, np.float64)
    roll = _fit_pose(points)[2]
    c, s = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    # Level the face first: the fit is linear in the roll.
    rest, symmetric, more, yaw = _fit_pose(points @ np.array([[c, -s], [s, c]]))
    frontal = (symmetric + rest) / [np.cos(np.radians(yaw)), 1]
    eyes = np.stack([frontal[36:42].mean(0), frontal[42:48].mean(0)])
    middle = [0, eyes[:, 1].mean()]  # x = 0 is the fitted middle line
    return (frontal - middle) / np.linalg.norm(eyes[1] - eyes[0]), roll + more, yaw


def _fit_pose(points):
    """Fit the pose; return the residuals of `landmark_asymmetry`, the symmetric landmarks, roll and yaw."""
    points = np.asarray(points, np.float64)
    unit = np.linalg.norm(points[45] - points[36])
    centred = (points - points[[36, 45]].mean(0)) / unit
    mirrored = flip_landmarks(centred, 1.0)  # about x = 0
    d, s = (centred - mirrored) / 2, (centred + mirrored) / 2

    def residual(pose):
        shift, turn, tilt, slope = pose
        return d - np.stack([shift + turn * DEPTH_68 - tilt * s[:, 1], slope * s[:, 0]], 1)

    # soft_l1 limits the influence of a single misplaced landmark.
    fit = least_squares(
        lambda pose: residual(pose)[_STABLE].ravel(), np.zeros(4), loss="soft_l1", f_scale=0.01
    )
    _, turn, tilt, slope = fit.x
    roll = np.degrees(np.arctan((tilt + slope) / 2))
    return residual(fit.x), s, float(roll), float(np.degrees(np.arcsin(np.clip(turn, -1, 1))))


def region_indices(points: np.ndarray) -> tuple[dict[str, float], dict[str, float]]:
    """Compute the indices that depend on landmarks.

    Args:
        points: 68x2 in pixels of an aligned crop.

    Returns:
        Two dicts: the indices of ``Asymmetry.regions`` without "appearance"; and "overall", "roll" and "yaw".
    """
    rest, roll, yaw = landmark_asymmetry(points)
    # The eyes of a turned head appear closer together: use their frontal distance as the unit.
    shortened = np.cos(np.radians(yaw))
    unit = np.linalg.norm(points[45] - points[36]) / shortened
    # Partners have residuals of equal length, each half the difference.
    length = 2 * np.linalg.norm(rest, axis=1) * shortened

    def gap(a, b):
        return np.linalg.norm(points[a] - points[b]) / unit

    eyes = [(gap(37, 41) + gap(38, 40)) / 2, (gap(43, 47) + gap(44, 46)) / 2]
    # Not scaled by cos(yaw), because turning the head barely changes heights.
    regions = {
        "brow": float(length[17:22].mean()),
        "eye opening": float(abs(eyes[0] - eyes[1])),
        "mouth corner": float(length[[48, 60]].mean()),
        "nose": float(length[31:34].mean()),
    }
    inner = length[17:]
    return regions, {"overall": float(np.sqrt(np.mean(inner**2))), "roll": roll, "yaw": yaw}


def appearance_map(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map where a face differs from its mirror image.

    The face is warped to remove position, roll and yaw (`landmark_asymmetry`) but keep its asymmetry. Smooth
    illumination is subtracted from the grey values, which are normalized by their contrast; the absolute difference to
    the mirror image is smoothed and warped back. The forehead is excluded, because hair differs there.

    Args:
        image: SxSx3 uint8, an aligned crop.
        points: 68x2 in pixels.

    Returns:
        SxS float32 ≥ 0, aligned with the image.
    """
    size, points = len(image), np.asarray(points, np.float64)
    unit = np.linalg.norm(points[45] - points[36])
    goal = symmetric_landmarks(points, size) + unit * landmark_asymmetry(points)[0]
    warped = warp_points(image, points, goal)[0]
    grey = np.log1p(cv2.cvtColor(warped, cv2.COLOR_RGB2GRAY).astype(np.float32))
    region = face_region(goal, size, forehead=0.25)
    region = np.minimum(region, region[:, ::-1])

    def blur(x, sigma):
        return cv2.GaussianBlur(x, (0, 0), sigma * size)

    # Smooth within the face only, so that hair and background do not bleed into its border.
    weight = blur(region, 0.06) + 1e-3
    detail = (grey - blur(grey * region, 0.06) / weight) * region
    spread = np.median(np.abs(detail[region > 0])) / 0.6745 + 1e-3
    detail = blur(np.clip(detail / spread, -4, 4), 0.008)
    difference = blur(np.abs(detail - detail[:, ::-1]) * region, 0.012)
    back = warp_points(difference[..., None], goal, points)[0].reshape(size, size)
    return np.clip(back, 0, None) * face_region(points, size, forehead=0.25)


def measure_asymmetry(crop: Image.Image, points: np.ndarray | None = None) -> Asymmetry:
    """Measure the asymmetry of a face.

    Args:
        crop: RGB image, an aligned face (FFHQ framing), square.
        points: 68x2, its landmarks in pixels; default: predicted by `find_points`.

    Returns:
        Asymmetry.

    Raises:
        ZooError: the zoo's landmark network is unavailable.
    """
    crop = crop.convert("RGB")
    points = find_points(crop) if points is None else np.asarray(points, np.float32)
    regions, rest = region_indices(points)
    heat = appearance_map(np.asarray(crop), points)
    region = face_region(points, crop.width, forehead=0.25)
    regions["appearance"] = float(heat.sum() / max(region.sum(), 1))
    return Asymmetry(regions, rest["overall"], heat.astype(np.float32), points, rest["roll"], rest["yaw"])


def draw_heatmap(crop: Image.Image, heatmap: np.ndarray) -> Image.Image:
    """Draw a heat map over the grey face, from black to yellow.

    Args:
        crop: RGB image.
        heatmap: HxW, see `Asymmetry`.

    Returns:
        RGB image.
    """
    grey = np.asarray(crop.convert("L"))[..., None].repeat(3, 2).astype(np.float32)
    level = np.clip(heatmap / CLEAR, 0, 1)[..., None]
    colours = cv2.applyColorMap((level[..., 0] * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    return Image.fromarray((grey * (1 - level) * 0.7 + colours * level).clip(0, 255).astype(np.uint8))
