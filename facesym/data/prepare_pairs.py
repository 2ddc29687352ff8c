"""Prepare a folder of pairs for NFGAN from aligned faces (`facesym prepare pairs`).

The pairs are simulated from frontal neutral faces, real if a folder has several views of a person, or turned and
expressive photos with a synthesized target. facesym/data/pairs.py describes the format of the folder, to which
``preview.png`` is added.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ..errors import FacesymError
from ..faces.geometry import resized_points
from ..files import write_atomic
from ..logging import progress_bar
from .attributes import UNKNOWN, expression_of
from .expressions import Expressions
from .faces import read_face
from .metadata import find_folders, read_landmarks, read_metadata
from .neutral import Neutral, neutral_faces
from .pairs import MADE, keeps_pose
from .selection import is_expressive, is_frontal_neutral, is_turned_neutral
from .shading import mean_smile_shading
from .simulate import GRID, FaceMesh, frontalize, simulate


def prepare_pairs(
    out: str | Path,
    folders: Iterable[str | Path],
    mesh: str | Path,
    expressions: str | Path,
    count: int,
    size: int,
    seed: int,
    workers: int,
) -> dict[str, int]:
    """Write a folder of pairs.

    Simulated pairs come from frontal neutral faces, real pairs from folders with several views of a person. In the
    other folders each neutral photo of a turned head is paired with its `frontalize`d version, and each photo with an
    expression with a version from which `Neutral` has also removed the expression.

    Args:
        out: folder to write; must be empty.
        folders: of aligned faces, with different names.
        mesh: file of facesym.data.simulate.FaceMesh.
        expressions: folder of facesym.data.expressions.Expressions.
        count: number of simulated pairs.
        size: side of the images.
        seed: of the simulation.
        workers: number of processes.

    Returns:
        {"kind, split": number of pairs}.

    Raises:
        FacesymError: ``out`` is not empty, or two folders have the same name.
    """
    out, sets = Path(out), find_folders(folders)
    if out.exists() and any(out.iterdir()):
        raise FacesymError(f"{out} is not empty: choose another folder, or delete it")
    if len({folder.name for folder in sets}) < len(sets):
        raise FacesymError(
            "two folders have the same name, which identifies their images and people: rename one"
        )
    # In this process too, to report errors at once.
    bank = Expressions(expressions, FaceMesh(mesh), work_size(size))
    maker = PairMaker(out, bank, size, seed)
    rng = np.random.default_rng(seed)
    tasks = _plan(sets, count, rng)
    bank.shading = mean_smile_shading(sets, maker.work)
    if any(kind == "expressive" for _, kind, *_ in tasks):
        maker.neutral = Neutral(bank, *neutral_faces(sets, maker.work))
    for name in ("inputs", "targets"):
        (out / name).mkdir(parents=True, exist_ok=True)
    table, both, coordinates = [], [], []
    parts = [tasks[k : k + 50] for k in range(0, len(tasks), 50)]
    settings = (out, mesh, expressions, size, seed, bank.shading, maker.neutral)
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin_process, initargs=settings)
    try:
        done = pool.map(_make_in_process, parts) if workers > 1 else map(maker.make_all, parts)
        for pairs in progress_bar(done, total=len(parts), unit="× 50 pairs"):
            for line, points, where in pairs:
                table.append(line)
                both.append(points)
                coordinates.append(np.full((GRID, GRID, 3), np.nan) if where is None else where)
    finally:
        pool.shutdown(cancel_futures=True)
    _write_tables(out, table, both, coordinates)
    _preview(out, [table[k] for k in rng.permutation(len(table))[:32]])
    return Counter(f"{line['kind']}, {line['split']}" for line in table)


def _preview(out, rows):
    """Write preview.png: inputs above their targets."""

    def read(part, name):
        return np.asarray(Image.open(out / part / name).convert("RGB"))

    tiles = [np.concatenate([read("inputs", row["input"]), read("targets", row["target"])]) for row in rows]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 8)
    sheet = np.concatenate([np.concatenate(tiles[i : i + 8], 1) for i in range(0, len(tiles), 8)])
    Image.fromarray(sheet).save(out / "preview.png")


def _plan(folders, count, rng):
    """List the pairs to make: (number, kind, folder, row, landmarks, target's row, its landmarks).

    Raises:
        FacesymError: the folders have no frontal neutral face, or there are no pairs to make.
    """
    tasks, sources = [], []
    for folder in folders:
        people, points = read_metadata(folder, ("train", "val", "test")), read_landmarks(folder)
        good = {row["index"] for row in people if is_frontal_neutral(row, points[row["index"]])}
        front = {row["subject"]: row for row in people if _in_studio(row) and row["index"] in good}
        for row in people:
            target, marks = front.get(row["subject"]) if _in_studio(row) else None, points[row["index"]]
            if target and row is not target and "profile" not in row["view"]:
                tasks.append(("real", folder, row, marks, target, points[target["index"]]))
            if is_turned_neutral(row, marks):
                tasks.append(("turned", folder, row, marks, row, marks))
            if is_expressive(row):
                tasks.append(("expressive", folder, row, marks, row, marks))
        rows = [(folder, row, points[row["index"]]) for row in people if row["index"] in good]
        if rows:
            sources.append(rows)
    if not sources:
        raise FacesymError(
            "no face in these folders is frontal and neutral (metadata.csv: yaw and neutral, or view): add folders; if "
            "neutral is missing, repeat the command `facesym prepare faces` that made the folder, which adds it"
        )
    for k in range(count):
        rows = sources[k % len(sources)]  # the folders in turn, so that a large one does not dominate
        folder, row, points = rows[rng.integers(len(rows))]
        tasks.append(("simulated", folder, row, points, row, points))
    if not tasks:
        raise FacesymError(
            "there are no pairs to make: set --count, or add folders with several views of a person or with turned or "
            "expressive photos"
        )
    return [(k, *task) for k, task in enumerate(tasks)]


def _in_studio(row):
    """Whether there may be other views of a row's person."""
    return row.get("view") and row["subject"]


def _write_tables(out, table, points, coordinates):
    """Write points.npy, places.npy and, last, pairs.csv, which completes the folder."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    for name, values in (
        ("points", np.array(points, np.float32)),
        ("places", np.array(coordinates, np.float16)),
    ):
        data = io.BytesIO()
        np.save(data, values)
        write_atomic(out / f"{name}.npy", data.getvalue())
    write_atomic(out / "pairs.csv", text.getvalue().encode())


def work_size(size: int) -> int:
    """Return the side at which faces are simulated: 1.5 times the size of the pairs, since resampling twice blurs."""
    return size * 3 // 2


def describe(
    number: int, kind: str, folder: Path, row: dict[str, Any], target: dict[str, Any]
) -> dict[str, Any]:
    """Return the names, the person and the split of a pair: columns of pairs.csv.

    Args:
        number: of the pair.
        kind: of the pair.
        folder: of the photo.
        row: of metadata.csv, the input's photo.
        target: of metadata.csv, the target's photo.
    """
    name = f"{folder.name}-{Path(target['file_name']).stem}.webp"
    return {
        "input": f"{number:06d}.webp", "target": f"{kind}-{name}" if kind in MADE else name, "set": folder.name,
        "file_name": row["file_name"], "subject": row["subject"], "split": row["split"], "kind": kind,
    }  # fmt: skip


class PairMaker:
    """Makes pairs and writes their images.

    Args:
        out: folder of the pairs.
        bank: Expressions at `work_size`.
        size: side of the images.
        seed: of the simulation.
        neutral: Neutral, which removes expressions; only for expressive pairs.
    """

    def __init__(self, out: Path, bank: Expressions, size: int, seed: int, neutral: Neutral | None = None):
        self.out, self.bank, self.size, self.seed, self.neutral = out, bank, size, seed, neutral
        self.work = work_size(size)

    def make_all(self, tasks: list) -> list:
        """Make the pairs of some tasks (`_plan`).

        Returns:
            [(row of pairs.csv, 2x68x2 landmarks, GRIDxGRIDx3 coordinates or None)].
        """
        return [self._make(*task) for task in tasks]

    def _make(self, number, kind, folder, row, points, target, target_points):
        """Make the pair of one task; see `make_all`."""
        line = describe(number, kind, folder, row, target)
        if kind in MADE:
            goal_image, goal = self._synthesized_target(kind, row, points)
        else:
            goal_image, goal = read_face(target, target_points, self.size)
        if kind == "simulated":
            image, where, coordinates, pose = self._simulated_input(number, row, points)
        else:
            image, where = read_face(row, points, self.size)
            pose = {"yaw": row["yaw"], "pitch": row.get("pitch", ""), "expression": _expression(kind, row)}
            coordinates = None
        _save_webp(image, self.out / "inputs" / line["input"])
        if not (self.out / "targets" / line["target"]).exists():
            _save_webp(goal_image, self.out / "targets" / line["target"])
        return line | pose, np.stack([where, goal]), coordinates

    def _synthesized_target(self, kind, row, points):
        """Return the target of a turned or expressive photo, and its landmarks."""
        image, points = read_face(row, points, self.work)
        if kind == "turned" or not keeps_pose(row):
            image, points = frontalize(image, points, self.bank.mesh)
        if kind == "expressive":
            assert self.neutral is not None
            image, points = self.neutral.show(image, points)
        return _shrink(image, self.size), resized_points(points, self.size / self.work)

    def _simulated_input(self, number, row, points):
        """Return a simulated input, its landmarks, the coordinates in it of the target's pixels, and its pose and
        expression for pairs.csv."""
        rng = np.random.default_rng((self.seed, number))
        simulated = simulate(rng, *read_face(row, points, self.work), self.bank)
        where, coordinates = (
            resized_points(x, self.size / self.work) for x in (simulated.points, simulated.coordinates)
        )
        pose = {
            "yaw": round(simulated.yaw + float(row.get("yaw") or 0), 1),
            "pitch": round(simulated.pitch + float(row.get("pitch") or 0), 1),
            "expression": simulated.expression,
        }  # fmt: skip
        image = _shrink(simulated.image, self.size)
        return image, where, np.concatenate([coordinates, simulated.seen[..., None]], -1), pose


_maker: PairMaker | None = None  # of a worker process


def _begin_process(out, mesh, expressions, size, seed, shading, neutral):
    global _maker
    cv2.setNumThreads(1)
    bank = Expressions(expressions, FaceMesh(mesh), work_size(size), shading)
    _maker = PairMaker(out, bank, size, seed, neutral)


def _make_in_process(tasks):
    assert _maker is not None
    return _maker.make_all(tasks)


def _expression(kind, row):
    """Return the name of a photo's expression for pairs.csv: the studio's label, or the one with a high score."""
    if kind != "expressive":
        return row.get("expression", "")
    found = expression_of(row, ("happy", "surprised"))
    return "other" if found == UNKNOWN else ("smiling", "surprised")[found]


def _shrink(pixels, size):
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.LANCZOS))


def _save_webp(pixels, path):
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "WEBP", quality=95, method=2)
    write_atomic(path, data.getvalue())
