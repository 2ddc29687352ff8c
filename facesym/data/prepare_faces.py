"""Make a folder of aligned faces from photos, for training and evaluation (`facesym prepare faces`).

The folder gets ``<name>.webp``, ``metadata.csv`` (with pose and expression), ``landmarks.npy`` (Nx68x2 float32,
pixels; row i of the csv), and ``report.json``, which lists dropped photos and reasons. An interrupted run continues
when started again.
"""

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ..errors import FacesymError, ImageError
from ..faces.align import align_face, ffhq_transform
from ..faces.appearance import FREQUENCIES, expression_scores
from ..faces.detect import detect_faces
from ..faces.landmarks import find_points
from ..faces.load import READABLE, load_image
from ..faces.pose import FARTHEST_YAW, head_pose
from ..files import write_atomic
from ..logging import progress_bar
from ..metrics import dlib_landmarks, laplacian_at_128, require_dlib
from .excluded import is_excluded_image, is_excluded_name
from .metadata import FEWEST_PEOPLE

MEASURES = ["det", "yaw", "pitch", "sharp", "colour"]
SCORES = list(FREQUENCIES)  # of expressions
COLUMNS = ["file_name", "subject", "split", *MEASURES, *SCORES]
MIN_PEOPLE = 10  # with at least this number of people, no split may be empty
# Maximum fraction of the images in the folder of one person: that of the split val or test.
MAX_FOLDER_FRACTION = 0.1
JOURNAL = "progress.jsonl"

REASONS = {
    "unreadable": "not an image, damaged, or too large to be decoded safely",
    "no_face": "no face was found",
    "low_score": "the detector was not sure enough that it is a face (--min-score)",
    "too_small": "the face's square in the photo has too few pixels (keep more with a smaller --size or --min-side)",
    "blurred": "too little detail (--min-sharp)",
    "landmarks": "the eyes of the 68 landmarks and of the detector are too far apart: one of them is wrong",
    "excluded": "the image is on the list of excluded images (facesym/data/excluded_images.txt)",
    "failed": "an unexpected error; see the message in report.json",
}


def split_of(name: str) -> str:
    """Assign a person or an image to train, val or test (80/10/10) by a hash of the name, so that every run assigns
    the same."""
    return {8: "val", 9: "test"}.get(_hash(name) % 10, "train")


def _hash(name):
    return int(hashlib.sha256(name.encode()).hexdigest(), 16)


def settle_people(images: Sequence[tuple[str, str]]) -> tuple[list[tuple[str, str]], str]:
    """Settle the person and the split of each image.

    Each folder counts as one person if there are enough of them, none has a large part of the images, and no image is
    in no folder. Otherwise the folders hold other groups (an event, a dataset): the people are unknown, and the splits
    go by image.

    Args:
        images: file name, which no two share, and folder (`folder_of`) of each.

    Returns:
        (subject, split) of each image, and why the people are unknown. Either all subjects or the reason are "".
    """
    reason = _why_by_image(Counter(folder for _, folder in images))
    names = [Path(file).stem if reason else folder for file, folder in images]
    splits = {name: split_of(name) for name in sorted(set(names), key=_hash)}
    if len(splits) >= MIN_PEOPLE:
        spare = [name for name, split in splits.items() if split == "train"]
        missing = [split for split in ("val", "test") if split not in splits.values()]
        splits |= dict(zip(spare, missing, strict=False))
    return [("" if reason else name, splits[name]) for name in names], reason


def _why_by_image(counts):
    """Return why folders ({name: number of images}; "" for images in no folder) do not count as people, or ""."""
    folders, images = {name: count for name, count in counts.items() if name}, sum(counts.values())
    if max(folders.values(), default=0) < 2:
        return "no sub-folder has several photos"
    if len(folders) < FEWEST_PEOPLE:
        return f"the remaining photos are in {len(folders)} sub-folders, fewer than {FEWEST_PEOPLE}"
    if counts[""]:
        return f"not all photos are in sub-folders ({counts['']} are not)"
    name, largest = counts.most_common(1)[0]
    if largest > MAX_FOLDER_FRACTION * images:
        return f"the sub-folder {name} has {largest / images:.0%} of the photos"
    return ""


def find_photos(folder: Path) -> tuple[dict[str, Path], int]:
    """Find the photos in a folder and its subfolders.

    Returns:
        {output name: path relative to the folder}, sorted, and the number of other files.
    """
    files = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    photos = [p for p in files if p.suffix.lower() in READABLE and not p.name.startswith(".")]
    names = Counter("_".join(p.with_suffix("").parts) for p in photos)
    named = {}
    for path in photos:
        name = "_".join(path.with_suffix("").parts)
        if names[name] > 1:  # a.jpg beside a.png, or a/b.jpg beside a_b.jpg
            name += "_" + hashlib.sha256(path.as_posix().encode()).hexdigest()[:8]
        named[name] = path
    return named, len(files) - len(photos)


def folder_of(path: Path) -> str:
    """Return the sub-folder of a photo's relative path, which may be one person's; "" if it is in none."""
    return "" if path.parent == Path() else path.parent.as_posix()


