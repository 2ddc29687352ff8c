"""What the tests of training share: a schematic face, folders to train on, and a way to run the scripts."""

import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
from PIL import Image, ImageDraw

from facesym.data.neutral import Lips
from facesym.faces.geometry import FLIP_68

ROOT = Path(__file__).resolve().parents[1]


def template(size):
    """68 landmarks of a schematic face, in pixels."""
    t = np.linspace(0, 1, 17)
    jaw = np.stack([0.2 + 0.6 * t, 0.45 + 0.45 * np.sin(np.pi * t)], 1)
    brow = np.stack([np.linspace(0.26, 0.44, 5), np.full(5, 0.36)], 1)
    nose = np.concatenate(
        [
            np.stack([np.full(4, 0.5), np.linspace(0.42, 0.56, 4)], 1),
            np.stack([np.linspace(0.44, 0.56, 5), np.full(5, 0.6)], 1),
        ]
    )
    angle = np.linspace(np.pi, -np.pi, 7)[:6]
    eye = np.stack([0.35 + 0.06 * np.cos(angle), 0.43 - 0.025 * np.sin(angle)], 1)
    angle = np.linspace(np.pi, -np.pi, 13)[:12]
    lips = np.stack([0.5 + 0.12 * np.cos(angle), 0.74 - 0.05 * np.sin(angle)], 1)
    angle = np.linspace(np.pi, -np.pi, 9)[:8]
    inner = np.stack([0.5 + 0.09 * np.cos(angle), 0.74 - 0.02 * np.sin(angle)], 1)
    half = np.zeros((68, 2))
    half[:17], half[17:22], half[27:36], half[36:42] = jaw, brow, nose, eye
    half[48:60], half[60:] = lips, inner
    mirrored = half[FLIP_68] * [-1, 1] + [1, 0]
    half[22:27], half[42:48] = mirrored[22:27], mirrored[42:48]
    return (half * size).astype(np.float32)


def closed(size):
    """The landmarks of a schematic face whose mouth is closed."""
    marks = template(size)
    marks[60:68, 1] = 0.74 * size + 0.2 * (marks[60:68, 1] - 0.74 * size)
    return marks


def draw_face(rng, points, size):
    """A schematic face with these landmarks, in random colours: PIL image."""
    picture = Image.new("RGB", (size, size), tuple(rng.integers(0, 255, 3).tolist()))
    draw = ImageDraw.Draw(picture)
    draw.polygon([tuple(p) for p in points[:17]], fill=tuple(rng.integers(100, 255, 3).tolist()))
    for part in (slice(36, 42), slice(42, 48), slice(48, 60)):
        draw.polygon([tuple(p) for p in points[part]], fill=(30, 20, 20))
    return picture


def lips(skin, size=96):
    """A closed mouth: red, with a black line."""
    marks, image = closed(size), np.full((size, size, 3), skin, np.uint8)
    cv2.fillPoly(image, [np.rint(marks[48:60]).astype(np.int32)], (200, 60, 60))
    ends = np.rint([marks[60], marks[64]]).astype(int)
    cv2.line(image, ends[0].tolist(), ends[1].tolist(), (0, 0, 0), 2)
    return Lips(image, marks)


