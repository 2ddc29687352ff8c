"""`facesym evaluate asymmetry`: reliability of the measures of asymmetry.

facesym evaluate asymmetry --faces FACES/scut FACES/amfd FACES/london --people FACES/lfw -o results/asymmetry
"""

import argparse
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ..asymmetry import steady_points
from ..data.metadata import read_landmarks
from ..data.selection import is_frontal_neutral
from ..data.symmetric import simulate_palsy
from ..errors import FacesymError, ImageError
from ..faces.geometry import flip_landmarks, warp_points
from ..logging import progress_bar
from ..study.measures import MEASURES, Sides, measure_sides
from ..study.photo import SIZE, MeasuredFace, measure_crop, measure_photo
from ..study.table import leading_region
from .data import add_common_arguments, load_pictures, select_pictures
from .report import plot
from .tables import markdown, save_results, save_rows

STRENGTHS = (0, 0.25, 0.5, 0.75, 1.0, 1.25)
TILT = 20  # degrees
INDEX = " (index)"  # ends the names of facesym's own indices, which have no sign
# How far each landmark of the mouth lies to the image's left of its middle: 1 at the corner, 0 at the midline.
_LEFTNESS = {
    48: 1, 49: 0.6, 50: 0.2, 51: 0, 52: -0.2, 53: -0.6, 54: -1, 55: -0.6, 56: -0.2, 57: 0, 58: 0.2, 59: 0.6,
    60: 0.9, 61: 0.3, 62: 0, 63: -0.3, 64: -0.9, 65: -0.3, 66: 0, 67: 0.3,
}  # fmt: skip
# Changes of one feature on the image's left side: the region; shifts (x, y) of landmarks as fractions of the distance
# between the eyes (`close_eye` closes an eye); the subject's side that is then lower or narrower, or to which the mouth
# is drawn.
ACTS: dict[str, tuple[str, dict[int, tuple[float, float]], str]] = {
    "eye closed": ("eye", {}, "right"),
    "brow raised": ("brow", dict.fromkeys(range(17, 22), (0, -0.08)), "left"),
    "mouth corner down": ("mouth", {48: (0, 0.1), 60: (0, 0.09), 49: (0, 0.05), 59: (0, 0.06)}, "right"),
    # Lips that are pursed and pushed to the side.
    "pout": ("mouth", {k: (0.05 * left - 0.08, 0) for k, left in _LEFTNESS.items()}, "right"),
}


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_common_arguments(command)
    command.add_argument("-n", type=int, default=60, help="images at most (default 60)")
    command.add_argument(
        "--people", nargs="+", type=Path, help="folders with several photos of a person (default: --faces)"
    )
    command.add_argument(
        "--pairs", type=int, default=60, help="pairs of photos of one person at most (default 60)"
    )


def run(args: argparse.Namespace) -> None:
    """Measure how the measures of asymmetry vary on held-out faces: after changes that must not affect them (mirrored,
    scaled, recompressed, shifted, tilted), between photos of one person, with a simulated palsy of growing strength,
    and with one feature moved. Writes tables, CSV files and a plot."""
    rows = _resting(args.faces, args.seed)[: args.n]
    if not rows:
        raise ImageError("no test image shows a frontal, neutral face")
    args.out.mkdir(parents=True, exist_ok=True)
    images, points = load_pictures(rows, SIZE)
    names = [f"{row['set']}/{row['file_name']}" for row in rows]
    results = {
        "repeats": measure_repeats(images, names, args.out),
        "persons": measure_persons(_resting(args.people or args.faces, args.seed), args.pairs),
        "palsy": measure_palsy(images, points, names, args.out),
        "acts": measure_acts(images, points),
    }
    settings = {"pictures": len(rows), "faces": [str(folder) for folder in args.faces], "seed": args.seed}
    save_results(args.out, settings, results)
    print_tables(results, len(rows))
    print(f"\nwrote {args.out}")


def _resting(folders, seed):
    """Select test images of frontal, neutral faces (rows of metadata.csv); an unknown expression counts as neutral."""
    tables = {folder: read_landmarks(folder) for folder in folders}
    return [
        row for row in select_pictures(folders, 0, None, seed)
        if not (row.get("neutral") or row.get("view"))
        or is_frontal_neutral(row, tables[row["path"].parent][row["index"]])
    ]  # fmt: skip