def prepare_one(task: tuple) -> dict[str, Any]:
    """Cut the largest face out of one photo and write the crop.

    Args:
        task: (photos' folder, output folder, output name, photo's relative path, settings).

    Returns:
        The journal's entry: a dict with ``photo``, and ``row`` and ``landmarks`` or ``dropped`` and ``why``.
    """
    source, out, name, path, settings = task
    entry = {"photo": path.as_posix()}
    try:
        return entry | _cut(source / path, out / f"{name}.webp", settings)
    except Exception as error:  # one bad photo does not end the run
        return entry | {"dropped": "failed", "why": f"{type(error).__name__}: {error}"}


def _cut(photo, target, settings):
    cv2.setNumThreads(1)  # the processes share the cores already
    size = settings["size"]
    try:
        image = load_image(photo, max_pixels=100_000_000)
    except ImageError as error:
        return {"dropped": "unreadable", "why": str(error)}
    faces = detect_faces(image)
    if not faces:
        return {"dropped": "no_face", "why": ""}
    face = max(faces, key=lambda f: (f.box[2] - f.box[0]) * (f.box[3] - f.box[1]))
    found = {"faces": len(faces)}
    if face.score < settings["min_score"]:
        return found | {"dropped": "low_score", "why": f"score {face.score:.2f}"}
    transform = ffhq_transform(face.points, size)
    side = size / np.hypot(transform[0, 0], transform[1, 0])  # of the crop's square, in pixels of the photo
    if side < settings["min_side"]:
        return found | {"dropped": "too_small", "why": f"{side:.0f} pixels"}
    crop = align_face(image, transform, size)
    if is_excluded_name(photo.parent.name, photo.name) or any(map(is_excluded_image, (image, crop))):
        return found | {"dropped": "excluded", "why": ""}
    pixels = np.asarray(crop)

    sharp = laplacian_at_128(pixels).std()
    if sharp < settings["min_sharp"]:
        return found | {"dropped": "blurred", "why": f"sharpness {sharp:.1f}"}

    points = _landmarks(crop, pixels, settings["landmarks"])
    eyes = np.stack([points[36:42].mean(0), points[42:48].mean(0)])
    detected = np.asarray(face.points[:2], np.float64) @ transform[:, :2].T + transform[:, 2]
    off = np.linalg.norm(eyes - detected, axis=1).mean() / np.linalg.norm(detected[1] - detected[0])
    if not off < 0.2:  # of the eyes' distance; also catches NaN
        return found | {"dropped": "landmarks", "why": f"eyes {off:.2f} eye distances apart"}

    data = io.BytesIO()
    crop.save(data, "WEBP", quality=95, method=4)
    write_atomic(target, data.getvalue())
    yaw, pitch = head_pose(points)
    spread = pixels.max(-1).astype(np.float32) - pixels.min(-1)
    row = [target.name, round(float(face.score), 3), round(yaw, 1), round(pitch, 1)]
    row += [round(float(sharp), 1), round(float(spread.mean()), 1)]
    return found | {"row": row, "landmarks": [[round(float(v), 2) for v in point] for point in points]}


def _landmarks(crop, pixels, source):
    if source == "dlib":
        return dlib_landmarks(pixels)
    torch.set_num_threads(1)
    return np.asarray(find_points(crop))


