"""`facesym evaluate faces`: how upright the crop of a tilted face is, on people never seen in training.

facesym evaluate faces --faces FACES/flickr FACES/omi FACES/amfd -n 120 -o results/faces
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..faces.align import align_face, ffhq_transform, five_points
from ..faces.detect import detect_boxes, detect_faces
from ..identity import identity_similarity
from ..logging import progress_bar
from .data import add_common_arguments, load_pictures, select_pictures
from .report import picture_grid
from .tables import markdown, save_results

SIZE = 256

COLUMNS = {
    "found": "{found:.1%}",
    "eye line, median": "{median:.1f}°",
    "eye line, 95 %": "{high:.1f}°",
    "same face as upright": "{identity:.3f}",
    "symmetrize, same face as photo": "{symmetrize:.3f}",
}


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_common_arguments(command)
    command.add_argument("-n", type=int, default=120, help="images at most (default 120)")
    command.add_argument(
        "--angles", type=float, nargs="+", default=[0, 10, 20, 30, 45, 60, 90, 180, 270], metavar="DEGREES",
        help="tilts, counterclockwise (default: %(default)s)",
    )  # fmt: skip
    command.add_argument(
        "--symmetrize",
        type=int,
        default=0,
        metavar="N",
        help="also symmetrize the first N images (default 0)",
    )
    command.add_argument("--grid", type=int, default=8, help="images in the grid (default 8)")


def tilted(picture: np.ndarray, points: np.ndarray, angle: float) -> tuple[Image.Image, np.ndarray]:
    """An image turned about its middle, on grey, and its points.

    Args:
        image: SxSx3 uint8.
        points: Kx2, pixels.
        angle: degrees, counterclockwise.

    Returns:
        RGB image, as large as the turned image needs, and Kx2.
    """
    image = Image.fromarray(picture).rotate(
        angle, Image.Resampling.BICUBIC, expand=True, fillcolor=(128, 128, 128)
    )
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turned = (points - (len(picture) - 1) / 2) @ np.array([[cos, -sin], [sin, cos]])
    return image, turned + (np.array(image.size) - 1) / 2


def eye_line(points: np.ndarray, transform: np.ndarray) -> float:
    """Degrees by which the line of the outer eye corners (of 68x2 landmarks in the photo) is off level in the crop."""
    x, y = transform[:, :2] @ (points[45] - points[36])
    return float(np.degrees(np.arctan2(y, x)))


def nearest(faces: Any, points: np.ndarray) -> Any:
    """The face whose box has its middle nearest to the landmarks' middle, or None."""
    middle = points.mean(0)
    off = [np.linalg.norm(np.reshape(face.box, (2, 2)).mean(0) - middle) for face in faces]
    return faces[int(np.argmin(off))] if faces else None


def run(args: argparse.Namespace) -> None:
    """Faces tilted by some angles: how many are found, the eye line that is left in their crops, and how alike the
    crop of the tilted and of the upright image are (the zoo's identity model). Rows: the detector's five points
    (YuNet), and those of the landmark network, which facesym uses."""
    rows = select_pictures(args.faces, SIZE, args.n, args.seed)
    pictures, landmarks = load_pictures(rows, SIZE)
    ways = {"YuNet": detect_boxes, "facesym": detect_faces}
    results, shown = [], {}
    upright = {name: _crops(find, pictures, landmarks, 0)[0] for name, find in ways.items()}
    for angle in progress_bar(args.angles, "angles"):
        for name, find in ways.items():
            crops, off = _crops(find, pictures, landmarks, angle)
            both = [(a, b) for a, b in zip(upright[name], crops) if a and b]
            row = {
                "row": f"{angle:g}°: {name}",
                "found": len([x for x in off if x is not None]) / len(off),
                "median": float(np.median([abs(x) for x in off if x is not None])),
                "high": float(np.percentile([abs(x) for x in off if x is not None], 95)),
                "identity": float(np.mean(identity_similarity(*zip(*both)) or np.nan)),
            }
            if name == "facesym" and args.symmetrize:
                row["symmetrize"] = _symmetrized(pictures[: args.symmetrize], landmarks, angle)
            results.append(row)
        shown[f"{angle:g}°"] = np.stack(
            [np.asarray(crop) if crop else np.zeros_like(pictures[0]) for crop in crops[: args.grid]]
        )
    table = markdown(results, COLUMNS)
    print(table)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    save_results(
        out, {"sets": [path.name for path in args.faces], "n": len(rows), "seed": args.seed}, results
    )
    picture_grid(shown).save(out / "tilted.png")


def _crops(find, pictures, landmarks, angle):
    """The aligned crop (None where no face was found) and the eye line of every tilted image: two lists."""
    crops, off = [], []
    for picture, points in zip(pictures, landmarks):
        photo, at = tilted(picture, points, angle)
        face = nearest(find(photo), at)
        if face is None:
            crops.append(None)
            off.append(None)
            continue
        transform = ffhq_transform(face.points, SIZE)
        crops.append(align_face(photo, transform, SIZE))
        # What is left beyond the roll that the upright image has.
        left = eye_line(at, transform) - _own_line(points)
        off.append((left + 180) % 360 - 180)
    return crops, off


def _own_line(points):
    """The eye line that five exact points leave: a turned head's is not level."""
    return eye_line(points, ffhq_transform(five_points(points), SIZE))


def _symmetrized(pictures, landmarks, angle):
    """Mean identity similarity of the symmetric faces of tilted images."""
    from .. import FaceNotFoundError, load

    pipe, found = load("symmetrize"), []
    for picture, points in zip(pictures, landmarks):
        try:
            found += pipe(tilted(picture, points, angle)[0]).identity or []
        except FaceNotFoundError:
            found.append(0.0)
    return float(np.mean(found))
