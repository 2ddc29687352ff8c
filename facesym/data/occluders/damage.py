"""Damage of old prints: scratches, folds, tears, stains, dust and fading."""

import cv2
import numpy as np

from .scene import Scene


def draw_damage(scene: Scene) -> None:
    """Fade the print, then draw one to three kinds of damage over it."""
    rng = scene.rng
    if rng.random() < 0.7:
        _fade(scene)
    kinds = [_scratches, _fold, _stains, _tear, _dust]
    for k in rng.permutation(len(kinds))[: rng.integers(1, 4)]:
        kinds[k](scene)


def _fade(scene):
    """Make the image grey or sepia, lower its contrast and add grain."""
    rng = scene.rng
    grey = scene.image.mean(-1, keepdims=True)
    tone = np.ones(3, np.float32)
    if rng.random() < 0.5:
        tone = np.array([1.08, 1.0, rng.uniform(0.7, 0.95)], np.float32)
    scene.image = grey * tone * rng.uniform(0.6, 0.95) + rng.uniform(10, 60)
    scene.image += rng.normal(0, rng.uniform(0, 8), (scene.size, scene.size, 1)).astype(np.float32)


def _colour(scene):
    """Draw a random colour of bare paper or of dirt: 3 numbers in [0, 255]."""
    rng = scene.rng
    if rng.random() < 0.75:
        return rng.uniform(190, 250) * np.array([1, 0.98, rng.uniform(0.8, 1)], np.float32)
    return np.full(3, rng.uniform(10, 60))


def _path(scene, start, angle, length, wander, steps=24):
    """Return an irregular line as ``steps`` points, in pixels.

    Args:
        scene: Scene.
        start: (x, y).
        angle: initial direction in radians.
        length: in pixels.
        wander: standard deviation of the change of direction per step, in radians.
        steps: number of points.
    """
    angles = angle + np.cumsum(scene.rng.normal(0, wander, steps))
    step = length / steps * np.stack([np.cos(angles), np.sin(angles)], 1)
    return np.asarray(start) + np.cumsum(step, 0)


def _scratches(scene):
    rng, size, angle = scene.rng, scene.size, scene.rng.uniform(0, np.pi)
    colour = _colour(scene)
    for _ in range(rng.integers(1, 9)):
        line = _path(
            scene, rng.uniform(0, size, 2), angle + rng.normal(0, 0.4), rng.uniform(0.15, 1) * size, 0.05
        )
        scene.put(
            "damage",
            scene.stroke(line, rng.uniform(0.8, 3) * size / 256) * rng.uniform(0.6, 1),
            colour,
            lit=False,
        )


def _fold(scene):
    """Draw a crease across the image: a line of lost colour, with the print darker on one side."""
    rng, size = scene.rng, scene.size
    angle = rng.choice([0, np.pi / 2]) + rng.normal(0, 0.15)
    across = np.array([np.cos(angle), np.sin(angle)])
    middle = rng.uniform(0.25, 0.75, 2) * size
    line = _path(scene, middle - across * size, angle, 2 * size, 0.02, 60)
    line += middle - line[len(line) // 2]
    ys, xs = np.mgrid[:size, :size]
    away = (xs - middle[0]) * -across[1] + (ys - middle[1]) * across[0]
    shade = 1 - rng.uniform(0, 0.2) * np.exp(-np.abs(away) / (0.05 * size)) * (away > 0)
    scene.image *= shade[..., None].astype(np.float32)
    line = line + rng.normal(0, 0.5, line.shape)
    crack = scene.stroke(line, rng.uniform(1, 4) * size / 256)
    gaps = cv2.resize(rng.random((size // 4, size // 4)).astype(np.float32), (size, size))
    scene.put("damage", crack * np.clip(gaps * rng.uniform(1.2, 3), 0, 1), _colour(scene), lit=False)


def _stains(scene):
    rng, size = scene.rng, scene.size
    for _ in range(rng.integers(1, 4)):
        spot = scene.blob(rng.uniform(0, size, 2), rng.uniform(0.03, 0.16) * size, 0.5)
        soft = cv2.GaussianBlur(spot, (0, 0), rng.uniform(0.5, 4))
        noise = cv2.resize(rng.random((16, 16)).astype(np.float32), (size, size))
        colour = rng.uniform((60, 40, 20), (190, 160, 110)) if rng.random() < 0.6 else _colour(scene)
        scene.put("damage", soft * np.clip(rng.uniform(0.6, 1.1) - 0.3 * noise, 0, 1), colour, lit=False)


def _tear(scene):
    """Draw a missing corner, a missing piece of an edge, or a hole, with a rough outline."""
    rng, size = scene.rng, scene.size
    edge = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [0.5, 1], [0, 0.5], [1, 0.5]])[rng.integers(7)] * size
    centre = edge if rng.random() < 0.5 else scene.at(*rng.uniform(-0.7, 0.9, 2))
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    radius = rng.uniform(0.06, 0.35) * size
    radius = radius * (1 + 0.12 * rng.normal(0, 1, 60) + 0.2 * np.sin(3 * angle + rng.uniform(0, 6)))
    hole = scene.fill(centre + np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None])
    scene.put("damage", hole, _colour(scene), lit=False)


def _dust(scene):
    rng, size = scene.rng, scene.size
    colour, area = _colour(scene), np.zeros((size, size), np.uint8)
    for x, y in rng.uniform(0, size, (rng.integers(5, 60), 2)):
        cv2.circle(area, (int(16 * x), int(16 * y)), int(16 * rng.uniform(0.6, 2.2)), 255, -1, cv2.LINE_AA, 4)
    scene.put("damage", area.astype(np.float32) / 255, colour, lit=False)
