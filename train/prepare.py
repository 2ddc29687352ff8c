"""Photos -> a folder of aligned faces to train and measure with; aligned faces -> a folder of pairs for NFGAN.

    python train/prepare.py faces PHOTOS OUT --size 256 --workers 2
    python train/prepare.py pairs OUT FACES [FACES …] --mesh ict_face_model.npz --expressions LONDON --count 20000

`faces`: OUT gets ``<name>.webp``, ``metadata.csv`` and ``landmarks.npy`` (Nx68x2 float32, pixels; row i of the csv),
and ``report.json``: what was dropped and why. A run that was stopped goes on where it was when started again.
`pairs`: what OUT gets is described in facesym/data/pairs.py; and ``preview.png``.
"""

import argparse
import csv
import hashlib
import io
import json
import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from facesym.errors import FacesymError, ImageError
from facesym.faces.pose import head_pose

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm"}
COLUMNS = ["file_name", "subject", "split", "det", "yaw", "pitch", "sharp", "colour"]
JOURNAL = "progress.jsonl"

REASONS = {
    "unreadable": "not an image, damaged, or too large to be decoded safely",
    "no_face": "no face was found",
    "low_score": "the detector was not sure enough that it is a face (--min-score)",
    "too_small": "the face's square in the photo has fewer pixels than the crop (--min-side)",
    "blurred": "too little detail (--min-sharp)",
    "landmarks": "the 68 landmarks and the detector's eyes are too far apart: one of them is wrong",
    "failed": "something unexpected; the message tells more",
}


def split_of(subject):
    """train, val or test (80/10/10) by the subject's name alone: a person stays in one, run after run."""
    bucket = int(hashlib.sha256(subject.encode()).hexdigest(), 16) % 10
    return {8: "val", 9: "test"}.get(bucket, "train")


def find_photos(folder):
    """Photos below a folder, sorted: {output name: path relative to the folder}; and how many other files."""
    files = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    photos = [p for p in files if p.suffix.lower() in PHOTO_SUFFIXES and not p.name.startswith(".")]
    names = Counter("_".join(p.with_suffix("").parts) for p in photos)
    named = {}
    for path in photos:
        name = "_".join(path.with_suffix("").parts)
        if names[name] > 1:  # a.jpg beside a.png, or a/b.jpg beside a_b.jpg
            name += "_" + hashlib.sha256(path.as_posix().encode()).hexdigest()[:8]
        named[name] = path
    return named, len(files) - len(photos)


def subject_of(path):
    """The person: the photo's folder, or its own name where it lies at the top."""
    return path.parent.name or path.stem


def prepare_one(task):
    """Cut the largest face out of one photo and write the crop.

    Args:
        task: (photos' folder, output folder, output name, photo's relative path, settings).

    Returns:
        The journal's entry: a dict with ``photo``, and ``row`` and ``landmarks`` or ``dropped`` and ``why``.
    """
    source, out, name, path, settings = task
    entry = {"photo": path.as_posix()}
    try:
        return entry | _cut(source / path, out / f"{name}.webp", subject_of(path), settings)
    except Exception as error:  # one odd photo must not end a run of hours
        return entry | {"dropped": "failed", "why": f"{type(error).__name__}: {error}"}


def _cut(photo, target, subject, settings):
    import cv2

    from facesym.faces.align import align_face, ffhq_transform
    from facesym.faces.detect import detect_faces
    from facesym.faces.load import load_image
    from facesym.metrics import laplacian_at_128

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
    write_whole(target, data.getvalue())
    yaw, pitch = head_pose(points)
    spread = pixels.max(-1).astype(np.float32) - pixels.min(-1)
    row = [
        target.name,
        subject,
        split_of(subject),
        round(float(face.score), 3),
        round(yaw, 1),
        round(pitch, 1),
    ]
    row += [round(float(sharp), 1), round(float(spread.mean()), 1)]
    return found | {"row": row, "landmarks": [[round(float(v), 2) for v in point] for point in points]}


def _landmarks(crop, pixels, source):
    if source == "dlib":
        from facesym.metrics import dlib_landmarks

        return dlib_landmarks(pixels)
    import torch

    from facesym.faces.landmarks import find_points

    torch.set_num_threads(1)
    return np.asarray(find_points(crop))


def write_whole(path, data):
    """Whole or not at all, so that a killed run leaves no half file under the final name."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    os.replace(part, path)


def read_journal(path, settings):
    """Entries of an earlier run by photo; a last line cut off by a crash is removed from the file.

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
    if lines[0] != settings:
        raise FacesymError(
            f"{path.parent} was begun with other settings ({json.dumps(lines[0])}); "
            "use the same ones, or another output folder"
        )
    return {entry["photo"]: entry for entry in lines[1:]}


