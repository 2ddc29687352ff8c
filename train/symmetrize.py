"""Train the symmetrizer one stage at a time (S. Zhang et al. 2019; facesym/losses.py has equations (1) to (3)).

    accelerate launch train/symmetrize.py --stage 1 --data FACES [FACES …] --out runs/reconstruct
    accelerate launch train/symmetrize.py --stage 2 --data FACES … --init runs/reconstruct --out runs/extract
    accelerate launch train/symmetrize.py --stage 3 --data FACES … --init runs/extract --out runs/symmetrize

Stage 1 reconstructs the image, stage 2 cuts out the face, stage 3 makes it symmetric. ``--stage 3`` without ``--init``
is the end-to-end ablation. The targets are computed from the folders' landmarks (facesym/data/symmetric.py), which the
network does not see.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import default_collate

from facesym import losses
from facesym.data.faces import (
    Samples,
    affine_jitter,
    colour_jitter,
    downscale_blur,
    random_erasing,
    to_tensor,
)
from facesym.data.symmetric import droop, symmetric_faces
from facesym.faces.geometry import face_region, flip_landmarks, symmetric_landmarks, turn, warp_points
from facesym.models import LightCNN, SymmetrizerVAE
from facesym.models.symmetrizer import REMOVED, PatchDiscriminator
from facesym.ops import identity_grid
from train.arguments import Parser, add_arguments, launch
from train.backbone import load_frozen
from train.common import Run
from train.init import load_discriminator, model_folder

TURNED = 0.48  # log ratio of the nose's distances to the two sides of the face, reached at about 12° of yaw


def turned_side(points):
    """Return the side of the image ("left", "right") that shows more of a turned face; None if nearly frontal."""
    nose = points[27:31, 0].mean()
    left, right = nose - points[:5, 0].mean(), points[12:17, 0].mean() - nose
    ratio = np.log(max(left, 1) / max(right, 1))
    return None if abs(ratio) < TURNED else "left" if ratio > 0 else "right"


def shade(rng, size):
    """Draw a smooth factor around 1 that falls from one side of the image to the other: SxSx1 float32."""
    angle, strength = rng.uniform(-0.6, 0.6), rng.uniform(-0.5, 0.5)
    xs, ys = np.meshgrid(*[np.linspace(-1, 1, size)] * 2)
    return (1 + strength * np.tanh(2 * (xs * np.cos(angle) + ys * np.sin(angle))))[..., None].astype(
        np.float32
    )


class SymmetrizerSamples(Samples):
    """Augmented faces (some turned, with a simulated palsy, lit from a side or partly erased) and the stage's target.

    Stage 3's target repeats one half of the face. The choice must be visible, otherwise the network learns the mean of
    both: the side that shows more of a turned face, else the side without erasing or palsy, else the left one.
    """

    def __init__(self, faces, stage, seed=0):
        super().__init__(faces, seed)
        self.stage = stage
        if stage == 3:
            # A symmetric image is determined by its left half.
            half = (faces.size + 1) // 2
            self.targets = np.empty((len(faces), 2, faces.size, half, 3), np.uint8)

            def make(i):
                for k, face in enumerate(symmetric_faces(faces.images[i], faces.landmarks[i])):
                    self.targets[i, k] = face[:, :half]

            with ThreadPoolExecutor() as pool:  # OpenCV releases the GIL
                list(pool.map(make, range(len(faces))))

    def target(self, i, side):
        half = self.targets[i, int(side == "right")]
        return np.concatenate([half, half[:, ::-1][:, self.faces.size % 2 :]], 1)

    def sample(self, i, rng, augment=True, palsy=None):
        """Return a sample as tensors.

        Args:
            i: index of the face.
            rng: numpy Generator.
            augment: False leaves the image unchanged, for validation.
            palsy: strength of the simulated palsy; None: random.
        """
        image, points, size = (
            self.faces.images[i],
            self.faces.landmarks[i].astype(np.float64),
            self.faces.size,
        )
        flipped = augment and rng.random() < 0.5
        if flipped:
            image, points = np.ascontiguousarray(image[:, ::-1]), flip_landmarks(points, size)
        healthy = points
        if palsy is None:
            palsy = rng.uniform(0.3, 1.3) if augment and rng.random() < 0.4 else 0
        moved, sick = points, None
        if palsy:
            sick = rng.choice(["left", "right"])
            moved = droop(points, sick, palsy)
        if augment and rng.random() < 0.3:  # a turn of the head, by up to 20 degrees
            moved = turn(moved, rng.uniform(-20, 20))
        if moved is not points:
            image, points = warp_points(image, points, moved)[0], moved
        side = turned_side(points) or {"left": "right", "right": "left"}.get(sick)
        image = image.astype(np.float32)
        if augment and rng.random() < 0.15:
            column = random_erasing(rng, image)
            side = side or ("right" if column < size / 2 else "left")
        side = side or "left"
        if augment:
            matrix = affine_jitter(rng, size, degrees=4, scale=0, shift=0.01)
            image = cv2.warpAffine(
                image, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
            )
            points = points @ matrix[:, :2].T + matrix[:, 2]
        if self.stage == 3:
            goal = symmetric_landmarks(healthy, size)
            # The stored targets belong to the image before the flip.
            stored = {"left": "right", "right": "left"}[side] if flipped else side
            picture, region = self.target(i, stored).astype(np.float32), face_region(goal, size)
            region = np.maximum(region, region[:, ::-1])
        else:
            goal, picture = points, image
            region = face_region(points, size) if self.stage == 2 else np.ones((size, size), np.float32)
        if augment:
            both = colour_jitter(rng, np.concatenate([image, picture], 1), 0.15)  # the same change to both
            image, picture = both[:, :size], both[:, size:]
            if self.stage == 3 and rng.random() < 0.3:  # light from one side
                image = np.clip(image * shade(rng, size), 0, 255)
            if self.stage == 3 and rng.random() < 0.1:
                image = downscale_blur(rng, image, smallest=0.4)
        region = torch.from_numpy(region)[None]

        def normalized(p):
            return torch.from_numpy((2 * p + 1) / size - 1).float()

        return {
            "image": to_tensor(image),
            "target": to_tensor(picture) * region + (1 - region) * REMOVED,
            "region": region,
            "goal": normalized(goal),
            "sources": normalized(np.stack([points, flip_landmarks(points, size)])),
        }


def flow_loss(flow, goal, sources):
    """SymmFCNet's (6) for both flows: at the target's landmarks they point to those of x and of its mirror image.

    An addition to the paper, because colours alone teach only small motions.

    Args:
        flow: Bx4xHxW.
        goal: Bx68x2, landmarks of the target in [-1, 1].
        sources: Bx2x68x2, landmarks of x and of its mirror image in [-1, 1].
    """
    return sum(losses.landmark_loss(flow[:, 2 * k : 2 * k + 2], goal, sources[:, k]) for k in (0, 1)) / 2


def add_symmetrize_arguments(parser):
    """Add the script's own options."""
    parser.add_argument(
        "--stage", type=int, choices=[1, 2, 3], required=True, help="stage to train, see above"
    )
    parser.add_argument("--steps", type=int, default=3000, help="training steps")
    parser.add_argument(
        "--size", type=int, choices=[64, 128, 256], default=256, help="side of the images, in pixels"
    )
    parser.add_argument("--min-size", type=int, default=0, help="skip folders with smaller images")
    parser.add_argument(
        "--max-yaw",
        type=float,
        default=40,
        metavar="DEGREES",
        help="skip faces with a larger yaw in metadata.csv",
    )
    parser.add_argument("--init", metavar="FOLDER", help="start from the networks of another run")
    parser.add_argument(
        "--identity", default="identity", help="identity model R: a zoo id or a folder; none: λ2 = 0"
    )
    parser.add_argument(
        "--norm", type=int, choices=[1, 2], default=1, help="norm of (3): l1 or l2; (1) and (2) use l2"
    )
    parser.add_argument("--lambda1", type=float, default=1.0, help="weight of fakes in (2)")
    parser.add_argument("--lambda2", type=float, default=2.0, help="weight of the identity model in (3)")
    parser.add_argument("--lambda3", type=float, default=20.0, help="weight of (3) relative to (1)")
    parser.add_argument("--kl", type=float, default=1e-3, help="weight of the VAE's KL term")
    parser.add_argument(
        "--no-copy", action="store_true", help="ablation: the decoder synthesizes every pixel"
    )


