"""Compare smiles that a model adds or removes with photos of the same people, for `facesym evaluate transfer`."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from .. import metrics
from ..data.attributes import STUDIO
from ..faces.landmarks import find_points
from ..faces.mouth import cut_mouth, mouth_box
from ..logging import progress_bar
from .data import load_pictures, select_pictures

SIZE, CROP = 256, 96  # pixels: of the faces, and of the crops of mouths

COLUMNS = {
    "people": "{people}",
    "LPIPS of the mouth to the person's own": "{lpips:.3f}",
    "sharpness of the mouth": "{sharpness:.2f}",
}


def smile_pairs(folders: Iterable[str | Path]) -> list[dict[str, dict[str, Any]]]:
    """Find the held-out people with a frontal photo of each kind: a list of {"neutral": row, "happy": row}."""
    people: dict[tuple, dict] = {}
    for row in select_pictures(folders, SIZE, None, 0):
        name = STUDIO.get(row.get("expression", ""))
        if name and row["subject"] and row.get("view", "front") == "front":
            people.setdefault((row["set"], row["subject"]), {}).setdefault(name, row)
    return [found for found in people.values() if len(found) == 2]


def measure_smiles(
    pipes: dict[str, Any], folders: Iterable[str | Path], backbone: str | Path
) -> list[dict[str, Any]]:
    """Add smiles to neutral photos and remove them from smiling ones.

    Args:
        pipes: {name: TransferPipeline}.
        folders: of aligned faces with the column ``expression``: "neutral", and "happy" or "smiling".
        backbone: AlexNet's file, for LPIPS.

    Returns:
        A row for each change and each of the unchanged photo and the models: LPIPS between the crop of its mouth and of
        the person's own photo with the expression, and the crop's sharpness relative to that photo's.
    """
    table = []
    pairs = smile_pairs(folders)
    for source, wanted in (("neutral", "happy"), ("happy", "neutral")):
        images, targets = (
            load_pictures([pair[name] for pair in pairs], SIZE)[0] for name in (source, wanted)
        )
        real = mouths(targets)
        outputs = {"unchanged photo": images}
        for name, pipe in pipes.items():
            faces = progress_bar(images, desc=f"{name}: {wanted}")
            outputs[name] = np.stack(
                [np.asarray(change(pipe, image, {"expression": wanted})[0]) for image in faces]
            )
        for name, faces in outputs.items():
            crops = mouths(faces)
            sharp = np.array([detail(a) / max(detail(b), 1e-6) for a, b in zip(crops, real)])
            table.append({
                "row": name, "change": f"{source} → {wanted}", "people": len(pairs),
                "lpips": float(metrics.lpips(crops, real, backbone).mean()), "sharpness": float(np.median(sharp)),
            })  # fmt: skip
    return table


def change(
    pipe: Any, image: np.ndarray, way: dict[str, str], strengths: Sequence[float] = (1.0,)
) -> list[Image.Image]:
    """Give an aligned face (SxSx3 uint8) attributes, as {group: attribute}: RGB images, one per strength."""
    crop = Image.fromarray(image)
    small = crop.resize((pipe.size, pipe.size), Image.Resampling.LANCZOS)
    return pipe.run(small, crop, [way] * len(strengths), strengths)


def mouths(faces: np.ndarray) -> np.ndarray:
    """Crop the mouths of aligned faces, NxSxSx3 uint8, at their own landmarks: NxCROPxCROPx3."""
    points = find_points([Image.fromarray(face) for face in faces])
    return np.stack([cut_mouth(face, mouth_box(p, len(face)), CROP) for face, p in zip(faces, points)])


def detail(crop: np.ndarray) -> float:
    """Standard deviation of the Laplacian of a crop's grey values within the middle half, where the lips are."""
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    edge = len(crop) // 4
    return float(cv2.Laplacian(grey, cv2.CV_32F)[edge:-edge, edge:-edge].std())
