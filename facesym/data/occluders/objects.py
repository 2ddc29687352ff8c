"""Hands, microphones and other objects in front of a face."""

import cv2
import numpy as np

from .scene import Scene

_SKINS = np.array(
    [
        (250, 215, 190),
        (235, 190, 160),
        (215, 165, 130),
        (185, 130, 95),
        (140, 95, 65),
        (95, 62, 45),
        (65, 42, 32),
    ],
    np.float32,
)


def draw_object(scene: Scene) -> None:
    """Draw a hand, a microphone, or an object of random shape."""
    kind = scene.rng.random()
    if kind < 0.5:
        _hand(scene)
    elif kind < 0.68:
        _microphone(scene)
    else:
        _shape(scene)


def _skin(scene):
    """Return the skin colour of a hand: the face's, or a random one."""
    rng = scene.rng
    if rng.random() < 0.75:
        around = [scene.at(x, y) for x, y in ((-0.4, 0.4), (0.4, 0.4), (0, -0.3), (0.05, 0.3))]
        pixels = [scene.image[tuple(np.clip(p[::-1], 0, scene.size - 1).astype(int))] for p in around]
        return np.median(pixels, 0) / scene.exposure * rng.uniform(0.75, 1.15) * rng.uniform(0.94, 1.06, 3)
    return _SKINS[rng.integers(len(_SKINS))] * rng.uniform(0.85, 1.1)


def _hand(scene):
    """Draw a hand that reaches in from outside the image: fingers and, usually, palm and arm."""
    rng, unit = scene.rng, scene.unit
    skin = np.float32(_skin(scene))
    target = scene.points[
        rng.choice([2, 3, 5, 6, 8, 10, 11, 13, 14, 30, 33, 48, 54, 57, 57, 51, 36, 45, 19, 24])
    ]
    target = target + rng.normal(0, 0.08, 2) * unit
    angle = rng.choice([np.pi / 2, np.pi / 2, 0, np.pi]) + rng.normal(0, 0.5)  # from the fingers to the arm
    out = np.array([np.cos(angle), np.sin(angle)])
    side = np.array([-out[1], out[0]])
    length, thick = rng.uniform(0.35, 0.8) * unit, rng.uniform(0.12, 0.19) * unit
    fingers, bent = int(rng.integers(1, 5)), rng.uniform(-0.25, 0.25)
    palm = target + out * length
    arm_end = palm + out * 3 * unit
    spread = rng.uniform(0.85, 1.1) * thick
    wide = max(fingers, 3) * spread
    sleeve = rng.random() < 0.35
    shadow = rng.uniform(0.1, 0.5)
    if rng.random() < 0.85:  # back of the hand and arm
        root = palm + side * rng.normal(0, 0.1) * unit
        area = np.maximum(
            scene.stroke(np.stack([root + out * 0.25 * wide, root + out * 0.6 * wide]), wide),
            scene.stroke(np.stack([root + out * 0.5 * wide, arm_end]), 0.75 * wide),
        )
        corners = [
            palm + side * wide / 2,
            palm - side * wide / 2,
            root - side * wide * 0.5 + out * wide,
            root + side * wide * 0.5 + out * wide,
        ]
        area = np.maximum(area, scene.fill(np.stack(corners)))
        _flesh(scene, area, skin, shadow)
        if sleeve:
            cuff = scene.stroke(np.stack([root + out * rng.uniform(0.9, 1.6) * wide, arm_end]), 1.1 * wide)
            scene.put("object", cuff, scene.texture(0.3) * scene.round_shading(cuff)[..., None], shadow=0.3)
    offsets = (np.arange(fingers) - (fingers - 1) / 2) * spread
    for offset in rng.permutation(offsets):
        reach = length * rng.uniform(0.8, 1.1) * (1 - 0.2 * abs(offset) / (2 * spread))
        start = palm + side * offset + out * 0.3 * wide
        knuckle = palm + side * offset - out * 0.45 * reach + side * bent * 0.3 * reach
        tip = palm + side * offset * rng.uniform(0.8, 1.2) - out * reach + side * bent * reach
        _finger(scene, np.stack([start, knuckle, tip]), thick * rng.uniform(0.85, 1.05), skin, shadow)


def _finger(scene, line, thick, skin, shadow):
    """Draw a finger along a line (3x2: root, knuckle, tip), sometimes with a nail."""
    rng, (start, knuckle, tip) = scene.rng, line
    area = np.maximum(
        scene.stroke(np.stack([start, knuckle]), thick), scene.stroke(np.stack([knuckle, tip]), 0.88 * thick)
    )
    _flesh(scene, area, skin, shadow)
    along = (tip - knuckle) / (np.linalg.norm(tip - knuckle) + 1e-6)
    for k in range(-1, 2):  # creases of the knuckle
        across = np.array([-along[1], along[0]]) * 0.3 * thick
        at = knuckle + along * k * 0.1 * thick
        crease = scene.stroke(np.stack([at - across, at + across]), 1) * rng.uniform(0, 0.25)
        scene.image *= 1 - cv2.GaussianBlur(crease, (0, 0), 0.7)[..., None] * 0.6
    if rng.random() < 0.5:
        nail = scene.stroke(np.stack([tip - along * 0.1 * thick, tip + along * 0.15 * thick]), 0.5 * thick)
        colour = (
            skin * [1.08, 1.02, 1.02] if rng.random() < 0.6 else rng.uniform((100, 0, 20), (240, 130, 160))
        )
        scene.put("object", nail * rng.uniform(0.5, 0.95), np.clip(colour, 0, 255))


