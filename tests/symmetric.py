"""Small sets of symmetric faces, to measure on."""

import csv

import numpy as np
from PIL import Image
from skimage import data as skimage_data

from facesym import metrics
from facesym.faces.geometry import flip_landmarks


def face(size):
    """An exactly symmetric face and its landmarks: the astronaut's, made symmetric."""
    photo = Image.fromarray(skimage_data.astronaut()).crop((140, 15, 310, 185))
    pixels = np.asarray(photo.resize((size, size), Image.Resampling.LANCZOS)).copy()
    pixels[:, size // 2 :] = pixels[:, : size // 2][:, ::-1]
    points = metrics.dlib_landmarks(pixels)
    return pixels, (points + flip_landmarks(points, size)) / 2


def write_set(folder, size, count):
    folder.mkdir(parents=True)
    pixels, points = face(size)
    with open(folder / "metadata.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "subject", "split", "yaw"])
        for i in range(count):
            shaded = np.clip(pixels * (0.6 + 0.1 * i), 0, 255).astype(np.uint8)
            Image.fromarray(shaded).save(folder / f"{i}.webp", lossless=True)
            writer.writerow([f"{i}.webp", f"person {i}", "train" if i == 0 else "test", 0])
    np.save(folder / "landmarks.npy", np.stack([points] * count).astype(np.float32))
