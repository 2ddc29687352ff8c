"""Train the symmetric GANs, and the DC-GAN and its two losses that the paper compares them with.

    accelerate launch train/symgan.py --kind zprime --data FACES [FACES …] --size 128 --steps 20000 --out runs/zprime

Kinds: zprime, flip (symmetric by architecture); plain (DC-GAN); soft, hard (DC-GAN with the paper's loss
α‖G(z) − mirror G(z_N)‖², α = 40 and 100). The training is DC-GAN's; R1, the average of the weights, differentiable
augmentation and spectral norm are options of ours (on by default: small data), which leave the symmetry exact.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from facesym import losses
from facesym.data.augment import augment
from facesym.data.faces import FaceFolders, Samples, to_tensor
from facesym.models import SymmetricDiscriminator, SymmetricGenerator
from train.common import Run, add_arguments, load_critic, model_folder

ALPHA = {"soft": 40.0, "hard": 100.0}


class PictureSamples(Samples):
    """The pictures, each mirrored half of the time."""

    def sample(self, i, rng):
        image = self.faces.images[i]
        return {"image": to_tensor(image[:, ::-1] if rng.random() < 0.5 else image)}


def build(args):
    """G and D for --kind and --size."""
    symmetric = args.kind in ("zprime", "flip")
    first = {64: 4, 80: 5, 128: 8}[args.size]
    widths = tuple(args.width * 2**i for i in (3, 2, 1, 0))
    generator = SymmetricGenerator(
        args.kind if symmetric else "plain", first=first, widths=widths, kernel=args.kernel
    )
    critic = SymmetricDiscriminator(symmetric, args.size, widths[::-1], args.kernel, not args.no_spectral)
    return generator, critic


def r1_penalty(critic, real, weight):
    """R1: weight / 2 · E‖∇D(x)‖² on real pictures (L. Mescheder et al., ICML 2018)."""
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
    return weight / 2 * gradient.square().sum((1, 2, 3)).mean()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser, out="runs/symgan", batch=32, lr=2e-4)
    parser.add_argument("--kind", choices=["zprime", "flip", "plain", "soft", "hard"], default="zprime")
    parser.add_argument("--size", type=int, choices=[64, 80, 128], default=128)
    parser.add_argument("--min-size", type=int, default=0, help="leave out folders of smaller pictures")
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--width", type=int, default=64, help="channels of the last map (the paper: 64)")
    parser.add_argument("--kernel", type=int, choices=[4, 6], default=4)
    parser.add_argument("--r1", type=float, default=1.0, help="weight of R1; 0: none")
    parser.add_argument("--r1-every", type=int, default=8, metavar="STEPS")
    parser.add_argument("--no-augment", action="store_true", help="without differentiable augmentation")
    parser.add_argument("--no-spectral", action="store_true", help="batch norm in D, as in the paper")
    parser.add_argument("--init", metavar="FOLDER", help="start from another run's networks")
    args = parser.parse_args()
    run = Run(args)
    generator, critic = build(args)
    if args.init:
        generator = SymmetricGenerator.from_pretrained(model_folder(args.init))
        load_critic(critic, args.init)
    generator, critic = run.add(generator), run.add(critic)
    optimizer, critic_optimizer = (run.adam(m.parameters(), betas=(0.5, 0.999)) for m in (generator, critic))
    average = run.average(generator)
    run.restore()
    faces = FaceFolders(args.data, args.size, min_size=args.min_size, limit=args.limit)
    run.print(f"{len(faces)} pictures of {args.size} pixels")
    shown = generator.sample(8, torch.Generator().manual_seed(0))
    seen = (lambda x: x) if args.no_augment else augment
    for batch in run.batches(PictureSamples(faces, args.seed), args.steps):
        generator.train(), critic.train()
        z = generator.sample(len(batch["image"]))
        with run.autocast():
            fake = generator(z)
            critic.requires_grad_(False)
            terms = {"generator": losses.generator_loss(critic(seen(fake)))}
            total = terms["generator"]
            if args.kind in ALPHA:
                partner = generator(generator.mirrored(z))
                terms["mirror"] = (fake.float() - partner.float().flip(-1)).square().mean()
                total = total + ALPHA[args.kind] * terms["mirror"]
            critic.requires_grad_(True)
        run.update(optimizer, total)
        run.average_step()
        with run.autocast():
            real = critic(seen(batch["image"]))
            terms["critic"] = losses.discriminator_loss(real, critic(seen(fake.detach())))
        total = terms["critic"]
        if args.r1 and run.step % args.r1_every == 0:
            terms["r1"] = r1_penalty(critic, batch["image"], args.r1)
            total = total + args.r1_every * terms["r1"]
        run.update(critic_optimizer, total)
        if run.due(args.sample_every):
            average.eval()
            with torch.no_grad():
                steps = [average(average.between(shown, share)) for share in np.linspace(0, 1, 9)]
            run.grid("sweep", steps)
        run.log(**terms)
    run.save_critic(critic)
    run.export(
        average, task="rotate", default=args.kind == "zprime", input_size=args.size, framing="ffhq",
        license="research use only (weights); Apache-2.0 (code)",
        training_data=[Path(folder).name for folder in args.data],
        train_command=f"accelerate launch train/symgan.py --kind {args.kind} --data FACES … --steps {args.steps}",
        paper="Symmetric GANs (see README, “Rotate”)",
    )  # fmt: skip


if __name__ == "__main__":
    main()
