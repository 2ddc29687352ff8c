"""`facesym evaluate symgan`: symmetry of generators and their Fréchet distance to held-out photos.

    facesym evaluate symgan --faces FACES/scut … --models DC-GAN=runs/plain soft=runs/soft zprime=runs/zprime \\
        --alexnet ALEXNET -o results/symgan
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import ImageError
from ..logging import progress_bar
from .data import add_common_arguments, load_models, load_pictures, one_size, select_pictures
from .features import alexnet_features, frechet_distance, mean_features
from .report import picture_grid, plot, save_sheet
from .tables import markdown, save_results

STEPS = np.linspace(0, 1, 9)  # the paper's nine images from a face to its mirror image
COLUMNS = {str(i + 1): f"{{own_mirror[{i}]:.1e}}" for i in range(len(STEPS))} | {
    "opposite images": "{opposite:.1e}",
    "Fréchet (AlexNet)": "{frechet:.2f}",
}


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_common_arguments(command, models=["symgan"], device=True)
    command.add_argument("--alexnet", type=Path, required=True, help="torchvision's AlexNet features")
    command.add_argument("-n", type=int, default=2000, help="random faces, and photos at most (default 2000)")


@torch.inference_mode()
def sweeps(net: Any, count: int, seed: int) -> torch.Tensor:
    """Sample sequences from random faces to their mirror images: 9xNx3xSxS in [0, 1], on the CPU."""
    z = net.sample(count, torch.Generator().manual_seed(seed))
    series = [
        torch.cat([net(net.between(part, float(step))) for part in z.split(32)]).float().cpu()
        for step in progress_bar(STEPS, "sweeps")
    ]
    return (torch.stack(series) + 1) / 2


def mirror_errors(series: torch.Tensor) -> tuple[list[float], float]:
    """Compute the mirror errors of sequences (9xNx3xSxS).

    Returns:
        Nine numbers, the mean squared difference between the k-th images and their own mirror images (Fig. 7 of the
        supplement); and one, that between the k-th image and the mirror image of the (10 − k)-th over all k (the
        ghosting of Fig. 10: averaging the two removes a quarter of it as variance).
    """
    own = (series - series.flip(-1)).square().mean((1, 2, 3, 4))
    pairs = (series - series.flip(0).flip(-1)).square().mean()
    return own.tolist(), float(pairs)


@torch.inference_mode()
def random_faces(net: Any, count: int, seed: int) -> np.ndarray:
    """Sample random faces: NxSxSx3 uint8."""
    z = net.sample(count, torch.Generator().manual_seed(seed))
    faces = torch.cat([net(part).float().cpu() for part in progress_bar(z.split(32), "random faces")])
    return ((faces + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def run(args: argparse.Namespace) -> None:
    """Measure sequences of nine images from a random face of each generator to its mirror image: the difference between
    each image and its own mirror image, and between opposite images; and the Fréchet distance between random faces and
    held-out photos."""
    args.out.mkdir(parents=True, exist_ok=True)
    backbone = alexnet_features(args.alexnet)
    models = load_models(args.models, args.device)
    size = one_size(models)
    rows = select_pictures(args.faces, 0, None, args.seed)
    real, _ = load_pictures(rows[: args.n], size)
    if len(real) < 4:
        raise ImageError(f"{len(real)} images are too few for a Fréchet distance")
    halves = [mean_features(part, backbone) for part in (real[::2], real[1::2])]
    wanted = np.concatenate(halves)
    table, grid = [], {}
    for name, net in models.items():
        series = sweeps(net, min(args.n, 200), args.seed)
        own, pairs = mirror_errors(series)
        faces = random_faces(net, args.n, args.seed + 1)
        distance = frechet_distance(mean_features(faces, backbone), wanted)
        table.append({"row": name, "own_mirror": own, "opposite": pairs, "frechet": distance})
        images = (series[:, :4] * 255).round().byte().permute(1, 0, 3, 4, 2).numpy()
        save_sheet(images, args.out / f"sweep-{name}.png")
        grid[name] = faces[:8]
    picture_grid(grid).save(args.out / "grid.png")
    settings = {
        "task": "symgan", "models": args.models, "size": size, "seed": args.seed, "random_faces": args.n,
        "photos": len(real), "sweeps": min(args.n, 200), "frechet": "AlexNet, last convolution, mean over places",
        "frechet_of_two_halves_of_the_photos": frechet_distance(*halves),
    }  # fmt: skip
    save_results(args.out, settings, table)
    with plot(args.out / "mirror.png", figsize=(6, 3.4)) as (axis,):
        for row in table:
            axis.plot(range(1, 10), row["own_mirror"], marker="o", markersize=3, label=row["row"])
        axis.set(
            xlabel="image, from a face (1) to its mirror image (9)", ylabel="MSE to its own mirror image"
        )
        axis.legend(fontsize=8)
    print(
        f"\n{args.n} random faces, {len(real)} photos of {size} pixels; MSE of an image and its mirror image\n"
    )
    print(markdown(table, COLUMNS))
    print(
        f"\nFréchet distance of two halves of the photos: {settings['frechet_of_two_halves_of_the_photos']:.2f}"
    )
    print(f"\nwrote {args.out}")
