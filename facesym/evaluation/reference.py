"""`facesym evaluate reference`: compute the healthy range of the measures of `facesym study` from held-out faces.

facesym evaluate reference --faces FACES/scut FACES/amfd FACES/london -o results/reference
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .. import zoo
from ..data.metadata import read_landmarks
from ..data.selection import is_frontal_neutral
from ..errors import ImageError
from ..logging import progress_bar
from ..study.measures import MEASURES
from ..study.photo import SIZE, measure_crop
from ..study.reference import HEALTHY, PERCENTS, summarize
from ..study.table import LEADING
from .data import add_common_arguments, load_pictures, select_pictures

MIN_IMAGES = 20
FRONTAL = 8  # degrees of yaw


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_common_arguments(command)
    command.add_argument("-n", type=int, default=400, help="maximum number of faces (default 400)")


def run(args: argparse.Namespace) -> None:
    """Measure near-frontal, neutral faces of people held out from training and write the quantiles of every measure to
    reference.json, the format of facesym/study/reference.json. Each face is counted twice, unchanged and mirrored, to
    avoid a left-right bias."""
    rows = select_pictures(args.faces, 0, None, args.seed)
    tables = {folder: read_landmarks(folder) for folder in map(Path, args.faces)}
    rows = [
        row for row in rows
        if is_frontal_neutral(row, tables[row["path"].parent][row["index"]], max_yaw=FRONTAL)
    ][: args.n]  # fmt: skip
    if len(rows) < MIN_IMAGES:
        raise ImageError(f"only {len(rows)} test images are frontal and neutral: {MIN_IMAGES} are needed")
    found: dict[str, list[float]] = {}
    for row in progress_bar(rows, unit="face"):
        images, _ = load_pictures([row], SIZE)
        for name, values in quantities(measure_crop(Image.fromarray(images[0]))).items():
            found.setdefault(name, []).extend(values)
    found |= largest_differences(found)
    sets = sorted({row["set"] for row in rows})
    file = {
        "faces": len(rows),
        "data": f"near-frontal (yaw up to {FRONTAL} degrees), neutral faces of adults held out from training, "
        f"from the datasets {', '.join(sets)}; each used twice, as it is and mirrored",
        "landmarks": zoo.get("landmarks")["sha256"],
        "percents": PERCENTS,
        "quantiles": {name: summarize(values) for name, values in found.items()},
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "reference.json").write_text(_dump(file))
    for measure in MEASURES:
        low, high = (file["quantiles"][measure.key][PERCENTS.index(percent)] for percent in (2.5, 97.5))
        print(f"{measure.label}: {low:.3f} to {high:.3f} {measure.unit}")
    print(f"\n{len(rows)} faces; wrote {args.out / 'reference.json'}")


def quantities(face: Any) -> dict[str, list[float]]:
    """Return the quantities of a MeasuredFace that have a healthy range: {name: values}."""
    found = {"mouth_width": [face.mouth[0]], "mouth_opening": [face.mouth[1]], "doubt": [face.doubt]}
    for key, sides in face.sides.items():
        found[key] = [sides.difference, -sides.difference]
        if sides.right is not None:
            found[f"{key}_side"] = [sides.right, sides.left]
    return found | {name: [value] for name, value in face.indices.items()}


def largest_differences(found: dict[str, list[float]]) -> dict[str, list[float]]:
    """Return each region's largest difference on each face, in limits of the healthy range.

    Args:
        found: {name: values over the faces}, from `quantities`.

    Returns:
        {"brow_largest": values, ...}.
    """
    high = HEALTHY[1]
    return {
        f"{region}_largest": np.max(
            [
                np.abs(found[m.key]) / np.percentile(found[m.key], high)
                for m in MEASURES
                if m.region == region
            ],
            axis=0,
        ).tolist()
        for region in LEADING
    }


def _dump(file):
    """Format as JSON with one quantity per line."""
    lines = ",\n".join(
        f"  {json.dumps(name)}: {json.dumps(values)}" for name, values in file["quantiles"].items()
    )
    head = json.dumps({key: value for key, value in file.items() if key != "quantiles"}, indent=1)
    return f'{head[:-2]},\n "quantiles": {{\n{lines}\n }}\n}}\n'
