"""Train NFGAN, which maps a face with any expression, turned by up to 45°, to the same person frontal and neutral.

    facesym prepare pairs PAIRS FACES [FACES …] --mesh ict_face_model.npz --expressions LONDON
    accelerate launch train/nfgan.py --data PAIRS --perceptual vgg16 --steps 20000 --out runs/nfgan

The gradients follow the paper's Algorithm 1: Enc learns from L_feat + λ1 L_id + λ2 L_pixel, Dec from these and from
η L_GAN and λ3 L_sym. Departures from the paper:

- L_id compares the output with the target if the target is a photo of the person, otherwise with the input, as in the
  paper. Feature maps of a turned and of a frontal face do not align.
- A network that copies also learns the flow (from the true coordinates of simulated pairs, the landmarks of all pairs
  and a smoothness term) and to synthesize the whole face, not only the parts it cannot copy. These terms reach Enc.
- L_pixel counts the inner face once more (``--inner``), because a smile covers few pixels.
- L_feat uses ImageNet's VGG16 (VGG-Face is unavailable) at three layers instead of the fifth. It compares directions,
  alternating between the image at half its size and a window. The weights are balanced for that; the paper's are
  η = 0.1, λ1 = 3e-3, λ2 = 1e-3 and λ3 = 0.3, with 1 for its L_feat. ``--preset paper`` is the network as printed,
  64 pixels and grey, without the paper's histogram equalisation.
- Photos from the web have no frontal, neutral partner. Their target is synthesized by the mesh and the mirror image
  (simulate.frontalize), with the expression removed by landmarks (data/neutral.py), and counts on the face only.
- The guiding set (the discriminator's real images) is the pairs' targets that are photos.
- R1 (``--r1``) keeps the discriminator from winning after a few hundred steps.

``--ablation`` leaves parts out. ``--ablation autoencoder --no-copy`` is the paper's auto-encoder alone.
"""

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from torch.utils.data import default_collate

from facesym import losses
from facesym.data.pairs import PairSamples
from facesym.models import LightCNN, NormalizedFaceGAN
from facesym.models.nfgan import NormalizedFaceDiscriminator
from facesym.ops import identity_grid
from train.arguments import Parser, add_arguments, launch
from train.backbone import VGG16Features, load_frozen, two_views
from train.common import Run
from train.init import load_discriminator, model_folder, refuse_with_init

R1_EVERY = 8  # steps
# x0, y0, x1, y1 as fractions of the side: brows to chin of an aligned frontal face.
INNER = (0.2, 0.3, 0.8, 0.9)
# The terms that each ablation leaves out, by the names of `loss_weights`.
ABLATIONS = {
    "full": (),
    "autoencoder": ("adversarial", "symmetry", "identity"),
    "no-identity": ("identity",),
    "no-symmetry": ("symmetry",),
}
MARGIN = 0.25  # of the windows of `two_views`: they stay near the face, which alone counts in most targets
# Terms whose gradients reach Enc.
ENCODER_TERMS = ("feature", "identity", "pixel", "inner", "synthesized", "flow", "landmark", "smooth")


def colour(x):
    """Expand grey images to the three channels that the perceptual backbone expects."""
    return x.expand(-1, 3, -1, -1)