def prepare_faces(photos, out, settings, workers):
    """Prepare a folder of photos; returns the report (see ``report.json``)."""
    photos, out = Path(photos), Path(out)
    if not photos.is_dir():
        raise FacesymError(f"{photos} is not a folder")
    if out.resolve().is_relative_to(photos.resolve()):
        raise FacesymError(f"{out} lies within {photos}: its crops would be taken for photos next time")
    named, other_files = find_photos(photos)
    if not named:
        raise FacesymError(f"{photos} holds no photos ({', '.join(sorted(PHOTO_SUFFIXES))})")
    if settings["landmarks"] == "dlib":
        from facesym.metrics import _dlib_models

        _dlib_models()  # a missing package is the run's error, not each photo's
    out.mkdir(parents=True, exist_ok=True)

    header = settings | {"photos": str(photos.resolve())}
    done = read_journal(out / JOURNAL, header)
    tasks = [
        (photos, out, name, path, settings) for name, path in named.items() if path.as_posix() not in done
    ]
    with open(out / JOURNAL, "a") as journal:
        if journal.tell() == 0:
            journal.write(json.dumps(header) + "\n")
        bar = tqdm(total=len(named), initial=len(named) - len(tasks), unit="photo", dynamic_ncols=True)
        kept = sum("row" in entry for entry in done.values())
        with bar:
            for entry in _run(tasks, workers):
                journal.write(json.dumps(entry) + "\n")
                journal.flush()
                done[entry["photo"]] = entry
                kept += "row" in entry
                bar.set_postfix(kept=kept, refresh=False)
                bar.update()

    # Photos removed since the last run (a minor's, say) are gone from the tables too.
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
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerows([COLUMNS, *(entry["row"] for entry in rows)])
    points = io.BytesIO()
    np.save(points, np.array([entry["landmarks"] for entry in rows], np.float32).reshape(-1, 68, 2))
    report = {
        "settings": header,
        "photos": len(entries),
        "kept": len(rows),
        "splits": dict(Counter(entry["row"][2] for entry in rows)),
        "subjects": len({entry["row"][1] for entry in rows}),
        "several_faces_largest_taken": sum(entry["faces"] > 1 for entry in rows),
        "other_files_ignored": other_files,
        "dropped": dict(Counter(entry["dropped"] for entry in entries if "dropped" in entry)),
        "dropped_photos": [
            {key: entry[key] for key in ("photo", "dropped", "why")}
            for entry in entries
            if "dropped" in entry
        ],
    }
    write_whole(out / "metadata.csv", table.getvalue().encode())
    write_whole(out / "landmarks.npy", points.getvalue())
    write_whole(out / "report.json", (json.dumps(report, indent=1) + "\n").encode())
    return report


def summary(report):
    lines = [
        f"kept {report['kept']} of {report['photos']} photos, {report['subjects']} people, {report['splits']}"
    ]
    lines += [
        f"  dropped {count:6d}  {reason}: {REASONS[reason]}" for reason, count in report["dropped"].items()
    ]
    if report["several_faces_largest_taken"]:
        lines.append(
            f"  {report['several_faces_largest_taken']} photos had several faces; the largest was taken"
        )
    return "\n".join(lines)


def _parser():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    faces = commands.add_parser(
        "faces",
        help="photos to aligned faces",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Cut the largest face of every photo (FFHQ framing), with landmarks, pose and sharpness.",
        epilog="Adults only: this tool cannot tell anyone's age. Remove photos of minors, and of people who\n"
        "have not agreed, before you run it. A sub-folder is a person, and so is a photo at the top; the\n"
        "splits (80/10/10) go by person.",
    )
    faces.add_argument("photos", type=Path, help="folder of photos, searched with all its sub-folders")
    faces.add_argument(
        "out", type=Path, help="folder to write; give the same again to go on with a stopped run"
    )
    faces.add_argument("--size", type=int, default=256, help="side of the crops, in pixels (default 256)")
    faces.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    faces.add_argument(
        "--landmarks",
        choices=["dlib", "facesym"],
        help="whose 68 landmarks (default: dlib where it is installed)",
    )
    faces.add_argument("--min-score", type=float, default=0.8, help="of the detector, 0-1 (default 0.8)")
    faces.add_argument(
        "--min-side", type=float, help="of the face's square in the photo, in pixels (default: --size)"
    )
    faces.add_argument(
        "--min-sharp",
        type=float,
        default=7.0,
        help="standard deviation of the Laplacian at 128x128 (default 7)",
    )
    pairs = commands.add_parser(
        "pairs",
        help="aligned faces to pairs for train/nfgan.py",
        description="Turned and expressive versions of frontal, neutral faces (metadata.csv: yaw, neutral), and the "
        "real pairs of folders that have several views of a person (view, expression); and turned or expressive "
        "photos, brought to the front by the mesh, the expression taken off by landmarks.",
    )
    pairs.add_argument("out", type=Path, help="folder to write")
    pairs.add_argument("faces", nargs="+", type=Path, help="folders of aligned faces")
    pairs.add_argument(
        "--mesh", type=Path, required=True, help="ict_face_model.npz (ICT FaceKit's face area)"
    )
    pairs.add_argument(
        "--expressions",
        type=Path,
        required=True,
        help="folder with the same people neutral and smiling, from the front",
    )
    pairs.add_argument("--count", type=int, default=20000, help="of simulated pairs (default 20000)")
    pairs.add_argument("--size", type=int, default=128, help="side of the pictures (default 128)")
    pairs.add_argument("--seed", type=int, default=0)
    pairs.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    return parser


def main(argv=None):
    args = _parser().parse_args(argv)
    if args.command == "pairs":
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        from train.pairs import prepare_pairs

        try:
            made = prepare_pairs(
                args.out,
                args.faces,
                args.mesh,
                args.expressions,
                args.count,
                args.size,
                args.seed,
                args.workers,
            )
        except FacesymError as error:
            sys.exit(f"error: {error}")
        print("\n".join(f"{count:6d} {kind}" for kind, count in sorted(made.items())))
        print(f"{args.out / 'preview.png'} shows some")
        return
    if args.landmarks is None:
        from importlib.util import find_spec

        args.landmarks = "dlib" if find_spec("dlib") and find_spec("face_recognition_models") else "facesym"
    settings = {
        "size": args.size,
        "landmarks": args.landmarks,
        "min_score": args.min_score,
        "min_side": args.size if args.min_side is None else args.min_side,
        "min_sharp": args.min_sharp,
    }
    try:
        report = prepare_faces(args.photos, args.out, settings, args.workers)
    except FacesymError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("\nstopped; the same command goes on from here")
    print(summary(report))
    print(f"{args.out / 'report.json'} lists every dropped photo")


if __name__ == "__main__":
    main()
