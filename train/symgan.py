"""Train the symmetric GANs and the paper's baselines: DC-GAN alone and with two symmetry losses.

    accelerate launch train/symgan.py --kind zprime --data FACES [FACES …] --size 128 --steps 20000 --out runs/zprime

Kinds: zprime and flip are symmetric by architecture; plain is DC-GAN; soft and hard are DC-GAN with the paper's loss
α‖G(z) − mirror G(z_N)‖², α = 40 and 100. Training follows DC-GAN. R1, averaged weights, differentiable augmentation
and spectral norm are additions for small data sets, on by default; they keep the symmetry exact.

The method is not limited to faces. `train/rooms.py` draws another kind of nearly symmetric images, and ``--kind tile``
(the supplement's tileable textures) trains on windows of the texture images that ``--data`` names.

``--encoder`` (zprime and flip) trains an encoder too: half of each batch is G(E(x)), which must reconstruct x (a
VAE-GAN). It needs many times fewer images than the discriminator alone. With zprime, the first number of z′ is then the
head's yaw, if metadata.csv has a column ``yaw``.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
from PIL import Image

from facesym import losses, zoo
from facesym.data.augment import augment
from facesym.data.faces import Samples, to_tensor
from facesym.models import SymmetricDiscriminator, SymmetricEncoder, SymmetricGenerator
from facesym.models.symgan import YAW
from train.arguments import Parser, add_arguments, launch, refuse_plateau
from train.backbone import VGG16Features, two_views
from train.common import Run
from train.export import LICENSE
from train.init import load_discriminator, model_folder, settings

ALPHA = {"soft": 40.0, "hard": 100.0}
# Weights of the encoder's terms; the adversarial loss has weight 1.
WEIGHTS = dict(generator=1, mirror=1, absolute=10, feature=5, kl=2, yaw=2)


class ImageSamples(Samples):
    """Images, mirrored half of the time, and their yaw in degrees (NaN where unknown)."""

    def sample(self, i, rng):
        image, yaw = self.faces.images[i], float(self.faces.rows[i].get("yaw") or "nan")
        if rng.random() < 0.5:
            image, yaw = image[:, ::-1], -yaw
        return {"image": to_tensor(image), "yaw": torch.tensor(yaw)}


class TextureSamples(Samples):
    """Windows of texture images at random positions and scales, mirrored half of the time.

    Args:
        paths: files of images.
        size: side of the windows in pixels, cut at a scale of 1 to 2.
        seed: of the windows.
    """

    def __init__(self, paths, size, seed=0):
        images = []
        for path in paths:
            with Image.open(path) as image:
                images.append(np.asarray(image.convert("RGB")))
                if min(image.size) < 2 * size:
                    raise SystemExit(f"{path} is smaller than {2 * size} pixels")
        super().__init__(images, seed)
        self.size = size

    def sample(self, i, rng):
        image, side = self.faces[i], int(self.size * rng.uniform(1, 2))
        top, left = (int(rng.integers(0, length - side + 1)) for length in image.shape[:2])
        window = image[top : top + side, left : left + side]
        window = cv2.resize(window, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return {"image": to_tensor(window[:, ::-1] if rng.random() < 0.5 else window)}


def rolled(x):
    """Shift each image cyclically by a random offset; a tileable image stays valid."""
    ways = torch.randint(x.shape[-1], (len(x), 2)).tolist()
    return torch.stack([image.roll(way, (1, 2)) for image, way in zip(x, ways)])


def build(args, yaw):
    """Create G, D and E for ``--kind`` and ``--size``, with the weights of ``--init``.

    Args:
        args: the parsed options.
        yaw: whether the latent holds the head's yaw.

    Returns:
        G, D, and E or None.
    """
    symmetric = args.kind in ("zprime", "flip")
    first = {64: 4, 80: 5, 128: 8}[args.size]
    widths = tuple(args.width * 2**i for i in (3, 2, 1, 0))
    generator = SymmetricGenerator(
        "plain" if args.kind in ALPHA else args.kind, args.latent, args.asymmetric, first, widths, args.kernel,
        yaw=yaw,
    )  # fmt: skip
    discriminator = SymmetricDiscriminator(
        symmetric, args.size, widths[::-1], args.kernel, not args.no_spectral
    )
    encoder = None
    if args.encoder:
        encoder = SymmetricEncoder(
            args.kind, args.latent, args.asymmetric, args.size, kernel=args.kernel,
            widths=tuple(int(args.width * factor) for factor in (0.75, 1.5, 3, 4)),
        )  # fmt: skip
    if args.init:
        fresh, generator = generator, SymmetricGenerator.from_pretrained(model_folder(args.init))
        if settings(fresh) != settings(generator):
            raise SystemExit(f"--init: {args.init} is of another kind, size, latent or width")
        load_discriminator(discriminator, args.init)
        if encoder and (Path(args.init) / "encoder").is_dir():
            encoder = SymmetricEncoder.from_pretrained(Path(args.init) / "encoder")
    return generator, discriminator, encoder


def encoder_terms(encoder, normal, yaw, rebuilt, image, backbone, rng):
    """Return the encoder's terms: G(E(x)) reconstructs x, the latents are normal, and the first one is the yaw.

    Args:
        encoder: E.
        normal: BxZ, the posterior's means.
        yaw: B, degrees or NaN.
        rebuilt: Bx3xSxS, G(E(x)).
        image: Bx3xSxS, x.
        backbone: VGG16Features or None; it alternates between the image at half its size and a window of half the side.
        rng: numpy Generator.
    """
    variance = encoder.spread().expand_as(normal)
    terms = {
        "absolute": (rebuilt.float() - image).abs().mean(),
        "kl": losses.kl_loss(normal.float(), variance.float()),
    }
    known = ~yaw.isnan()
    if encoder.config.kind == "zprime" and known.any():
        terms["yaw"] = (normal[known, 0].float() - yaw[known] / YAW).square().mean()
    if backbone is not None:
        views = two_views([rebuilt, image], rng)
        with torch.no_grad():
            target = backbone(views[1])
        terms["feature"] = losses.feature_distance(backbone(views[0]), target)
    return terms


class SymGAN:
    """G, D, optionally E, their optimizers and losses.

    Args:
        run: train.common.Run.
        yaw: whether the latent holds the head's yaw.
    """

    def __init__(self, run, yaw):
        args = self.args = run.args
        self.run = run
        generator, discriminator, encoder = build(args, yaw)
        self.generator, self.discriminator = run.add(generator), run.add(discriminator, "discriminators")
        self.average = run.average(generator)
        self.encoder = self.average_encoder = self.backbone = None
        trained = list(generator.parameters())
        if encoder:
            self.encoder = run.add(encoder)
            self.average_encoder = run.average(encoder)
            trained += encoder.parameters()
            if args.perceptual:
                self.backbone = run.freeze(VGG16Features(args.perceptual), "perceptual backbone")
        self.optimizer = run.adam(trained, betas=(0.5, 0.999))
        self.discriminator_optimizer = run.adam(discriminator.parameters(), betas=(0.5, 0.999))
        run.restore()
        self.shown = generator.sample(8, torch.Generator().manual_seed(0))

    def changed(self, image):
        """Augment images for D."""
        return image if self.args.no_augment else augment(image)

    def changed_fakes(self, image):
        """Augment G's images for D."""
        return self.changed(rolled(image) if self.args.kind == "tile" else image)

    def fit(self, samples):
        """Train on the samples up to the last step."""
        run, args = self.run, self.args
        validation = validation_images(run) if self.encoder else None
        for batch in run.batches(samples, args.steps, cycle=args.r1_every if args.r1 else 1):
            for net in (self.generator, self.discriminator, self.encoder):
                if net:
                    net.train()
            adversarial = not self.encoder or run.step >= args.adversary_from
            fake, terms = self.generator_step(batch, adversarial)
            if adversarial:
                terms |= self.discriminator_step(batch, fake)
            if run.due(args.sample_every):
                terms |= self.validate(validation)
            run.log(**terms)
        run.save_discriminator(self.discriminator)

    def generator_step(self, batch, adversarial):
        """Take a step with G and E; return G's images and the terms."""
        args, image = self.args, batch["image"]
        z, terms = self.generator.sample(len(image)), {}
        known = (len(image) + 1) // 2 if self.encoder else 0  # number of latents that are codes of images
        with self.run.autocast():
            if self.encoder:
                normal = self.encoder(image[:known])
                noise = torch.randn_like(normal) * (self.encoder.spread() / 2).exp()
                z = torch.cat([self.encoder.uniform((normal + noise).float()), z[known:]])
            fake = self.generator(z)
            if self.encoder:
                rng, yaw = np.random.default_rng((args.seed, self.run.step)), batch["yaw"][:known]
                terms |= encoder_terms(
                    self.encoder, normal, yaw, fake[:known], image[:known], self.backbone, rng
                )
            if adversarial:
                self.discriminator.requires_grad_(False)
                terms["generator"] = losses.generator_loss(self.discriminator(self.changed_fakes(fake)))
                self.discriminator.requires_grad_(True)
            if args.kind in ALPHA:
                partner = self.generator(self.generator.mirrored(z))
                terms["mirror"] = ALPHA[args.kind] * (fake.float() - partner.float().flip(-1)).square().mean()
        self.run.update(self.optimizer, losses.total(terms, WEIGHTS))
        self.run.average_step()
        return fake, terms

    def discriminator_step(self, batch, fake):
        """Take a step with D and return its terms."""
        args, image, terms = self.args, batch["image"], {}
        with self.run.autocast():
            real = self.discriminator(self.changed(image))
            terms["discriminator"] = losses.discriminator_loss(
                real, self.discriminator(self.changed_fakes(fake.detach()))
            )
        total = terms["discriminator"]
        if args.r1 and self.run.step % args.r1_every == 0:
            terms["r1"] = losses.r1_penalty(self.discriminator, image, args.r1)
            total = total + args.r1_every * terms["r1"]
        self.run.update(self.discriminator_optimizer, total)
        return terms

    @torch.no_grad()
    def validate(self, validation):
        """Write grids of samples; with an encoder, return the mean absolute error of G(E(x)) on ``validation``."""
        run, average = self.run, self.average.eval()
        if self.args.kind == "tile":  # four of each, side by side
            run.grid("tiles", {"2x2 tiles": average(self.shown).repeat(1, 1, 2, 2)})
        sweep = np.linspace(0, 1, 9)
        run.grid("sweep", {f"{t:.3g}": average(average.between(self.shown, t)) for t in sweep})
        if not self.encoder:
            return {}
        z = self.encoder.uniform(self.average_encoder.eval()(validation))
        steps = {f"{t:.3g}": average(average.between(z, t)) for t in (0, 0.25, 0.5, 0.75, 1)}
        run.grid("rebuilt", {"photo": validation} | steps)
        return {"val": run.validated(average, (steps["0"] - validation).abs().mean())}

    @torch.no_grad()
    def set_prior(self, faces):
        """Fit the prior of random latents to the codes of faces, which fill only a part of the latent space."""
        chosen = np.random.default_rng(self.args.seed).permutation(len(faces))[:4000]
        codes = []
        for part in (chosen[k : k + 32] for k in range(0, len(chosen), 32)):
            images = torch.stack([to_tensor(faces.images[i]) for i in part]).to(self.run.device)
            codes.append(self.average_encoder(images).float())
        codes = torch.cat(codes)
        noise = torch.randn(codes.shape, generator=torch.Generator().manual_seed(self.args.seed)).to(codes)
        self.average.set_prior(codes + noise * (self.average_encoder.spread() / 2).exp())

    def export(self, yaw):
        """Export G and, if there is one, E."""
        args, run = self.args, self.run
        about = dict(
            input_size=args.size, framing="none" if args.kind == "tile" else "ffhq",
            default=yaw,
            paper="I. Peleg and L. Wolf, Structured GANs, arXiv:2001.05216, 2020",
            training_data=[Path(image).name for image in args.data] if args.kind == "tile" else run.sets(),
        )  # fmt: skip
        run.export(self.average, task="rotate" if args.kind in ("zprime", "flip") else "generate", **about)
        if self.encoder and run.main:
            folder = run.out / "encoder"
            self.average_encoder.save_pretrained(folder, dtype=torch.float16)
            if args.zoo:
                about["train_command"] = f"train/recipes/{args.zoo}.sh"
                zoo.register(f"{args.zoo}-encoder", folder, task="encode", license=LICENSE, **about)