def generator_terms(out, batch, backbone, identity, rng):
    """Return the generator's terms by name, without the adversarial one."""
    image, trust = batch["image"], batch["trust"]
    # No gradient where the target does not count.
    target = trust * batch["target"] + (1 - trust) * out.image.detach()
    terms = {"pixel": losses.pixel_loss(out.image, target), "symmetry": losses.mirror_loss(out.image)}
    terms["inner"] = losses.pixel_loss(inner_face(out.image), inner_face(target))
    if backbone is not None:
        output, wanted = two_views([colour(out.image), colour(target)], rng, MARGIN)
        with torch.no_grad():
            wanted = backbone(wanted)
        terms["feature"] = losses.feature_distance(backbone(output), wanted)
    if identity is not None:
        photo = trust.amin((1, 2, 3), keepdim=True) == 1  # targets that are photos count everywhere
        with torch.no_grad():
            wanted = last_two_layers(identity, torch.where(photo, target, image))
        terms["identity"] = losses.identity_feature_loss(last_two_layers(identity, out.image), wanted)
    if out.flow is not None:
        terms["synthesized"] = losses.pixel_loss(out.synthesized, target) + losses.pixel_loss(
            inner_face(out.synthesized), inner_face(target)
        )
        terms["flow"] = losses.flow_endpoint_loss(out.flow, batch["coordinates"], batch["weight"])
        terms["landmark"] = (
            losses.landmark_loss(out.flow, batch["goal"], batch["points"]) / batch["goal"].shape[1]
        )
        terms["smooth"] = losses.tv_loss(out.flow - identity_grid(out.flow))
    return terms


def inner_face(x):
    """Crop BxCxHxW images to INNER."""
    x0, y0, x1, y1 = (round(v * x.shape[-1]) for v in INNER)
    return x[..., y0:y1, x0:x1]


def last_two_layers(identity, x):
    """Return the identity model's last feature maps and vectors."""
    maps = identity.features(colour(x))
    return [maps, identity.embed(maps)]


def routed_loss(z, handed, terms, weights):
    """Return a loss whose backward pass gives Dec the gradients of all terms and Enc those of ENCODER_TERMS only.

    Args:
        z: BxZ, Enc's output.
        handed: z detached, with requires_grad: Dec's input.
        terms: losses by name.
        weights: their weights by name; terms of weight 0 are left out.
    """
    used = {name: value for name, value in terms.items() if weights[name]}
    reaching = {name: value for name, value in used.items() if name in ENCODER_TERMS}
    (wish,) = torch.autograd.grad(losses.total(reaching, weights), handed, retain_graph=True)
    # The gradient of z · wish with respect to z is that of ENCODER_TERMS; Dec's graph starts at `handed`.
    return losses.total(used, weights) + (z * wish).sum()


def add_nfgan_arguments(parser):
    """Add the script's own options."""
    parser.add_argument("--preset", choices=["paper", "colour"], help="network size (default: colour)")
    parser.add_argument("--ablation", choices=ABLATIONS, default="full", help="parts to leave out")
    parser.add_argument("--no-copy", action="store_true", help="Dec synthesizes every pixel, as in the paper")
    parser.add_argument("--steps", type=int, default=20000, help="training steps")
    parser.add_argument(
        "--perceptual",
        metavar="WEIGHTS",
        help="backbone of L_feat: vgg16 (downloaded once) or a safetensors file of its features",
    )
    parser.add_argument(
        "--identity", default="identity", help="identity model: a zoo id or a folder; none: λ1 = 0"
    )
    parser.add_argument("--eta", type=float, default=0.1, help="weight of L_GAN")
    parser.add_argument("--lambda1", type=float, default=0.5, help="weight of L_id")
    parser.add_argument("--lambda2", type=float, default=4.0, help="weight of L_pixel")
    parser.add_argument("--lambda3", type=float, default=0.1, help="weight of L_sym")
    parser.add_argument("--feature", type=float, default=2.0, help="weight of L_feat")
    parser.add_argument(
        "--inner", type=float, default=8.0, help="additional weight of L_pixel on the inner face"
    )
    parser.add_argument(
        "--synthesized", type=float, default=4.0, help="weight of L_pixel on Dec's synthesized pixels"
    )
    parser.add_argument(
        "--flow", type=float, default=12.0, help="weight of the flow's error where the true flow is known"
    )
    parser.add_argument("--smooth", type=float, default=0.1, help="weight of the flow's strain")
    parser.add_argument(
        "--adversary-from", type=int, default=0, metavar="STEP", help="first step with the discriminator"
    )
    parser.add_argument(
        "--real-fraction", type=float, default=0.2, help="fraction of samples that are real pairs"
    )
    parser.add_argument(
        "--turned-fraction",
        type=float,
        default=0.2,
        help="fraction that are photos of turned heads with targets by the mesh",
    )
    parser.add_argument(
        "--expressive-fraction",
        type=float,
        default=0.3,
        help="fraction that are photos with expressions and synthesized neutral targets",
    )
    parser.add_argument("--r1", type=float, default=1.0, help="weight of the R1 penalty; 0: none")
    parser.add_argument("--init", metavar="FOLDER", help="start from the networks of another run")


