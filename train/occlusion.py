"""Train OcclusionNet on aligned faces with drawn occlusions.

    accelerate launch train/occlusion.py --data FACES … --glasses-in flickr --bare-eyes train/bare_eyes.txt \\
        --steps 8000 --out runs/occlusion

In sets of in-the-wild photos (``--glasses-in``), many people wear glasses, which have no labels: there, the loss
ignores the eye region unless an occlusion is drawn over it. It does not ignore it in images that a person has looked at
and found without glasses (``--bare-eyes``): wrinkles, bags under the eyes and hard shadows are what the network
otherwise takes for frames. A teacher (``--teacher``), the network of an earlier run, labels the eyewear of those who
certainly wear some; where it is in doubt, the loss still ignores the eye region. The script ends with the IoU on
held-out people.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.metrics import jaccard_score

from facesym.attributes import OCCLUSIONS
from facesym.data.faces import (
    Samples,
    affine_jitter,
    colour_jitter,
    compress,
    downscale_blur,
    side_light,
    to_tensor,
)
from facesym.data.occluders import draw_distractors, draw_occluders
from facesym.faces.geometry import flip_landmarks
from facesym.faces.occlusion import occlusion_probability
from facesym.models.occlusion import OcclusionNet
from train.arguments import Parser, add_arguments, launch
from train.common import Run
from train.eyewear import add_eyewear_arguments, bare_eyes, listed_bare
from train.init import model_folder

UNKNOWN = 255
IGNORED_WEIGHT = 0.25  # sampling weight of images whose eye region the loss ignores
WORN = 0.08  # minimum mean probability of eyewear over the eye region at which the teacher's labels are used
LABELLED = (0.05, 0.4)  # below, a pixel is visible for the teacher; above, covered
HIDDEN_WEIGHT = 3.0  # weight of occluded pixels in the cross entropy: most pixels are visible


class OcclusionSamples(Samples):
    """Augmented faces with and without drawn occlusions.

    Args:
        faces: FaceFolders.
        glasses_in: names of sets in which people wear glasses; the loss ignores their eye regions.
        bare: {"set/file name"} of images of these sets in which nothing covers the eyes. If given, the others are
            drawn less often.
        teacher: OcclusionNet that labels the eye regions of the others, or None.
        plain: fraction of samples without drawn occlusions.
    """

    def __init__(self, faces, glasses_in=(), bare=(), teacher=None, seed=0, plain=0.27):
        self.ignored = ~bare_eyes(faces, glasses_in, bare)
        super().__init__(faces, seed, np.where(self.ignored, IGNORED_WEIGHT, 1) if bare else None)
        self.teacher, self.plain = teacher, plain

    def sample(self, i, rng):
        image, points = self.faces.images[i], self.faces.landmarks[i]
        size = len(image)
        labels = np.zeros((size, size), np.uint8)
        if self.ignored[i]:
            band = eye_band(points, size)
            labels[band] = UNKNOWN if self.teacher is None else worn_eyewear(self.teacher, image, band)[band]
        if rng.random() < 0.5:
            image, points, labels = image[:, ::-1], flip_landmarks(points, size), labels[:, ::-1]
        if rng.random() < 0.3:
            image = draw_distractors(rng, image, points)
        if rng.random() > self.plain:
            image, drawn = draw_occluders(rng, image, points)
            labels = np.where(drawn > 0, drawn, labels)
        return augmented(rng, image, labels)


def augmented(rng, image, labels):
    """Augment an image (SxSx3) and its labels (SxS uint8) geometrically and photometrically; return tensors."""
    size = len(image)
    matrix = affine_jitter(rng, size, degrees=8, scale=0.1, shift=0.04)
    image = cv2.warpAffine(np.ascontiguousarray(image), matrix, (size, size), borderMode=cv2.BORDER_REFLECT)
    labels = cv2.warpAffine(
        np.ascontiguousarray(labels),
        matrix,
        (size, size),
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REFLECT,
    )
    if rng.random() < 0.25:
        image = downscale_blur(rng, image, 0.3)
    if rng.random() < 0.12:
        image = np.repeat(image.mean(2, keepdims=True), 3, 2)
    if rng.random() < 0.7:
        image = colour_jitter(rng, image, 0.3)
    if rng.random() < 0.2:
        image = side_light(rng, image)
    if rng.random() < 0.2:
        image = image + rng.normal(0, rng.uniform(0, 10), image.shape)
    if rng.random() < 0.3:
        image = compress(rng, image, 25, 90)
    return {"image": to_tensor(image), "labels": torch.from_numpy(labels.astype(np.int64))}


def eye_band(points, size):
    """Return the region of glasses on a face (68x2 landmarks): SxS bool."""
    unit, middle = np.linalg.norm(points[45] - points[36]), points[36:48].mean(0)
    across = (points[45] - points[36]) / max(unit, 1e-6)
    down = np.array([-across[1], across[0]])
    corners = [
        middle + unit * (x * across + y * down) for x, y in ((-1, -0.35), (1, -0.35), (1, 0.5), (-1, 0.5))
    ]
    band = np.zeros((size, size), np.uint8)
    cv2.fillPoly(band, [np.round(corners).astype(np.int32)], 1)
    return band > 0


def worn_eyewear(teacher, image, band):
    """Return the eyewear that a teacher sees in an image, as labels (SxS uint8), UNKNOWN where it is in doubt.

    Args:
        teacher: OcclusionNet.
        image: SxSx3 uint8.
        band: SxS bool, the eye region.
    """
    unknown = np.full(band.shape, UNKNOWN, np.uint8)
    if not band.any():
        return unknown
    probability = occlusion_probability(Image.fromarray(image), teacher)[1:]
    kinds = [OCCLUSIONS.index(kind) for kind in ("glasses", "sunglasses", "object")]
    worn = probability[kinds].sum(0)
    if worn[band].mean() < WORN:
        return unknown
    kind = np.array(kinds, np.uint8)[probability[kinds].argmax(0)] + 1
    visible, covered = LABELLED
    return np.where(worn > covered, kind, np.where(worn < visible, 0, unknown)).astype(np.uint8)


def occlusion_loss(logits, labels):
    """Return the cross entropy over kinds, and the Dice loss of occluded against visible pixels, as a dict."""
    known = labels != UNKNOWN
    weight = torch.full((1 + len(OCCLUSIONS),), HIDDEN_WEIGHT, device=logits.device)
    weight[0] = 1
    hidden = (1 - logits.softmax(1)[:, 0]) * known
    target = ((labels > 0) & known).float()
    dice = 1 - (2 * (hidden * target).sum() + 1) / (hidden.sum() + target.sum() + 1)
    return {"kinds": F.cross_entropy(logits, labels, weight, ignore_index=UNKNOWN), "dice": dice}


@torch.no_grad()
def intersection_over_union(net, samples, device="cpu", batch=16):
    """Return a dict of the IoU of occluded pixels, averaged over occluded images, and of each kind over all pixels.

    Pixels with the label UNKNOWN do not count.
    """
    mean, predicted, targets = [], [], []
    for start in range(0, len(samples), batch):
        part = samples[start : start + batch]
        found = net(torch.stack([each["image"] for each in part]).to(device)).cpu()
        for logits, each in zip(found, part):
            known = each["labels"] != UNKNOWN
            labels, hidden = each["labels"][known], logits.softmax(0)[0][known] < 0.5
            if (labels > 0).any():
                mean.append(((hidden & (labels > 0)).sum() / (hidden | (labels > 0)).sum()).item())
            predicted.append(logits.argmax(0)[known])
            targets.append(labels)
    target = torch.cat(targets)
    channels = range(1, 1 + len(OCCLUSIONS))
    iou = jaccard_score(target, torch.cat(predicted), labels=channels, average=None, zero_division=0)
    return {"hidden": float(np.mean(mean))} | dict(zip(OCCLUSIONS, iou.tolist()))


def held_out(faces, args, count, seed=0):
    """Return ``count`` reproducible samples of FaceFolders with drawn occlusions.

    Where people may wear glasses (``--glasses-in``), the eye regions have the label UNKNOWN.
    """
    samples = OcclusionSamples(faces, args.glasses_in, listed_bare(args), seed=seed, plain=0.1)
    return [samples[i] for i in range(count)]


def add_occlusion_arguments(parser):
    """Add the script's own options."""
    parser.add_argument("--steps", type=int, default=8000, help="training steps")
    parser.add_argument("--size", type=int, default=256, help="side of the images, in pixels")
    parser.add_argument("--init", metavar="RUN", help="start from the network of another run")
    add_eyewear_arguments(parser)
    parser.add_argument(
        "--teacher", metavar="RUN", help="label eyewear in these sets with the network of another run"
    )
    parser.add_argument("--held-out", type=int, default=200, metavar="N", help="images to evaluate on")


