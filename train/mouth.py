"""Train MouthRefiner on the mouths of aligned faces.

    accelerate launch train/mouth.py --data FACES … --model lssl-128 --steps 8000 --out runs/mouth

Half of the inputs are photos of mouths, blurred within the lips, with the photo as target; the others are mouths to
which an AttributeGenerator (``--model``) gave another expression. These have no target: a discriminator that sees real
mouths of a similar opening judges the output, whose blurred version must match the input's.
"""

import hashlib
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import default_collate

from facesym import losses
from facesym.data.expressions import disc, mouth_opening, polygon
from facesym.data.faces import (
    Samples,
    affine_jitter,
    colour_jitter,
    compress,
    cumulative,
    pick,
    to_tensor,
)
from facesym.faces.geometry import heat_map, resized_points
from facesym.faces.landmarks import find_points
from facesym.faces.mouth import MOUTH, SIDE, cut_mouth, mouth_box
from facesym.files import write_atomic
from facesym.models import AttributeGenerator, MouthRefiner
from facesym.ops import box_blur
from train.arguments import Parser, add_arguments, launch
from train.backbone import load_frozen
from train.common import Run
from train.init import load_discriminator, model_folder

WIDER = 4 / 3  # factor of the stored crops' sides over the network's, for augmentation
OPEN, WIDE = 0.06, 0.2  # minimum `mouth_opening` of an open and of a wide open mouth
FRACTIONS = (0.3, 0.45, 0.25)  # of the samples: closed, open and wide open mouths
ALIKE = 48  # number of photos of the most similar opening among which a target is drawn
BLUR = 9  # side of the window within which colours are kept without a target, in pixels
WEIGHTS = dict(absolute=4.0, features=4.0, colour=4.0, adversarial=0.25)
BATCH = 32
R1, R1_EVERY = 10.0, 4  # weight of the penalty, and steps between two


