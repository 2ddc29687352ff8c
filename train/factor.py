"""Compress a trained NormalizedFaceGAN, SymmetricEncoder or SymmetrizerVAE: factor its widest linear maps into products
of two of lower rank.

    python train/factor.py MODEL --data FACES … --rank 96 --out OUT

For a map W with inputs x over real faces, the factors are the best approximation of Wx of that rank. At the end the
script compares both models on held-out people.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from facesym import zoo
from facesym.data.faces import FaceFolders, to_tensor
from facesym.models import NormalizedFaceGAN, SymmetricEncoder, SymmetrizerVAE
from train.arguments import launch
from train.init import model_folder

BATCH = 50
TURN = 3.0  # weight of the latent's asymmetric entries, which turn the head


def faces_of(folders, net, split, count):
    """Load ``count`` random faces of a split: Nx3xSxS in [-1, 1]."""
    size = net.size if isinstance(net, NormalizedFaceGAN) else net.config.get("size") or net.config.input_size
    faces = FaceFolders(folders, size, splits=(split,))
    chosen = np.random.default_rng(0).permutation(len(faces))[:count]
    return torch.stack([to_tensor(faces.images[i]) for i in chosen]).split(BATCH)


@torch.no_grad()
def moments(net, names, batches, outputs=False):
    """Average x and xxᵀ over the inputs x of the layers called ``names`` (FC1: its outputs), over all positions.

    Args:
        outputs: average over the outputs of all layers instead.

    Returns:
        {name: (mean, mean of xxᵀ)}.
    """
    sums = {name: [0, 0, 0] for name in names}

    def take(name, layer, x, y):
        if outputs:
            x = y
        # FC1 has too many inputs for a covariance; its outputs suffice.
        x = x @ layer.weight.T if x.ndim == 2 else x.permute(0, 2, 3, 1).flatten(0, 2)
        x = x.double()
        sums[name] = [total + new for total, new in zip(sums[name], (len(x), x.sum(0), x.T @ x))]

    hooks = [
        net.get_submodule(name).register_forward_hook(
            lambda layer, inputs, output, name=name: take(name, layer, inputs[0], output)
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
def factor_encoder(net, rank, batches):
    """Return a SymmetricEncoder whose last layer has that rank, and approximates that of ``net`` on faces."""
    settings = {name: value for name, value in net.config.items() if not name.startswith("_")}
    small = SymmetricEncoder(**settings | {"rank": rank}).eval()
    mean, square = moments(net, ["out"], batches)["out"]  # of Wx
    weights = torch.ones(len(mean), dtype=torch.float64)
    weights[: net.config.asymmetric] = TURN
    _, vectors = torch.linalg.eigh((square - mean[:, None] * mean) * weights[:, None] * weights)
    main = vectors[:, -rank:]
    first, second = (main.T * weights) @ net.out.weight.double(), main / weights[:, None]
    rest = mean - second @ ((main.T * weights) @ mean)
    state = net.state_dict()
    bias = state.pop("out.bias") + rest.float()
    del state["out.weight"]
    small.load_state_dict(
        state | {"out.0.weight": first.float(), "out.1.weight": second.float(), "out.1.bias": bias}
    )
    return small


@torch.no_grad()
def factor_symmetrizer(net, rank, batches):
    """Return a SymmetrizerVAE of that rank that approximates ``net`` on faces like those of ``batches``."""
    settings = {name: value for name, value in net.config.items() if not name.startswith("_")}
    small = SymmetrizerVAE(**settings | {"rank": rank}).eval()
    state, names = net.state_dict(), ["merge.0", "up.0.0"]
    for name, (mean, square) in moments(net, names, batches, outputs=True).items():
        weight = state.pop(f"{name}.weight").double()
        # Project onto the principal directions of the outputs; the constant remainder goes into the norm after it.
        _, vectors = torch.linalg.eigh(square - mean[:, None] * mean)
        main = vectors[:, -rank:]
        norm = f"{name.removesuffix('.0')}.1.running_mean"
        state[norm] = state[norm] - (mean - main @ (main.T @ mean)).float()
        state[f"{name}.0.weight"] = (main.T @ weight.flatten(1)).view(rank, *weight.shape[1:]).float()
        state[f"{name}.1.weight"] = main[..., None, None].float()
    small.load_state_dict(state)
    return small


def pictures(net, images):
    """Return the images that a network outputs for faces (Bx3xSxS)."""
    return net(images).picture if isinstance(net, SymmetrizerVAE) else net(images).image


FACTOR = {
    NormalizedFaceGAN: factor,
    SymmetricEncoder: factor_encoder,
    SymmetrizerVAE: factor_symmetrizer,
}


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
    parser.add_argument(
        "--zoo", metavar="ID", help="also replace this model of the zoo, which must have an entry"
    )
    args = parser.parse_args()
    net = zoo.load(str(model_folder(args.model)) if Path(args.model).is_dir() else args.model).float().eval()
    if type(net) not in FACTOR or net.config.rank:
        names = ", ".join(each.__name__ for each in FACTOR)
        raise SystemExit(f"{args.model} must be one of {names} and not factored already")
    faces, held_out = (faces_of(args.data, net, *part) for part in (("train", args.n), ("test", 300)))
    small = FACTOR[type(net)](net, args.rank, faces)
    small.half().save_pretrained(args.out)
    if args.zoo:
        zoo.register(args.zoo, args.out)
    small.float()
    print(f"{net.num_parameters()} to {small.num_parameters()} parameters. Wrote {args.out}")
    if isinstance(net, SymmetricEncoder):
        codes = [(net(images), small(images)) for images in held_out]
        full, low = (torch.cat(each) for each in zip(*codes))
        unexplained = (full - low).square().sum() / (full - full.mean(0)).square().sum()
        print(f"held-out people: {unexplained:.1%} of the latents' variance is lost")
        return
    off = [
        (pictures(net, images) - pictures(small, images)).div(2).square().mean((1, 2, 3))
        for images in held_out
    ]
    psnr = -10 * torch.cat(off).log10()
    print(
        f"held-out people: {psnr.mean():.1f} dB between the two images on average, at least {psnr.min():.1f}"
    )


if __name__ == "__main__":
    launch(main)
