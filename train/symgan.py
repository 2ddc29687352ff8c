"""Train the symmetric GANs, and the DC-GAN and its two losses that the paper compares them with.

    accelerate launch train/symgan.py --kind zprime --data FACES [FACES …] --size 128 --steps 20000 --out runs/zprime

Kinds: zprime, flip (symmetric by architecture); plain (DC-GAN); soft, hard (DC-GAN with the paper's loss
α‖G(z) − mirror G(z_N)‖², α = 40 and 100). The training is DC-GAN's; R1, the average of the weights, differentiable
augmentation and spectral norm are options of ours (on by default: small data), which leave the symmetry exact.

The method is not about faces: `train/rooms.py` draws a folder of another near-symmetric kind of picture; and ``--kind
tile`` (the supplement's tileable textures) learns from windows of pictures of textures: ``--data`` names their files.

With ``--encoder`` (zprime and flip) an encoder is trained too, and half of each batch is G(E(x)), which must look like
x (a VAE-GAN): many times fewer pictures are needed than by the critic alone. With zprime the first number of z′ is then
the head's yaw (from metadata.csv, where it has a column ``yaw``).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from facesym import losses, zoo
from facesym.data.augment import augment
from facesym.data.faces import Samples, to_tensor
from facesym.models import SymmetricDiscriminator, SymmetricEncoder, SymmetricGenerator
from facesym.models.symgan import YAW
from train.arguments import Parser, add_arguments, launch
from train.backbone import VGG16Features
from train.common import Run, load_discriminator, model_folder

ALPHA = {"soft": 40.0, "hard": 100.0}
# Of the encoder's terms, beside 1 for the critic's.
WEIGHTS = dict(generator=1, mirror=1, absolute=10, feature=5, kl=2, yaw=2)


class PictureSamples(Samples):
    """The pictures, each mirrored half of the time, and their yaw in degrees (NaN where it is not known)."""

    def sample(self, i, rng):
        image, yaw = self.faces.images[i], float(self.faces.rows[i].get("yaw") or "nan")
        if rng.random() < 0.5:
            image, yaw = image[:, ::-1], -yaw
        return {"image": to_tensor(image), "yaw": torch.tensor(yaw)}


class TextureSamples(Samples):
    """Windows of pictures of textures, at random places and sizes, mirrored half of the time.

    Args:
        paths: pictures.
        size: side of the windows in pixels, each seen at a scale of 1 to 2.
    """

    def __init__(self, paths, size, seed=0):
        pictures = []
        for path in paths:
            with Image.open(path) as picture:
                pictures.append(np.asarray(picture.convert("RGB")))
                if min(picture.size) < 2 * size:
                    raise SystemExit(f"{path} is smaller than {2 * size} pixels")
        super().__init__(pictures, seed)
        self.size = size

    def sample(self, i, rng):
        picture, side = self.faces[i], int(self.size * rng.uniform(1, 2))
        top, left = (int(rng.integers(0, length - side + 1)) for length in picture.shape[:2])
        window = picture[top : top + side, left : left + side]
        window = cv2.resize(window, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return {"image": to_tensor(window[:, ::-1] if rng.random() < 0.5 else window)}


def rolled(x):
    """Each picture rolled by a random way: a picture that tiles is as good from any place on."""
    ways = torch.randint(x.shape[-1], (len(x), 2)).tolist()
    return torch.stack([picture.roll(way, (1, 2)) for picture, way in zip(x, ways)])


def build(args, yaw):
    """G, D and (or None) E for --kind and --size; ``yaw``: whether the latent is to have the head's yaw."""
    symmetric = args.kind in ("zprime", "flip")
    first = {64: 4, 80: 5, 128: 8}[args.size]
    widths = tuple(args.width * 2**i for i in (3, 2, 1, 0))
    generator = SymmetricGenerator(
        "plain" if args.kind in ALPHA else args.kind, args.latent, args.asymmetric, first, widths, args.kernel,
        yaw=yaw,
    )  # fmt: skip
    critic = SymmetricDiscriminator(symmetric, args.size, widths[::-1], args.kernel, not args.no_spectral)
    encoder = None
    if args.encoder:
        encoder = SymmetricEncoder(
            args.kind, args.latent, args.asymmetric, args.size, kernel=args.kernel,
            widths=tuple(int(args.width * share) for share in (0.75, 1.5, 3, 4)),
        )  # fmt: skip
    return generator, critic, encoder


