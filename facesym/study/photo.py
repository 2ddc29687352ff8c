"""Measure one photo of a study, and flag it if the measures may be unreliable."""

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ..asymmetry import measure_asymmetry, steady_points
from ..errors import ImageError
from ..faces.align import align_face, scale_of, to_photo
from ..faces.find import find_faces
from ..faces.load import read_photo
from ..faces.pose import FARTHEST_YAW, find_pose
from .measures import Sides, measure_sides
from .reference import limit

SIZE = 256  # side of the measured crops, in pixels
TURNED, NODDING = 10, 25  # degrees of yaw and pitch beyond which a face is flagged
FEWEST_PIXELS = 45  # between the eyes' centres: 1.4 mm per pixel
LEAST_SHARPNESS = 6  # standard deviation of the Laplacian of the crop at 128 pixels


@dataclass
class MeasuredFace:
    """A face and its measures.

    Attributes:
        crop: RGB, the aligned crop, SIZE pixels a side.
        points: 68x2 float32, its landmarks in pixels.
        heatmap: SIZExSIZE float32, see `facesym.asymmetry.Asymmetry`.
        sides: {key of a measure: Sides}.
        indices: {name: value} of facesym's own indices: "overall" and `facesym.asymmetry.REGIONS`.
        roll, yaw, pitch: of the head in the photo, degrees; yaw is negative when the nose points to the image's
            left, pitch when it points up.
        eye_distance: of the eyes' centres, in pixels of the photo.
        sharpness: standard deviation of the Laplacian of the grey crop at 128 pixels.
        doubt: how far the landmarks of shifted crops disagree, in outer-eye distances.
        mouth: width and opening of the mouth, in eye distances.
        flags: reasons why the measures may be unreliable, in words; empty if there are none.
        check: what only a look at the photo can decide, in words: a closed mouth is wide in a smile or by nature. "" if
            there is nothing.
    """

    crop: Image.Image
    points: np.ndarray
    heatmap: np.ndarray
    sides: dict[str, Sides]
    indices: dict[str, float]
    roll: float
    yaw: float
    pitch: float
    eye_distance: float
    sharpness: float
    doubt: float
    mouth: tuple[float, float]
    flags: list[str] = field(default_factory=list)
    check: str = ""


def measure_photo(source: Any, *, resting: bool = True) -> MeasuredFace:
    """Measure the largest face of a photo.

    Args:
        source: see `facesym.faces.load.read_photo`.
        resting: whether the face should be at rest, so that an expression is flagged.

    Returns:
        MeasuredFace.

    Raises:
        ImageError: the photo cannot be read, or the face is in profile.
        FaceNotFoundError: no face was found.
    """
    photo = read_photo(source).image
    # "largest" would not look for smaller faces.
    found, _, transforms = find_faces(photo, "all", SIZE)
    transform = max(zip(found, transforms), key=lambda pair: pair[0].area)[1]
    face = measure_crop(align_face(photo, transform, SIZE))
    if abs(face.yaw) > FARTHEST_YAW:
        raise ImageError(
            f"The head is turned by about {abs(face.yaw):.0f} degrees, and one half of the face is not visible: "
            "choose a frontal photo."
        )
    face.eye_distance /= scale_of(transform)
    # The crop is upright in the photo rotated by -tilt.
    face.roll -= float(np.degrees(np.arctan2(transform[1, 0], transform[0, 0])))
    face.flags, face.check = find_flags(face, resting)
    if len(found) > 1:
        face.flags.append(f"{len(found)} faces: only the largest is measured")
    if _cut_off(photo, transform, face.points):
        face.flags.append("cut off: part of the face lies outside the photo")
    return face


def measure_crop(crop: Image.Image) -> MeasuredFace:
    """Measure an aligned crop (RGB image, SIZE pixels per side); return a MeasuredFace without flags."""
    points, doubt = steady_points(crop)
    own = measure_asymmetry(crop, points)
    yaw, pitch = find_pose(crop)
    unit = np.linalg.norm(points[42:48].mean(0) - points[36:42].mean(0))
    grey = cv2.cvtColor(np.asarray(crop.resize((128, 128))), cv2.COLOR_RGB2GRAY)
    return MeasuredFace(
        crop=crop,
        points=points,
        heatmap=own.heatmap,
        sides=measure_sides(points),
        indices={"overall": own.overall, **own.regions},
        roll=own.roll,
        yaw=yaw,
        pitch=pitch,
        eye_distance=float(unit),
        sharpness=float(cv2.Laplacian(grey, cv2.CV_32F).std()),
        doubt=doubt,
        mouth=(
            float(np.linalg.norm(points[48] - points[54]) / unit),
            float(np.linalg.norm(points[62] - points[66]) / unit),
        ),
    )


def find_flags(face: MeasuredFace, resting: bool) -> tuple[list[str], str]:
    """Return the reasons why a face's measures may be unreliable, and what to check; see `MeasuredFace`."""
    width, opening = face.mouth
    is_open, is_wide = resting and opening > limit("mouth_opening"), resting and width > limit("mouth_width")
    checks = {
        f"turned: yaw {face.yaw:.0f}°": abs(face.yaw) > TURNED,
        f"nodding: pitch {face.pitch:.0f}°": abs(face.pitch) > NODDING,
        f"low resolution: {face.eye_distance:.0f} pixels between the eyes": face.eye_distance < FEWEST_PIXELS,
        "blurred": face.sharpness < LEAST_SHARPNESS,
        f"expression: the mouth is open{' and wide' if is_wide else ''}": is_open,
        "occluded or unclear: the landmarks are uncertain": face.doubt > limit("doubt"),
    }
    check = "expression: the mouth is wide" if is_wide and not is_open else ""
    return [flag for flag, holds in checks.items() if holds], check


def _cut_off(photo, transform, points):
    """Whether landmarks lie outside the photo."""
    coordinates = to_photo(points, transform)
    return bool((coordinates < 0).any() or (coordinates > np.array(photo.size) - 1).any())