def main():
    parser = Parser(__doc__)
    add_arguments(parser, out="runs/occlusion", batch=16, lr=2e-3, warm_up=200)
    add_occlusion_arguments(parser)
    args = parser.parse_args()
    run = Run(args)
    net = (
        OcclusionNet.from_pretrained(model_folder(args.init))
        if args.init
        else OcclusionNet(input_size=args.size)
    )
    net = run.add(net)
    faces = run.faces(args.size)
    validation = held_out(run.faces(args.size, "val"), args, max(1, args.held_out // 2), args.seed)
    run.print(f"{net.num_parameters()} parameters")
    optimizer = run.adam(net.parameters(), weight_decay=1e-4)
    average = run.average(net)
    run.restore()
    net.train()
    teacher = OcclusionNet.from_pretrained(model_folder(args.teacher)).eval() if args.teacher else None
    samples = OcclusionSamples(faces, args.glasses_in, listed_bare(args), teacher, args.seed)
    for batch in run.batches(samples, args.steps):
        with run.autocast():
            logits = net(batch["image"])
        terms = occlusion_loss(logits, batch["labels"])
        run.update(optimizer, terms["kinds"] + 0.5 * terms["dice"])
        run.average_step()
        if run.due(args.sample_every):
            average.eval()
            terms["val"] = run.validated(
                average, 1 - intersection_over_union(average, validation, run.device)["hidden"]
            )
            hidden = 1 - average(batch["image"][:10]).detach().softmax(1)[:, :1]
            known = (batch["labels"][:10, None] % UNKNOWN) / len(OCCLUSIONS)
            run.grid("hidden", {"input": batch["image"][:10], "output": hidden, "target": known})
        run.log(**terms)
    average.eval()
    faces, split = run.held_out_faces(args.size)
    table = intersection_over_union(average, held_out(faces, args, args.held_out), run.device)
    run.print("held-out people, IoU: " + ", ".join(f"{name} {value:.3f}" for name, value in table.items()))
    run.export(
        average, task="occlusion", default=True, input_size=args.size, framing="ffhq",
        paper=None,
        metrics=[{
            "data": f"{split} split, with drawn occlusions",
            "protocol": "intersection over union: occluded against visible, mean over images; by kind, all pixels",
            "values": {name: round(value, 3) for name, value in table.items()},
        }],
    )  # fmt: skip


if __name__ == "__main__":
    launch(main)
