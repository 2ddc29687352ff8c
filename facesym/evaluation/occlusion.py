"""`facesym evaluate occlusion`: the automatic mask on drawn and real occlusions of held-out faces.

    facesym evaluate occlusion --faces FACES/flickr FACES/omi FACES/lfw --unoccluded FACES/london FACES/generated \\
        --marks tests/data/occlusions.json --plain tests/data/unoccluded.txt -o results/occlusion
"""

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ..attributes import OCCLUSIONS
from ..data.occluders import draw_occluders
from ..errors import ImageError
from ..faces.geometry import face_region, resized_points
from ..faces.occlusion import AUTO, automatic_kinds, find_occlusion, network
from ..logging import progress_bar
from .data import add_common_arguments, load_pictures, select_pictures
from .report import picture_grid
from .tables import markdown, save_results, zoo_metrics

MARKED_SIZE = 256  # pixels: side of the images that the coordinates of the marks refer to

COLUMNS = {
    "images": "{n}",
    "IoU, mean": "{iou:.3f}",
    "IoU, all pixels": "{pooled:.3f}",
    "of it found": "{recall:.1%}",
    "nothing found": "{missed:.1%}",
    "visible face cut": "{cut:.1%}",
    "of that, without the occlusion": "{before:.1%}",
}


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_common_arguments(command)
    command.add_argument(
        "--unoccluded", nargs="+", type=Path, required=True, help="folders of faces that nothing covers"
    )
    command.add_argument("--marks", type=Path, help="JSON: outlines of real occlusions of images in --faces")
    command.add_argument(
        "--plain", type=Path, help="list of images in --faces that nothing covers, one set/file name a line"
    )
    command.add_argument("-n", type=int, default=400, help="images of each kind at most (default 400)")
    command.add_argument("--grid", type=int, default=12, help="images in the grids (default 12)")


def draw_marks(shapes: list[dict[str, Any]], size: int) -> np.ndarray:
    """Draw a mask annotated by hand.

    Args:
        shapes: dicts with ``fill`` (polygons; overlaps cancel) or ``line`` (points, with ``width`` and
            ``closed``); coordinates in pixels of an image of MARKED_SIZE.
        size: side S of the mask.

    Returns:
        SxS bool, True = covered.
    """
    mask, scale = np.zeros((size, size), np.uint8), size / MARKED_SIZE

    def fixed(points):
        return np.round(resized_points(np.array(points), scale) * 16).astype(np.int32)

    for shape in shapes:
        if "fill" in shape:
            cv2.fillPoly(mask, [fixed(outline) for outline in shape["fill"]], 1, shift=4)
        else:
            width = max(1, round(shape["width"] * scale))
            cv2.polylines(mask, [fixed(shape["line"])], shape["closed"], 1, width, shift=4)
    return mask > 0


def compare(
    found: np.ndarray, hidden: np.ndarray, face: np.ndarray, before: np.ndarray | None = None
) -> dict[str, float]:
    """Compare a predicted mask with its target.

    Fractions of the visible face are relative to the face's region; the IoU covers the whole image.

    Args:
        found: SxS bool, the predicted mask.
        hidden: SxS bool, the target.
        face: SxS bool, the region of the face.
        before: SxS bool, the mask predicted for the image before the occlusion was drawn: unlabelled real glasses and
            hands, and errors.

    Returns:
        Areas in pixels ("both", "either") and fractions.
    """
    both, either, visible = (found & hidden).sum(), (found | hidden).sum(), face & ~hidden
    least = max(visible.sum(), 1)
    return {
        "both": float(both),
        "either": float(either),
        "iou": float(both / max(either, 1)),
        "recall": float(both / max(hidden.sum(), 1)),
        "missed": float(not found.any()),
        "cut": float((found & visible).sum() / least),
    } | ({} if before is None else {"before": float((found & before & visible).sum() / least)})


def mean_row(name: str, values: list[dict[str, float]]) -> dict[str, Any]:
    """Average the results of `compare`, and compute the IoU over all pixels."""
    row = {
        key: float(np.mean([value[key] for value in values])) for key in values[0].keys() - {"both", "either"}
    }
    pooled = sum(value["both"] for value in values) / max(sum(value["either"] for value in values), 1)
    return {"row": name, "n": len(values), "pooled": pooled} | row


