"""Train SymmFCNet in the paper's three phases: (i) stage I, (ii) RecNet with a frozen stage I, (iii) end to end.

    accelerate launch train/symmfc.py --data FACES … --masks MASKS --perceptual vgg16-imagenet-features.safetensors \\
        --size 128 --phase-steps 1000 4000 2000 --out runs/symmfc-128
    accelerate launch train/symmfc.py … --size 256 --init runs/symmfc-128 --phase-steps 0 0 3000 --zoo symmfc-256

``--preset paper --recipe paper`` has the paper's networks and losses (RECIPES lists the differences). Each departure of
the released recipe has an option. Masks and augmentation are our own in both. Masks of eyewear are drawn only over eyes
that are known to be bare (``--glasses-in``, ``--bare-eyes``).
"""

import sys
from argparse import BooleanOptionalAction
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import default_collate

from facesym import losses
from facesym.data.complete import CompletionSamples, sample
from facesym.data.masks import load_irregular, random_mask
from facesym.models import LightCNN
from facesym.models.discriminators import SAGANDiscriminator
from facesym.models.symmfcnet import PRESETS, SymmFCNet
from facesym.ops import PARTS, crop_parts, relight, warp
from train.arguments import Parser, add_arguments, launch
from train.backbone import VGG16Features, load_frozen
from train.common import Run
from train.eyewear import add_eyewear_arguments, known_bare
from train.init import load_discriminator, model_folder, settings


@dataclass
class Recipe:
    """Losses of RecNet and the discriminators; each setting has an option of the same name.

    Args:
        weights: λ of (16), (18) and (19), and weights of our additions.
        confidence_weight: weight of a loss on C; the paper trains C through the other losses.
        window: side of the perceptual backbone's window, centred on a masked pixel; 0: the whole image.
        completed: apply the losses to Î with the visible pixels put back, not to RecNet's whole output.
        mask_weighted: weight a discriminator's logits by the fraction of the mask in their view.
        detach_symmetry: (13) trains RecNet's own features only, not those of the flipped image, Φ, M^fr and M^s2.
    """

    weights: dict
    confidence_weight: float
    window: int
    completed: bool
    mask_weighted: bool
    detach_symmetry: bool


COMMON = dict(face=5, landmark=10, tv=1, light=10, adversarial=1, identity=1)
RECIPES = {
    # As printed, except for the perceptual backbone (ImageNet's VGG16 at relu3_3; VGG-Face is unavailable), means
    # instead of sums (facesym/losses.py), (7) on Φ − grid, and G's non-saturating loss.
    "paper": Recipe(
        COMMON | dict(symmetry=100, squared=300, perceptual=3, whole=1, part=2),
        confidence_weight=0, window=0, completed=False, mask_weighted=False, detach_symmetry=False,
    ),
    # The released model, tuned by eye on validation grids: an absolute error under the mask instead of the squared one,
    # weighted by 1 − M^s2, and (15) on features of unit length at three layers.
    "released": Recipe(
        COMMON | dict(symmetry=10, absolute=6, feature=3, whole=0.15, part=0.05),
        confidence_weight=2, window=96, completed=True, mask_weighted=True, detach_symmetry=True,
    ),
}  # fmt: skip
ABLATIONS = {
    "full": {},
    "no-light": {"relight": False},  # −L
    "no-symmetry": {},  # −S: without (13)
    "no-light-symmetry": {"relight": False},  # −GL0: the flow alone
    "plain": {"stage1": False},  # plain RecNet
}
DISCRIMINATORS = {
    "paper": (dict(width=64, layers=5, fold=1), dict(width=64, layers=5, fold=1)),  # the whole, a part
    "small": (dict(width=48, layers=4, fold=2), dict(width=32, layers=4, fold=1)),
    "tiny": (dict(width=8, layers=3, fold=2), dict(width=8, layers=3, fold=1)),
}
PART_SIZE = {"paper": 128, "small": 64, "tiny": 32}


class Discriminators(torch.nn.Module):
    """The global discriminator and those of the four parts."""

    def __init__(self, preset):
        super().__init__()
        whole, part = DISCRIMINATORS[preset]
        self.whole = SAGANDiscriminator(**whole)
        self.parts = torch.nn.ModuleList(SAGANDiscriminator(**part) for _ in PARTS)
        self.part_size = PART_SIZE[preset]

    def forward(self, image, landmarks):
        """Return the logits of the whole image and of each part."""
        crops = crop_parts(image, landmarks, self.part_size)
        return self.whole(image), [net(crop) for net, crop in zip(self.parts, crops)]

    def mask_weights(self, missing, landmarks):
        """Return the weight of each logit by the mask in its view (Bx1xhxw in [0, 1]), in the order of ``forward``."""
        crops = crop_parts(missing.expand(-1, 3, -1, -1), landmarks, self.part_size)
        part = self.parts[0].stride
        return F.max_pool2d(missing, self.whole.stride), [F.max_pool2d(c[:, :1], part) for c in crops]