def values_of(face: MeasuredFace) -> dict[str, float]:
    """Return the measures of a face: {name: signed difference of a measure, or index}."""
    signed = {measure.key: face.sides[measure.key].difference for measure in MEASURES}
    return signed | {f"{name}{INDEX}": value for name, value in face.indices.items()}


# --- changes that must not affect the measures ------------------------------------------------------------------------
def changed_photos(image: Image.Image) -> dict[str, Image.Image]:
    """Apply each change that must not affect the measures to a photo (RGB image): {name: RGB image}."""
    width, height = image.size

    def turn(degrees: float) -> np.ndarray:
        return cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)

    def move(matrix: np.ndarray) -> Image.Image:
        moved = cv2.warpAffine(
            np.asarray(image), matrix, image.size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        return Image.fromarray(moved)

    file = BytesIO()
    image.save(file, "JPEG", quality=50)
    return {
        "mirrored": Image.fromarray(np.asarray(image)[:, ::-1].copy()),
        "half the size": image.resize((width // 2, height // 2), Image.Resampling.LANCZOS),
        "twice the size": image.resize((2 * width, 2 * height), Image.Resampling.BICUBIC),
        "JPEG of quality 50": Image.open(file).convert("RGB"),
        "shifted by 3 %": move(np.array([[1, 0, 0.03 * width], [0, 1, 0.02 * height]])),
        f"tilted by {TILT}°": move(turn(TILT)),
        f"tilted by −{TILT}°": move(turn(-TILT)),
    }


def measure_repeats(images: np.ndarray, names: Sequence[str], out: Path) -> dict[str, dict[str, float]]:
    """Measure the effect on each measure of changes that must not affect it.

    Args:
        images: NxSxSx3 uint8, aligned crops.
        names: their names, for the table.
        out: folder; repeats.csv gets the differences.

    Returns:
        {change: {measure: root mean square of the difference}}.
    """
    errors: dict[str, dict[str, list[float]]] = {}
    rows: list[dict[str, Any]] = []
    for picture, name in zip(progress_bar(images, unit="face"), names):
        # Not "reflect": reflected faces would be found, too.
        image = Image.fromarray(np.pad(picture, ((64, 64), (64, 64), (0, 0)), mode="edge"))
        try:
            before = values_of(measure_photo(image))
        except FacesymError:
            continue
        for change, photo in changed_photos(image).items():
            try:
                after = values_of(measure_photo(photo))
            except FacesymError:
                rows.append({"picture": name, "change": change})
                continue
            if change == "mirrored":
                after = {key: value if key.endswith(INDEX) else -value for key, value in after.items()}
            moved = {key: after[key] - before[key] for key in before}
            rows.append({"picture": name, "change": change} | moved)
            for key, value in moved.items():
                errors.setdefault(change, {}).setdefault(key, []).append(value)
    save_rows(out / "repeats.csv", rows)
    return {change: {key: _rms(values) for key, values in each.items()} for change, each in errors.items()}


def _rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


# --- several photos of one person -----------------------------------------------------------------------------------
def measure_persons(rows: Sequence[dict[str, Any]], most: int) -> dict[str, Any]:
    """Measure how two photos of one person differ.

    Args:
        rows: rows of metadata.csv; the first two of each known person are used.
        most: maximum number of pairs.

    Returns:
        {"pairs": number of pairs} and {measure: dict} with "error" (standard error of one photo: the root mean square
        of the difference over √2), "smallest_change" (smallest detectable change: 1.96 √2 times the error) and
        "between_people" (standard deviation). Empty without pairs.
    """
    people: dict[tuple[str, str], list] = {}
    for row in rows:
        if row["subject"]:
            people.setdefault((row["set"], row["subject"]), []).append(row)
    pairs = [photos[:2] for photos in people.values() if len(photos) > 1][:most]
    if not pairs:
        return {}
    found = []
    for pair in progress_bar(pairs, unit="pair"):
        images, _ = load_pictures(pair, SIZE)
        found.append([values_of(measure_crop(Image.fromarray(image))) for image in images])
    return {"pairs": len(pairs)} | {
        key: _reliability([[one[key] for one in pair] for pair in found]) for key in found[0][0]
    }


def _reliability(pairs):
    pairs = np.array(pairs)
    error = _rms(pairs[:, 0] - pairs[:, 1]) / np.sqrt(2)
    spread = float(pairs.mean(1).std())
    return {
        "error": float(error),
        "smallest_change": float(1.96 * np.sqrt(2) * error),
        "between_people": spread,
    }


# --- a palsy of known strength --------------------------------------------------------------------------------------
def measure_palsy(
    images: np.ndarray, points: np.ndarray, names: Sequence[str], out: Path
) -> dict[str, dict[str, Any]]:
    """Relate the measures to the strength of a simulated palsy; the sign depends on its side.

    Args:
        images: NxSxSx3 uint8, aligned crops.
        points: Nx68x2, their landmarks in pixels.
        names: their names, for the table.
        out: folder for palsy.csv and the plot.

    Returns:
        {measure: {"grows": fraction of steps in the direction of the mean, "correlation": mean over the faces,
        "means": mean at each of STRENGTHS}}.
    """
    rows: list[dict[str, Any]] = []
    measured: list[list[list[float]]] = []
    for i, (picture, p) in enumerate(progress_bar(list(zip(images, points)), unit="face")):
        side, sign = (("left", 1), ("right", -1))[i % 2]
        measured.append([])
        for strength in STRENGTHS:
            image, _ = simulate_palsy(picture, p, side, strength)
            found = values_of(measure_crop(Image.fromarray(image)))
            found = {key: value if key.endswith(INDEX) else sign * value for key, value in found.items()}
            rows.append({"picture": names[i], "strength": strength} | found)
            measured[-1].append(list(found.values()))
    save_rows(out / "palsy.csv", rows)
    values, keys = np.array(measured), list(found)
    results = {}
    for k, key in enumerate(keys):
        each = values[:, :, k]
        direction = np.sign(each[:, -1].mean() - each[:, 0].mean())
        correlation = [np.corrcoef(STRENGTHS, direction * line)[0, 1] for line in each if np.ptp(line) > 0]
        results[key] = {
            "grows": float((direction * np.diff(each, axis=1) > 0).mean()),
            "correlation": float(np.mean(correlation)),
            "means": each.mean(0).round(4).tolist(),
        }
    _plot(results, out / "palsy.png")
    return results


def _plot(results, path):
    lengths = [measure for measure in MEASURES if measure.unit != "degrees"]
    with plot(path, 2, figsize=(9, 3.6)) as axes:
        for measure in lengths:
            axes[0].plot(
                STRENGTHS, results[measure.key]["means"], marker="o", markersize=3, label=measure.label
            )
        for key, found in results.items():
            if key.endswith(INDEX) and "appearance" not in key:
                axes[1].plot(STRENGTHS, found["means"], marker="o", markersize=3, label=key)
        axes[0].set(
            xlabel="strength of the simulated palsy", ylabel="difference of the sides (eye distances)"
        )
        axes[1].set(
            xlabel="strength of the simulated palsy", ylabel="index (outer-eye distances)", ylim=(0, None)
        )
        for axis in axes:
            axis.legend(fontsize=7)


# --- one feature moved ----------------------------------------------------------------------------------------------
def close_eye(image: np.ndarray, points: np.ndarray, fraction: float = 1.0) -> np.ndarray:
    """Close the image's left eye by stretching the skin of the upper lid over the opening.

    Args:
        image: SxSx3 uint8.
        points: 68x2 landmarks in pixels.
        fraction: fraction of the opening that the lid covers.

    Returns:
        SxSx3 uint8.
    """
    ys, xs = np.mgrid[: len(image), : len(image)].astype(np.float32)
    columns = np.arange(len(image))
    upper = np.interp(columns, *points[[36, 37, 38, 39]].T)
    lower = np.interp(columns, *points[[36, 41, 40, 39]].T)
    inside = (columns > points[36, 0]) & (columns < points[39, 0])
    lid = upper + fraction * (lower - upper)
    top = upper - 1.2 * (points[[40, 41], 1].mean() - points[[37, 38], 1].mean())  # the crease above the lid
    source = top + (ys - top) / np.maximum(lid - top, 1) * (upper - top)
    ys = np.where(inside & (ys > top) & (ys < lid), source, ys).astype(np.float32)
    return cv2.remap(image, xs, ys, cv2.INTER_CUBIC)


def act(image: np.ndarray, points: np.ndarray, name: str, side: str) -> np.ndarray:
    """Apply one of ACTS to a side of an image: SxSx3 uint8."""
    if side == "right":
        mirrored = act(image[:, ::-1].copy(), flip_landmarks(points, len(image)), name, "left")
        return mirrored[:, ::-1].copy()
    if name == "eye closed":
        return close_eye(image, points)
    unit = np.linalg.norm(points[42:48].mean(0) - points[36:42].mean(0))
    moved = np.array(points, np.float64)
    for landmark, shift in ACTS[name][1].items():
        moved[landmark] += np.multiply(shift, unit)
    return warp_points(image, points, moved)[0]


def measure_acts(images: np.ndarray, points: np.ndarray) -> dict[str, dict[str, float]]:
    """Move each feature of ACTS on each face.

    Args:
        images: NxSxSx3 uint8, aligned crops.
        points: Nx68x2, their landmarks in pixels.

    Returns:
        {act: dict of fractions of the faces}: the moved region is the most unusual one ("region"), and its side is
        named ("side"); it differs most from the unmoved photo, and its side is named ("change").
    """
    hits: dict[str, list[tuple[bool, bool, bool]]] = {name: [] for name in ACTS}
    for i, (image, p) in enumerate(progress_bar(list(zip(images, points)), unit="face")):
        where = ("left", "right")[i % 2]
        before = _sides_of(image)
        for name, (region, _, side) in ACTS.items():
            expected = region, side if where == "left" else {"left": "right", "right": "left"}[side]
            after = _sides_of(act(image, p, name, where))
            change = {
                key: Sides(None, None, each.difference - before[key].difference)
                for key, each in after.items()
            }
            found = leading_region(after)
            hits[name].append(
                (found[0] == region, found[:2] == expected, leading_region(change)[:2] == expected)
            )
    return {
        name: dict(zip(("region", "side", "change"), np.mean(each, 0).round(4).tolist()))
        for name, each in hits.items()
    }


def _sides_of(image):
    return measure_sides(steady_points(Image.fromarray(image))[0])


# --- tables ---------------------------------------------------------------------------------------------------------
def print_tables(results: Any, count: int) -> None:
    """Print the results as tables in Markdown."""
    changes = list(results["repeats"])
    print(f"\n{count} faces: root mean square of the effect of a change of the photo on a measure\n")
    rows = [
        {"row": key} | {change: results["repeats"][change][key] for change in changes}
        for key in next(iter(results["repeats"].values()), {})
    ]
    print(markdown(rows, {change: f"{{{change}:.4f}}" for change in changes}))
    persons = dict(results["persons"])
    print(f"\n{persons.pop('pairs', 0)} pairs of photos of one person\n")
    form = {
        "standard error": "error",
        "smallest detectable change": "smallest_change",
        "between people": "between_people",
    }
    print(
        markdown(
            [{"row": key} | each for key, each in persons.items()],
            {k: f"{{{v}:.4f}}" for k, v in form.items()},
        )
    )
    print("\nA palsy of growing strength\n")
    rows = [{"row": key} | found for key, found in results["palsy"].items()]
    columns = {f"{strength:g}": f"{{means[{i}]:.3f}}" for i, strength in enumerate(STRENGTHS)}
    print(markdown(rows, {"grows": "{grows:.0%}", "correlation": "{correlation:.3f}"} | columns))
    print("\nOne feature moved\n")
    rows = [{"row": name} | found for name, found in results["acts"].items()]
    columns = {"region leads": "{region:.0%}", "region leads, side named": "{side:.0%}"}
    print(markdown(rows, columns | {"region changes most, side named": "{change:.0%}"}))