class NFGAN:
    """The network, its discriminator, their optimizers and losses.

    Args:
        run: train.common.Run.
    """

    def __init__(self, run):
        args = self.args = run.args
        self.run, self.net = run, run.add(build(args))
        channels = self.net.config.channels
        self.discriminator = run.add(
            NormalizedFaceDiscriminator(channels, widths(self.net)), "discriminators"
        )
        load_discriminator(self.discriminator, args.init)
        self.weights, self.backbone, self.identity = loss_weights(args), None, None
        if args.perceptual and self.weights["feature"]:
            self.backbone = run.freeze(VGG16Features(args.perceptual), "perceptual backbone")
        if self.weights["identity"]:
            self.identity = load_frozen(run, args.identity, LightCNN, "identity model")
        trained = (self.net, self.discriminator)
        self.optimizer, self.discriminator_optimizer = (
            run.adam(m.parameters(), betas=(0.5, 0.999)) for m in trained
        )
        self.average = run.average(self.net)
        run.restore()

    def fit(self, samples, validation):
        """Train on the samples up to the last step and validate on ``validation`` (a batch)."""
        run, args = self.run, self.args
        self.net.train(), self.discriminator.train()
        for batch in run.batches(samples, args.steps, cycle=R1_EVERY if args.r1 else 1):
            adversarial = self.weights["adversarial"] > 0 and run.step >= args.adversary_from
            out, terms = self.generator_step(batch, adversarial)
            if adversarial:
                terms |= self.discriminator_step(batch, out)
            if run.due(args.sample_every):
                error = validate(run, self.average.eval(), validation)
                terms["val"] = run.validated(self.average, error)
            run.log(**terms)
        run.save_discriminator(self.discriminator)

    def generator_step(self, batch, adversarial):
        """Take a step with Enc and Dec; return Dec's output and the terms."""
        rng = np.random.default_rng((self.args.seed, self.run.step))
        with self.run.autocast():
            z = self.net.encode(batch["image"])
            handed = z.detach().requires_grad_(True)  # Dec's graph starts here
            out = self.net.decode(handed, batch["image"])
            terms = generator_terms(out, batch, self.backbone, self.identity, rng)
            if adversarial:
                self.discriminator.requires_grad_(False)
                terms["adversarial"] = losses.generator_loss(self.discriminator(out.image))
                self.discriminator.requires_grad_(True)
        self.run.update(self.optimizer, routed_loss(z, handed, terms, self.weights))
        self.run.average_step()
        return out, terms

    def discriminator_step(self, batch, out):
        """Take a step with the discriminator and return its terms."""
        terms = {}
        with self.run.autocast():
            real, fake = self.discriminator(batch["guide"]), self.discriminator(out.image.detach())
            terms["discriminator"] = losses.discriminator_loss(real, fake)
        total = terms["discriminator"]
        if self.args.r1 and self.run.step % R1_EVERY == 0:
            terms["r1"] = losses.r1_penalty(self.discriminator, batch["guide"], self.args.r1)
            total = total + R1_EVERY * terms["r1"]
        self.run.update(self.discriminator_optimizer, total)
        return terms


