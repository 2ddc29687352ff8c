"""Train the yaw and pitch head of a LandmarkNet on the features of a trained one.

    accelerate launch train/pose.py --data FACES [FACES …] --init runs/landmarks --steps 1000 --zoo landmarks-68

The targets are ``yaw`` and ``pitch`` of ``metadata.csv``. The run ends with the held-out errors of landmarks and pose.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from facesym.data.balance import balanced_weights
from facesym.data.faces import Samples, affine_jitter, random_erasing, to_tensor
from facesym.models.landmark import LandmarkNet
from train.arguments import Parser, add_arguments, launch
from train.common import Run
from train.init import model_folder
from train.landmarks import VALIDATION, by_yaw, errors, photograph

# Degrees of |yaw|; each band is drawn equally often, if it has enough faces.
BANDS = (0, 10, 20, 30, 45, 60, 90)


def has_pose(row):
    """Whether a row of metadata.csv has a yaw and a pitch."""
    return bool(row.get("yaw") and row.get("pitch"))


def pose_of(row):
    """Return yaw and pitch of a row of metadata.csv: two floats in degrees."""
    return np.array([float(row["yaw"]), float(row["pitch"])], np.float32)


def angles(faces):
    """Return yaw and pitch of the images of FaceFolders: Nx2 float32 in degrees."""
    return np.stack([pose_of(row) for row in faces.rows])


def yaw_bands(faces):
    """Return which images are in each band of |yaw|: {name: N bool}."""
    yaw = np.abs(angles(faces)[:, 0])
    return {f"{low}-{high}": (yaw >= low) & (yaw < high) for low, high in zip(BANDS, BANDS[1:])}


class PoseSamples(Samples):
    """Faces with slightly wrong alignment, as after detection, and their yaw and pitch in degrees."""

    def sample(self, i, rng):
        image, size = self.faces.images[i], self.faces.size
        pose = pose_of(self.faces.rows[i])
        if rng.random() < 0.5:
            image, pose = image[:, ::-1], pose * [-1, 1]
        matrix = affine_jitter(rng, size, degrees=8, scale=0.15, shift=0.06)
        image = cv2.warpAffine(
            np.ascontiguousarray(image), matrix, (size, size), borderMode=cv2.BORDER_REFLECT
        )
        image = photograph(rng, image)
        if rng.random() < 0.3:
            random_erasing(rng, image)
        return {"image": to_tensor(image), "pose": torch.from_numpy(pose.astype(np.float32))}


@torch.no_grad()
def predict_poses(net, faces, device="cpu"):
    """Predict yaw and pitch, averaged over each image and its mirror image: Nx2 degrees."""
    poses = []
    for start in range(0, len(faces), 64):
        images = torch.stack([to_tensor(image) for image in faces.images[start : start + 64]]).to(device)
        mirrored = net.pose(images.flip(-1)) * torch.tensor([-1, 1], device=device)
        poses.append(((net.pose(images) + mirrored) / 2).cpu().numpy())
    return np.concatenate(poses)


def yaw_error(net, faces, device="cpu"):
    """Return the mean absolute error of the yaw in degrees."""
    return np.abs(predict_poses(net, faces, device) - angles(faces))[:, 0].mean()


def pose_table(faces, poses):
    """Tabulate by band of |yaw|: the mean absolute error of yaw and pitch, and the 5 and 95 % quantiles of |yaw|."""
    table, off = {}, np.abs(poses - angles(faces))
    for name, inside in yaw_bands(faces).items():
        if inside.any():
            low, high = np.percentile(np.abs(poses[inside, 0]), [5, 95])
            table[name] = {
                "n": int(inside.sum()),
                "yaw_error": round(float(off[inside, 0].mean()), 1),
                "pitch_error": round(float(off[inside, 1].mean()), 1),
                "yaw_5_to_95": [round(float(low), 1), round(float(high), 1)],
            }
    return table


def main():
    parser = Parser(__doc__)
    add_arguments(parser, out="runs/pose", batch=48, lr=2e-3, warm_up=100)
    parser.add_argument("--steps", type=int, default=1000, help="training steps")
    parser.add_argument(
        "--init", required=True, metavar="FOLDER", help="run or model folder of the landmark network"
    )
    args = parser.parse_args()
    run = Run(args)
    trained = LandmarkNet.from_pretrained(model_folder(args.init))
    config = {key: trained.config[key] for key in ("width", "landmarks", "input_size")}
    net = LandmarkNet(**config, pose=True)
    net.load_state_dict(trained.state_dict(), strict=False)
    net = run.add(net.requires_grad_(False).eval())
    net.pose_head.requires_grad_(True)
    size = net.config.input_size
    faces = run.faces(size, keep=has_pose)
    validation = run.faces(size, "val", keep=has_pose).spread(VALIDATION)
    optimizer = run.adam(net.pose_head.parameters(), weight_decay=1e-3)
    average = run.average(net)
    run.restore()
    weights = balanced_weights(yaw_bands(faces), smallest=1 / (len(BANDS) - 1), most=40)
    for batch in run.batches(PoseSamples(faces, args.seed, weights), args.steps):
        with run.autocast():
            with torch.no_grad():
                features = net.encode(batch["image"])[-1]
            prediction = net.pose_head(features).float()
        loss = F.smooth_l1_loss(prediction, batch["pose"] / 90, beta=0.05)
        run.update(optimizer, loss)
        run.average_step()
        terms = {"loss": loss, "degrees": 90 * (prediction.detach() - batch["pose"] / 90).abs().mean()}
        if run.due(args.sample_every):
            terms["val"] = run.validated(average, yaw_error(average, validation, run.device))
        run.log(**terms)
    held_out, split = run.held_out_faces(size, keep=has_pose)
    landmarks = by_yaw(held_out, errors(average, held_out, run.device))
    pose = pose_table(held_out, predict_poses(average, held_out, run.device))
    run.print(f"held-out landmark error, % of the outer-eye distance, by |yaw|: {landmarks}")
    run.print(f"held-out pose, degrees, by |yaw|: {pose}")
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
                "protocol": "mean error over 68 points against dlib's labels, % of the outer-eye distance, by |yaw|",
                "values": {band: row["error_percent"] for band, row in landmarks.items()},
            },
            {
                "data": f"{split} split",
                "protocol": "mean absolute error of the yaw against a 3-D face model's fit, degrees, by |yaw|",
                "values": {band: row["yaw_error"] for band, row in pose.items()},
            },
        ],
    )


if __name__ == "__main__":
    launch(main)
