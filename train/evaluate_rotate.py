"""`train/evaluate.py symgan` (how symmetric the generators are, Fréchet distance) and `train/evaluate.py rotate` (fits
on held-out faces).

    python train/evaluate.py symgan --faces FACES/scut … --models DC-GAN=runs/plain soft=runs/soft zprime=runs/zprime \
        --trunk ALEXNET -o results/symgan
    python train/evaluate.py rotate --faces FACES/scut … --trunk ALEXNET --models rotate -n 50 -o results/rotate
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from tqdm import tqdm

from facesym import metrics
from facesym.errors import ImageError

SHARES = np.linspace(0, 1, 9)  # the paper's nine pictures from a face to its mirror image
TURNS = (-20, -10, 0, 10, 20)  # degrees of yaw at which a turned face is compared with its photo
FRONTAL = 30  # degrees of yaw: photos turned further are left out


def add_parser(tasks):
    gan = tasks.add_parser(
        "symgan", help="how symmetric generators are, and Fréchet distances", description=symgan.__doc__
    )
    gan.set_defaults(run=symgan)
    gan.add_argument(
        "--models", nargs="+", required=True, metavar="[NAME=]MODEL", help="runs, model folders or zoo ids"
    )
    gan.add_argument("-n", type=int, default=2000, help="random faces, and pictures (default 2000)")
    fits = tasks.add_parser("rotate", help="fits on held-out faces", description=rotate.__doc__)
    fits.set_defaults(run=rotate)
    fits.add_argument(
        "--models",
        nargs="+",
        default=["rotate"],
        metavar="[NAME=]MODEL",
        help="runs, model folders or zoo ids",
    )
    fits.add_argument("-n", type=int, default=50, help="pictures at most (default 50)")
    fits.add_argument("--steps", type=int, default=200, help="of the tuning (default 200)")
    fits.add_argument("--grid", type=int, default=8, help="pictures in the grid (default 8)")
    for command in (gan, fits):
        command.add_argument("--faces", nargs="+", type=Path, required=True, help="folders of aligned faces")
        command.add_argument("--trunk", type=Path, required=True, help="torchvision's AlexNet features")
        command.add_argument("--device", default="cpu")
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("-o", "--out", type=Path, required=True, help="folder to write")


def named_models(given):
    """[NAME=]MODEL, each a run's folder, a model's folder or a zoo id: {name: what facesym.load takes}."""
    from train.common import model_folder

    models = {}
    for text in given:
        name, _, model = text.rpartition("=")
        name = name or Path(model).name
        if name in models:
            raise ImageError(f"two models are called {name}: give them names, NAME=MODEL")
        models[name] = str(model_folder(model)) if Path(model).is_dir() else model
    return models


def one_size(nets):
    """The side of the pictures that all of these generators (a dict) make.

    Raises:
        ImageError: they differ.
    """
    sizes = {name: net.size for name, net in nets.items()}
    if len(set(sizes.values())) > 1:
        raise ImageError(f"the models make pictures of several sizes: {sizes}")
    return next(iter(sizes.values()))


# --- generators


@torch.inference_mode()
def sweeps(net, count, seed):
    """``count`` random faces on the way to their mirror images: 9xNx3xSxS in [0, 1], on the CPU."""
    z = net.sample(count, torch.Generator().manual_seed(seed))
    made = [
        torch.cat([net(net.between(part, float(share))) for part in z.split(32)]).float().cpu()
        for share in SHARES
    ]
    return (torch.stack(made) + 1) / 2


def mirror_errors(series):
    """Of 9xNx3xSxS: the mean squared difference of each place's pictures and their own mirror images (Fig. 7 of the
    supplement), and of the k-th picture and the mirror image of the (10 − k)-th, over all (the ghosting of Fig. 10: a
    quarter of it is the variance that averaging the two takes away). Nine numbers, and one."""
    own = (series - series.flip(-1)).square().mean((1, 2, 3, 4))
    pairs = (series - series.flip(0).flip(-1)).square().mean()
    return own.tolist(), float(pairs)


@torch.inference_mode()
def features(pictures, net, batch=64):
    """AlexNet's last convolution (``net``, of train.trunk), averaged over places: NxSxSx3 uint8 to Nx256."""
    found = []
    for i in range(0, len(pictures), batch):
        x = torch.from_numpy(pictures[i : i + batch]).permute(0, 3, 1, 2) / 255
        x = F.interpolate(x, (224, 224), mode="bilinear", antialias=True)
        found.append(net(x).mean((2, 3)))
    return torch.cat(found).double().numpy()


def frechet_distance(a, b):
    """Between two sets of vectors (NxC, MxC), as normal distributions: |μ − μ'|² + tr(Σ + Σ' − 2 (ΣΣ')^½)."""
    one, other = np.cov(a.T), np.cov(b.T)
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    # (ΣΣ')^½ and (Σ^½ Σ' Σ^½)^½ have the same trace; the latter is symmetric.
    both = np.sqrt(np.linalg.eigvalsh(root @ other @ root).clip(0)).sum()
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(one) + np.trace(other) - 2 * both)


