"""Glasses and sunglasses."""

import cv2
import numpy as np

from .scene import Scene

# Colours of frames, RGB.
_METALS = ((170, 170, 175), (200, 170, 90), (90, 90, 95), (190, 130, 110))
_PLASTICS = (
    (15, 15, 18),
    (60, 35, 20),
    (25, 30, 60),
    (120, 20, 25),
    (225, 220, 205),
    (110, 80, 50),
    (40, 40, 40),
)


def draw_glasses(scene: Scene) -> None:
    """Draw clear glasses: rims, bridge, arms and sometimes glare. Eyes behind clear glass count as visible."""
    rng = scene.rng
    lenses = _lenses(scene, tall=rng.uniform(0.7, 1.0))
    frame, colour = _frame(scene, lenses)
    glass = np.maximum(*(scene.fill(lens) for lens in lenses))
    if rng.random() < 0.6:
        _refract(scene, lenses)
    if rng.random() < 0.5:  # the glass is slightly darker or lighter than the skin around it
        scene.image *= 1 + rng.uniform(-0.12, 0.06) * glass[..., None]
    if rng.random() < 0.25:
        _glare(scene, glass)
    scene.put("glasses", frame, colour, shadow=rng.uniform(0, 0.55), reach=rng.uniform(0.01, 0.08))


def draw_sunglasses(scene: Scene) -> None:
    """Draw tinted, dark or mirrored glasses. The whole lens counts as an occlusion."""
    rng = scene.rng
    lenses = _lenses(scene, tall=rng.uniform(1.0, 1.35))
    frame, colour = _frame(scene, lenses)
    glass = np.maximum(*(scene.fill(lens) for lens in lenses))
    rows = np.nonzero(glass.any(1))[0]
    top, height = (rows[0], max(1, np.ptp(rows))) if len(rows) else (0, 1)
    down = np.clip((np.arange(scene.size) - top) / height, 0, 1)[:, None, None].astype(np.float32)
    if rng.random() < 0.7:
        tint = np.float32(rng.uniform(0, 45) * np.array([1, rng.uniform(0.6, 1), rng.uniform(0.5, 1)]))
    else:
        tint = np.float32(rng.uniform(20, 200, 3))
    surface = tint * (1 + down * rng.uniform(0, 1.5))
    if rng.random() < 0.5:
        surface = surface + _reflection(scene) * rng.uniform(0.05, 0.6)
    opacity = rng.uniform(0.7, 1) - (down[..., 0] * rng.uniform(0, 0.25) if rng.random() < 0.4 else 0)
    shadow, reach = rng.uniform(0, 0.55), rng.uniform(0.02, 0.08)
    scene.cast_shadow(np.maximum(glass, frame), shadow, reach)
    scene.put("sunglasses", np.asarray(glass * opacity, np.float32), surface, lit=rng.random() < 0.5)
    if rng.random() < 0.25:
        _glare(scene, glass, "sunglasses")
    scene.put("sunglasses", frame, colour)


def _lenses(scene, tall=1.0):
    """Draw random outlines of both lenses: two 40x2 arrays in pixels, clockwise from the right."""
    rng = scene.rng
    wide, high = rng.uniform(0.25, 0.35), rng.uniform(0.17, 0.33) * tall
    middle = rng.uniform(0.30, 0.35)
    wide = min(wide, middle - 0.04)
    drop = rng.uniform(-0.04, 0.12) + 0.3 * (high - 0.2)
    power, cat, droop = rng.uniform(2, 4.5), rng.normal(0, 0.05), rng.normal(0, 0.15)
    if rng.random() < 0.3:
        power, high, cat, droop = 2.0, max(high, 0.9 * wide), 0.0, 0.0  # round
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** (2 / power)
    y = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2 / power)
    x = x * (1 + droop * -y * 0.5)  # wider above or below
    y = y - cat * 3 * np.clip(x, 0, None) * (y < 0)  # the outer corner is drawn up
    tilt = rng.normal(0, 0.03)
    # Height of the eyes in face coordinates: slightly below the bridge of the nose.
    origin = scene.at(0, 0)
    level = (scene.points[36:48].mean(0) - origin) @ (scene.at(0, 1) - origin) / scene.unit**2
    return [
        scene.at(s * (middle + wide * x), level + drop + high * y + s * tilt * (middle + wide * x))
        for s in (-1, 1)
    ]


