"""`facesym evaluate faces`: alignment of tilted faces of held-out people.

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
    """Rotate an image about its centre, on a grey background, and its points.

    Args:
        picture: SxSx3 uint8.
        points: Kx2, pixels.
        angle: degrees, counterclockwise.

    Returns:
        RGB image that contains the whole rotated image, and Kx2.
    """
    image = Image.fromarray(picture).rotate(
        angle, Image.Resampling.BICUBIC, expand=True, fillcolor=(128, 128, 128)
    )
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turned = (points - (len(picture) - 1) / 2) @ np.array([[cos, -sin], [sin, cos]])
    return image, turned + (np.array(image.size) - 1) / 2


def eye_line(points: np.ndarray, transform: np.ndarray) -> float:
    """Return the tilt in the crop, in degrees, of the line between the outer eye corners (68x2 landmarks in the
    photo)."""
    x, y = transform[:, :2] @ (points[45] - points[36])
    return float(np.degrees(np.arctan2(y, x)))


def nearest(faces: Any, points: np.ndarray) -> Any:
    """Return the face whose box centre is nearest to the landmarks' centre, or None."""
    middle = points.mean(0)
    off = [np.linalg.norm(np.reshape(face.box, (2, 2)).mean(0) - middle) for face in faces]
    return faces[int(np.argmin(off))] if faces else None


def run(args: argparse.Namespace) -> None:
    """Tilt faces by several angles and measure the fraction found, the remaining tilt of the eye line in their crops,
    and the similarity of the crops of the tilted and the upright image (the zoo's identity model). Rows: alignment by
    the detector's five points (YuNet), and by the landmark network, as facesym does."""
    rows = select_pictures(args.faces, SIZE, args.n, args.seed)
    images, landmarks = load_pictures(rows, SIZE)
    ways = {"YuNet": detect_boxes, "facesym": detect_faces}
    results, shown = [], {}
    upright = {name: _crops(find, images, landmarks, 0)[0] for name, find in ways.items()}
    for angle in progress_bar(args.angles, "angles"):
        for name, find in ways.items():
            crops, off = _crops(find, images, landmarks, angle)
            both = [(a, b) for a, b in zip(upright[name], crops) if a and b]
            row = {
                "row": f"{angle:g}°: {name}",
                "found": len([x for x in off if x is not None]) / len(off),
                "median": float(np.median([abs(x) for x in off if x is not None])),
                "high": float(np.percentile([abs(x) for x in off if x is not None], 95)),
                "identity": float(np.mean(identity_similarity(*zip(*both)) or np.nan)),
            }
            if name == "facesym" and args.symmetrize:
                row["symmetrize"] = _symmetrized(images[: args.symmetrize], landmarks, angle)
            results.append(row)
        shown[f"{angle:g}°"] = np.stack(
            [np.asarray(crop) if crop else np.zeros_like(images[0]) for crop in crops[: args.grid]]
        )
    table = markdown(results, COLUMNS)
    print(table)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    save_results(
        out, {"sets": [path.name for path in args.faces], "n": len(rows), "seed": args.seed}, results
    )
    picture_grid(shown).save(out / "tilted.png")


def _crops(find, images, landmarks, angle):
    """Return the aligned crops (None where no face is found) and eye lines of the tilted images: two lists."""
    crops, off = [], []
    for image, points in zip(images, landmarks):
        photo, at = tilted(image, points, angle)
        face = nearest(find(photo), at)
        if face is None:
            crops.append(None)
            off.append(None)
            continue
        transform = ffhq_transform(face.points, SIZE)
        crops.append(align_face(photo, transform, SIZE))
        # The remaining tilt beyond the roll of the upright image.
        left = eye_line(at, transform) - _own_line(points)
        off.append((left + 180) % 360 - 180)
    return crops, off


def _own_line(points):
    """Return the eye line that five exact points give; that of a turned head is not level."""
    return eye_line(points, ffhq_transform(five_points(points), SIZE))


def _symmetrized(images, landmarks, angle):
    """Return the mean identity similarity of the symmetric faces of tilted images."""
    from .. import FaceNotFoundError, load

    pipe, found = load("symmetrize"), []
    for image, points in zip(images, landmarks):
        try:
            found += pipe(tilted(image, points, angle)[0]).identity or []
        except FaceNotFoundError:
            found.append(0.0)
    return float(np.mean(found))