def symgan(args):
    """For random faces of each generator, on the way from a face to its mirror image in nine steps: the difference of
    each picture and its own mirror image, and of opposite pictures' mirror images; and the Fréchet distance of the
    faces and held-out photos."""
    from facesym import zoo
    from train.evaluate import load_pictures, picture_grid, select_pictures
    from train.trunk import alexnet_features

    args.out.mkdir(parents=True, exist_ok=True)
    trunk = alexnet_features(args.trunk)
    models = {name: zoo.load(model, device=args.device) for name, model in named_models(args.models).items()}
    size = one_size(models)
    rows = select_pictures(args.faces, 0, None, args.seed)
    real, _ = load_pictures(rows[: args.n], size)
    if len(real) < 4:
        raise ImageError(f"{len(real)} pictures are too few for a Fréchet distance")
    halves = [features(part, trunk) for part in (real[::2], real[1::2])]
    wanted = np.concatenate(halves)
    table, grid = [], {}
    for name, net in models.items():
        series = sweeps(net, min(args.n, 200), args.seed)
        own, pairs = mirror_errors(series)
        with torch.inference_mode():
            z = net.sample(args.n, torch.Generator().manual_seed(args.seed + 1))
            made = torch.cat([net(part).float().cpu() for part in z.split(32)])
        made = ((made + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
        distance = frechet_distance(features(made, trunk), wanted)
        table.append({"row": name, "own_mirror": own, "opposite": pairs, "frechet": distance})
        pictures = (series[:, :4] * 255).round().byte().permute(0, 1, 3, 4, 2).numpy()
        Image.fromarray(np.concatenate([np.concatenate(list(p), 0) for p in pictures], 1)).save(
            args.out / f"sweep-{name}.png"
        )
        grid[name] = made[:8]
    picture_grid(grid).save(args.out / "grid.png")
    settings = {
        "task": "symgan", "models": args.models, "size": size, "seed": args.seed, "random_faces": args.n,
        "photos": len(real), "sweeps": min(args.n, 200), "frechet": "AlexNet, last convolution, mean over places",
        "frechet_of_two_halves_of_the_photos": frechet_distance(*halves),
    }  # fmt: skip
    (args.out / "results.json").write_text(
        json.dumps({"settings": settings, "results": table}, indent=1) + "\n"
    )
    _plot(table, args.out / "mirror.png")
    print(
        f"\n{args.n} random faces, {len(real)} photos of {size} pixels; MSE of a picture and its mirror image\n"
    )
    print("| | " + " | ".join(map(str, range(1, 10))) + " | opposite pictures | Fréchet (AlexNet) |")
    print("|---" * 12 + "|")
    for row in table:
        cells = [f"{v:.1e}" for v in (*row["own_mirror"], row["opposite"])]
        print(f"| {row['row']} | " + " | ".join(cells) + f" | {row['frechet']:.2f} |")
    print(
        f"\nFréchet distance of two halves of the photos: {settings['frechet_of_two_halves_of_the_photos']:.2f}"
    )
    print(f"\nwritten: {args.out}")
    return table


def _plot(table, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 3.4), constrained_layout=True)
    for row in table:
        axis.plot(range(1, 10), row["own_mirror"], marker="o", markersize=3, label=row["row"])
    axis.set(xlabel="picture, from a face (1) to its mirror image (9)", ylabel="MSE to its own mirror image")
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)


# --- fits