class Symmetrizer:
    """The network, its discriminator, their optimizers and losses.

    Args:
        run: train.common.Run.
    """

    def __init__(self, run):
        args = self.args = run.args
        self.run, self.net = run, run.add(build(args))
        self.discriminator = run.add(PatchDiscriminator(), "discriminators")
        load_discriminator(self.discriminator, args.init)
        self.identity = load_frozen(run, args.identity, LightCNN, "identity model")
        trained = (self.net, self.discriminator)
        self.optimizer, self.discriminator_optimizer = (
            run.adam(m.parameters(), betas=(0.5, 0.999)) for m in trained
        )
        self.weights = dict(adversarial=1, identity=args.lambda3, region=2, kl=args.kl, flow=10, tv=0.5)
        self.average = run.average(self.net)
        run.restore()

    def fit(self, samples, validation):
        """Train on the samples up to the last step and validate on ``validation`` (a batch)."""
        run, args = self.run, self.args
        self.net.train(), self.discriminator.train()
        for batch in run.batches(samples, args.steps):
            with run.autocast():
                out = self.net(batch["image"])
                terms = self.generator_terms(out, batch)
            run.update(self.optimizer, losses.total(terms, self.weights))
            run.average_step()
            with run.autocast():
                real, fake = self.discriminator(batch["target"]), self.discriminator(out.face.detach())
                terms["discriminator"] = losses.symmetrizer_discriminator_loss(real, fake, args.lambda1)
            run.update(self.discriminator_optimizer, terms["discriminator"])
            if run.due(args.sample_every):
                error = validate(run, self.average.eval(), validation, f"stage{args.stage}")
                terms["val"] = run.validated(self.average, error)
            run.log(**terms)
        run.save_discriminator(self.discriminator)

    def generator_terms(self, out, batch):
        """Return (1), (3) and our additions by name."""
        args, vectors = self.args, [torch.zeros(1, 1)] * 2
        if self.identity is not None:
            with torch.no_grad():
                wanted = self.identity(batch["target"])
            vectors = [self.identity(out.face), wanted]
        self.discriminator.requires_grad_(False)
        terms = {
            "adversarial": losses.symmetrizer_generator_loss(self.discriminator(out.face)),
            "identity": losses.symmetrizer_identity_loss(
                out.face, batch["target"], *vectors, args.lambda2, args.norm
            ),
            "region": F.binary_cross_entropy_with_logits(out.region_logits, batch["region"]),
            "kl": losses.kl_loss(out.mean, out.log_variance),
        }
        self.discriminator.requires_grad_(True)
        if out.flow is not None:
            terms["flow"] = flow_loss(out.flow, batch["goal"], batch["sources"])
            terms["tv"] = losses.tv_loss(out.flow - identity_grid(out.flow).repeat(1, 2, 1, 1))
        return terms


