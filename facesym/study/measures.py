"""Established measures of facial asymmetry with their formulas and sources, as left minus right.

"Left" and "right" are the subject's own: the subject's right is the image's left, unless the photo is mirrored.
Lengths are in units of the distance between the eye centres, an approximation of the pupillary distance; angles are in
degrees. All are computed from landmarks with roll and yaw removed (`facesym.asymmetry.frontal_points`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..asymmetry import frontal_points
from ..faces.geometry import flip_landmarks

EYE = "eye distance"
DEGREES = "degrees"
SIDES = ("right", "left")


@dataclass(frozen=True)
class Measure:
    """A measure.

    Attributes:
        key: its name in tables.
        label: its name in print.
        region: "brow", "eye" or "mouth".
        unit: EYE or DEGREES.
        formula: in words, with iBUG's landmark numbers of the subject's right side.
        source: the publication that establishes it.
        detectable: the smallest detectable change of its left-right difference, in its unit (docs/measured.md).
        right: its value on the right side, from 68x2 frontal points; None if the measure has no sides.
        middle: of a measure without sides, its signed value: positive towards the subject's left.
    """

    key: str
    label: str
    region: str
    unit: str
    formula: str
    source: str
    detectable: float
    right: Callable | None = None
    middle: Callable | None = None


def _height(points, *landmarks):
    return -points[list(landmarks), 1].mean()


def _distance(points, a, b):
    return np.linalg.norm(points[a] - points[b])


def _smile_angle(points):
    return np.degrees(np.arctan2(-points[48, 0], points[57, 1] - points[48, 1]))


def _philtrum(points):
    return np.degrees(np.arctan2(*(points[51] - points[33])))


EMOTRICS = "Guarin et al., JAMA Facial Plast Surg 2018 (Emotrics)"
SMILE = "Bray et al., Arch Facial Plast Surg 2010 (SMILE)"

MEASURES = (
    Measure(
        "brow_height", "Brow height", "brow", EYE,
        "height of the brow (mean of 17-21) above the canthi (mean of 36, 39)", EMOTRICS,
        detectable=0.0658, right=lambda p: _height(p, 17, 18, 19, 20, 21) - _height(p, 36, 39),
    ),
    Measure(
        "palpebral_fissure", "Palpebral fissure height", "eye", EYE,
        "distance between the eyelids, mean of 37-41 and 38-40", EMOTRICS,
        detectable=0.0374, right=lambda p: (_distance(p, 37, 41) + _distance(p, 38, 40)) / 2,
    ),
    Measure(
        "mrd1", "Margin-reflex distance 1", "eye", EYE,
        "height of the upper eyelid (mean of 37, 38) above the line through the canthi (36, 39), in place of the light "
        "reflex", EMOTRICS, detectable=0.032, right=lambda p: _height(p, 37, 38) - _height(p, 36, 39),
    ),
    Measure(
        "mrd2", "Margin-reflex distance 2", "eye", EYE,
        "height of the line through the canthi (36, 39) above the lower eyelid (mean of 40, 41)", EMOTRICS,
        detectable=0.0191, right=lambda p: _height(p, 36, 39) - _height(p, 40, 41),
    ),
    Measure(
        "commissure_excursion", "Commissure excursion", "mouth", EYE,
        "distance of the mouth corner (48) from the lower lip border (57) at the midline", SMILE,
        detectable=0.0938, right=lambda p: np.hypot(p[48, 0], p[48, 1] - p[57, 1]),
    ),
    Measure(
        "commissure_height", "Commissure height", "mouth", EYE,
        "height of the mouth corner (48) relative to the base of the nose (33): negative, lower for a drooping corner",
        EMOTRICS, detectable=0.074, right=lambda p: _height(p, 48) - _height(p, 33),
    ),
    Measure(
        "smile_angle", "Smile angle", "mouth", DEGREES,
        "angle at the lower lip border (57, at the midline) between the midline upwards and the mouth corner (48)",
        EMOTRICS, detectable=9.23, right=_smile_angle,
    ),
    Measure(
        "facial_asymmetry_index", "Facial asymmetry index", "mouth", EYE,
        "distance from the medial canthus (39) to the mouth corner (48); the index is the left-right difference",
        "Malm et al., Facial Plast Surg 2018", detectable=0.0619, right=lambda p: _distance(p, 39, 48),
    ),
    Measure(
        "philtrum_deviation", "Philtrum deviation", "mouth", DEGREES,
        "angle between the midline and the line from the base of the nose (33) to the upper lip border (51); "
        "positive: the lip deviates to the left", "Hadlock & Urban, Arch Facial Plast Surg 2012 (FACE-gram)",
        detectable=7.66, middle=_philtrum,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Sides:
    """A measure's values on one face.

    Attributes:
        right, left: of the subject's sides; None of a measure without sides.
        difference: left minus right; or the signed value of a measure without sides.
    """

    right: float | None
    left: float | None
    difference: float


def measure_sides(points: np.ndarray) -> dict[str, Sides]:
    """Compute all of MEASURES.

    Args:
        points: 68x2, landmarks in pixels of the aligned crop, best `facesym.asymmetry.steady_points`.

    Returns:
        {key of a measure: Sides}. The mirrored face gives the negative differences.
    """
    frontal = frontal_points(points)[0]
    mirrored = flip_landmarks(frontal, 1.0)  # about x = 0: the left side as a right one
    found = {}
    for measure in MEASURES:
        value = measure.middle or measure.right
        assert value is not None
        right, left = float(value(frontal)), float(value(mirrored))
        sides = (None, None, (right - left) / 2) if measure.middle else (right, left, left - right)
        found[measure.key] = Sides(*sides)
    return found
