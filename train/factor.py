"""Compress a trained NormalizedFaceGAN: factor its widest linear maps into products of two of lower rank.

    python train/factor.py MODEL --data FACES … --rank 96 --out OUT

For a map W with inputs x over real faces, the factors are the best approximation of Wx of that rank. At the end the
script prints the PSNR between the outputs of both models on held-out people.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from facesym import zoo
from facesym.data.faces import FaceFolders, to_tensor
from facesym.models import NormalizedFaceGAN
from train.common import model_folder

BATCH = 50


def faces_of(folders, net, split, count):
    """Load ``count`` random faces of a split: Nx3xSxS in [-1, 1]."""
    faces = FaceFolders(folders, net.size, splits=(split,))
    chosen = np.random.default_rng(0).permutation(len(faces))[:count]
    return torch.stack([to_tensor(faces.images[i]) for i in chosen]).split(BATCH)


@torch.no_grad()
def moments(net, names, batches):
    """Average x and xxᵀ over the inputs x of the layers called ``names`` (FC1: its outputs), over all positions.

    Returns:
        {name: (mean, mean of xxᵀ)}.
    """
    sums = {name: [0, 0, 0] for name in names}

    def take(name, layer, x):
        # FC1 has too many inputs for a covariance; its outputs suffice.
        x = x @ layer.weight.T if x.ndim == 2 else x.permute(0, 2, 3, 1).flatten(0, 2)
        x = x.double()
        sums[name] = [total + new for total, new in zip(sums[name], (len(x), x.sum(0), x.T @ x))]

    hooks = [
        net.get_submodule(name).register_forward_hook(
            lambda layer, inputs, _, name=name: take(name, layer, inputs[0])
        )
        for name in names
    ]
    for images in batches:
        net(images)
    for hook in hooks:
        hook.remove()
    return {name: (total / count, square / count) for name, (count, total, square) in sums.items()}


@torch.no_grad()
def factor(net, rank, batches):
    """Return a NormalizedFaceGAN of that rank that approximates ``net`` on faces like those of ``batches``."""
    settings = {name: value for name, value in net.config.items() if not name.startswith("_")}
    small = NormalizedFaceGAN(**settings | {"rank": rank}).eval()
    state, new = net.state_dict(), small.state_dict()
    parted = [name[: -len(".0.weight")] for name in new if name not in state and name.endswith(".0.weight")]
    for name, (mean, square) in moments(net, parted, batches).items():
        weight = state.pop(f"{name}.weight").double()
        if weight.ndim == 2:
            # FC1: project onto the principal directions of Wx; the constant remainder goes into the norm after it.
            values, vectors = torch.linalg.eigh(square - mean[:, None] * mean)
            main = vectors[:, -rank:]
            parts = main.T @ weight, main
            after = name.rsplit(".", 1)[0] + f".{int(name.rsplit('.', 1)[1]) + 1}.running_mean"
            state[after] = state[after] - (mean - main @ (main.T @ mean)).float()
        else:
            # Truncate C^½ W after `rank`, which weights each direction of x by its variance.
            values, vectors = torch.linalg.eigh(square)
            values = values.clamp(min=1e-8)
            u, singular, vt = torch.linalg.svd(
                (vectors * values.sqrt()) @ vectors.T @ weight.flatten(1), full_matrices=False
            )
            first = (vectors / values.sqrt()) @ vectors.T @ u[:, :rank]
            second = (singular[:rank, None] * vt[:rank]).view(rank, *weight.shape[1:])
            scale = first.abs().max()  # keeps both factors within the range of fp16
            parts = (first / scale).T[:, :, None, None], second * scale
        state |= {f"{name}.{k}.weight": part.float() for k, part in enumerate(parts)}
    small.load_state_dict(state)
    return small


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a zoo id or a run's folder")
    parser.add_argument("--data", nargs="+", required=True, metavar="FOLDER", help="aligned faces")
    parser.add_argument("--rank", type=int, default=96)
    parser.add_argument("-n", type=int, default=2500, help="number of faces for the statistics")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    net = zoo.load(str(model_folder(args.model)) if Path(args.model).is_dir() else args.model).float().eval()
    if not isinstance(net, NormalizedFaceGAN) or net.config.rank:
        raise SystemExit(f"{args.model} is not a NormalizedFaceGAN, or is already factored")
    small = factor(net, args.rank, faces_of(args.data, net, "train", args.n))
    small.half().save_pretrained(args.out)
    small.float()
    off = [
        (net(images).image - small(images).image).div(2).square().mean((1, 2, 3))
        for images in faces_of(args.data, net, "test", 300)
    ]
    psnr = -10 * torch.cat(off).log10()
    print(
        f"{net.num_parameters()} to {small.num_parameters()} parameters; held-out people: {psnr.mean():.1f} dB "
        f"between the two images (worst {psnr.min():.1f}). Written: {args.out}"
    )


if __name__ == "__main__":
    main()
