"""How asymmetric a face is: an index for each region from landmarks, one from appearance, and a heat map.

A turned or tilted head is no asymmetric face: what roll and yaw do to the landmarks is fitted and taken out first.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image
from scipy.optimize import least_squares

from .faces.geometry import DEPTH_68, face_region, flip_landmarks, symmetric_landmarks, warp_points
from .faces.landmarks import find_points

# Landmarks that the muscles of expression hardly move: pose is fitted on them alone, so that a drooping brow or
# mouth corner does not pass for a tilted head.
_STABLE = [0, 1, 2, 14, 15, 16, 27, 28, 29, 30, 33, 36, 39, 42, 45]

REGIONS = ("brow", "eye opening", "mouth corner", "mouth opening", "nose", "contour", "appearance")


@dataclass
class Asymmetry:
    """What `measure_asymmetry` returns.

    Attributes:
        regions: an index for each of REGIONS, 0 = symmetric. All but the last are shares of the distance between the
            outer eye corners: how far the two sides differ. "appearance" is the mean of the heat map over the face.
        overall: the root mean square of the asymmetry of brows, nose, eyes and mouth, in the same unit.
        heatmap: HxW float32 ≥ 0: local difference between the face and its mirror image, light taken out; 0 outside
            the face. In units of the face's own contrast: 0.4 is usual, 2 is a plain difference.
        points: 68x2 float32, the landmarks, in pixels of the crop.
        roll, yaw: of the head in the crop, in degrees, as fitted; yaw is negative when the nose points to the
            picture's left. Beyond about 30° of yaw the indices are not to be trusted.
    """

    regions: dict[str, float]
    overall: float
    heatmap: np.ndarray
    points: np.ndarray
    roll: float
    yaw: float

    def numbers(self):
        """Everything but the pictures as one flat dict, for tables and JSON."""
        return {"overall": self.overall, **self.regions, "roll": self.roll, "yaw": self.yaw}


def landmark_asymmetry(points):
    """What is left of each landmark's asymmetry once the head's position, roll and yaw are taken out.

    A landmark's asymmetry d is half the way from its partner's mirror image to it. A symmetric head, turned by a yaw
    of θ and a roll of ρ, has d_x = shift + sin θ · depth − ρ · y and d_y = ρ' · x; ρ' is not tied to ρ, since pitch
    and yaw together tilt the features too.

    Args:
        points: 68x2 in pixels of an aligned crop.

    Returns:
        68x2 residuals in outer-eye distances, roll and yaw in degrees.
    """
    points = np.asarray(points, np.float64)
    unit = np.linalg.norm(points[45] - points[36])
    centred = (points - points[[36, 45]].mean(0)) / unit
    mirrored = flip_landmarks(centred, 1.0)  # about x = 0
    d, s = (centred - mirrored) / 2, (centred + mirrored) / 2

    def residual(pose):
        shift, turn, tilt, slope = pose
        return d - np.stack([shift + turn * DEPTH_68 - tilt * s[:, 1], slope * s[:, 0]], 1)

    # soft_l1: a single landmark that lies off counts little
    fit = least_squares(
        lambda pose: residual(pose)[_STABLE].ravel(), np.zeros(4), loss="soft_l1", f_scale=0.01
    )
    _, turn, tilt, slope = fit.x
    roll = np.degrees(np.arctan((tilt + slope) / 2))
    return residual(fit.x), float(roll), float(np.degrees(np.arcsin(np.clip(turn, -1, 1))))


def region_indices(points):
    """The landmark indices of ``Asymmetry.regions`` and ``overall``, and roll and yaw: two dicts."""
    rest, roll, yaw = landmark_asymmetry(points)
    # A turned head's eyes seem closer together: the unit is their distance as seen from the front.
    shortened = np.cos(np.radians(yaw))
    unit = np.linalg.norm(points[45] - points[36]) / shortened
    # Both partners have residuals of one length: twice the half-way is the whole difference.
    length = 2 * np.linalg.norm(rest, axis=1) * shortened
    gap = lambda a, b: np.linalg.norm(points[a] - points[b]) / unit  # noqa: E731
    eyes = [(gap(37, 41) + gap(38, 40)) / 2, (gap(43, 47) + gap(44, 46)) / 2]
    # The far eye of a turned head is no less open: heights are hardly shortened.
    regions = {
        "brow": float(length[17:22].mean()),
        "eye opening": float(abs(eyes[0] - eyes[1])),
        "mouth corner": float(length[[48, 60]].mean()),
        "mouth opening": float(abs(gap(61, 67) - gap(63, 65))),
        "nose": float(length[31:34].mean()),
        "contour": float(length[3:9].mean()),
    }
    inner = length[17:]
    return regions, {"overall": float(np.sqrt(np.mean(inner**2))), "roll": roll, "yaw": yaw}


def appearance_map(image, points):
    """Where a face differs from its mirror image: HxW float32 ≥ 0, in the picture's own place.

    The face is warped so that position, roll and yaw fall out (`landmark_asymmetry`) while its own asymmetry stays;
    grey values lose what is smooth (light) and are divided by their usual size; the absolute difference to the
    mirror image is smoothed and warped back. The forehead is left out: what differs there is hair.

    Args:
        image: SxSx3 uint8, an aligned crop.
        points: 68x2 in pixels.
    """
    size, points = len(image), np.asarray(points, np.float64)
    unit = np.linalg.norm(points[45] - points[36])
    goal = symmetric_landmarks(points, size) + unit * landmark_asymmetry(points)[0]
    warped = warp_points(image, points, goal)[0]
    grey = np.log1p(cv2.cvtColor(warped, cv2.COLOR_RGB2GRAY).astype(np.float32))
    region = face_region(goal, size, forehead=0.25)
    region = np.minimum(region, region[:, ::-1])
    # Smoothing within the face alone: hair and background must not light its rim.
    blur = lambda x, sigma: cv2.GaussianBlur(x, (0, 0), sigma * size)  # noqa: E731
    weight = blur(region, 0.06) + 1e-3
    detail = (grey - blur(grey * region, 0.06) / weight) * region
    spread = np.median(np.abs(detail[region > 0])) / 0.6745 + 1e-3
    detail = blur(np.clip(detail / spread, -4, 4), 0.008)
    difference = blur(np.abs(detail - detail[:, ::-1]) * region, 0.012)
    back = warp_points(difference[..., None], goal, points)[0].reshape(size, size)
    return np.clip(back, 0, None) * face_region(points, size, forehead=0.25)


def measure_asymmetry(crop, points=None):
    """Measure how asymmetric a face is.

    Args:
        crop: RGB image, an aligned face (FFHQ framing), square.
        points: its 68 landmarks in pixels; default: `find_points`.

    Returns:
        Asymmetry.

    Raises:
        ZooError: the zoo's landmark network cannot be had.
    """
    crop = crop.convert("RGB")
    points = find_points(crop) if points is None else np.asarray(points, np.float32)
    regions, rest = region_indices(points)
    heat = appearance_map(np.asarray(crop), points)
    region = face_region(points, crop.width, forehead=0.25)
    regions["appearance"] = float(heat.sum() / max(region.sum(), 1))
    return Asymmetry(regions, rest["overall"], heat.astype(np.float32), points, rest["roll"], rest["yaw"])


def draw_heatmap(crop, heatmap, top=2.0):
    """The heat map over the grey face, black to yellow; values of ``top`` and more are brightest."""
    grey = np.asarray(crop.convert("L"))[..., None].repeat(3, 2).astype(np.float32)
    level = np.clip(heatmap / top, 0, 1)[..., None]
    colours = cv2.applyColorMap((level[..., 0] * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    return Image.fromarray((grey * (1 - level) * 0.7 + colours * level).clip(0, 255).astype(np.uint8))