def _frame(scene, lenses):
    """Draw rims, bridge and arms: their opacity (SxS) and colour (SxSx3)."""
    rng, unit = scene.rng, scene.unit
    metal = rng.random() < 0.5
    width = unit * (rng.uniform(0.01, 0.024) if metal else rng.uniform(0.02, 0.065))
    kind = rng.random()
    frame = np.zeros((scene.size,) * 2, np.float32)
    for lens in lenses:
        if kind < 0.65:
            frame = np.maximum(frame, scene.stroke(lens, width, closed=True))
        elif kind < 0.85:  # the upper half
            frame = np.maximum(frame, scene.stroke(np.roll(lens, 20, 0)[:21], width))
            frame = np.maximum(frame, 0.35 * scene.stroke(lens, 1, closed=True))
        else:  # no rim
            frame = np.maximum(frame, rng.uniform(0.3, 0.6) * scene.stroke(lens, 1, closed=True))
        if not metal and kind < 0.85 and rng.random() < 0.4:  # a browline
            frame = np.maximum(frame, scene.stroke(np.roll(lens, 17, 0)[:15], 1.7 * width))
    (left, right), rise = (_inner(lens) for lens in lenses), rng.uniform(-0.05, 0.02)
    middle = (left + right) / 2 + (scene.at(0, rise) - scene.at(0, 0))
    bridge = np.stack([left, 0.5 * middle + 0.25 * (left + right), right])
    frame = np.maximum(frame, scene.stroke(_smooth(bridge), width * rng.uniform(0.6, 1.1)))
    if metal and rng.random() < 0.2:
        top = np.stack([left, right]) - (scene.at(0, 0.09) - scene.at(0, 0))
        frame = np.maximum(frame, scene.stroke(top, width))
    frame = np.maximum(frame, _arms(scene, lenses, width))
    base = np.float32(_METALS[rng.integers(4)] if metal else _PLASTICS[rng.integers(7)])
    base = base + rng.normal(0, 12, 3).astype(np.float32)
    shine = 1 + (0.5 if metal else 0.15) * scene.image.mean(-1)[::-1, ::-1] / 255 * rng.random()
    if not metal and rng.random() < 0.25:  # tortoise
        spots = cv2.resize(rng.random((24, 24)).astype(np.float32), (scene.size,) * 2)
        shine = shine * np.where(spots > 0.55, 0.35, 1)
    return frame, np.clip(base * shine[..., None], 0, 255)


def _arms(scene, lenses, width):
    """Draw the arms, from the outer edges of the lenses towards the ears: SxS opacity."""
    rng, arms = scene.rng, np.zeros((scene.size,) * 2, np.float32)
    rise = rng.uniform(-0.12, 0.05)
    for side, lens, ear in ((-1, lenses[0], scene.points[0]), (1, lenses[1], scene.points[16])):
        out = lens[np.argmax(side * lens[:, 0])]
        hinge = out + (scene.at(0, rise) - scene.at(0, 0))
        end = np.array(
            [
                ear[0] + side * rng.uniform(-0.02, 0.06) * scene.unit,
                hinge[1] + rng.uniform(-0.03, 0.08) * scene.unit,
            ]
        )
        if side * (end[0] - hinge[0]) > 0.01 * scene.unit:
            arms = np.maximum(arms, scene.stroke(np.stack([out, hinge, end]), width * rng.uniform(0.8, 1.5)))
    return arms


def _inner(lens):
    """Return the point of a lens's outline at which the bridge begins, slightly above its left end."""
    return lens[20 + 2]


def _smooth(line):
    """Return the quadratic Bézier curve of three control points (3x2): 9x2."""
    t = np.linspace(0, 1, 9)[:, None]
    a, b, c = line
    return (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c


def _refract(scene, lenses):
    """Magnify or shrink what is behind each lens, as prescription glasses do."""
    ys, xs = np.mgrid[: scene.size, : scene.size].astype(np.float32)
    zoom = scene.rng.uniform(-0.08, 0.06)
    for lens in lenses:
        x, y = lens.mean(0)
        across, down = (((1 - zoom) * (axis - at) + at).astype(np.float32) for axis, at in ((xs, x), (ys, y)))
        behind = cv2.remap(scene.image, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        scene.image += scene.fill(lens)[..., None] * (behind - scene.image)


def _glare(scene, glass, kind="glasses"):
    """Draw opaque reflections on the glass."""
    rng = scene.rng
    ys, xs = np.nonzero(glass > 0.5)
    if not len(ys):
        return
    for _ in range(rng.integers(1, 3)):
        k = rng.integers(len(ys))
        spot = scene.blob((xs[k], ys[k]), rng.uniform(0.04, 0.14) * scene.unit) * glass
        spot = cv2.GaussianBlur(spot, (0, 0), rng.uniform(0.5, 4)) * rng.uniform(0.3, 1)
        scene.put(
            kind, spot, rng.uniform(180, 255) * np.array([1, rng.uniform(0.9, 1), 1], np.float32), lit=False
        )


def _reflection(scene):
    """Draw a reflection: a bright sky above a dark ground, or a piece of a photo: SxSx3 in [0, 255]."""
    rng, size = scene.rng, scene.size
    if rng.random() < 0.5:
        return cv2.GaussianBlur(scene.texture(), (0, 0), rng.uniform(1, 8))
    edge = scene.at(0, rng.uniform(-0.1, 0.2))[1] + np.cumsum(rng.normal(0, 0.5, size))
    sky = 1 / (1 + np.exp(np.clip((np.arange(size)[:, None] - edge) / rng.uniform(1, 8), -30, 30)))
    return sky[..., None].astype(np.float32) * np.float32(rng.uniform((90, 120, 140), (230, 240, 255)))
