"""Train FaceParser on photos with label maps, on aligned faces, which get partial labels from their landmarks, and on
people cut out of plain backgrounds.

    accelerate launch train/parsing.py --data FACES … --labels PARSING --steps 3000 --out runs/parsing

PARSING holds images, their label maps and metadata.csv (``file_name, label, subject, split``); ``--data`` takes folders
of `facesym prepare`. The run ends with the IoU on held-out people.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
from PIL import Image
from sklearn.metrics import jaccard_score

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
from facesym.data.people import backdrop, compose, cut_person, silhouette
from facesym.errors import ImageError
from facesym.models.parser import CLASSES, FaceParser
from train.arguments import Parser, add_arguments, launch, refuse_plateau
from train.common import Run

BACKGROUND, SKIN, HAIR, EYES, NOSE, MOUTH, CLOTHES = (1 << k for k in range(len(CLASSES)))
# A label is a set of classes, as a sum of these: the pixel shows one of them.
PERSON = SKIN | HAIR | CLOTHES
ANY = BACKGROUND | PERSON
LABELLED = CLASSES[:-1]  # of the label maps
UNKNOWN = 2 ** len(CLASSES) - 1
CACHED = 8192  # people cut out that a worker keeps, 64 KB each at 128 pixels
COLOUR = 22  # difference in OpenCV's 8-bit L*a*b* from which hair and clothes are told from skin


def landmark_labels(points, size):
    """Label an image by its landmarks (68x2, pixels): SxS uint8, sets of classes.

    The nose and the brows are as wide as in the label maps, as fractions of the outer-eye distance. Landmarks do not
    determine where hair and background begin.
    """
    unit = np.linalg.norm(points[45] - points[36])
    labels = np.full((size, size), ANY, np.uint8)

    def fill(outline, value):
        cv2.fillPoly(labels, [np.round(outline).astype(np.int32)], int(value))

    # Between jaw and brows, everything that is not a feature is skin. The rim of the face stays uncertain, because
    # dlib's jaw line is not exact. Above the brows, there is skin or hair.
    centre, brows = points[27:36].mean(0), points[17:27]
    fill(np.concatenate([brows, brows[::-1] + 0.45 * (brows.mean(0) - points[33])]), SKIN | HAIR)
    inner = np.concatenate([points[1:16], points[26:16:-1]])
    fill(centre + 0.93 * (inner - centre), SKIN)
    fill(np.concatenate([points[[27, 31, 32, 33, 34, 35]], points[[27]]]), NOSE)
    fill(points[48:60], MOUTH)
    for eye in (points[36:42], points[42:48]):
        fill(cv2.convexHull(np.float32(eye.mean(0) + 1.25 * (eye - eye.mean(0))))[:, 0], EYES)
    for brow in (points[17:22], points[22:27]):
        cv2.polylines(labels, [np.round(brow).astype(np.int32)], False, int(EYES), max(1, round(0.07 * unit)))
    return labels


def person_labels(person, points):
    """Label a person by landmarks, silhouette and colour.

    Args:
        person: SxSx4 uint8, from `cut_person`.
        points: 68x2 in pixels.

    Returns:
        SxS uint8, sets of classes.
    """
    labels, size = landmark_labels(points, len(person)), len(person)
    inside, outside = person[..., 3] > 200, person[..., 3] < 50
    face = labels == SKIN
    uncertain = inside & (labels & BACKGROUND > 0)
    labels[uncertain] = PERSON
    labels[outside & (labels == ANY)] = BACKGROUND
    colours = cv2.GaussianBlur(cv2.cvtColor(person[..., :3], cv2.COLOR_RGB2LAB), (0, 0), 1).astype(np.float32)
    if not face.any():
        return labels
    other = np.linalg.norm(colours - np.median(colours[face], 0), axis=2) > COLOUR
    rows, brow, chin = np.arange(size)[:, None], points[17:27, 1].mean(), points[8, 1]
    hair = uncertain & other & (rows < brow)
    labels[hair] = HAIR
    below = uncertain & other & (rows > chin + 0.3 * (chin - brow))
    if hair.any():  # long hair is no clothing
        below &= np.linalg.norm(colours - np.median(colours[hair], 0), axis=2) > COLOUR
    labels[below] = CLOTHES
    return labels


class ParsingSamples(Samples):
    """Images and sets of classes with strong augmentation: photos with label maps, faces labelled by their landmarks,
    and people in front of other backgrounds.

    Args:
        images: [(SxSx3 uint8, SxS uint8)], see `load_labels`.
        faces: FaceFolders.
    """

    def __init__(self, images, faces, seed=0):
        super().__init__(images, seed)
        self.others, self.cut = faces, {}

    def _person(self, k):
        """Cut out the person of a face, if its background is plain."""
        if k not in self.cut:
            if len(self.cut) >= CACHED:
                self.cut.clear()
            self.cut[k] = cut_person(self.others.images[k], self.others.landmarks[k])
        return self.cut[k]

    def _draw(self, i, rng):
        """Return an image and its label."""
        if rng.random() < 0.35:
            image, labels = self.faces[i]
            sets = np.array([1 << k for k in range(len(CLASSES))], np.uint8)
            sets[0] |= CLOTHES  # the label maps do not tell them from the background
            return image, sets[labels]
        k = rng.integers(len(self.others))
        image, points = self.others.images[k], self.others.landmarks[k]
        person = self._person(k)
        if person is None:
            return image, landmark_labels(points, len(image))
        labels = person_labels(person, points)
        if rng.random() < 0.8:
            image = compose(person, backdrop(rng, self.others.images[rng.integers(len(self.others))]))
        return image, labels

    def sample(self, i, rng):
        image, labels = self._draw(i, rng)
        if rng.random() < 0.5:
            image, labels = image[:, ::-1], labels[:, ::-1]
        size = len(image)
        matrix = affine_jitter(rng, size, degrees=20, scale=0.25, shift=0.08)
        image, labels = np.ascontiguousarray(image), np.ascontiguousarray(labels)
        image = cv2.warpAffine(image, matrix, (size, size), borderMode=cv2.BORDER_REFLECT)
        labels = cv2.warpAffine(labels, matrix, (size, size), flags=cv2.INTER_NEAREST, borderValue=UNKNOWN)
        if rng.random() < 0.3:
            image = downscale_blur(rng, image)
        if rng.random() < 0.15:
            image = np.repeat(image.mean(2, keepdims=True), 3, 2)
        image = colour_jitter(rng, image, 0.4)
        if rng.random() < 0.3:
            image = side_light(rng, image)
        if rng.random() < 0.2:
            random_erasing(rng, image, 0.25)  # the labels under it stay
        return {"image": to_tensor(image), "labels": torch.from_numpy(labels.astype(np.int64))}


def set_loss(logits, labels):
    """Negative log-likelihood of labels that are sets of classes: −log of the sum of their probabilities.

    Args:
        logits: BxKxSxS.
        labels: BxSxS int64, bit k set = class k is possible.
    """
    bits = torch.arange(logits.shape[1], device=logits.device)[:, None, None]
    possible = (labels[:, None] >> bits) & 1 > 0
    log = logits.float().log_softmax(1).masked_fill(~possible, -torch.inf)
    return -log.logsumexp(1).mean()


def load_labels(folder, size, splits):
    """Load images and their label maps at ``size``: [(SxSx3 uint8, SxS uint8)].

    Raises:
        ImageError: no metadata.csv, an unreadable file, or a map of unknown classes.
    """
    labelled = []
    for row in read_metadata(Path(folder), splits):
        try:
            with Image.open(row["path"]) as photo, Image.open(Path(folder) / row["label"]) as labels:
                image = photo.convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
                map_ = np.asarray(labels.resize((size, size), Image.Resampling.NEAREST))
        except OSError as error:
            raise ImageError(f"cannot read {row['path']} or its label map: {error}") from error
        if map_.ndim != 2 or map_.max() >= len(LABELLED):
            raise ImageError(
                f"{row['label']} must be a map of the numbers 0 to {len(LABELLED) - 1}: {', '.join(LABELLED)}"
            )
        labelled.append((np.asarray(image), map_))
    return labelled


@torch.no_grad()
def intersection_over_union(net, labelled, device="cpu"):
    """Intersection over union of each class over all pixels: a dict with their "mean". Clothes count as background.

    Args:
        net: FaceParser.
        labelled: images and label maps, see `load_labels`.
        device: of the network.
    """
    predicted = []
    for i in range(0, len(labelled), 32):
        images = torch.stack([to_tensor(image) for image, _ in labelled[i : i + 32]]).to(device)
        classes = net(images).argmax(1).cpu().numpy().ravel()
        predicted.append(np.where(classes < len(LABELLED), classes, 0))
    target = np.concatenate([labels.ravel() for _, labels in labelled])
    iou = jaccard_score(
        target, np.concatenate(predicted), labels=range(len(LABELLED)), average=None, zero_division=0
    )
    return dict(zip(LABELLED, iou.tolist())) | {"mean": float(iou.mean())}


@torch.no_grad()
def person_overlap(net, faces, count=200, device="cpu"):
    """Intersection over union of the person and its mask, averaged over people cut out of plain backgrounds and put in
    front of others.

    Args:
        net: FaceParser.
        faces: FaceFolders of held-out people; the first ``count`` with a plain background are used.
        count: number of people at most.
        device: of the network.

    Returns:
        {"parser": float, "GrabCut from landmarks": float}, and "people", their number.
    """
    rng, found = np.random.default_rng(0), []
    for k in rng.permutation(len(faces)):
        if len(found) == count:
            break
        person = cut_person(faces.images[k], faces.landmarks[k])
        if person is None:
            continue
        image = compose(person, backdrop(rng, faces.images[rng.integers(len(faces))]))
        target = person[..., 3] > 127
        logits = net(to_tensor(image)[None].to(device))[0].cpu().numpy()
        outputs = logits.argmax(0) > 0, silhouette(image, faces.landmarks[k]) > 0.5
        found.append([(output & target).sum() / (output | target).sum() for output in outputs])
    names = ("parser", "GrabCut from landmarks")
    return dict(zip(names, np.mean(found, 0).tolist())) | {"people": len(found)} if found else {"people": 0}


def parse():
    """Parse the command line."""
    parser = Parser(__doc__)
    add_arguments(parser, out="runs/parsing", batch=32, lr=2e-3, warm_up=150)
    parser.add_argument("--labels", required=True, metavar="FOLDER", help="images with label maps")
    parser.add_argument("--steps", type=int, default=3000, help="training steps")
    parser.add_argument("--size", type=int, default=128, help="side of the images, in pixels")
    return parser.parse_args()


def main():
    args = parse()
    run = Run(args)
    net = run.add(FaceParser(input_size=args.size))
    labelled = load_labels(args.labels, args.size, ("train",))
    validation = load_labels(args.labels, args.size, ("val",))
    held_out, labelled_split = load_labels(args.labels, args.size, ("test",)), "test"
    if not held_out:
        held_out, labelled_split = validation, "validation"
    if not labelled or not held_out:
        raise SystemExit(f"{args.labels} needs images of the split train, and of test or val")
    if not validation:
        refuse_plateau(args, "--labels with images of the split val")
    faces = run.faces(args.size)
    run.print(
        f"{len(labelled)} images with label maps, {len(faces)} faces, {net.num_parameters()} parameters"
    )
    optimizer = run.adam(net.parameters(), weight_decay=1e-4)
    average = run.average(net)
    run.restore()
    net.train()
    for batch in run.batches(ParsingSamples(labelled, faces, args.seed), args.steps):
        with run.autocast():
            logits = net(batch["image"])
        terms = {"loss": set_loss(logits, batch["labels"])}
        run.update(optimizer, terms["loss"])
        run.average_step()
        if run.due(args.sample_every):
            average.eval()
            output = average(batch["image"][:10]).argmax(1, keepdim=True) / len(CLASSES)
            labels = batch["labels"][:10, None]
            # The first possible class; where all are possible, none.
            target = torch.log2(labels & -labels) * (labels != UNKNOWN) / len(CLASSES)
            if validation:
                val = 1 - intersection_over_union(average, validation, run.device)["mean"]
                terms["val"] = run.validated(average, val)
            run.grid("labels", {"input": batch["image"][:10], "output": output, "target": target})
        run.log(**terms)
    average.eval()
    table = intersection_over_union(average, held_out, run.device)
    run.print("held-out people, IoU: " + ", ".join(f"{name} {value:.3f}" for name, value in table.items()))
    faces, split = run.held_out_faces(args.size)
    overlap = person_overlap(average, faces, device=run.device)
    run.print(f"held-out people in front of other backgrounds, IoU of the person: {overlap}")
    run.export(
        average, task="parse", default=True, input_size=args.size, framing="ffhq",
        training_data=[*run.sets(), Path(args.labels).name],
        paper=None,
        metrics=[{
            "data": f"{labelled_split} split of the labelled images", "protocol": "intersection over union, all pixels",
            "values": {name: round(value, 3) for name, value in table.items()},
        }, {
            "data": f"people cut out of the faces' {split} split, in front of other backgrounds",
            "protocol": "intersection over union of the person, mean over images",
            "values": {name: round(value, 3) for name, value in overlap.items()},
        }],
    )  # fmt: skip


if __name__ == "__main__":
    launch(main)
