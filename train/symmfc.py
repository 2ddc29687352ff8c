"""Train SymmFCNet in the paper's three phases: (i) stage I, (ii) RecNet on a fixed stage I, (iii) all end to end.

    accelerate launch train/symmfc.py --data FACES … --masks MASKS --trunk vgg16-imagenet-features.safetensors \\
        --size 128 --phase-steps 1000 4000 2000 --out runs/symmfc-128
    accelerate launch train/symmfc.py … --size 256 --init runs/symmfc-128 --phase-steps 0 0 3000 --zoo symmfc-256

The perceptual loss's trunk is ImageNet's VGG16, since VGG-Face is not to be had.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from facesym import losses, zoo
from facesym.data.faces import FaceFolders, Samples, affine_jitter, colour_jitter, side_light, to_tensor
from facesym.data.masks import load_irregular, random_mask
from facesym.faces.geometry import FLIP_68, flip_landmarks
from facesym.models.discriminators import SAGANDiscriminator
from facesym.models.symmfcnet import PRESETS, SymmFCNet
from facesym.ops import PARTS, crop_parts, relight, warp
from train.arguments import Parser, add_arguments, launch
from train.common import Run, load_discriminator, model_folder
from train.trunk import VGG16Features

# λ of (16), (18), (19). "paper": as printed. "released": the weights the released model ended with, set by eye on
# validation grids: an absolute error in the hole for the squared one, and (15) on features of unit length at three
# layers. In COMMON, `confidence` and `identity` are ours.
COMMON = dict(face=5, landmark=10, tv=1, light=10, adversarial=1, confidence=2, identity=1)
RECIPES = {
    "paper": COMMON | dict(symmetry=100, squared=300, perceptual=3, whole=1, part=2),
    "released": COMMON | dict(symmetry=10, absolute=6, feature=3, whole=0.15, part=0.05),
}
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


class CompletionSamples(Samples):
    """Faces jittered, recoloured and mirrored, each with a hole, its landmarks in [-1, 1] and its face region."""

    def __init__(self, faces, masks, seed=0):
        super().__init__(faces, seed)
        self.masks = masks

    def sample(self, i, rng):
        image, points, size = self.faces.images[i], self.faces.landmarks[i], self.faces.size
        if rng.random() < 0.5:
            image, points = image[:, ::-1], flip_landmarks(points, size)
        matrix = affine_jitter(rng, size, degrees=6, scale=0.06, shift=0.02)
        image = cv2.warpAffine(
            np.ascontiguousarray(image),
            matrix,
            (size, size),
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT,
        )
        points = points @ matrix[:, :2].T + matrix[:, 2]
        image = colour_jitter(rng, image, 0.15)
        if rng.random() < 0.3:
            image = side_light(rng, image)
        return sample(image, points, random_mask(rng, size, points, self.masks), rng)


def sample(image, points, mask, rng):
    """One sample as tensors: picture SxSx3 in [0, 255], landmarks 68x2 in pixels, mask SxS; and a missing pixel."""
    size, missing = len(mask), np.argwhere(mask == 0)
    # The trunk's window: half the time on a hidden eye, nose or mouth if there is one, where errors are seen first.
    inner = np.clip(np.round(points[27:]).astype(int), 0, size - 1)[:, ::-1]
    inner = inner[mask[inner[:, 0], inner[:, 1]] == 0]
    if len(inner) and rng.random() < 0.5:
        missing = inner
    region = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(region, cv2.convexHull(np.round(points).astype(np.int32)), 1)
    points = (2 * points + 1) / size - 1
    flipped = points[FLIP_68] * [-1, 1]
    return {
        "image": to_tensor(image),
        "mask": torch.from_numpy(mask)[None],
        "face": torch.from_numpy(region)[None].float(),
        "landmarks": torch.from_numpy(points).float(),
        "flipped": torch.from_numpy(flipped).float(),
        "spot": torch.from_numpy(missing[rng.integers(len(missing))][::-1].copy()),
    }


class Discriminators(torch.nn.Module):
    """The global one and the four of the parts."""

    def __init__(self, preset):
        super().__init__()
        whole, part = DISCRIMINATORS[preset]
        self.whole = SAGANDiscriminator(**whole)
        self.parts = torch.nn.ModuleList(SAGANDiscriminator(**part) for _ in PARTS)
        self.part_size = PART_SIZE[preset]

    def forward(self, image, landmarks):
        """Logits of the whole and of each part."""
        crops = crop_parts(image, landmarks, self.part_size)
        return self.whole(image), [net(crop) for net, crop in zip(self.parts, crops)]

    def holes(self, missing, landmarks):
        """How much each logit sees of the hole (Bx1xhxw, 0 to 1), in ``forward``'s order."""
        crops = crop_parts(missing.expand(-1, 3, -1, -1), landmarks, self.part_size)
        part = self.parts[0].stride
        return F.max_pool2d(missing, self.whole.stride), [F.max_pool2d(c[:, :1], part) for c in crops]


