"""Train LandmarkNet on aligned faces with 68 landmarks.

    accelerate launch train/landmarks.py --data FACES [FACES …] --steps 6000 --out runs/landmarks

The recipe adds the pose to the network (train/pose.py). The run ends with the held-out error by yaw. A finished run
with ``--resume`` only measures and exports.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from facesym.data.balance import balanced_weights, kinds
from facesym.data.faces import (
    Samples,
    colour_jitter,
    compress,
    downscale_blur,
    expose,
    random_erasing,
    side_light,
    to_tensor,
)
from facesym.data.symmetric import simulate_palsy
from facesym.faces.geometry import flip_landmarks, warp_points
from facesym.models.landmark import LandmarkNet
from train.arguments import Parser, add_arguments, launch
from train.common import Run
from train.init import model_folder, refuse_with_init

VALIDATION = 200  # faces of the validation split on which the run validates
CONTOUR_WEIGHT = 0.5  # points of the jaw line slide along it, so their labels are less certain


def random_roll(rng, rolled):
    """Draw a roll in degrees: small for most faces; for a fraction ``rolled`` up to ±60 or up to ±180, half each, so
    that the network learns any roll."""
    kind = rng.random()
    if kind >= rolled:
        return rng.normal(0, 12)
    return rng.uniform(-60, 60) if kind < rolled / 2 else rng.uniform(-180, 180)


def close_eye(image, points, side, amount):
    """Close one eye by warping its upper lid down to the lower one.

    Args:
        image: SxSx3 uint8.
        points: 68x2 landmarks in pixels.
        side: "left" or "right" of the image.
        amount: 0 = unchanged, 1 = closed.

    Returns:
        The image and its landmarks.
    """
    upper, lower = ([37, 38], [41, 40]) if side == "left" else ([43, 44], [47, 46])
    moved = np.asarray(points, np.float64).copy()
    moved[upper] += 0.95 * amount * (moved[lower] - moved[upper])
    return warp_points(image, points, moved)[0], moved


def move_feature(rng, image, points):
    """Move one feature, mostly to or on one side: a brow, the mouth or a corner of it, the nose's tip, or the chin.

    Args:
        rng: numpy Generator.
        image: SxSx3 uint8.
        points: 68x2 landmarks in pixels.

    Returns:
        The image and its landmarks.
    """
    points = np.asarray(points, np.float64)
    unit = np.linalg.norm(points[42:48].mean(0) - points[36:42].mean(0))
    x = points[:, 0] - points[48:68, 0].mean()
    side = np.clip(x / np.abs(x[[48, 54]]).mean(), -1, 1)[:, None]  # of the mouth, from -1 to 1
    corner = np.clip(side * rng.choice([-1, 1]), 0, 1)
    brow = slice(17, 22) if rng.random() < 0.5 else slice(22, 27)
    feature = rng.choice(["brow", "mouth", "corner", "nose", "chin"], p=[0.3, 0.3, 0.2, 0.1, 0.1])
    shift = np.zeros((68, 2))
    if feature == "brow":
        shift[brow] = rng.normal(0, (0.015, 0.07)) + rng.normal(0, 0.012, (5, 1)) * [0, 1]
    elif feature == "mouth":
        # To one side, and narrower or wider.
        shift[48:68] = rng.normal(0, (0.07, 0.02)) + rng.normal(0, 0.035) * side[48:68] * [1, 0]
    elif feature == "corner":
        shift[48:68] = corner[48:68] * rng.normal(0, (0.04, 0.08))
    elif feature == "nose":
        shift[29:36] = rng.normal(0, (0.04, 0.02)) * np.array([0.3, 0.7, 0.8, 0.9, 1, 0.9, 0.8])[:, None]
    else:
        shift[4:13] = (
            rng.normal(0, (0.05, 0.02)) * np.array([0.25, 0.5, 0.75, 1, 1, 1, 0.75, 0.5, 0.25])[:, None]
        )
    moved = points + np.clip(shift, -0.18, 0.18) * unit
    return warp_points(image, points, moved)[0], moved


def photograph(rng, image):
    """Vary an image as cameras do (light, exposure, blur, JPEG, grain, grey); returns float32."""
    if rng.random() < 0.3:
        image = downscale_blur(rng, image)
    if rng.random() < 0.2:
        image = compress(rng, image, 20, 80)
    if rng.random() < 0.15:
        image = np.repeat(image.mean(2, keepdims=True), 3, 2)
    if rng.random() < 0.3:
        image = side_light(rng, np.float32(image))
    if rng.random() < 0.3:
        image = expose(rng, image)
    image = colour_jitter(rng, np.float32(image), 0.35)
    if rng.random() < 0.2:
        image = np.clip(image + rng.normal(0, rng.uniform(2, 14), image.shape), 0, 255).astype(np.float32)
    return image


class LandmarkSamples(Samples):
    """Faces with strong augmentation and their landmarks as fractions of the side.

    They are rolled by any angle, scaled, shifted, varied as by cameras and partly erased. Some have a simulated palsy
    or a closed eye; in a fraction ``moved`` of the others, one feature is moved.
    """

    def __init__(self, faces, seed, rolled, moved):
        super().__init__(faces, seed, balanced_weights(kinds(faces)))
        self.rolled, self.moved = rolled, moved

    def sample(self, i, rng):
        image, points, size = self.faces.images[i], self.faces.landmarks[i], self.faces.size
        if rng.random() < 0.5:
            image, points = np.ascontiguousarray(image[:, ::-1]), flip_landmarks(points, size)
        kind = rng.random()
        if kind < 0.2:
            # The labelled faces are nearly symmetric; without palsies the network would predict symmetric faces.
            image, points = simulate_palsy(
                image, points, rng.choice(["left", "right"]), rng.uniform(-0.3, 1.5)
            )
        elif kind < 0.3:
            image, points = close_eye(image, points, rng.choice(["left", "right"]), rng.uniform(0.4, 1))
        elif rng.random() < self.moved:
            image, points = move_feature(rng, image, points)
        centre = ((size - 1) / 2, (size - 1) / 2)
        matrix = cv2.getRotationMatrix2D(centre, random_roll(rng, self.rolled), rng.uniform(0.75, 1.25))
        matrix[:, 2] += rng.uniform(-0.09, 0.09, 2) * size
        image = cv2.warpAffine(image, matrix, (size, size), borderMode=cv2.BORDER_REFLECT)
        points = points @ matrix[:, :2].T + matrix[:, 2]
        image = photograph(rng, image)
        for _ in range(rng.integers(0, 3)):
            random_erasing(rng, image)
        return {"image": to_tensor(image), "landmarks": torch.from_numpy((points + 0.5) / size).float()}


@torch.no_grad()
def errors(net, faces, device="cpu"):
    """Mean landmark error of each face as a fraction of the distance between the outer eye corners: N floats.

    Landmarks are averaged over each image and its mirror image, as in `facesym.faces.landmarks.find_points`.
    """
    net.eval()
    predicted = []
    for start in range(0, len(faces), 64):
        images = torch.stack([to_tensor(image) for image in faces.images[start : start + 64]]).to(device)
        plain = net(images).cpu().numpy() * faces.size - 0.5
        mirrored = net(images.flip(-1)).cpu().numpy() * faces.size - 0.5
        predicted.append((plain + flip_landmarks(mirrored, faces.size)) / 2)
    labels = faces.landmarks
    distance = np.linalg.norm(labels[:, 36] - labels[:, 45], axis=1)
    return np.linalg.norm(np.concatenate(predicted) - labels, axis=2).mean(1) / distance


def by_yaw(faces, error):
    """Average the error within bands of |yaw|, in per cent: a dict for tables and zoo.json.

    Faces without a yaw in metadata.csv are left out; if no face has one, the only band is "all".
    """
    yaw = np.array([abs(float(row.get("yaw") or "nan")) for row in faces.rows])
    bands = {"0-15": (0, 15), "15-30": (15, 30), "0-30": (0, 30), "30-45": (30, 45), "45-90": (45, 90)}
    if np.isnan(yaw).all():
        yaw, bands = np.zeros(len(yaw)), {"all": (0, 1)}
    table = {}
    for name, (low, high) in bands.items():
        inside = (yaw >= low) & (yaw < high)
        if inside.any():
            table[name] = {
                "n": int(inside.sum()),
                "error_percent": round(100 * float(error[inside].mean()), 2),
            }
    return table


def parse():
    """Parse the command line."""
    parser = Parser(__doc__)
    add_arguments(parser, out="runs/landmarks", batch=32, lr=1e-3, warm_up=600)
    parser.add_argument("--steps", type=int, default=6000, help="training steps")
    parser.add_argument("--width", type=int, help="channels of the first layer (default: 56)")
    for name, default, text in (
        ("--rolled", 0.45, "fraction of faces rolled by up to 60 or 180 degrees"),
        (
            "--moved",
            0.5,
            "of the faces without a simulated palsy or closed eye, fraction with a moved feature",
        ),
    ):
        parser.add_argument(name, type=float, default=default, metavar="FRACTION", help=text)
    parser.add_argument("--init", metavar="FOLDER", help="start from the weights of this model or run")
    args = parser.parse_args()
    refuse_with_init(args, "width")
    return args


def main():
    args = parse()
    run = Run(args)
    net = run.add(
        LandmarkNet.from_pretrained(model_folder(args.init))
        if args.init
        else LandmarkNet(width=args.width or 56)
    )
    size = net.config.input_size
    faces, validation = run.faces(size), run.faces(size, "val").spread(VALIDATION)
    optimizer = run.adam(net.parameters(), weight_decay=1e-4)
    average = run.average(net)
    run.restore()
    weight = torch.ones(68, 1, device=run.device)
    weight[:17] = CONTOUR_WEIGHT
    net.train()
    for batch in run.batches(LandmarkSamples(faces, args.seed, args.rolled, args.moved), args.steps):
        with run.autocast():
            output = net(batch["image"])
        # Smooth l1 from half a pixel: the labels come from another network and have outliers.
        difference = F.smooth_l1_loss(output * size, batch["landmarks"] * size, beta=0.5, reduction="none")
        loss = (weight * difference).mean()
        run.update(optimizer, loss)
        run.average_step()
        terms = {"loss": loss}
        if run.due(args.sample_every):
            terms["val"] = run.validated(average, errors(average, validation, run.device).mean())
        run.log(**terms)
    held_out, split = run.held_out_faces(size)
    table = by_yaw(held_out, errors(average, held_out, run.device))
    run.print(f"held-out error, % of the outer-eye distance, by |yaw|: {table}")
    run.export(
        average,
        task="landmarks",
        default=True,
        input_size=size,
        framing="ffhq",
        paper=None,
        metrics=[
            {
                "data": f"{split} split",
                "protocol": "mean error over 68 points, % of the outer-eye distance, by |yaw|",
                "values": {band: row["error_percent"] for band, row in table.items()},
            }
        ],
    )


if __name__ == "__main__":
    launch(main)
