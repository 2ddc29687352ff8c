"""Train LandmarkNet on aligned faces with 68 landmarks.

    accelerate launch train/landmarks.py --data FACES [FACES …] --steps 6000 --export landmarks-68

It ends with the held-out error by yaw; with ``--resume`` and the same ``--steps`` it only measures and exports.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from facesym.data.faces import (
    FaceFolders,
    Samples,
    affine_jitter,
    colour_jitter,
    cover,
    flip_landmarks,
    soften,
    to_tensor,
)
from facesym.data.symmetric import simulate_palsy
from facesym.models.landmark import LandmarkNet
from train.common import Run, add_arguments

CONTOUR_WEIGHT = 0.5  # the jaw line's points slide along it: their labels are less certain


class LandmarkSamples(Samples):
    """Faces turned, scaled, shifted, recoloured, blurred, partly covered, some with a simulated palsy; their landmarks
    as shares."""

    def sample(self, i, rng):
        image, points, size = self.faces.images[i], self.faces.landmarks[i], self.faces.size
        if rng.random() < 0.5:
            image, points = np.ascontiguousarray(image[:, ::-1]), flip_landmarks(points, size)
        if rng.random() < 0.3:
            # The labels are of nearly symmetric faces, and a net learns from them to see every face so.
            image, points = simulate_palsy(
                image, points, rng.choice(["left", "right"]), rng.uniform(-0.3, 1.5)
            )
        matrix = affine_jitter(rng, size, degrees=20, scale=0.2, shift=0.08)
        image = cv2.warpAffine(image, matrix, (size, size), borderMode=cv2.BORDER_REFLECT)
        points = points @ matrix[:, :2].T + matrix[:, 2]
        if rng.random() < 0.3:
            image = soften(rng, image)
        if rng.random() < 0.15:
            image = np.repeat(image.mean(2, keepdims=True), 3, 2)
        image = colour_jitter(rng, image, 0.35)
        for _ in range(rng.integers(0, 3)):
            cover(rng, image)
        return {"image": to_tensor(image), "landmarks": torch.from_numpy((points + 0.5) / size).float()}


@torch.no_grad()
def errors(net, faces, device="cpu", batch=64):
    """Mean landmark error of each face as a share of its inter-ocular distance (outer eye corners): N floats."""
    net.eval()
    found = []
    for start in range(0, len(faces), batch):
        images = torch.stack([to_tensor(image) for image in faces.images[start : start + batch]]).to(device)
        found.append(net(images).cpu().numpy() * faces.size - 0.5)
    labels = faces.landmarks
    distance = np.linalg.norm(labels[:, 36] - labels[:, 45], axis=1)
    return np.linalg.norm(np.concatenate(found) - labels, axis=2).mean(1) / distance


def by_yaw(faces, error):
    """Mean error within bands of |yaw|, in per cent: a dict for tables and zoo.json."""
    yaw = np.array([abs(float(row["yaw"])) for row in faces.rows])
    bands = {"0-15": (0, 15), "15-30": (15, 30), "0-30": (0, 30), "30-45": (30, 45), "45-90": (45, 90)}
    table = {}
    for name, (low, high) in bands.items():
        inside = (yaw >= low) & (yaw < high)
        if inside.any():
            table[name] = {
                "n": int(inside.sum()),
                "error_percent": round(100 * float(error[inside].mean()), 2),
            }
    return table


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser, out="runs/landmarks", batch=32, lr=1e-3)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--width", type=int, default=56)
    parser.add_argument("--init", metavar="FOLDER", help="start from this model's weights")
    args = parser.parse_args()
    run = Run(args)
    net = run.add(LandmarkNet.from_pretrained(args.init) if args.init else LandmarkNet(width=args.width))
    size = net.config.input_size
    faces = FaceFolders(args.data, size, limit=args.limit)
    optimizer = run.adam(net.parameters(), weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, args.lr, total_steps=args.steps + 1, pct_start=0.1
    )
    run.register(schedule)
    average = run.average(net)
    run.restore()
    weight = torch.ones(68, 1, device=run.device)
    weight[:17] = CONTOUR_WEIGHT
    net.train()
    for batch in run.batches(LandmarkSamples(faces, args.seed), args.steps):
        with run.autocast():
            found = net(batch["image"])
        # Smooth l1 with a knee at half a pixel: the labels are another network's, with outliers.
        difference = F.smooth_l1_loss(found * size, batch["landmarks"] * size, beta=0.5, reduction="none")
        loss = (weight * difference).mean()
        run.update(optimizer, loss)
        schedule.step()
        run.average_step()
        run.log(loss=loss, lr=schedule.get_last_lr()[0])
    held_out = FaceFolders(args.data, size, splits=("test",), limit=args.limit)
    table = by_yaw(held_out, errors(average, held_out, run.device))
    run.print(f"held-out error, % of the outer-eye distance, by |yaw|: {table}")
    run.export(
        average,
        task="landmarks",
        default=True,
        input_size=size,
        framing="ffhq",
        license="research use only (weights); Apache-2.0 (code)",
        training_data=[Path(d).name for d in args.data],
        train_command=f"accelerate launch train/landmarks.py --data FACES … --steps {args.steps}",
        paper=None,
        metrics=[
            {
                "data": "test split",
                "protocol": "mean error over 68 points, % of the outer-eye distance, by |yaw|",
                "values": {band: row["error_percent"] for band, row in table.items()},
            }
        ],
    )


if __name__ == "__main__":
    main()
