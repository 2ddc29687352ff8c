"""Train a refiner of normalised faces on windows of them.

    accelerate launch train/detail.py --data FACES … --model nfgan-128 --steps 3600 --out runs/detail

Half of the inputs are windows of frontal photos, blurred, with the photo as target; the others are windows of turned
heads that a NormalizedFaceGAN (``--model``) made frontal. These have no target: a discriminator that sees frontal
photos at the same landmark judges the output, whose blurred version must match the input's.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
from PIL import Image
from torch.utils.data import default_collate

from facesym import losses
from facesym.data.faces import Samples, affine_jitter, colour_jitter, downscale_blur, to_tensor
from facesym.faces.landmarks import find_points
from facesym.faces.pose import head_pose
from facesym.logging import progress_bar
from facesym.models import DetailRefiner, NormalizedFaceGAN
from facesym.pipelines import NormalizePipeline
from train.arguments import Parser, add_arguments, launch
from train.backbone import load_frozen
from train.common import Run, load_discriminator, model_folder
from train.mouth import R1, R1_EVERY, WEIGHTS, Discriminator, mean_error, refiner_terms

WINDOW = 96  # side of the windows, in pixels
FRONTAL, TURNED = 10.0, (15.0, 47.0)  # degrees of yaw: of the targets, and of the heads that are made frontal
MOST = 3000  # number of frontal photos kept


@dataclass
class Fronts:
    """Frontal faces, real and synthesized.

    Attributes:
        real, made: NxSxSx3 and MxSxSx3 uint8.
        real_points, made_points: Nx68x2 and Mx68x2, their landmarks in pixels.
    """

    real: np.ndarray
    real_points: np.ndarray
    made: np.ndarray
    made_points: np.ndarray

    def __len__(self):
        return len(self.real)


def make_fronts(net, faces, seed):
    """Choose frontal photos, and make turned heads frontal.

    Args:
        net: NormalizedFaceGAN.
        faces: FaceFolders.
        seed: of the choice.

    Returns:
        Fronts.
    """
    yaw = np.array([float(row.get("yaw") or 90) for row in faces.rows])
    chosen = np.random.default_rng(seed).permutation(np.flatnonzero(np.abs(yaw) <= FRONTAL))[:MOST]
    pipe, made = NormalizePipeline(net), []
    turned = np.flatnonzero((np.abs(yaw) >= TURNED[0]) & (np.abs(yaw) <= TURNED[1]))
    if not len(chosen) or not len(turned):
        raise SystemExit(
            f"--data needs images of heads that face the camera (yaw up to {FRONTAL:.0f}°), and of heads turned by "
            f"{TURNED[0]:.0f}° to {TURNED[1]:.0f}°: there are {len(chosen)} and {len(turned)}"
        )
    for i in progress_bar(turned, desc="frontal faces"):
        crop = Image.fromarray(faces.images[i])
        small = crop.resize((net.size, net.size), Image.Resampling.LANCZOS)
        (front,) = pipe.run(small, crop, head_pose(find_points(small))[0])
        made.append((np.asarray(front), find_points(front)))
    images, points = (np.stack(values) for values in zip(*made))
    return Fronts(faces.images[chosen], faces.landmarks[chosen], images, points)


def soften(rng, image):
    """Blur an SxSx3 uint8 image as a network does that mixes what it copies with what it draws: from place to place by
    more or less, and out of copies that are off by a pixel or two."""
    size, image = len(image), image.astype(np.float32)
    shift = rng.normal(0, 1.0, 2)
    copy = cv2.warpAffine(
        image, np.float32([[1, 0, shift[0]], [0, 1, shift[1]]]), (size, size), borderMode=cv2.BORDER_REFLECT
    )
    share = rng.uniform(0, 0.5)
    image = (1 - share) * image + share * copy
    if rng.random() < 0.5:
        image = downscale_blur(rng, image, smallest=0.4)
    where = cv2.resize(rng.random((4, 4)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    less, more = np.sort(rng.uniform(0.3, 2.2, 2))
    where = np.clip(where, 0, 1)[..., None]
    return where * cv2.GaussianBlur(image, (0, 0), more) + (1 - where) * cv2.GaussianBlur(image, (0, 0), less)


class WindowSamples(Samples):
    """Windows of faces: dicts of "input" and "target" (3xWxW, W = WINDOW or the faces' side) and "paired" (whether the
    target is the input's).

    Args:
        fronts: Fronts.
        seed: of the stream.
    """

    def sample(self, i, rng):
        fronts, paired = self.faces, rng.random() < 0.5
        landmark, off = rng.integers(68), rng.normal(0, 0.06, 2) * fronts.real.shape[1]
        target = self._window(rng, fronts.real[i], fronts.real_points[i, landmark] + off)
        if paired:
            source = soften(rng, target)
        else:
            j = rng.integers(len(fronts.made))
            source = self._window(rng, fronts.made[j], fronts.made_points[j, landmark] + off)
        images = colour_jitter(rng, np.concatenate([source, target], 1), 0.15)
        source, target = np.split(images[:, ::-1] if rng.random() < 0.5 else images, 2, 1)
        if not paired:  # the same change of colours would tell nothing of the other photo
            target = np.clip(target * rng.uniform(0.9, 1.1), 0, 255)
        return {
            "input": to_tensor(source), "target": to_tensor(target), "paired": torch.tensor(float(paired))
        }  # fmt: skip

    def _window(self, rng, image, centre):
        """Cut a window about a point (x, y), slightly turned and scaled."""
        side = min(WINDOW, len(image))
        matrix = affine_jitter(rng, side, degrees=5, scale=0.1, shift=0)
        corner = np.clip(centre - side / 2, 0, len(image) - side)
        matrix[:, 2] -= matrix[:, :2] @ corner
        return cv2.warpAffine(
            image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )


def fronts_of(run, net, split):
    """Return the Fronts of a split of ``--data``, kept in the run's folder."""
    kept = run.out / f"fronts-{split}.npz"
    if kept.exists():
        with np.load(kept) as arrays:
            return Fronts(**arrays)
    fronts = make_fronts(net, run.faces(run.args.size, split), run.args.seed)
    if run.main:
        np.savez(kept, **vars(fronts))
    return fronts


def main():
    parser = Parser(__doc__)
    add_arguments(parser, out="runs/detail", batch=24, lr=6e-4, warm_up=100)
    parser.add_argument("--steps", type=int, default=3600, help="training steps")
    parser.add_argument(
        "--model", default="normalize", help="the NormalizedFaceGAN to refine: a zoo id or a run's folder"
    )
    parser.add_argument("--size", type=int, default=256, help="side of the images, in pixels")
    parser.add_argument("--init", metavar="RUN", help="start from the networks of another run")
    args = parser.parse_args()
    run = Run(args)
    model = load_frozen(run, args.model, NormalizedFaceGAN, "generator")
    if args.init:
        net = DetailRefiner.from_pretrained(model_folder(args.init))
    else:
        net = DetailRefiner(widths=(32, 48, 64), input_size=args.size)
    net, discriminator = run.add(net), run.add(Discriminator(), "discriminators")
    load_discriminator(discriminator, args.init)
    optimizers = [
        run.adam(net.parameters(), betas=(0.5, 0.99)),
        run.adam(discriminator.parameters(), betas=(0.5, 0.99)),
    ]
    average = run.average(net)
    run.print(f"{net.num_parameters()} parameters")
    samples, held_out = (WindowSamples(fronts_of(run, model, split), args.seed) for split in ("train", "val"))
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
                run.grid("windows", columns | {"output": average(columns["input"])})
        run.log(**terms)
    run.save_discriminator(discriminator)
    run.export(
        average, task="detail", default=True, input_size=args.size, framing="ffhq",
        license="research use only (weights); Apache-2.0 (code)", paper=None,
    )  # fmt: skip


if __name__ == "__main__":
    launch(main)
