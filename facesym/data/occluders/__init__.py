"""Draw occlusions over faces to train and evaluate OcclusionNet.

There are glasses, sunglasses, face masks, hands and objects, strands of hair, and damage of old prints. Each is placed
by the 68 landmarks and rendered with the photo's illumination, shadows and blur.
"""

import cv2
import numpy as np

from ...attributes import OCCLUSIONS
from .damage import draw_damage
from .glasses import draw_glasses, draw_sunglasses
from .hair import draw_hair
from .masks import draw_mask
from .objects import draw_object
from .scene import Scene

_DRAW = {
    "glasses": draw_glasses,
    "sunglasses": draw_sunglasses,
    "mask": draw_mask,
    "object": draw_object,
    "hair": draw_hair,
    "damage": draw_damage,
}
# Probability of each kind.
_OFTEN = {"glasses": 0.26, "sunglasses": 0.17, "mask": 0.14, "object": 0.27, "hair": 0.06, "damage": 0.1}
_SECOND = 0.15  # probability of a second occlusion


def draw_occluders(
    rng: np.random.Generator, image: np.ndarray, points: np.ndarray, kind: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one occlusion over a face, sometimes two.

    Args:
        rng: numpy Generator.
        image: SxSx3 uint8, an aligned face (FFHQ framing).
        points: 68x2, its landmarks in pixels.
        kind: one of OCCLUSIONS; default: random.

    Returns:
        The image, SxSx3 uint8, and its labels, SxS uint8: 0 = visible, k = occluded by OCCLUSIONS[k - 1]. Shadows count
        as visible.
    """
    scene, probability = Scene(rng, image, points), np.array([_OFTEN[name] for name in OCCLUSIONS])
    kinds = [kind or str(rng.choice(OCCLUSIONS, p=probability / probability.sum()))]
    if kind is None and rng.random() < _SECOND:
        kinds.append(str(rng.choice(("object", "hair", "damage"))))
    for name in sorted(kinds, key=OCCLUSIONS.index):  # from the face towards the camera
        _DRAW[name](scene)
    return scene.finish()


def draw_distractors(rng: np.random.Generator, image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Draw a hard shadow, make-up or a highlight. None of them counts as an occlusion.

    Args:
        rng, image, points: see `draw_occluders`.

    Returns:
        SxSx3 uint8.
    """
    scene = Scene(rng, image, points)
    kind = rng.random()
    if kind < 0.5:
        _shadow(scene)
    elif kind < 0.85:
        _make_up(scene)
    else:
        spot = cv2.GaussianBlur(
            scene.blob(scene.at(*rng.uniform(-0.6, 0.6, 2)), 0.15 * scene.unit), (0, 0), 4
        )
        scene.image += spot[..., None] * rng.uniform(20, 90)
    return scene.finish()[0]


def _shadow(scene):
    """Draw a shadow cast from outside the image: a straight edge, a blob or stripes."""
    rng, size = scene.rng, scene.size
    kind = rng.random()
    if kind < 0.4:
        middle, angle = scene.at(*rng.uniform(-0.6, 0.6, 2)), rng.uniform(0, 2 * np.pi)
        ys, xs = np.mgrid[:size, :size]
        dark = ((xs - middle[0]) * np.cos(angle) + (ys - middle[1]) * np.sin(angle) > 0).astype(np.float32)
    elif kind < 0.7:
        dark = scene.blob(scene.at(*rng.uniform(-0.6, 0.6, 2)), rng.uniform(0.3, 0.9) * scene.unit)
    else:
        angle, period = rng.uniform(0, np.pi), rng.uniform(0.12, 0.5) * scene.unit
        ys, xs = np.mgrid[:size, :size]
        wave = np.sin((xs * np.cos(angle) + ys * np.sin(angle)) * 2 * np.pi / period)
        dark = (wave > rng.uniform(-0.3, 0.6)).astype(np.float32)
    dark = cv2.GaussianBlur(dark, (0, 0), rng.uniform(0.6, 5))
    scene.image *= 1 - rng.uniform(0.25, 0.75) * dark[..., None]


def _make_up(scene):
    """Draw lipstick, eye shadow and blush."""
    rng, points = scene.rng, scene.points
    colour = rng.uniform((80, 0, 20), (220, 90, 120))
    _tint(scene, scene.fill(points[48:60]), colour, rng.uniform(0.2, 0.7), 1.0)
    shadow = rng.uniform(0, 160, 3)
    for eye in (points[36:42], points[42:48]):
        wide = eye.mean(0) + (eye - eye.mean(0)) * rng.uniform(1.2, 2.2) - [0, 0.04 * scene.unit]
        _tint(
            scene,
            scene.fill(cv2.convexHull(wide.astype(np.float32))[:, 0]),
            shadow,
            rng.uniform(0.1, 0.6),
            2.5,
        )
    for side in (-1, 1):
        blush = scene.blob(scene.at(0.42 * side, 0.45), 0.16 * scene.unit)
        _tint(scene, blush, (210, 80, 90), rng.uniform(0, 0.4), 0.08 * scene.unit)


def _tint(scene, area, colour, strength, blur):
    """Blend a colour over an area (SxS float32), at the brightness of the image."""
    alpha = strength * cv2.GaussianBlur(area, (0, 0), blur)[..., None]
    tinted = scene.image.mean(-1, keepdims=True) / 160 * np.float32(colour)
    scene.image = scene.image * (1 - alpha) + alpha * tinted