def rotate(args):
    """FitAndTune on held-out faces: PSNR, LPIPS and identity (dlib's descriptor) of the fitted face before and after
    the tuning, identity and yaw along the turn, seconds. Rows: the released way; the same fits without
    the photo's detail (the generator's own pictures); fits without the warped views; and warping the photo by its
    landmarks alone, without a network."""
    import facesym
    from facesym.asymmetry import landmark_asymmetry
    from facesym.faces.geometry import turn, warp_points
    from facesym.faces.landmarks import find_points
    from facesym.pipelines.base import to_image
    from train.evaluate import load_pictures, picture_grid, select_pictures

    args.out.mkdir(parents=True, exist_ok=True)
    pipes = {
        name: facesym.load(model, device=args.device) for name, model in named_models(args.models).items()
    }
    size = one_size({name: pipe.net for name, pipe in pipes.items()})
    rows = select_pictures(args.faces, size, None, args.seed)
    rows = [row for row in rows if abs(float(row.get("yaw") or 0)) < FRONTAL][: args.n]
    pictures, _ = load_pictures(rows, size)
    truth = metrics.identity_descriptor(pictures)
    ways = {}
    for name, pipe in pipes.items():
        ways[name] = (pipe, True)
        if pipe.net.config.yaw:
            ways[f"{name}, no views"] = (pipe, False)
    names = [*ways, *(f"{name}, no detail" for name in pipes), "landmark warp"]
    found = {
        name: {"before": [], "after": [], "turned": [], "yaw": [], "range": [], "seconds": []}
        for name in names
    }
    for picture in tqdm(pictures, disable=None):
        crop = Image.fromarray(picture)
        for name, (pipe, views) in ways.items():
            turner = pipe.fit(crop, steps=args.steps, views=views)
            row = found[name]
            row["before"].append(np.asarray(to_image(turner.fit.before[0])))
            row["after"].append(np.asarray(to_image(turner.fit.after[0])))
            _add_turned(row, turner.frames(TURNS))
            if views:
                _add_turned(found[f"{name}, no detail"], turner.frames(TURNS, detail=False))
            row["range"].append(turner.range)
            row["seconds"].append(turner.fit.seconds)
        points = find_points(crop).astype(np.float64)
        own = landmark_asymmetry(points)[2]
        warped = [warp_points(picture, points, turn(points, yaw - own))[0] for yaw in TURNS]
        _add_turned(found["landmark warp"], [Image.fromarray(w) for w in warped])
    table = []
    for name, row in found.items():
        line = {"row": name}
        for when in ("before", "after"):
            if row[when]:
                made = np.stack(row[when])
                line |= {
                    f"psnr_{when}": float(metrics.psnr(made, pictures).mean()),
                    f"lpips_{when}": float(metrics.lpips(made, pictures, args.trunk, args.device).mean()),
                    f"identity_{when}": _distance(made, truth),
                }
        turned = np.stack(row["turned"])  # NxTxSxSx3
        line["identity_turned"] = {str(yaw): _distance(turned[:, k], truth) for k, yaw in enumerate(TURNS)}
        line["same_person_turned"] = {str(yaw): _share(turned[:, k], truth) for k, yaw in enumerate(TURNS)}
        line["yaw_measured"] = dict(zip(map(str, TURNS), np.mean(row["yaw"], 0).round(2).tolist()))
        line["sharpness"] = float(
            (
                metrics.sharpness(turned[:, TURNS.index(0)]) / np.maximum(metrics.sharpness(pictures), 1e-6)
            ).mean()
        )
        if row["range"]:
            line["range"] = np.mean(row["range"], 0).round(2).tolist()
            line["seconds"] = float(np.mean(row["seconds"]))
        table.append(line)
    first = found[names[0]]
    columns = {"photo": pictures, "fitted": np.stack(first["after"])}
    columns |= {f"yaw {yaw}": np.stack(first["turned"])[:, k] for k, yaw in enumerate(TURNS)}
    plain = np.stack(found[f"{names[0]}, no detail"]["turned"])
    columns |= {f"no detail {yaw}": plain[:, k] for k, yaw in enumerate(TURNS)}
    columns |= {
        f"warp {yaw}": np.stack(found["landmark warp"]["turned"])[:, k] for k, yaw in enumerate(TURNS)
    }
    picture_grid({name: values[: args.grid] for name, values in columns.items()}).save(args.out / "grid.png")
    settings = {
        "task": "rotate", "models": args.models, "pictures": len(pictures), "size": size, "steps": args.steps,
        "seed": args.seed, "faces": [folder.name for folder in args.faces], "turned_less_than": FRONTAL,
    }  # fmt: skip
    (args.out / "results.json").write_text(
        json.dumps({"settings": settings, "results": table}, indent=1) + "\n"
    )
    _print_fits(table, len(pictures), size)
    print(f"\nwritten: {args.out}")
    return table


def _add_turned(row, frames):
    """A face's pictures at TURNS, and their yaws as measured, to a row."""
    from facesym.asymmetry import landmark_asymmetry
    from facesym.faces.landmarks import find_points

    row["turned"].append([np.asarray(frame) for frame in frames])
    row["yaw"].append([landmark_asymmetry(find_points(frame))[2] for frame in frames])


def _distance(made, truth):
    return float(np.linalg.norm(metrics.identity_descriptor(made) - truth, axis=1).mean())


def _share(made, truth):
    far = np.linalg.norm(metrics.identity_descriptor(made) - truth, axis=1)
    return float((far <= metrics.SAME_PERSON).mean())


def _print_fits(table, count, size):
    print(f"\n{count} held-out faces of {size} pixels; identity: dlib's distance to the photo\n")
    turns = [f"{yaw:+d}°" if yaw else "0°" for yaw in TURNS]
    print(
        "| | PSNR before, after | LPIPS before, after | identity before, after | identity at "
        + ", ".join(turns) + " | same person at these | yaw measured at these | sharpness at 0° | range | seconds |"
    )  # fmt: skip
    print("|---" * 10 + "|")
    for row in table:
        cells = [
            row["row"], _pair(row, "psnr", ".1f"), _pair(row, "lpips", ".3f"), _pair(row, "identity", ".2f"),
            ", ".join(f"{v:.2f}" for v in row["identity_turned"].values()),
            ", ".join(f"{v:.0%}" for v in row["same_person_turned"].values()),
            ", ".join(f"{v:.0f}" for v in row["yaw_measured"].values()),
            f"{row['sharpness']:.2f}",
            "{:.0f} to {:.0f}".format(*row["range"]) if "range" in row else "",
            f"{row['seconds']:.0f}" if "seconds" in row else "",
        ]  # fmt: skip
        print("| " + " | ".join(cells) + " |")


def _pair(row, key, form):
    return f"{row[key + '_before']:{form}}, {row[key + '_after']:{form}}" if key + "_after" in row else ""
