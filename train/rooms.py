"""Draw synthetic rooms, a second kind of nearly symmetric image for the symmetric GANs (the paper uses bedrooms).

    python train/rooms.py --out rooms --count 4000 --size 64

Each image shows a box-shaped room from its middle line, by a camera that is slightly turned: a bed, a window or a
painting above it, lamps at its sides and a wardrobe at one wall. The folder has the format of `facesym prepare`, with
zeros for landmarks.
"""

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

LIGHT = np.array([0.3, -0.8, -0.5])  # direction of the light: from the side, above and behind the camera


def box(low, high):
    """Return the six faces of a box between two corners (x right, y down, z away): a list of 4x3 arrays."""
    (x0, y0, z0), (x1, y1, z1) = low, high

    return [
        np.array(face, float)
        for face in (
            [(x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0)],
            [(x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)],
            [(x0, y0, z0), (x0, y0, z1), (x0, y1, z1), (x0, y1, z0)],
            [(x1, y0, z0), (x1, y0, z1), (x1, y1, z1), (x1, y1, z0)],
            [(x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)],
            [(x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1)],
        )
    ]


def walls(colour, width, height, depth):
    """Return the room's back, sides, ceiling and floor, each (4x3 corners, colour)."""
    paint = colour(120, 240)
    back = [
        (-width, -height, depth),
        (width, -height, depth),
        (width, height, depth),
        (-width, height, depth),
    ]
    room = [(np.array(back, float), paint)]
    for x in (-width, width):
        side = [(x, -height, 0.1), (x, -height, depth), (x, height, depth), (x, height, 0.1)]
        room.append((np.array(side, float), paint * 0.9))
    for y, flat_paint in ((-height, np.full(3, 240.0)), (height, colour(60, 160))):
        flat = [(-width, y, 0.1), (width, y, 0.1), (width, y, depth), (-width, y, depth)]
        room.append((np.array(flat, float), flat_paint))
    return room


def furniture(rng, colour, width, height, depth):
    """Return the faces of the furniture's boxes, each (4x3 corners, colour)."""
    faces = []

    def add(low, high, paint):
        faces.extend((face, paint) for face in box(low, high))

    bed, long = rng.uniform(0.6, 1.0), rng.uniform(1.2, 1.8)
    high = height - rng.uniform(0.4, 0.6)
    add((-bed, high, depth - long), (bed, height, depth - 0.05), colour())
    add((-bed, high - 0.5, depth - 0.12), (bed, height, depth - 0.02), colour(40, 140))
    pillows = colour(180, 255)
    for x in (-0.5 * bed, 0.5 * bed):
        add((x - 0.3 * bed, high - 0.12, depth - 0.5), (x + 0.3 * bed, high, depth - 0.15), pillows)
    if rng.random() < 0.8:
        lamp, stand = np.array([255.0, 230, rng.uniform(120, 220)]), colour(60, 160)
        for x in (-bed - 0.3, bed + 0.3):
            if rng.random() < 0.9:
                add((x - 0.18, height - 0.45, depth - 0.4), (x + 0.18, height, depth - 0.05), stand)
                add((x - 0.1, height - 0.8, depth - 0.3), (x + 0.1, height - 0.5, depth - 0.12), lamp)
    wide, tall = rng.uniform(0.4, 1.0), rng.uniform(0.25, 0.45)
    middle = -0.45 * height
    pane = colour(150, 255) if rng.random() < 0.5 else np.array([150.0, 200, 240])
    add(
        (-wide - 0.06, middle - tall - 0.06, depth - 0.05),
        (wide + 0.06, middle + tall + 0.06, depth - 0.01),
        colour(),
    )
    add((-wide, middle - tall, depth - 0.07), (wide, middle + tall, depth - 0.05), pane)
    if rng.random() < 0.6:
        side, z = rng.choice([-1, 1]), rng.uniform(1.5, depth - 1.2)
        ends = sorted((side * width, side * (width - 0.45)))
        add((ends[0], -0.3 * height, z), (ends[1], height, z + 0.9), colour(60, 180))
    return faces


def paint_faces(faces, yaw, size):
    """Paint the faces in the given order, seen by a camera turned by ``yaw`` degrees: 4Sx4Sx3 float32."""
    c, s = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
    turn = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    canvas = np.zeros((4 * size, 4 * size, 3), np.float32)
    for corners, paint in faces:
        normal = np.cross(corners[1] - corners[0], corners[3] - corners[0])
        normal /= np.linalg.norm(normal)
        shade = 0.75 + 0.25 * abs(normal @ LIGHT)
        seen = corners @ turn.T
        if (seen[:, 2] < 0.05).all():
            continue
        z = np.maximum(seen[:, 2], 0.05)
        places = 2 * size + 2.4 * size * seen[:, :2] / z[:, None]
        cv2.fillPoly(
            canvas, [np.round(places.clip(-1e5, 1e5)).astype(np.int32)], (shade * paint).tolist(), cv2.LINE_AA
        )
    return canvas


def draw_room(rng, size):
    """Draw a room: SxSx3 uint8, and the camera's yaw in degrees."""

    def colour(low=60, high=230):
        return rng.uniform(low, high, 3)

    sizes = rng.uniform(1.6, 2.4), rng.uniform(1.1, 1.4), rng.uniform(3.5, 5)
    room = walls(colour, *sizes)
    faces = furniture(rng, colour, *sizes)
    yaw = float(np.clip(rng.normal(0, 9), -22, 22))
    # Paint the far faces first. The room's walls hide nothing inside it.
    faces.sort(key=lambda face: -np.linalg.norm(face[0].mean(0)))
    canvas = cv2.resize(paint_faces([*room, *faces], yaw, size), (size, size), interpolation=cv2.INTER_AREA)
    canvas += rng.normal(0, 2, canvas.shape)
    return canvas.clip(0, 255).round().astype(np.uint8), yaw


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--size", type=int, default=64, help="side of the images, in pixels")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in tqdm(range(args.count), disable=None):
        image, yaw = draw_room(np.random.default_rng((args.seed, i)), args.size)
        name = f"{i:05d}.png"
        Image.fromarray(image).save(args.out / name)
        split = ("train", "train", "train", "val", "test")[i % 5]
        rows.append({"file_name": name, "subject": name, "split": split, "yaw": round(yaw, 2)})
    with open(args.out / "metadata.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    np.save(args.out / "landmarks.npy", np.zeros((args.count, 68, 2), np.float32))


if __name__ == "__main__":
    main()