def main():
    parser = Parser(__doc__)
    add_arguments(parser, out="runs/symmetrize", batch=16, lr=4e-4)
    add_symmetrize_arguments(parser)
    args = parser.parse_args()
    run = Run(args)
    trainer = Symmetrizer(run)
    samples = SymmetrizerSamples(frontal_faces(run), args.stage, args.seed)
    trainer.fit(samples, validation_batch(run))
    run.export(
        trainer.average, task="symmetrize", default=True, input_size=args.size, framing="ffhq",
        paper="S. Zhang et al., A hierarchically trained generative network for robust facial symmetrization, 2019",
    )  # fmt: skip


def build(args):
    """Create the network, or load that of ``--init``."""
    if args.init:
        net = SymmetrizerVAE.from_pretrained(model_folder(args.init))
        if (net.config.input_size, net.config.copy) != (args.size, not args.no_copy):
            raise SystemExit(f"--init: {args.init} has another --size, or differs in --no-copy")
        return net
    return SymmetrizerVAE(input_size=args.size, fold=max(args.size // 128, 1), copy=not args.no_copy)


def frontal_faces(run, split="train"):
    """Load the images of a split with reliable landmarks: turned by at most ``--max-yaw``."""
    args = run.args

    def keep(row):
        return abs(float(row.get("yaw") or 0)) <= args.max_yaw

    return run.faces(args.size, split, min_size=args.min_size, keep=keep)


def validation_batch(run, count=10):
    """Return fixed faces of the validation split, spread over the folders; every second one has a simulated palsy."""
    args, faces = run.args, frontal_faces(run, "val").spread(count)
    samples, rng = SymmetrizerSamples(faces, args.stage), np.random.default_rng(0)
    batch = [samples.sample(i, rng, augment=False, palsy=i % 2) for i in range(len(faces))]
    return {key: value.to(run.device) for key, value in default_collate(batch).items()}


@torch.no_grad()
def validate(run, net, batch, name):
    """Write a grid of samples and return the mean absolute error.

    Columns: input, copy before it is cut out, output, exactly symmetric output, target, region, copy masks.
    """
    with run.autocast():
        out, exact = net(batch["image"]), net(batch["image"], exact=True)
    columns = {
        "input": batch["image"], "copy": out.picture.clamp(-1, 1), "output": out.face, "exact": exact.face,
        "target": batch["target"], "region": out.region,
    }  # fmt: skip
    run.grid(name, columns | ({"choice": out.choice} if out.choice is not None else {}))
    return (out.face - batch["target"]).abs().mean()


if __name__ == "__main__":
    launch(main)