def read_journal(path: Path, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Read the entries of an earlier run, by photo; remove a last line that was cut off by a crash from the file.

    Raises:
        FacesymError: the earlier run had other settings.
    """
    if not path.exists():
        return {}
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with open(path, "r+b") as file:
            file.truncate(len(whole))
    lines = [json.loads(line) for line in whole.splitlines()]
    if not lines:
        return {}
    earlier = lines[0]
    if other := [name for name in settings if earlier.get(name) != settings[name]]:
        options = ", ".join(f"--{name.replace('_', '-')} {earlier.get(name)}" for name in other)
        raise FacesymError(
            f"{path.parent} was started with {options}; use the same, or another output folder"
        )
    return {entry["photo"]: entry for entry in lines[1:]}


def prepare_faces(
    photos: str | Path, out: str | Path, settings: dict[str, Any], workers: int
) -> dict[str, Any]:
    """Prepare a folder of photos.

    Args:
        photos: folder of photos, including its subfolders.
        out: folder to write, or that of an interrupted run.
        settings: dict of "size", "landmarks", "min_score", "min_side" and "min_sharp": the options of the command.
        workers: number of processes.

    Returns:
        The content of ``report.json``.

    Raises:
        FacesymError: ``photos`` is not a folder or has no photos, ``out`` lies within it or belongs to a run with other
            settings, or dlib is missing.
    """
    photos, out = Path(photos), Path(out)
    if not photos.is_dir():
        raise FacesymError(f"{photos} is not a folder: name a folder of photos")
    if out.resolve().is_relative_to(photos.resolve()):
        raise FacesymError(
            f"{out} lies within {photos}, so its crops would count as photos in the next run: choose another folder"
        )
    named, other_files = find_photos(photos)
    if not named:
        raise FacesymError(f"{photos} has no photos ({', '.join(READABLE)}): name a folder of photos")
    if settings["landmarks"] == "dlib":
        require_dlib()  # a missing package ends the run once instead of failing for every photo
    out.mkdir(parents=True, exist_ok=True)

    header = settings | {"photos": str(photos.resolve())}
    done = read_journal(out / JOURNAL, header)
    # A photo that could not be read may be readable now: a full disk, too little memory, an unfinished download.
    done = {
        photo: entry for photo, entry in done.items() if entry.get("dropped") not in ("failed", "unreadable")
    }
    tasks = [
        (photos, out, name, path, settings) for name, path in named.items() if path.as_posix() not in done
    ]
    with open(out / JOURNAL, "a") as journal:
        if journal.tell() == 0:
            journal.write(json.dumps(header) + "\n")
        bar = progress_bar(
            total=len(named), initial=len(named) - len(tasks), unit="photo", dynamic_ncols=True
        )
        kept = sum("row" in entry for entry in done.values())
        with bar:
            for entry in _run(tasks, workers):
                journal.write(json.dumps(entry) + "\n")
                journal.flush()
                done[entry["photo"]] = entry
                kept += "row" in entry
                bar.set_postfix(kept=kept, refresh=False)
                bar.update()

    # Photos removed since the last run are removed from the tables too.
    entries = [done[path.as_posix()] for path in named.values()]
    for photo in done.keys() - {path.as_posix() for path in named.values()}:
        if "row" in done[photo]:
            (out / done[photo]["row"][0]).unlink(missing_ok=True)
    return _write_tables(out, entries, header, other_files)


def _run(tasks, workers):
    if workers <= 1:
        yield from map(prepare_one, tasks)
        return
    # spawn: threads of OpenCV and torch do not survive a fork
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        yield from pool.map(prepare_one, tasks, chunksize=4)
    finally:
        pool.shutdown(cancel_futures=True)


def _write_tables(out, entries, header, other_files):
    rows = [entry for entry in entries if "row" in entry]
    people, reason = settle_people([(entry["row"][0], folder_of(Path(entry["photo"]))) for entry in rows])
    lines = [  # journals of earlier versions have a subject and a split before the measures
        [entry["row"][0], *person, *entry["row"][-len(MEASURES) :], *_expression(entry)]
        for entry, person in zip(rows, people, strict=True)
    ]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerows([COLUMNS, *lines])
    points = io.BytesIO()
    np.save(points, np.array([entry["landmarks"] for entry in rows], np.float32).reshape(-1, 68, 2))
    report = {
        "settings": header,
        "photos": len(entries),
        "kept": len(rows),
        "splits": dict(Counter(split for _, split in people)),
        "split_by": "image" if reason else "person",
        "split_reason": reason,
        "subjects": None if reason else len({subject for subject, _ in people}),
        "several_faces_largest_taken": sum(entry["faces"] > 1 for entry in rows),
        "other_files_ignored": other_files,
        "dropped": dict(Counter(entry["dropped"] for entry in entries if "dropped" in entry)),
        "dropped_photos": [
            {key: entry[key] for key in ("photo", "dropped", "why")}
            for entry in entries
            if "dropped" in entry
        ],
    }
    write_atomic(out / "metadata.csv", table.getvalue().encode())
    write_atomic(out / "landmarks.npy", points.getvalue())
    write_atomic(out / "report.json", (json.dumps(report, indent=1) + "\n").encode())
    return report


def _expression(entry):
    """Return the SCORES of a journal's entry, "" if the head is turned too far to tell."""
    measures = dict(zip(MEASURES, entry["row"][-len(MEASURES) :], strict=True))
    if not abs(measures["yaw"]) <= FARTHEST_YAW:
        return [""] * len(SCORES)
    scores = expression_scores(np.array(entry["landmarks"]))
    return [round(scores[name], 3) for name in SCORES]


def summary(report: dict[str, Any]) -> str:
    """Describe the content of ``report.json`` in a few lines."""
    by_image = report["split_by"] == "image"
    people = "people unknown" if by_image else f"{report['subjects']} people"
    splits = ", ".join(f"{count} {split}" for split, count in sorted(report["splits"].items()))
    lines = [f"kept {report['kept']} of {report['photos']} photos, {people}: {splits or 'none'}"]
    if by_image:
        lines += [
            f"  split by image, so a person may be in several splits: {report['split_reason']}",
            f"  (a split by person needs a sub-folder per person: at least {FEWEST_PEOPLE}, each with at most "
            f"{MAX_FOLDER_FRACTION:.0%} of the photos)",
        ]
    lines += [
        f"  dropped {count:6d}  {reason}: {REASONS[reason]}" for reason, count in report["dropped"].items()
    ]
    if report["several_faces_largest_taken"]:
        lines.append(
            f"  {report['several_faces_largest_taken']} photos had several faces; the largest was taken"
        )
    return "\n".join(lines)