@torch.no_grad()
def changed(net, images, points, y):
    """Change faces with an AttributeGenerator, as `facesym.pipelines.transfer` does.

    Args:
        net: AttributeGenerator.
        images: NxSxSx3 uint8, at any multiple of the network's size.
        points: Nx68x2, their landmarks in pixels.
        y: NxA, the requested attributes.

    Returns:
        NxSxSx3 uint8.
    """
    side, image = net.config.input_size, torch.stack([to_tensor(each) for each in images]).to(net.device)
    small = F.interpolate(image, (side, side), mode="bilinear", align_corners=False, antialias=True)
    points = torch.from_numpy(points).to(net.device)
    condition = heat_map(resized_points(points, side / image.shape[-1]), side)
    for _ in range(net.config.passes):
        predictions = net.predict(net.encode(small, condition), y)
        seen = net.render(predictions, small)
        image, small, condition = net.render(predictions, image).image, seen.image, seen.condition
    return ((image.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


@dataclass
class Mouths:
    """Crops of the mouths of faces, before and after `changed`.

    Attributes:
        photo: NxSxSx3 uint8, S = WIDER · the refiner's size.
        points: Nx20x2, the mouths' landmarks in ``photo``, pixels.
        changed: NxSxSx3 uint8, with another expression.
        opening: Nx2, the opening of the inner lips in ``photo`` and in ``changed``, in eye distances.
    """

    photo: np.ndarray
    points: np.ndarray
    changed: np.ndarray
    opening: np.ndarray

    def __len__(self):
        return len(self.photo)


def make_mouths(net, faces, size, seed):
    """Cut the mouths of faces.

    Args:
        net: AttributeGenerator.
        faces: FaceFolders.
        size: side of the refiner's crops.
        seed: of the expressions.

    Returns:
        Mouths.
    """
    rng, wide = np.random.default_rng(seed), round(size * WIDER)
    photo, made, mouths, opening = [], [], [], []
    for start in range(0, len(faces), BATCH):
        images, points = faces.images[start : start + BATCH], faces.landmarks[start : start + BATCH]
        wanted = []
        for marks in points:
            # A closed mouth opens; an open one closes or stays open.
            is_open = mouth_opening(marks) > OPEN
            name = rng.choice([n for n in net.groups["expression"] if n != "neutral" or is_open])
            wanted.append(rng.uniform(0.6, 1.1) * net.attributes({"expression": name})[0])
        others = changed(net, images, points, torch.stack(wanted))
        moved = find_points([Image.fromarray(x) for x in others])
        for image, marks, other, there in zip(images, points, others, moved):
            box = x, y, side = mouth_box(marks, len(image), SIDE * WIDER)
            photo.append(cut_mouth(image, box, wide))
            mouths.append((marks[MOUTH] + 0.5 - (x, y)) * (wide / side) - 0.5)
            made.append(cut_mouth(other, mouth_box(there, len(image), SIDE * WIDER), wide))
            opening.append((mouth_opening(marks), mouth_opening(there)))
    return Mouths(*map(np.stack, (photo, mouths, made, opening)))


def sampling_weights(opening):
    """Return sampling weights of N mouths, by their openings, that give each kind its fraction of FRACTIONS."""
    kind = np.searchsorted((OPEN, WIDE), opening)
    return np.array(FRACTIONS)[kind] / np.bincount(kind, minlength=3)[kind]


class MouthSamples(Samples):
    """Augmented crops: dicts of "input" and "target" (3xSxS) and "paired" (whether the target is the input's).

    Args:
        mouths: Mouths.
        size: side of the crops.
        seed: of the stream.
    """

    def __init__(self, mouths, size, seed=0):
        super().__init__(mouths, seed, sampling_weights(mouths.opening[:, 0]))
        self.size = size
        self.by_opening = np.argsort(mouths.opening[:, 0])
        self.openings = mouths.opening[self.by_opening, 0]
        self.changed = cumulative(sampling_weights(mouths.opening[:, 1]))

    def sample(self, i, rng):
        mouths, paired = self.faces, rng.random() < 0.5
        if paired:
            target = mouths.photo[i]
            source = blurred_mouth(rng, target, mouths.points[i])
            source, target = self._augmented(rng, [source, target])
        else:
            j = pick(self.changed, rng)
            target = mouths.photo[self._alike(rng, mouths.opening[j, 1])]
            source, target = (self._augmented(rng, [x])[0] for x in (mouths.changed[j], target))
        return {
            "input": to_tensor(source),
            "target": to_tensor(target),
            "paired": torch.tensor(float(paired)),
        }

    def _alike(self, rng, opening):
        """Choose one of the ALIKE photos whose mouths have the most similar opening."""
        count = len(self.by_opening)
        first = max(0, min(int(np.searchsorted(self.openings, opening)) - ALIKE // 2, count - ALIKE))
        return self.by_opening[rng.integers(first, min(first + ALIKE, count))]

    def _augmented(self, rng, images):
        """Move, flip and recolour crops, all alike, and cut them to size."""
        wide = len(images[0])
        matrix = affine_jitter(rng, wide, degrees=6, scale=0.12, shift=0.03)
        cut = (wide - self.size) // 2
        moved = [
            cv2.warpAffine(x, matrix, (wide, wide), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            for x in images
        ]
        wide_strip = np.concatenate([x[cut : cut + self.size, cut : cut + self.size] for x in moved], 1)
        strips = np.split(colour_jitter(rng, wide_strip, 0.2), len(images), 1)
        return [x[:, ::-1] for x in strips] if rng.random() < 0.5 else strips


def blurred_mouth(rng, crop, points):
    """Blur the inside of a mouth within the lips, then the mouth: like the mean of many mouths, which a network draws.

    Args:
        rng: numpy Generator.
        crop: SxSx3 uint8.
        points: 20x2, the mouth's landmarks in pixels.

    Returns:
        SxSx3 uint8.
    """
    size, image = len(crop), crop.astype(np.float32)
    inner, whole = (polygon(outline, size) for outline in (points[12:], points[:12]))
    spread = rng.uniform(0.02, 0.08) * size
    weight = cv2.GaussianBlur(inner, (0, 0), spread)[..., None]
    filled = cv2.GaussianBlur(image * inner[..., None], (0, 0), spread) / np.maximum(weight, 1e-3)
    soft = cv2.GaussianBlur(inner, (0, 0), size / 100)[..., None]
    image = soft * filled + (1 - soft) * image
    reach = rng.uniform(0.02, 0.08) * size
    around = cv2.GaussianBlur(cv2.dilate(whole, disc(reach)), (0, 0), reach)[..., None]
    # Networks mix up the colours of lips, teeth and skin.
    smooth = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 2.8)) * rng.uniform(0.92, 1.06, 3)
    image = np.clip(around * smooth + (1 - around) * image, 0, 255)
    return compress(rng, image, 60, 96) if rng.random() < 0.2 else image.astype(np.uint8)


class Discriminator(nn.Module):
    """A PatchGAN without normalization, trained with an R1 penalty.

    It also sees the image's detail, without which it learns several times more slowly what the refiner has to add.
    """

    def __init__(self, widths=(48, 96, 160)):
        super().__init__()
        pairs = zip((6, *widths), widths)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)) for a, b in pairs
        )
        self.out = nn.Conv2d(widths[-1], 1, 3, 1, 1)

    def forward(self, image):
        """Bx3xSxS to the layers' features, a list, and logits Bx1xhxw (large = real)."""
        features, x = [], torch.cat([image, 8 * (image - box_blur(image, 5))], 1)
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        return features, self.out(x)