def stage_one_terms(out, batch, recipe, relit):
    """Return (2), (6), (7), (10) and the loss on C. The flow warps the flipped target, not the masked input."""
    warped = warp(batch["image"].flip(-1), out.flow)
    terms = {
        "face": losses.face_region_loss(out.face_region, batch["face"]),
        "landmark": losses.landmark_loss(out.flow, batch["landmarks"], batch["flipped"]),
        "tv": losses.tv_loss(out.motion),
    }
    if recipe.confidence_weight:
        copied = relight(warped, out.light)
        terms["confidence"] = losses.confidence_loss(out.confidence, copied, batch["image"], batch["face"])
    if relit:
        terms["light"] = losses.light_loss(warped, out.light, batch["image"], out.face_region)
    return terms


def cut_windows(x, spots, side):
    """Cut a side×side window around each image's spot (Bx2: x, y), shifted to lie inside the image (BxCxHxW)."""
    height, width = x.shape[-2:]
    if side >= height:
        return x
    limit = torch.tensor([width - side, height - side], device=spots.device)
    corners = (spots - side // 2).clamp(min=0).minimum(limit).tolist()
    return torch.stack(
        [x[b, :, top : top + side, left : left + side] for b, (left, top) in enumerate(corners)]
    )


class SymmFC:
    """The network, the discriminators, their optimizers and losses.

    Args:
        run: train.common.Run.
    """

    def __init__(self, run):
        args = self.args = run.args
        self.run, self.recipe = run, chosen_recipe(args)
        self.weights = self.recipe.weights | {"confidence": self.recipe.confidence_weight}
        self.net = run.add(build(args))
        self.discriminators = run.add(Discriminators(args.preset), "discriminators")
        load_discriminator(self.discriminators, args.init, "discriminators.safetensors")
        self.backbone = (
            run.freeze(VGG16Features(args.perceptual), "perceptual backbone") if args.perceptual else None
        )
        self.identity = load_frozen(run, args.identity, LightCNN, "identity model")
        trained = (self.net, self.discriminators)
        self.optimizer, self.discriminators_optimizer = (
            run.adam(m.parameters(), betas=(0.5, 0.999)) for m in trained
        )
        self.average = run.average(self.net)
        names = ("recnet", "confidence")
        self.stage_one = [p for name, p in self.net.named_parameters() if not name.startswith(names)]
        self.plain = args.ablation == "plain"
        self.symmetric = "symmetry" not in args.ablation and not self.plain
        run.restore()

    def fit(self, samples, validation):
        """Train on the samples through the three phases and validate on ``validation`` (a batch)."""
        run, args = self.run, self.args
        first, second, third = args.phase_steps
        for batch in run.batches(samples, first + second + third):
            phase = 1 if run.step < first else 2 if run.step < first + second else 3
            adversarial = phase > 1 and run.step >= args.adversary_from
            self.set_phase(phase)
            out, terms = self.generator_step(batch, phase, adversarial)
            if adversarial:
                terms |= self.discriminator_step(batch, out)
            if run.due(args.sample_every):
                mse, terms["val_psnr"] = validate(run, self.average.eval(), validation, f"phase{phase}")
                run.validated(self.average, mse)
            run.log(phase=phase, **terms)
        run.save_discriminator(self.discriminators, "discriminators.safetensors")

    def set_phase(self, phase):
        """Freeze stage I in phase (ii)."""
        self.net.train()
        for parameter in self.stage_one:
            parameter.requires_grad_(phase != 2)
        if phase == 2 and not self.plain:
            for name in ("masknet", "flownet", "lightnet"):
                if hasattr(self.net, name):
                    getattr(self.net, name).eval()

    def generator_step(self, batch, phase, adversarial):
        """Take a step with the network; return its output and the terms."""
        with self.run.autocast():
            out, terms = self.net(batch["image"], batch["mask"], generate=phase > 1), {}
            if phase != 2 and not self.plain:
                terms |= stage_one_terms(out, batch, self.recipe, self.net.config.relight)
            if phase > 1:
                terms |= self.reconstruction_terms(out, batch)
            if phase == 3 and self.symmetric:
                terms["symmetry"] = self.symmetry_term(out)
            if adversarial:
                terms["adversarial"] = self.adversarial_term(out, batch)
        if terms:  # the plain network has no terms in phase (i)
            self.run.update(self.optimizer, losses.total(terms, self.weights))
            self.run.average_step()
        return out, terms

    def loss_image(self, out):
        """Return the image that the losses apply to."""
        return out.completed if self.recipe.completed else out.generated

    def reconstruction_terms(self, out, batch):
        """Return (14) or its absolute form, (15) or its form on unit features, and the identity loss."""
        terms, output, target = {}, self.loss_image(out), batch["image"]
        if "squared" in self.weights:
            terms["squared"] = losses.reconstruction_loss(output, target)
        if "absolute" in self.weights:
            generated = (1 - batch["mask"]) * (1 - out.condition.detach())
            terms["absolute"] = losses.absolute_loss(output, target, generated)
        if self.backbone is not None:
            window = self.recipe.window or target.shape[-1]
            with torch.no_grad():
                wanted = self.backbone(cut_windows(target, batch["spot"], window))
            features = self.backbone(cut_windows(output, batch["spot"], window))
            if "perceptual" in self.weights:
                terms["perceptual"] = losses.perceptual_loss(features[-1:], wanted[-1:])
            if "feature" in self.weights:
                terms["feature"] = losses.feature_distance(features, wanted)
        if self.identity is not None:
            terms["identity"] = losses.identity_loss(self.identity, output, target)
        return terms

    def symmetry_term(self, out):
        """Return (13). ``--detach-symmetry`` applies it to every second image and detaches the flipped side, at a sixth
        of the cost; random flips of the data train each side half of the time."""
        parts = (out.stage1, out.condition, out.features, out.flow, out.face_region)
        if self.recipe.detach_symmetry:
            stage1, condition, features, flow, face = (x[::2] for x in parts)
            with torch.no_grad():
                _, flipped = self.net.recnet(stage1.flip(-1), condition.flip(-1))
            return losses.symmetry_loss(features, flipped, flow.detach(), face.detach(), condition.detach())
        stage1, condition, features, flow, face = parts
        _, flipped = self.net.recnet(stage1.flip(-1), condition.flip(-1))
        return losses.symmetry_loss(features, flipped, flow, face, condition)

    def mask_weights(self, batch):
        """Return the weights of the logits, of the whole and of each part; None: equal weights."""
        if self.recipe.mask_weighted:
            return self.discriminators.mask_weights(1 - batch["mask"], batch["landmarks"])
        return None, [None] * len(PARTS)

    def adversarial_term(self, out, batch):
        """Return the generator's part of (18)."""
        self.discriminators.requires_grad_(False)
        logits, part_logits = self.discriminators(self.loss_image(out), batch["landmarks"])
        self.discriminators.requires_grad_(True)
        weight, part_weights = self.mask_weights(batch)
        return losses.adversarial_terms(
            losses.generator_loss(logits, weight),
            [losses.generator_loss(x, w) for x, w in zip(part_logits, part_weights)],
            self.weights["whole"],
            [self.weights["part"]] * len(PARTS),
        )

    def discriminator_step(self, batch, out):
        """Take a step with the discriminators and return their terms, (17)."""
        with self.run.autocast():
            weight, part_weights = self.mask_weights(batch)
            real, part_real = self.discriminators(batch["image"], batch["landmarks"])
            fake, part_fake = self.discriminators(self.loss_image(out).detach(), batch["landmarks"])
            terms = {
                "discriminator": losses.discriminator_loss(real, fake, weight),
                "discriminator_parts": sum(
                    map(losses.discriminator_loss, part_real, part_fake, part_weights)
                ),
            }
        self.run.update(self.discriminators_optimizer, sum(terms.values()))
        return terms


@torch.no_grad()
def validate(run, net, batch, name):
    """Write a grid of samples; return the mean squared error and the PSNR of the completed images."""
    with run.autocast():
        out = net(batch["image"], batch["mask"])
    mse = (out.completed.float() - batch["image"]).square().mean((1, 2, 3)) / 4
    columns = {
        "input": torch.where(batch["mask"] > 0.5, batch["image"], 0), "warped flip": out.warped,
        "stage I": out.stage1, "condition": out.condition, "output": out.completed, "target": batch["image"],
    }  # fmt: skip
    run.grid(name, {title: x[:10] for title, x in columns.items()})
    return mse.mean(), (-10 * mse.log10()).mean()


def add_symmfc_arguments(parser):
    """Add the script's own options."""
    parser.add_argument(
        "--masks",
        metavar="FOLDER",
        help="irregular masks (PNG, white = missing) to use besides drawn ones",
    )
    parser.add_argument(
        "--perceptual",
        metavar="WEIGHTS",
        help="backbone of the perceptual loss: vgg16 (downloaded once) or a safetensors file of its features",
    )
    parser.add_argument("--identity", help="model for the identity loss: a zoo id or a folder")
    parser.add_argument("--size", type=int, default=256, help="side of the images, in pixels")
    parser.add_argument("--min-size", type=int, default=0, help="skip folders with smaller images")
    parser.add_argument("--preset", choices=list(PRESETS), default="small", help="size of the networks")
    parser.add_argument("--ablation", choices=list(ABLATIONS), default="full", help="a row of Table III")
    parser.add_argument(
        "--phase-steps", type=int, nargs=3, default=[1000, 5000, 5000], metavar="STEPS",
        help="training steps of the three phases",
    )  # fmt: skip
    parser.add_argument(
        "--adversary-from", type=int, default=0, metavar="STEP", help="first step with (18), from phase (ii) on"
    )  # fmt: skip
    parser.add_argument("--init", metavar="FOLDER", help="start from the networks of another run")
    add_eyewear_arguments(parser)
    recipe = parser.add_argument_group("losses (defaults: the recipe's)")
    recipe.add_argument(
        "--recipe", choices=list(RECIPES), default="released", help="loss weights and settings"
    )
    recipe.add_argument(
        "--confidence-weight", type=float, help="weight of the loss on C; 0: none, as in the paper"
    )
    recipe.add_argument(
        "--window", type=int, help="side of the perceptual backbone's window; 0: the whole image, as in the paper"
    )  # fmt: skip
    for name, text in (
        ("completed", "apply the losses to the completed image, not to RecNet's whole output"),
        ("mask-weighted", "weight the discriminators' logits by the mask in their view"),
        ("detach-symmetry", "train one side of (13) only"),
        ("copy-skip", "RecNet predicts a residual to stage I's image (default: the preset's)"),
    ):
        recipe.add_argument(f"--{name}", action=BooleanOptionalAction, help=text)


def chosen_recipe(args):
    """Return the recipe that ``--recipe`` names, changed by the given options."""
    recipe = RECIPES[args.recipe]
    given = {name: getattr(args, name) for name in vars(recipe) if getattr(args, name, None) is not None}
    return replace(recipe, **given)


def main():
    parser = Parser(__doc__)
    add_arguments(parser, out="runs/symmfc", batch=16, lr=2e-4, warm_up=200)
    add_symmfc_arguments(parser)
    args = parser.parse_args()
    run = Run(args)
    trainer = SymmFC(run)
    masks = load_irregular(args.masks, args.size) if args.masks else None
    faces = run.faces(args.size, min_size=args.min_size)
    bare = known_bare(faces, args)
    trainer.fit(CompletionSamples(faces, masks, bare, args.seed), validation_batch(run, masks))
    run.export(
        trainer.average, task="complete", default=True, input_size=args.size, framing="ffhq",
        paper="X. Li et al., Learning Symmetry Consistent Deep CNNs for Face Completion, IEEE TIP 2020",
    )  # fmt: skip


def build(args):
    """Create the network, or load that of ``--init`` and set this run's size."""
    changes = ABLATIONS[args.ablation] | ({} if args.copy_skip is None else {"copy_skip": args.copy_skip})
    fresh = SymmFCNet.preset(args.preset, **changes, input_size=args.size)
    if not args.init:
        return fresh
    net = SymmFCNet.from_pretrained(model_folder(args.init))
    net.register_to_config(input_size=args.size)
    if settings(net) != settings(fresh):
        raise SystemExit(f"--init: {args.init} is of another --preset, --ablation or --copy-skip")
    return net


def validation_batch(run, masks, count=40):
    """Return fixed faces of the validation split, spread over the folders, with fixed masks."""
    args = run.args
    faces = run.faces(args.size, "val", min_size=args.min_size).spread(count)
    rng, bare, samples = np.random.default_rng(0), known_bare(faces, args), []
    for i in rng.permutation(len(faces)):
        points = faces.landmarks[i]
        mask = random_mask(rng, args.size, points, masks, bare=bool(bare[i]))
        samples.append(sample(faces.images[i], points, mask, rng))
    return {key: value.to(run.device) for key, value in default_collate(samples).items()}


if __name__ == "__main__":
    launch(main)
