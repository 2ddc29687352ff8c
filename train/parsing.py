"""Train FaceParser on photos with label maps and, by masks from landmarks, on aligned faces without.

    accelerate launch train/parsing.py --data FACES … --labels PARSING --steps 3000 --out runs/parsing

PARSING holds images, their label maps and metadata.csv (``file_name, label, subject, split``); ``--data`` are folders
of `facesym prepare`. Landmarks say nothing of hair, nor where a forehead ends: there such faces teach nothing. It ends
with the IoU on held-out people.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from facesym.data.faces import (
    Samples,
    affine_jitter,
    colour_jitter,
    downscale_blur,
    random_erasing,
    side_light,
    to_tensor,
)
from facesym.data.metadata import read_metadata
from facesym.errors import ImageError
from facesym.faces.geometry import flip_landmarks
from facesym.models.parser import CLASSES, FaceParser
from train.arguments import Parser, add_arguments, launch
from train.common import Run

SKIN, EYES, NOSE, MOUTH = (CLASSES.index(name) for name in ("skin", "eyes and brows", "nose", "mouth"))
UNKNOWN = 255


def landmark_labels(points, size):
    """What landmarks (68x2, pixels) say of a face's pixels: SxS uint8, UNKNOWN for all that they do not.

    The nose and the brows are drawn as wide as the label maps have them, in shares of the outer-eye distance.
    """
    unit = np.linalg.norm(points[45] - points[36])
    labels = np.full((size, size), UNKNOWN, np.uint8)

    def fill(outline, value):
        cv2.fillPoly(labels, [np.round(outline).astype(np.int32)], int(value))

    # Between jaw and brows all that is no feature is skin; a face's rim is left open, dlib's jaw line is not exact.
    centre = points[27:36].mean(0)
    inner = np.concatenate([points[1:16], points[26:16:-1]])
    fill(centre + 0.93 * (inner - centre), SKIN)
    fill(np.concatenate([points[[27, 31, 32, 33, 34, 35]], points[[27]]]), NOSE)
    fill(points[48:60], MOUTH)
    for eye in (points[36:42], points[42:48]):
        fill(cv2.convexHull(np.float32(eye.mean(0) + 1.25 * (eye - eye.mean(0))))[:, 0], EYES)
    for brow in (points[17:22], points[22:27]):
        cv2.polylines(labels, [np.round(brow).astype(np.int32)], False, int(EYES), max(1, round(0.07 * unit)))
    return labels


class ParsingSamples(Samples):
    """Images and label maps, augmented strongly; a share of faces with ``landmark_labels``.

    Args:
        images: [(SxSx3 uint8, SxS uint8)]. faces: FaceFolders or None. share: of samples from ``faces``.
    """

    def __init__(self, pictures, faces=None, seed=0, share=0.5):
        super().__init__(pictures, seed)
        self.others, self.share = faces, share if faces else 0

    def sample(self, i, rng):
        if rng.random() < self.share:
            k = rng.integers(len(self.others))
            image, points = self.others.images[k], self.others.landmarks[k]
            if rng.random() < 0.5:
                image, points = image[:, ::-1], flip_landmarks(points, len(image))
            labels = landmark_labels(points, len(image))
        else:
            image, labels = self.faces[i]
            if rng.random() < 0.5:
                image, labels = image[:, ::-1], labels[:, ::-1]
        size = len(image)
        matrix = affine_jitter(rng, size, degrees=20, scale=0.25, shift=0.08)
        image, labels = np.ascontiguousarray(image), np.ascontiguousarray(labels)
        image = cv2.warpAffine(image, matrix, (size, size), borderMode=cv2.BORDER_REFLECT)
        labels = cv2.warpAffine(
            labels, matrix, (size, size), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT
        )
        if rng.random() < 0.3:
            image = downscale_blur(rng, image)
        if rng.random() < 0.15:
            image = np.repeat(image.mean(2, keepdims=True), 3, 2)
        image = colour_jitter(rng, image, 0.4)
        if rng.random() < 0.3:
            image = side_light(rng, image)
        if rng.random() < 0.2:
            random_erasing(rng, image, 0.25)  # what is under it stays what it is: a face has no holes
        return {"image": to_tensor(image), "labels": torch.from_numpy(labels.astype(np.int64))}


def load_labels(folder, size, splits):
    """Images and their label maps, at ``size``: [(SxSx3 uint8, SxS uint8)].

    Raises:
        ImageError: no metadata.csv, an unreadable file, or a map of unknown classes.
    """
    pictures = []
    for row in read_metadata(Path(folder), splits):
        try:
            with Image.open(row["path"]) as photo, Image.open(Path(folder) / row["label"]) as labels:
                image = photo.convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
                map_ = np.asarray(labels.resize((size, size), Image.Resampling.NEAREST))
        except OSError as error:
            raise ImageError(f"cannot read {row['path']} or its label map: {error}") from error
        if map_.ndim != 2 or map_.max() >= len(CLASSES):
            raise ImageError(
                f"{row['label']} must be a map of the numbers 0 to {len(CLASSES) - 1}: {', '.join(CLASSES)}"
            )
        pictures.append((np.asarray(image), map_))
    return pictures


@torch.no_grad()
def intersection_over_union(net, pictures, device="cpu", batch=32):
    """Of each class over all pixels of ``pictures`` (as `load_labels` gives them): a dict, with their "mean"."""
    counts = torch.zeros(len(CLASSES), len(CLASSES), dtype=torch.long)
    for i in range(0, len(pictures), batch):
        images, labels = zip(*pictures[i : i + batch])
        found = net(torch.stack([to_tensor(image) for image in images]).to(device)).argmax(1).cpu()
        truth = torch.from_numpy(np.stack(labels).astype(np.int64))
        counts += torch.bincount((truth * len(CLASSES) + found).flatten(), minlength=counts.numel()).view_as(
            counts
        )
    both = counts.diagonal().double()
    iou = both / (counts.sum(0) + counts.sum(1) - both).clamp(min=1)
    return dict(zip(CLASSES, iou.tolist())) | {"mean": iou.mean().item()}


def main():
    parser = Parser(__doc__)
    add_arguments(parser, out="runs/parsing", batch=32, lr=2e-3, warm_up=150)
    parser.add_argument("--labels", required=True, metavar="FOLDER", help="images with label maps")
    parser.add_argument("--steps", type=int, default=3000, help="of the run")
    parser.add_argument("--size", type=int, default=128, help="side of the images, in pixels")
    args = parser.parse_args()
    run = Run(args)
    net = run.add(FaceParser(input_size=args.size))
    pictures = load_labels(args.labels, args.size, ("train",))
    validation = load_labels(args.labels, args.size, ("val",))
    held_out = load_labels(args.labels, args.size, ("test",)) or validation
    if not pictures or not held_out:
        raise SystemExit(f"{args.labels}: images of the splits train, and test or val, are needed")
    faces = run.faces(args.size)
    run.print(
        f"{len(pictures)} images with label maps, {len(faces)} faces, {net.num_parameters()} parameters"
    )
    optimizer = run.adam(net.parameters(), weight_decay=1e-4)
    average = run.average(net)
    run.restore()
    net.train()
    for batch in run.batches(ParsingSamples(pictures, faces, args.seed), args.steps):
        with run.autocast():
            logits = net(batch["image"])
        terms = {"loss": F.cross_entropy(logits, batch["labels"], ignore_index=UNKNOWN)}
        run.update(optimizer, terms["loss"])
        run.average_step()
        if run.due(args.sample_every):
            average.eval()
            found = average(batch["image"][:10]).argmax(1, keepdim=True) / len(CLASSES)
            known = (batch["labels"][:10, None] % UNKNOWN) / len(CLASSES)
            if validation:
                val = 1 - intersection_over_union(average, validation, run.device)["mean"]
                terms["val"] = run.validated(average, val)
            run.grid("labels", {"input": batch["image"][:10], "output": found, "target": known})
        run.log(**terms)
    average.eval()
    table = intersection_over_union(average, held_out, run.device)
    run.print("held-out people, IoU: " + ", ".join(f"{name} {value:.3f}" for name, value in table.items()))
    run.export(
        average, task="parse", default=True, input_size=args.size, framing="ffhq",
        license="research use only (weights); Apache-2.0 (code)",
        training_data=[*run.sets(), Path(args.labels).name],
        paper=None,
        metrics=[{
            "data": "test split of the labelled images", "protocol": "intersection over union, all pixels",
            "values": {name: round(value, 3) for name, value in table.items()},
        }],
    )  # fmt: skip


if __name__ == "__main__":
    launch(main)