def refiner_terms(net, discriminator, batch):
    """The generator's terms, and its output."""
    output, target = net(batch["input"]), batch["target"]
    paired = batch["paired"] > 0
    features, logits = discriminator(output)
    terms = {"adversarial": losses.generator_loss(logits)}
    off = (output - target).abs().mean((1, 2, 3))
    terms["absolute"] = (off * paired).sum() / paired.sum().clamp(min=1)
    if paired.any():
        with torch.no_grad():
            wanted, _ = discriminator(target[paired])
        terms["features"] = sum((a[paired] - b).abs().mean() for a, b in zip(features, wanted)) / len(wanted)
    terms["colour"] = (box_blur(output, BLUR) - box_blur(batch["input"], BLUR))[~paired].abs().sum() / (
        3 * output.shape[-1] ** 2 * (~paired).sum().clamp(min=1)
    )
    return terms, output


@torch.no_grad()
def mean_error(net, batch):
    """The mean absolute error of the samples with a target."""
    paired = batch["paired"] > 0
    return (net(batch["input"]) - batch["target"])[paired].abs().mean()


def mouths_of(run, model, size, split):
    """Return the Mouths of a split of ``--data`` and ``--wide``, kept in the run's folder."""
    args = run.args
    made_from = [
        split,
        args.data,
        args.wide,
        args.limit,
        args.val_fraction,
        args.model,
        args.size,
        size,
        args.seed,
    ]
    digest = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()
    kept = run.out / f"mouths-{digest[:16]}.npz"
    if kept.exists():
        with np.load(kept) as arrays:
            return Mouths(**arrays)
    parts = [run.faces(args.size, split)]
    if args.wide:
        wide = run.faces(args.size, split, folders=args.wide)
        wide.keep(np.flatnonzero([mouth_opening(points) > WIDE for points in wide.landmarks]))
        parts += [wide] if len(wide) else []
    made = [vars(make_mouths(model, faces, size, args.seed)) for faces in parts]
    mouths = {name: np.concatenate([each[name] for each in made]) for name in made[0]}
    if run.main:
        buffer = io.BytesIO()
        np.savez(buffer, **mouths)
        write_atomic(kept, buffer.getvalue())
    return Mouths(**mouths)


def parse():
    """Parse the command line."""
    parser = Parser(__doc__)
    add_arguments(parser, out="runs/mouth", batch=24, lr=3e-4, warm_up=100)
    parser.add_argument("--steps", type=int, default=8000, help="training steps")
    parser.add_argument(
        "--model", default="transfer", help="the AttributeGenerator to refine: a zoo id or a run's folder"
    )
    parser.add_argument(
        "--wide",
        nargs="+",
        default=[],
        metavar="FACES",
        help="more folders, of which only photos with wide open mouths are used, which are rare",
    )
    parser.add_argument("--size", type=int, default=256, help="side of the images, in pixels")
    parser.add_argument("--init", metavar="RUN", help="start from the networks of another run")
    return parser.parse_args()


def main():
    args = parse()
    run = Run(args)
    model = load_frozen(run, args.model, AttributeGenerator, "generator")
    net = MouthRefiner.from_pretrained(model_folder(args.init)) if args.init else MouthRefiner()
    net, size = run.add(net), net.config.input_size
    discriminator = run.add(Discriminator(), "discriminators")
    load_discriminator(discriminator, args.init)
    optimizers = [
        run.adam(net.parameters(), betas=(0.5, 0.99)),
        run.adam(discriminator.parameters(), betas=(0.5, 0.99)),
    ]
    average = run.average(net)
    run.print(f"{net.num_parameters()} parameters")
    samples, held_out = (
        MouthSamples(mouths_of(run, model, size, split), size, args.seed) for split in ("train", "val")
    )
    run.restore()
    validation = default_collate([held_out[n] for n in range(48)])
    validation = {name: value.to(run.device) for name, value in validation.items()}
    net.train(), discriminator.train()
    for batch in run.batches(samples, args.steps, cycle=R1_EVERY):
        with run.autocast():
            discriminator.requires_grad_(False)
            terms, output = refiner_terms(net, discriminator, batch)
            discriminator.requires_grad_(True)
        run.update(optimizers[0], losses.total(terms, WEIGHTS))
        run.average_step()
        with run.autocast():
            real, fake = (discriminator(x)[1] for x in (batch["target"], output.detach()))
            terms["discriminator"] = losses.discriminator_loss(real, fake)
        if run.step % R1_EVERY == 0:
            terms["penalty"] = losses.r1_penalty(
                lambda x: discriminator(x)[1].mean((1, 2, 3)), batch["target"], R1
            )
        run.update(optimizers[1], terms["discriminator"] + terms.get("penalty", 0))
        if run.due(args.sample_every):
            terms["val"] = run.validated(average, mean_error(average.eval(), validation))
            columns = {name: validation[name][:24] for name in ("input", "target")}
            with torch.no_grad():
                run.grid("mouths", columns | {"output": average(columns["input"])})
        run.log(**terms)
    run.save_discriminator(discriminator)
    run.export(
        average, task="mouth", default=True, input_size=size, framing="mouth",
        paper=None,
    )  # fmt: skip


if __name__ == "__main__":
    launch(main)