def _flesh(scene, area, skin, shadow):
    """Draw rounded skin over the face, with a soft dark rim and uneven redness."""
    rng = scene.rng
    shade = scene.round_shading(area, rng.uniform(0.25, 0.6))
    mottled = cv2.resize(rng.normal(0, 1, (20, 20, 3)).astype(np.float32) * [1, 0.7, 0.7], (scene.size,) * 2)
    grain = rng.normal(0, 1.5, (scene.size, scene.size, 1)).astype(np.float32)
    colour = np.clip(skin * shade[..., None] + 4 * mottled + grain, 0, 255)
    scene.put("object", area, colour, shadow=shadow, reach=rng.uniform(0.02, 0.07))


def _microphone(scene):
    """Draw a microphone: a round or oblong head with a grid on a handle that points down."""
    rng, unit = scene.rng, scene.unit
    head = scene.points[[57, 8, 54, 48][rng.integers(4)]] + rng.normal(0, 0.15, 2) * unit
    angle = np.pi / 2 + rng.normal(0, 0.6)
    out, radius = np.array([np.cos(angle), np.sin(angle)]), rng.uniform(0.13, 0.36) * unit
    tone = rng.uniform(15, 90) if rng.random() < 0.7 else rng.uniform(90, 200)
    shadow = rng.uniform(0, 0.5)
    if rng.random() < 0.85:
        handle = scene.stroke(np.stack([head, head + out * 4 * unit]), radius * rng.uniform(0.6, 1.3))
        dark = rng.random() < 0.7
        body = np.float32(rng.uniform(5, 60) * np.ones(3) if dark else rng.uniform(20, 230, 3))
        colour = np.clip(body * scene.round_shading(handle, 0.8)[..., None], 0, 255)
        scene.put("object", handle, colour, shadow=shadow)
    if rng.random() < 0.35:  # a fist around the handle
        _fist(scene, head + out * rng.uniform(1.4, 2.6) * radius, out, radius)
    ball = scene.stroke(np.stack([head, head + out * radius * rng.uniform(0.1, 1.2)]), 2 * radius)
    ys, xs = np.mgrid[: scene.size, : scene.size]
    period = rng.uniform(2.5, 5)
    grid = np.sin(xs * 2 * np.pi / period) * np.sin(ys * 2 * np.pi / period) * rng.uniform(0, 0.5)
    colour = tone * (1 + grid) * scene.round_shading(ball, 0.7)
    tinted = np.clip(colour[..., None] * np.float32(rng.uniform(0.9, 1.1, 3)), 0, 255)
    scene.put("object", ball, tinted, shadow=shadow, reach=0.06)


def _fist(scene, top, out, radius):
    """Draw four fingers around a handle that runs from ``top`` (pixels) along ``out`` (unit vector)."""
    rng, skin = scene.rng, np.float32(_skin(scene))
    across, thick = np.array([-out[1], out[0]]), rng.uniform(0.12, 0.19) * scene.unit
    reach = max(radius, thick) * rng.uniform(1.1, 1.6)
    for k in range(4):
        middle = top + out * k * 0.9 * thick
        line = np.stack([middle - reach * across, middle, middle + reach * across * rng.uniform(0.7, 1)])
        _finger(scene, line, thick, skin, rng.uniform(0.1, 0.4))


def _shape(scene):
    """Draw a blob, a rectangle or a bar of random colour or pattern."""
    rng, unit = scene.rng, scene.unit
    centre = scene.at(rng.uniform(-0.7, 0.7), rng.uniform(-0.5, 1.3))
    kind = rng.random()
    if kind < 0.4:
        area = scene.blob(centre, rng.uniform(0.15, 0.55) * unit, rng.uniform(0.1, 0.5))
    elif kind < 0.75:
        box = cv2.boxPoints((centre.tolist(), tuple(rng.uniform(0.25, 1.3, 2) * unit), rng.uniform(0, 180)))
        area = scene.fill(box)
    else:
        out = rng.normal(0, 1, 2)
        ends = np.stack(
            [centre - out * rng.uniform(0, 0.6) * unit, centre + out / np.linalg.norm(out) * 4 * unit]
        )
        area = scene.stroke(ends, rng.uniform(0.04, 0.4) * unit)
    shade = scene.round_shading(area, rng.uniform(0, 0.6)) if rng.random() < 0.6 else np.ones_like(area)
    colour = np.clip(scene.texture() * shade[..., None], 0, 255)
    scene.put(
        "object",
        area,
        colour,
        shadow=rng.uniform(0, 0.55),
        reach=rng.uniform(0.01, 0.1),
        lit=rng.random() < 0.7,
    )