def settings(net):
    """What a net was built with, as its config.json has it."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in net.config.items() if k[0] != "_"}


def encoder_terms(encoder, normal, yaw, rebuilt, image, trunk, rng):
    """What makes G(E(x)) look like x, E's latents normal, and the first of them the head's yaw.

    Args:
        normal: BxZ, the posterior's means. yaw: B, degrees or NaN.
        rebuilt, image: Bx3xSxS.
        trunk: VGG16Features or None. It sees the whole at half the size, or a window of half the side, by turns.
    """
    variance = encoder.spread().expand_as(normal)
    terms = {
        "absolute": (rebuilt.float() - image).abs().mean(),
        "kl": losses.kl_loss(normal.float(), variance.float()),
    }
    known = ~yaw.isnan()
    if encoder.config.kind == "zprime" and known.any():
        terms["yaw"] = (normal[known, 0].float() - yaw[known] / YAW).square().mean()
    if trunk is not None:
        if rng.random() < 0.5:
            views = [F.avg_pool2d(x, 2) for x in (rebuilt, image)]
        else:
            side = image.shape[-1] // 2
            top, left = rng.integers(0, side + 1, 2)
            views = [x[..., top : top + side, left : left + side] for x in (rebuilt, image)]
        with torch.no_grad():
            target = trunk(views[1])
        terms["feature"] = losses.feature_distance(trunk(views[0]), target)
    return terms


def main():
    parser = Parser(__doc__)
    add_arguments(parser, out="runs/symgan", batch=32, lr=2e-4, scheduler="constant-linear", warm_up=0)
    parser.add_argument(
        "--kind",
        choices=["zprime", "flip", "plain", "soft", "hard", "tile"],
        default="zprime",
        help="see above",
    )
    parser.add_argument(
        "--size", type=int, choices=[64, 80, 128], default=128, help="side of the pictures, in pixels"
    )
    parser.add_argument("--min-size", type=int, default=0, help="leave out folders of smaller pictures")
    parser.add_argument("--steps", type=int, default=20000, help="of the run")
    parser.add_argument("--width", type=int, default=64, help="channels of the last map (the paper: 64)")
    parser.add_argument("--kernel", type=int, choices=[4, 6], default=4, help="side of the kernels")
    parser.add_argument("--r1", type=float, default=1.0, help="weight of R1; 0: none")
    parser.add_argument(
        "--r1-every", type=int, default=8, metavar="STEPS", help="steps from one R1 to the next"
    )
    parser.add_argument("--no-augment", action="store_true", help="without differentiable augmentation")
    parser.add_argument("--no-spectral", action="store_true", help="batch norm in D, as in the paper")
    parser.add_argument("--init", metavar="FOLDER", help="start from another run's networks")
    parser.add_argument("--latent", type=int, default=100, help="numbers in z")
    parser.add_argument("--asymmetric", type=int, default=5, help="numbers in z′ (zprime)")
    parser.add_argument("--encoder", action="store_true", help="VAE-GAN, see above")
    parser.add_argument(
        "--perceptual",
        metavar="WEIGHTS",
        help="vgg16 (torchvision's, fetched once), or a file of its features; without: pixels alone (--encoder)",
    )
    parser.add_argument(
        "--adversary-from", type=int, default=0, metavar="STEP", help="first step with D (--encoder)"
    )
    args = parser.parse_args()
    if args.encoder and args.kind not in ("zprime", "flip"):
        raise SystemExit("--encoder is for --kind zprime and flip")
    run, yaw = Run(args), False
    if args.kind == "tile":
        samples = TextureSamples(args.data, args.size, args.seed)
    else:
        faces = run.faces(args.size, min_size=args.min_size)
        samples = PictureSamples(faces, args.seed)
        # The latent has the yaw if it is known of most pictures.
        known = np.mean([bool(row.get("yaw")) for row in faces.rows])
        yaw = bool(args.encoder and args.kind == "zprime" and known > 0.5)
    generator, critic, encoder = build(args, yaw)
    if args.init:
        fresh, generator = generator, SymmetricGenerator.from_pretrained(model_folder(args.init))
        if settings(fresh) != settings(generator):
            raise SystemExit(f"--init: {args.init} is of another kind, size, latent or width")
        load_discriminator(critic, args.init)
        if encoder and (Path(args.init) / "encoder").is_dir():
            encoder = SymmetricEncoder.from_pretrained(Path(args.init) / "encoder")
    generator, critic = run.add(generator), run.add(critic, "discriminators")
    average = run.average(generator)
    trained, trunk = list(generator.parameters()), None
    if encoder:
        encoder = run.add(encoder)
        average_encoder = run.average(encoder)
        trained += encoder.parameters()
        if args.perceptual:
            trunk = run.freeze(VGG16Features(args.perceptual), "perceptual backbone")
    optimizer = run.adam(trained, betas=(0.5, 0.999))
    critic_optimizer = run.adam(critic.parameters(), betas=(0.5, 0.999))
    run.restore()
    shown = generator.sample(8, torch.Generator().manual_seed(0))
    validation = validation_pictures(run) if encoder else None
    changed = (lambda x: x) if args.no_augment else augment
    seen = (lambda x: changed(rolled(x))) if args.kind == "tile" else changed
    for batch in run.batches(samples, args.steps, cycle=args.r1_every if args.r1 else 1):
        generator.train(), critic.train()
        image, count = batch["image"], len(batch["image"])
        z, terms, known = generator.sample(count), {}, (count + 1) // 2 if encoder else 0
        with run.autocast():
            if encoder:
                encoder.train()
                normal = encoder(image[:known])
                noise = torch.randn_like(normal) * (encoder.spread() / 2).exp()
                z = torch.cat([encoder.uniform((normal + noise).float()), z[known:]])
            fake = generator(z)
            if encoder:
                rng = np.random.default_rng((args.seed, run.step))
                terms |= encoder_terms(
                    encoder, normal, batch["yaw"][:known], fake[:known], image[:known], trunk, rng
                )
            critical = not encoder or run.step >= args.adversary_from
            if critical:
                critic.requires_grad_(False)
                terms["generator"] = losses.generator_loss(critic(seen(fake)))
                critic.requires_grad_(True)
            if args.kind in ALPHA:
                partner = generator(generator.mirrored(z))
                terms["mirror"] = ALPHA[args.kind] * (fake.float() - partner.float().flip(-1)).square().mean()
        run.update(optimizer, losses.total(terms, WEIGHTS))
        run.average_step()
        if critical:
            with run.autocast():
                real = critic(changed(image))
                terms["critic"] = losses.discriminator_loss(real, critic(seen(fake.detach())))
            total = terms["critic"]
            if args.r1 and run.step % args.r1_every == 0:
                terms["r1"] = losses.r1_penalty(critic, image, args.r1)
                total = total + args.r1_every * terms["r1"]
            run.update(critic_optimizer, total)
        if run.due(args.sample_every):
            average.eval()
            with torch.no_grad():
                if args.kind == "tile":  # four of each, side by side
                    run.grid("tiles", {"2x2 tiles": average(shown).repeat(1, 1, 2, 2)})
                run.grid(
                    "sweep", {f"{t:.3g}": average(average.between(shown, t)) for t in np.linspace(0, 1, 9)}
                )
                if encoder:
                    z = encoder.uniform(average_encoder.eval()(validation))
                    steps = {f"{t:.3g}": average(average.between(z, t)) for t in (0, 0.25, 0.5, 0.75, 1)}
                    terms["val"] = run.validated(average, (steps["0"] - validation).abs().mean())
                    run.grid("rebuilt", {"photo": validation} | steps)
        run.log(**terms)
    run.save_discriminator(critic)
    if encoder:  # the codes of faces fill a part of the latents only: random ones are to lie there
        chosen = np.random.default_rng(args.seed).permutation(len(faces))[:4000]
        with torch.no_grad():
            codes = [
                average_encoder(
                    torch.stack([to_tensor(faces.images[i]) for i in part]).to(run.device)
                ).float()
                for part in (chosen[k : k + 32] for k in range(0, len(chosen), 32))
            ]
        codes = torch.cat(codes)
        noise = torch.randn(codes.shape, generator=torch.Generator().manual_seed(args.seed)).to(codes)
        average.set_prior(codes + noise * (average_encoder.spread() / 2).exp())
    about = dict(
        input_size=args.size, framing="none" if args.kind == "tile" else "ffhq",
        license="research use only (weights); Apache-2.0 (code)",
        paper="I. Peleg and L. Wolf, Structured GANs, arXiv:2001.05216, 2020",
    )  # fmt: skip
    if args.kind == "tile":
        about["training_data"] = [Path(picture).name for picture in args.data]
    task = "rotate" if args.kind in ("zprime", "flip") else "generate"
    run.export(average, task=task, default=yaw, **about)
    if encoder and run.main:
        average_encoder.save_pretrained(run.out / "encoder", dtype=torch.float16)
        if args.zoo:
            command = f"train/recipes/{args.zoo}.sh"
            zoo.register(
                f"{args.zoo}-encoder",
                run.out / "encoder",
                task="encode",
                training_data=run.sets(),
                default=yaw,
                train_command=command,
                **about,
            )


def validation_pictures(run, count=8):
    """Fixed faces of the validation split, spread over the folders: Bx3xSxS."""
    faces = run.faces(run.args.size, "val", min_size=run.args.min_size)
    chosen = np.linspace(0, len(faces) - 1, min(count, len(faces))).astype(int)
    return torch.stack([to_tensor(faces.images[i]) for i in chosen]).to(run.device)


if __name__ == "__main__":
    launch(main)