def run(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure the automatic mask: intersection over union with occlusions drawn over held-out faces, by kind, and with
    real ones annotated by hand; the fraction of the visible face it covers; and false alarms on unoccluded faces."""
    args.out.mkdir(parents=True, exist_ok=True)
    size = network().config.input_size
    marks = json.loads(args.marks.read_text()) if args.marks else {}
    drawn = _drawn(args, size)
    real = _real(args, size, marks) if marks else []
    rows = {"unoccluded": select_pictures(args.unoccluded, 0, args.n, args.seed)}
    if args.plain:
        rows["plain"] = _listed(args, set(args.plain.read_text().split()), args.plain)
    alarms = {
        name: _false_alarms(each, size, args.out / f"false-alarms-{name}.png", args.grid)
        for name, each in rows.items()
    }
    table = [mean_row(f"drawn: {kind}", values) for kind, values in drawn.items()]
    table.append(mean_row("drawn: all", [value for values in drawn.values() for value in values]))
    for kind in OCCLUSIONS:
        some = [value for kinds, value in real if kinds == {kind}]
        table += [mean_row(f"real: {kind}", some)] if some else []
    if real:
        table.append(mean_row("real: all", [value for _, value in real]))
    settings = {"task": "occlusion", "size": size, "n": args.n, "seed": args.seed, "marked": len(real)}
    counts = {name: len(each) for name, each in rows.items()}
    save_results(args.out, settings, {"table": table, "false_alarms": alarms, "unoccluded": counts})
    print("\n" + markdown(table, COLUMNS) + "\n")
    for name, fraction in alarms.items():
        print(f"false alarms: {fraction:.1%} of {counts[name]} images of --{name}")
    print(f"\nwrote {args.out}")
    data = f"images of the test split of {', '.join(folder.name for folder in args.faces)}, {size} pixels"
    parts = {
        f"{sum(map(len, drawn.values()))} {data}, with drawn occlusions": table[: len(drawn) + 1],
        f"{len(real)} {data}, with real occlusions": table[len(drawn) + 1 :],
    } | {
        f"{counts[name]} unoccluded images of the test split": [{"row": name, "false_alarms": alarms[name]}]
        for name in alarms
    }
    return [zoo_metrics(data, "facesym evaluate occlusion", rows) for data, rows in parts.items() if rows]


def _found(picture, kinds=()):
    """Return the mask of ``mask="auto"`` for an image (SxSx3 uint8), extended to further kinds."""
    return find_occlusion(Image.fromarray(picture), {*(automatic_kinds(AUTO) or ()), *kinds})


def _drawn(args, size):
    """Return {kind: results of `compare`} with one occlusion drawn over each held-out face."""
    rows = select_pictures(args.faces, 0, args.n, args.seed)
    pictures, landmarks = load_pictures(rows, size)
    values, shown = {kind: [] for kind in OCCLUSIONS}, []
    for i in progress_bar(range(len(rows)), desc="drawn"):
        kind = OCCLUSIONS[i % len(OCCLUSIONS)]
        image, labels = draw_occluders(np.random.default_rng((args.seed, i)), pictures[i], landmarks[i], kind)
        found, before = _found(image, [kind]), _found(pictures[i], [kind])
        values[kind].append(compare(found, labels > 0, face_region(landmarks[i], size) > 0, before))
        shown.append((image, found, labels > 0))
    _save_grid(shown[: args.grid], args.out / "drawn.png")
    return values


def _real(args, size, marks):
    """Return [(the set of kinds, result of `compare`)] of the images annotated by hand."""
    rows = _listed(args, marks, args.marks)
    pictures, landmarks = load_pictures(rows, size)
    values, shown = [], []
    for row, picture, points in zip(rows, pictures, landmarks):
        shapes = marks[f"{row['set']}/{row['file_name']}"]
        kinds = {shape["kind"] for shape in shapes}
        found, hidden = _found(picture, kinds), draw_marks(shapes, size)
        values.append((kinds, compare(found, hidden, face_region(points, size) > 0)))
        shown.append((picture, found, hidden))
    _save_grid(shown, args.out / "real.png")
    return values


def _listed(args, names, file):
    """Return the held-out images of --faces with these names ("set/file name").

    Raises:
        ImageError: there is none.
    """
    rows = [
        row for row in select_pictures(args.faces, 0, None, 0) if f"{row['set']}/{row['file_name']}" in names
    ]
    if not rows:
        raise ImageError(f"no image of {file} is among the held-out images of --faces")
    return rows


def _false_alarms(rows, size, path, shown):
    """Return the fraction of unoccluded faces for which ``mask="auto"`` finds a mask; write a grid of some of them."""
    pictures, _ = load_pictures(rows, size)
    found = [_found(each) for each in progress_bar(pictures, desc="unoccluded")]
    alarms = [i for i, mask in enumerate(found) if mask.any()]
    _save_grid([(pictures[i], found[i], found[i]) for i in alarms[:shown]], path)
    return len(alarms) / len(rows)


def _save_grid(shown, path):
    """Write images with masks overlaid; ``shown``: a list of (image, prediction, target)."""
    if not shown:
        return

    def marked(image, mask):
        return np.where(mask[..., None], (0.4 * image + 0.6 * np.array([255, 0, 0])).astype(np.uint8), image)

    picture_grid(
        {
            "image": np.stack([image for image, _, _ in shown]),
            "prediction": np.stack([marked(image, found) for image, found, _ in shown]),
            "target": np.stack([marked(image, hidden) for image, _, hidden in shown]),
        }
    ).save(path)