def stage_one_terms(out, batch, relit):
    """(2), (6), (7) and (10), and C's own. All are learned on the ground truth, whose flip is warped by the flow."""
    warped = warp(batch["image"].flip(-1), out.flow)
    terms = {
        "face": losses.face_region_loss(out.face_region, batch["face"]),
        "landmark": losses.landmark_loss(out.flow, batch["landmarks"], batch["flipped"]),
        "tv": losses.tv_loss(out.motion),
        "confidence": losses.confidence_loss(
            out.confidence, relight(warped, out.light), batch["image"], batch["face"]
        ),
    }
    if relit:
        terms["light"] = losses.light_loss(warped, out.light, batch["image"], out.face_region)
    return terms


def cut_windows(x, spots, side):
    """A side×side window of each picture (BxCxHxW) about its spot (Bx2: x, y), moved inside the picture."""
    height, width = x.shape[-2:]
    if side >= height:
        return x
    limit = torch.tensor([width - side, height - side], device=spots.device)
    corners = (spots - side // 2).clamp(min=0).minimum(limit).tolist()
    return torch.stack(
        [x[b, :, top : top + side, left : left + side] for b, (left, top) in enumerate(corners)]
    )


def reconstruction_terms(out, batch, weights, trunk, judge, window):
    """(14) or its absolute form, (15) or its form on unit features, and how unlike the person the face has become: one
    minus the recogniser's cosine."""
    terms, missing = {}, 1 - batch["mask"]
    if "squared" in weights:
        terms["squared"] = losses.reconstruction_loss(out.completed, batch["image"])
    if "absolute" in weights:
        terms["absolute"] = losses.absolute_loss(out.completed, batch["image"], missing)
    if trunk is not None:
        with torch.no_grad():
            target = trunk(cut_windows(batch["image"], batch["spot"], window))
        found = trunk(cut_windows(out.completed, batch["spot"], window))
        if "perceptual" in weights:
            terms["perceptual"] = losses.perceptual_loss(found[-1:], target[-1:])
        if "feature" in weights:
            terms["feature"] = losses.feature_distance(found, target)
    if judge is not None:
        terms["identity"] = losses.person_loss(judge, out.completed, batch["image"])
    return terms


def symmetry_term(net, out):
    """(13). The flipped pictures go through RecNet as a constant: by the random flips in the data each side of the
    equation is the learning one half of the time, at a third of the cost."""
    with torch.no_grad():
        _, flipped = net.recnet(out.stage1.flip(-1), out.condition.flip(-1))
    return losses.symmetry_loss(
        out.features, flipped, out.flow.detach(), out.face_region.detach(), out.condition.detach()
    )


@torch.no_grad()
def validate(run, net, batch, name):
    """A grid of samples and the validation PSNR over the holes' pictures."""
    with run.autocast():
        out = net(batch["image"], batch["mask"])
    mse = (out.completed.float() - batch["image"]).square().mean((1, 2, 3)) / 4
    columns = {
        "input": torch.where(batch["mask"] > 0.5, batch["image"], 0), "warped flip": out.warped,
        "stage I": out.stage1, "condition": out.condition, "output": out.completed, "target": batch["image"],
    }  # fmt: skip
    run.grid(name, {title: x[:10] for title, x in columns.items()})
    return mse.mean(), (-10 * mse.log10()).mean()


def main():
    parser = Parser(__doc__)
    add_arguments(parser, out="runs/symmfc", batch=16, lr=2e-4, warm_up=200)
    parser.add_argument(
        "--masks", help="irregular masks (PNG, white = hole, metadata.csv); without: the drawn ones only"
    )
    parser.add_argument("--trunk", help="VGG16 features as safetensors; without: no perceptual loss")
    parser.add_argument("--identity", help="a recogniser: a zoo id or folder; without: no identity loss")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--min-size", type=int, default=0, help="leave out folders of smaller pictures")
    parser.add_argument("--preset", choices=list(PRESETS), default="small")
    parser.add_argument("--recipe", choices=list(RECIPES), default="released", help="the losses' weights")
    parser.add_argument("--ablation", choices=list(ABLATIONS), default="full", help="Table III's rows")
    parser.add_argument("--phase-steps", type=int, nargs=3, default=[1000, 5000, 5000], metavar="STEPS")
    parser.add_argument(
        "--adversary-from",
        type=int,
        default=0,
        metavar="STEP",
        help="first step with (18), from phase (ii) on",
    )
    parser.add_argument(
        "--window",
        type=int,
        default=96,
        help="side of the window, at a place of the hole, that the trunk sees",
    )
    parser.add_argument("--init", metavar="FOLDER", help="start from another run's networks")
    args = parser.parse_args()
    first, second, _ = args.phase_steps
    total = sum(args.phase_steps)
    run = Run(args)
    weights = RECIPES[args.recipe]

    net = run.add(build(args))
    critics = run.add(Discriminators(args.preset), "discriminators")
    load_discriminator(critics, args.init, "discriminators.safetensors")
    trunk = run.freeze(VGG16Features(args.trunk), "perceptual backbone") if args.trunk else None
    judge = run.freeze(zoo.load(args.identity), "identity model") if args.identity else None
    optimizer, critics_optimizer = (run.adam(m.parameters(), betas=(0.5, 0.999)) for m in (net, critics))
    average = run.average(net)
    run.restore()

    masks = load_irregular(args.masks, args.size) if args.masks else None
    faces = FaceFolders(args.data, args.size, min_size=args.min_size, limit=args.limit)
    run.print(f"{len(faces)} pictures of {args.size} pixels")
    validation = validation_batch(args, run.device)
    stage_one = [p for n, p in net.named_parameters() if not n.startswith(("recnet", "confidence"))]
    symmetric = "symmetry" not in args.ablation and args.ablation != "plain"

    for batch in run.batches(CompletionSamples(faces, masks, args.seed), total):
        phase = 1 if run.step < first else 2 if run.step < first + second else 3
        adversarial = phase > 1 and run.step >= args.adversary_from
        net.train()
        for parameter in stage_one:
            parameter.requires_grad_(phase != 2)
        if phase == 2 and args.ablation != "plain":
            for part in (net.masknet, net.flownet, *([net.lightnet] if net.config.relight else [])):
                part.eval()
        with run.autocast():
            out = net(batch["image"], batch["mask"], generate=phase > 1)
            terms = {}
            if phase != 2 and args.ablation != "plain":
                terms |= stage_one_terms(out, batch, net.config.relight)
            if phase > 1:
                terms |= reconstruction_terms(out, batch, weights, trunk, judge, args.window)
            if phase == 3 and symmetric:
                terms["symmetry"] = symmetry_term(net, out)
            if adversarial:
                critics.requires_grad_(False)
                logits, part_logits = critics(out.completed, batch["landmarks"])
                seen, parts_seen = critics.holes(1 - batch["mask"], batch["landmarks"])
                terms["adversarial"] = losses.adversarial_terms(
                    losses.generator_loss(logits, seen),
                    [losses.generator_loss(x, w) for x, w in zip(part_logits, parts_seen)],
                    weights["whole"],
                    [weights["part"]] * len(PARTS),
                )
                critics.requires_grad_(True)
        if terms:  # the plain net has nothing to learn in phase (i)
            run.update(optimizer, losses.total(terms, weights))
            run.average_step()
        if adversarial:
            with run.autocast():
                real, part_real = critics(batch["image"], batch["landmarks"])
                fake, part_fake = critics(out.completed.detach(), batch["landmarks"])
                terms["critic"] = losses.discriminator_loss(real, fake, seen)
                terms["critic_parts"] = sum(map(losses.discriminator_loss, part_real, part_fake, parts_seen))
            run.update(critics_optimizer, terms["critic"] + terms["critic_parts"])
        if run.due(args.sample_every):
            average.eval()
            mse, terms["val_psnr"] = validate(run, average, validation, f"phase{phase}")
            run.validated(average, mse)
        run.log(phase=phase, **terms)

    run.save_discriminator(critics, "discriminators.safetensors")
    run.export(
        average, task="complete", default=True, input_size=args.size, framing="ffhq",
        license="research use only (weights); Apache-2.0 (code)",
        training_data=[Path(folder).name for folder in args.data],
        paper="X. Li et al., Learning Symmetry Consistent Deep CNNs for Face Completion, IEEE TIP 2020",
    )  # fmt: skip


def build(args):
    """A new net, or --init's with its weights and this run's size."""
    if not args.init:
        return SymmFCNet.preset(args.preset, **ABLATIONS[args.ablation], input_size=args.size)
    net = SymmFCNet.from_pretrained(model_folder(args.init))
    net.register_to_config(input_size=args.size)
    return net


def validation_batch(args, device, count=40):
    """Fixed faces of the validation split, spread over the folders, with fixed holes."""
    faces = FaceFolders(args.data, args.size, splits=("val",), min_size=args.min_size)
    masks = load_irregular(args.masks, args.size) if args.masks else None
    chosen = np.linspace(0, len(faces) - 1, min(count, len(faces))).astype(int)
    rng = np.random.default_rng(0)
    samples = [
        sample(
            faces.images[i], faces.landmarks[i], random_mask(rng, args.size, faces.landmarks[i], masks), rng
        )
        for i in rng.permutation(chosen)
    ]
    return {key: torch.stack([s[key] for s in samples]).to(device) for key in samples[0]}


if __name__ == "__main__":
    launch(main)
