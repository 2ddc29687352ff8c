"""Strands of hair over the face."""

import cv2
import numpy as np

from .scene import Scene

_COLOURS = np.array(
    [
        (25, 20, 18),
        (60, 40, 28),
        (110, 75, 45),
        (175, 130, 80),
        (215, 185, 135),
        (140, 60, 35),
        (150, 150, 150),
    ],
    np.float32,
)


def draw_hair(scene: Scene) -> None:
    """Draw one to three strands from the hairline over an eye or a cheek."""
    rng = scene.rng
    colour = _colour(scene)
    for _ in range(rng.integers(1, 4)):
        _strand(scene, colour)


def _colour(scene):
    """Return the colour of the person's hair, sampled above the forehead, or a random one."""
    if scene.rng.random() < 0.7:
        x, y = np.clip(scene.at(scene.rng.uniform(-0.5, 0.5), -1.0), 3, scene.size - 4).astype(int)
        return scene.image[y - 3 : y + 4, x - 3 : x + 4].reshape(-1, 3).mean(0) / scene.exposure
    return _COLOURS[scene.rng.integers(len(_COLOURS))]


def _strand(scene, colour):
    rng = scene.rng
    side = rng.choice([-1, 1])
    start = np.array([side * rng.uniform(-0.3, 0.5), -rng.uniform(0.6, 1.1)])
    end = np.array([side * rng.uniform(0.05, 0.75), rng.uniform(0.0, 1.5)])
    bow = np.array([side * rng.uniform(-0.2, 0.5), rng.uniform(-0.3, 0.3)])
    t = np.linspace(0, 1, 12)[:, None]
    width, count = rng.uniform(0.01, 0.2), int(rng.integers(2, 40))
    area, tones = np.zeros((scene.size,) * 2, np.float32), np.zeros((scene.size,) * 2, np.float32)
    for _ in range(count):
        a = start + rng.normal(0, 0.5, 2) * width
        b = end + rng.normal(0, 1.0, 2) * width * rng.uniform(0.3, 1.5)
        m = (start + end) / 2 + bow + rng.normal(0, 0.8, 2) * width
        path = (1 - t) ** 2 * a + 2 * t * (1 - t) * m + t**2 * b
        hair = scene.stroke(scene.at(path[:, 0], path[:, 1]), rng.uniform(0.6, 1.8) * scene.size / 256)
        tones = np.where(hair > 0.2, rng.normal(1, 0.2), tones)
        area = np.maximum(area, hair)
    tones = np.where(tones > 0, tones, 1)
    colour = np.clip(np.float32(colour) * cv2.GaussianBlur(tones, (0, 0), 0.8)[..., None], 0, 255)
    scene.put("hair", area, colour, shadow=rng.uniform(0, 0.4), reach=rng.uniform(0.01, 0.04))