def add_symgan_arguments(parser):
    """Add the script's own options."""
    parser.add_argument(
        "--kind",
        choices=["zprime", "flip", "plain", "soft", "hard", "tile"],
        default="zprime",
        help="kind of GAN, see above",
    )
    parser.add_argument(
        "--size", type=int, choices=[64, 80, 128], default=128, help="side of the images, in pixels"
    )
    parser.add_argument("--min-size", type=int, default=0, help="skip folders with smaller images")
    parser.add_argument("--steps", type=int, default=20000, help="training steps")
    parser.add_argument("--width", type=int, default=64, help="channels of the last layer (the paper: 64)")
    parser.add_argument("--kernel", type=int, choices=[4, 6], default=4, help="side of the kernels")
    parser.add_argument("--r1", type=float, default=1.0, help="weight of R1; 0: none")
    parser.add_argument("--r1-every", type=int, default=8, metavar="STEPS", help="apply R1 every STEPS steps")
    parser.add_argument("--no-augment", action="store_true", help="no differentiable augmentation")
    parser.add_argument(
        "--no-spectral", action="store_true", help="batch norm instead of spectral norm in D, as in the paper"
    )
    parser.add_argument("--init", metavar="FOLDER", help="start from the networks of another run")
    parser.add_argument("--latent", type=int, default=100, help="length of z")
    parser.add_argument("--asymmetric", type=int, default=5, help="length of z′ (zprime)")
    parser.add_argument("--encoder", action="store_true", help="train an encoder too (VAE-GAN), see above")
    parser.add_argument(
        "--perceptual",
        metavar="WEIGHTS",
        help="backbone of the perceptual loss (--encoder): vgg16 (downloaded once) or a file of its features",
    )
    parser.add_argument(
        "--adversary-from", type=int, default=0, metavar="STEP", help="first step with D (--encoder)"
    )