def loss_weights(args):
    """Return the weight of each term by the options and the ablation."""
    weights = dict(
        feature=args.feature, pixel=args.lambda2, identity=args.lambda1, symmetry=args.lambda3,
        adversarial=args.eta, flow=args.flow, landmark=25 * args.flow, smooth=args.smooth, inner=args.inner,
        synthesized=args.synthesized,
    )  # fmt: skip
    left_out = (*ABLATIONS[args.ablation], *(["identity"] if args.identity == "none" else []))
    return weights | dict.fromkeys(left_out, 0.0)


def build(args):
    """Create the network, or load that of ``--init``."""
    refuse_with_init(args, "preset", "no_copy")
    if args.init:
        return NormalizedFaceGAN.from_pretrained(model_folder(args.init))
    preset = args.preset or "colour"
    if args.no_copy and preset == "colour":
        return NormalizedFaceGAN(copy=False)
    return NormalizedFaceGAN.preset(preset)


def main():
    parser = Parser(__doc__)
    add_arguments(parser, out="runs/nfgan", batch=24, lr=4e-4)
    add_nfgan_arguments(parser)
    args = parser.parse_args()
    fractions = (args.real_fraction, args.turned_fraction, args.expressive_fraction)
    if min(fractions) < 0 or sum(fractions) >= 1:
        raise SystemExit(
            "--real-fraction, --turned-fraction and --expressive-fraction must be at least 0 and add up to less than 1"
        )
    run = Run(args)
    trainer = NFGAN(run)
    net, pairs = trainer.net, load_pairs(run)
    channels = net.config.channels
    kinds = Counter(row["kind"] for row in pairs.rows)
    run.print(f"of which {', '.join(f'{count} {kind}' for kind, count in kinds.items())}")
    samples = PairSamples(pairs, net.size, channels, args.seed, *fractions)
    trainer.fit(samples, validation_batch(run, net.size, channels))
    released = net.size == 128 and net.config.copy and args.ablation == "full"
    run.export(
        trainer.average, task="normalize", default=released, input_size=net.size, framing="ffhq",
        training_data=sorted({row["set"] for row in pairs.rows}),
        paper="X. Liu et al., Normalized Face Image Generation with Perceptron Generative Adversarial Networks, 2018",
    )  # fmt: skip


def widths(net):
    """Return the discriminator's channels: as printed for 64 pixels; one layer more, and narrower, for 128."""
    return (64, 128, 256, 512) if net.size == 64 else (32, 64, 128, 256, 256)


def load_pairs(run, split="train"):
    """Load the pairs of the folder that ``--data`` names."""
    if len(run.args.data) > 1:
        raise SystemExit(
            "--data takes one folder of pairs; give several folders of faces to `facesym prepare pairs` instead"
        )
    return run.pairs(run.args.data[0], split)


def validation_batch(run, size, channels):
    """Return twelve fixed pairs, spread evenly over the validation split."""
    pairs = load_pairs(run, "val")
    samples = PairSamples(pairs, size, channels, augment=False)
    chosen = np.unique(np.linspace(0, len(pairs) - 1, min(12, len(pairs))).astype(int))
    pairs = [samples.pair(i, np.random.default_rng(0)) for i in chosen]
    return {key: value.to(run.device) for key, value in default_collate(pairs).items()}


@torch.no_grad()
def validate(run, net, batch):
    """Write a grid of samples; return the mean error where the target counts."""
    with run.autocast():
        out = net(batch["image"])
    columns = {
        "input": batch["image"],
        "output": out.image,
        "target": batch["target"],
        "synthesized": out.synthesized,
    }
    if out.choice is not None:
        columns |= {
            name: out.choice[:, k : k + 1] for k, name in enumerate(("copied", "mirrored", "synthesized map"))
        }
    run.grid("val", columns)
    off = (out.image - batch["target"]).abs().mean(1, keepdim=True)
    return (off * batch["trust"]).sum() / batch["trust"].sum()


if __name__ == "__main__":
    launch(main)
