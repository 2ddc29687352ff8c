"""Face masks and scarves."""

import cv2
import numpy as np

from .scene import Scene

_SURGICAL = (
    (150, 195, 225),
    (235, 238, 240),
    (120, 180, 170),
    (190, 215, 235),
    (30, 30, 34),
    (225, 190, 205),
)


def draw_mask(scene: Scene) -> None:
    """Draw a surgical mask, a cloth mask or a scarf."""
    rng = scene.rng
    kind = rng.random()
    outline, scarf = _outline(scene), kind > 0.85
    if scarf:
        outline[0] += (-0.05 * scene.unit, 0)
        bottom = np.array([[scene.size + 40.0, scene.size + 40.0], [-40.0, scene.size + 40.0]])
        top = outline[:9]
        outline = np.concatenate(
            [
                top[:1] + np.array([-0.5, 0.2]) * scene.unit,
                top,
                top[-1:] + np.array([0.5, 0.2]) * scene.unit,
                bottom,
            ]
        )
    alpha = scene.fill(outline)
    surgical = kind < 0.5
    colour = np.asarray(_SURGICAL[rng.integers(6)], np.float32) if surgical else scene.texture(0.3)
    shade = _shading(scene, alpha)
    shade = shade * (_pleats(scene) if surgical else _wrinkles(scene, rng.uniform(0.05, 0.25)))
    scene.cast_shadow(alpha, rng.uniform(0.1, 0.5), rng.uniform(0.02, 0.06))
    if not scarf and rng.random() < 0.9:
        _straps(scene, outline, colour)
    scene.put("mask", alpha, np.clip(np.broadcast_to(colour, (*alpha.shape, 3)) * shade[..., None], 0, 255))


def _outline(scene):
    """Return the outline from the left cheek over the nose to the right one and back below the chin: Nx2, pixels."""
    rng, points = scene.rng, scene.points
    # Sometimes the mask is worn below the nose.
    high = rng.uniform(0.3, 1.15) if rng.random() < 0.85 else rng.uniform(1.2, 1.8)
    nose = points[28] + (points[30] - points[28]) * (high - 0.3)
    first = int(rng.integers(1, 4))
    left, right = points[first], points[16 - first]
    if high > 1.2:
        left, right = points[3], points[13]
    t = np.linspace(-1, 1, 9)[:, None]
    bend = rng.uniform(1.2, 3)
    side = np.where(t < 0, left, right)
    top = nose + (side - nose) * np.abs(t) ** rng.uniform(0.9, 1.15)
    top[:, 1] = nose[1] + (side[:, 1] - nose[1]) * np.abs(t[:, 0]) ** bend
    jaw = points[first + 1 : 16 - first][::-1]
    centre = points[30]
    jaw = centre + (jaw - centre) * rng.uniform(1.0, 1.12)
    below = (points[8] - points[33]) * rng.uniform(0.0, 0.2)
    return np.concatenate([top, jaw + below * np.sin(np.linspace(0, np.pi, len(jaw)))[:, None]])


def _shading(scene, alpha):
    """Shading of a surface that bulges over nose and chin: SxS, about 1."""
    rng, (x, y) = scene.rng, scene.points[33]
    ys, xs = np.mgrid[: scene.size, : scene.size].astype(np.float32)
    side = (xs - x) / (0.6 * scene.unit)
    down = (ys - y) / (0.6 * scene.unit)
    shade = (
        1.08 - rng.uniform(0.1, 0.35) * np.abs(side) ** 1.5 - rng.uniform(0, 0.25) * np.clip(down, -1, 1.5)
    )
    shade += rng.uniform(-0.25, 0.25) * np.clip(side, -1, 1)
    shade += rng.uniform(0, 0.15) * np.exp(-((side / 0.25) ** 2))
    hem = np.where(cv2.erode(alpha, np.ones((3, 3))) > 0.9, 1, 0.93)
    return np.clip(shade * hem, 0.3, 1.4).astype(np.float32)


def _pleats(scene):
    """Shading of two to four pleats across the mask: SxS, about 1."""
    rng, shade = scene.rng, np.ones((scene.size,) * 2, np.float32)
    for y in np.linspace(0.35, 0.95, rng.integers(2, 5)) + rng.normal(0, 0.03):
        x = np.linspace(-0.6, 0.6, 9)
        line = scene.at(x, y + rng.uniform(-0.12, 0.12) * (1 - 4 * x**2))
        fold = scene.stroke(line, max(1.0, 0.012 * scene.unit))
        lit = scene.stroke(line + np.array([0, 0.025]) * scene.unit, max(1.0, 0.015 * scene.unit))
        shade += cv2.GaussianBlur(rng.uniform(0, 0.1) * lit - rng.uniform(0.05, 0.3) * fold, (0, 0), 0.8)
    return shade * _wrinkles(scene, 0.06)


def _wrinkles(scene, strength):
    """Smooth random shading: SxS, about 1."""
    coarse = scene.rng.normal(0, 1, (9, 14)).astype(np.float32)
    waves = cv2.resize(coarse, (scene.size,) * 2, interpolation=cv2.INTER_CUBIC)
    return 1 + strength * np.clip(waves, -1.5, 1.5)


def _straps(scene, outline, colour):
    """Draw straps from the corners of the mask to the ears."""
    rng = scene.rng
    white = np.array([230, 230, 228], np.float32) if rng.random() < 0.6 else np.asarray(colour, np.float32)
    for side, top, low, ear in (
        (-1, outline[0], outline[-2], scene.points[0]), (1, outline[8], outline[10], scene.points[16])
    ):  # fmt: skip
        ear = ear + np.array([side * rng.uniform(0.02, 0.12), rng.uniform(-0.1, 0.15)]) * scene.unit
        width = rng.uniform(0.012, 0.035) * scene.unit
        for start in (top, low):
            middle = (start + ear) / 2 + [0, rng.uniform(-0.03, 0.03) * scene.unit]
            scene.put(
                "mask", scene.stroke(np.stack([start, middle, ear]), width), white, shadow=0.25, reach=0.02
            )