def main():
    parser = Parser(__doc__)
    add_arguments(parser, out="runs/symgan", batch=32, lr=2e-4, scheduler="constant-linear", warm_up=0)
    add_symgan_arguments(parser)
    args = parser.parse_args()
    if args.encoder and args.kind not in ("zprime", "flip"):
        raise SystemExit("--encoder needs --kind zprime or flip")
    if not args.encoder:
        refuse_plateau(args, "--encoder")
    run = Run(args)
    if args.kind == "tile":
        gan = SymGAN(run, yaw=False)
        gan.fit(TextureSamples(args.data, args.size, args.seed))
        gan.export(yaw=False)
        return
    faces = run.faces(args.size, min_size=args.min_size)
    # The latent holds the yaw if it is known for most images.
    known = np.mean([bool(row.get("yaw")) for row in faces.rows])
    yaw = bool(args.encoder and args.kind == "zprime" and known > 0.5)
    gan = SymGAN(run, yaw)
    gan.fit(ImageSamples(faces, args.seed))
    if gan.encoder:
        gan.set_prior(faces)
    gan.export(yaw)


def validation_images(run):
    """Return eight fixed faces of the validation split, spread over the folders: Bx3xSxS."""
    faces = run.faces(run.args.size, "val", min_size=run.args.min_size)
    chosen = np.linspace(0, len(faces) - 1, min(8, len(faces))).astype(int)
    return torch.stack([to_tensor(faces.images[i]) for i in chosen]).to(run.device)


if __name__ == "__main__":
    launch(main)