def make_faces(folder, count=12, size=64):
    """A folder of schematic faces as `facesym prepare` writes it: two thirds to train, the rest for val and test."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    rows, points = ["file_name,subject,split,yaw,pitch"], []
    for i in range(count):
        points.append(template(size) + rng.normal(0, 1, 2))
        draw_face(rng, points[-1], size).save(folder / f"{i}.webp")
        rows.append(f"{i}.webp,{i},{'train' if i < 8 else 'val' if i < 10 else 'test'},{i},0")
    (folder / "metadata.csv").write_text("\n".join(rows))
    np.save(folder / "landmarks.npy", np.stack(points).astype(np.float32))
    return folder


def make_masks(folder):
    """A folder of four masks with a box each."""
    folder.mkdir(parents=True)
    for i in range(4):
        mask = np.zeros((64, 64), np.uint8)
        mask[10 * i : 10 * i + 20, 20:44] = 255
        Image.fromarray(mask).save(folder / f"{i}.png")
    rows = [f"{i}.png,0.1,train" for i in range(4)]
    (folder / "metadata.csv").write_text("\n".join(["file_name,mask_fraction,split", *rows]))
    return folder


def make_labels(folder):
    """A folder of six images with label maps."""
    folder.mkdir(parents=True)
    rows = ["file_name,label,subject,split"]
    for i in range(6):
        labels = np.zeros((64, 64), np.uint8)
        labels[10:54, 12:52], labels[20:28, 18:46] = 1, 3
        picture = np.array([[0, 80, 0], [220, 180, 160], [0, 0, 0], [40, 20, 20]], np.uint8)[labels]
        Image.fromarray(picture).save(folder / f"{i}.webp")
        Image.fromarray(labels).save(folder / f"{i}.label.png")
        rows.append(f"{i}.webp,{i}.label.png,{i},{('train', 'train', 'train', 'val', 'val', 'test')[i]}")
    (folder / "metadata.csv").write_text("\n".join(rows))
    return folder


def make_pairs(folder, size=64):
    """A folder of pairs of each kind, neutral and smiling."""
    rng = np.random.default_rng(0)
    for part in ("inputs", "targets"):
        (folder / part).mkdir(parents=True)
    rows, points = ["input,target,set,file_name,subject,split,kind,yaw,pitch,expression"], []
    for i in range(16):
        kind = ("simulated", "real", "turned", "expressive")[i % 4]
        expression = ("smiling", "neutral", "neutral", "smiling")[i % 4]
        yaw, split = (20, 20, -20, 0)[i % 4], "val" if i >= 12 else "train"
        points.append(np.stack([template(size) + rng.normal(0, 1, 2), template(size)]))
        for part, marks in zip(("inputs", "targets"), points[-1], strict=True):
            draw_face(rng, marks, size).save(folder / part / f"{i}.webp")
        rows.append(f"{i}.webp,{i}.webp,set,{i}.webp,{i},{split},{kind},{yaw},0,{expression}")
    (folder / "pairs.csv").write_text("\n".join(rows))
    np.save(folder / "points.npy", np.stack(points).astype(np.float32))
    np.save(folder / "places.npy", np.full((16, 4, 4, 3), 0.5, np.float16))
    return folder


def arguments(data, out, *more):
    """The arguments of a small run."""
    fixed = [
        "--precision",
        "no",
        "--batch",
        "2",
        "--workers",
        "0",
        "--report-to",
        "none",
        "--cache",
        "none",
        "--out",
        out,
    ]
    return [str(word) for word in ("--data", *data, *fixed, *more)]


def run_script(script, words):
    """Call a script's main with these arguments in this process; returns what it prints."""
    module, text = importlib.import_module(f"train.{script.removesuffix('.py')}"), io.StringIO()
    with mock.patch.object(sys, "argv", [script, *words]), contextlib.redirect_stdout(text):
        try:
            module.main()
        except SystemExit as end:
            if end.code:
                raise
    return text.getvalue()


def train(script, folders, out, *more):
    """A small run on the first of ``folders``, in this process; returns what it prints."""
    return run_script(script, arguments(folders[:1], out, *more))


def environment():
    """For other processes: one thread, and the loopback interface by name (the machine's own may lead nowhere)."""
    return os.environ | {
        "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT),
        "GLOO_SOCKET_IFNAME": "lo",
    }  # fmt: skip


PATIENCE = 900  # seconds; a busy machine takes minutes for what takes ten seconds on an idle one


@contextlib.contextmanager
def ended(*children):
    """End processes that still run when a test fails: they would slow down the next ones."""
    try:
        yield
    finally:
        for child in children:
            child.kill()


def accelerate(script, words, *launcher):
    """Start a script by accelerate's launcher; returns the finished process."""
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        *launcher,
        str(ROOT / "train" / script),
        *words,
    ]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(),
        stdin=subprocess.DEVNULL,
        check=False,
    )


def stats(out):
    """The lines of stats.jsonl."""
    return [json.loads(line) for line in (out / "stats.jsonl").read_text().splitlines()]
