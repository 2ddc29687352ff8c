"""Measure the speed of a network relative to a plain U-Net of the same size in the same run.

    python train/benchmark.py complete --model symmfc-256 --threads 2
    python train/benchmark.py layers --threads 2      # a step of G and D with symmetric and with plain kernels
    python train/benchmark.py pipelines --threads 2   # whole pipelines by stage, next to published networks

Milliseconds depend on the machine and its load; the ratio to the U-Net depends on them less.
"""

import argparse
import json
import platform
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from facesym.errors import FacesymError
from facesym.faces.texture import borrow_texture, find_texture
from facesym.onnx import BACKENDS
from train import stages

TEXTURE = "borrowed texture"  # a row's name


class PlainUNet(nn.Module):
    """The reference: two 3x3 convolutions at each of five levels, and skip connections.

    It maps Bx4xHxW to Bx3xHxW; H and W are multiples of 16.
    """

    def __init__(self, width):
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width, 8 * width]
        self.down = nn.ModuleList(self._level(a, b) for a, b in zip([4, *widths[:-1]], widths, strict=True))
        self.up = nn.ModuleList(
            self._level(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.out = nn.Conv2d(width, 3, 1)

    @staticmethod
    def _level(a, b):
        return nn.Sequential(
            nn.Conv2d(a, b, 3, 1, 1), nn.ReLU(inplace=True), nn.Conv2d(b, b, 3, 1, 1), nn.ReLU(inplace=True)
        )

    def forward(self, x):
        skips = []
        for i, level in enumerate(self.down):
            x = level(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        for level, skip in zip(self.up, skips[-2::-1], strict=True):
            x = level(torch.cat([F.interpolate(x, scale_factor=2.0), skip], 1))
        return self.out(x)


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def unet_of_size(count):
    """Return the PlainUNet with about ``count`` parameters (within 5 % from 100,000 up)."""
    with torch.device("meta"):  # no memory needed to count
        # The count grows with the square of the width.
        guess = max(1, round((count / parameters(PlainUNet(64))) ** 0.5 * 64))
        width = min(range(max(1, guess - 2), guess + 3), key=lambda w: abs(parameters(PlainUNet(w)) - count))
    return PlainUNet(width).eval()


def measure(calls, runs, warm_up=5):
    """Time calls in turn, so that changes of the machine's load affect all of them.

    Args:
        calls: {name: function without arguments}.
        runs: number of timed runs of each.
        warm_up: number of untimed runs of each before them.

    Returns:
        {name: array of ``runs`` milliseconds}.
    """
    times = {name: [] for name in calls}
    for run in range(runs + warm_up):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if run >= warm_up:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: np.array(values) for name, values in times.items()}


def benchmark(args):
    """Time one network and the U-Net at batch size 1."""
    from facesym import zoo

    device = torch.device(args.device)
    model = zoo.load(args.model or args.task, device=args.device).eval()
    unet = unet_of_size(parameters(model)).to(device)
    size = args.size
    generator = torch.Generator().manual_seed(0)
    image = (torch.rand(1, 3, size, size, generator=generator) * 2 - 1).to(device)
    mask = torch.ones(1, 1, size, size, device=device)
    mask[..., size // 4 : size // 2, size // 4 : size * 3 // 4] = 0
    both = torch.cat([image, mask], 1)
    inputs = (image, mask) if args.task == "complete" else (image,)
    name = args.model or args.task
    options = {"exact": True} if args.task == "symmetrize" else {}  # as the pipeline calls it

    def wait():
        if device.type == "cuda":
            torch.cuda.synchronize()

    networks, calls = {name: model}, {name: lambda: (model(*inputs, **options), wait())}
    # The pipeline's next step, on the CPU, for a mask outside the face.
    if args.task == "complete":
        photo = ((image[0] + 1) * 127.5).byte().permute(1, 2, 0).cpu().numpy()
        missing = (mask[0, 0] == 0).cpu().numpy()
        networks[TEXTURE] = nn.Identity()
        given = (photo, missing, np.zeros_like(missing))
        calls[TEXTURE] = lambda: borrow_texture(*given, *find_texture(*given))
    networks["plain U-Net"], calls["plain U-Net"] = unet, lambda: (unet(both), wait())
    with torch.inference_mode():
        times = measure(calls, args.runs)
    return {"settings": _settings(args, batch=1), "rows": _rows(times, networks)}


def _settings(args, batch):
    return {
        "task": args.task,
        "size": args.size,
        "batch": batch,
        "dtype": "float32",
        "device": args.device,
        "threads": torch.get_num_threads(),
        "runs": args.runs,
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
    }


def _rows(times, networks):
    return [
        {
            "row": row,
            "parameters": parameters(networks[row]),
            "median_ms": round(float(np.median(values)), 2),
            "p10_ms": round(float(np.percentile(values, 10)), 2),
            "p90_ms": round(float(np.percentile(values, 90)), 2),
        }
        for row, values in times.items()
    ]


def benchmark_layers(args):
    """Time a training step (forward and backward through D(G(z)), batch 8) of the symmetric GAN and of DC-GAN."""
    from facesym.models import SymmetricDiscriminator, SymmetricGenerator

    device, nets = torch.device(args.device), {}
    for name, kind in (("symmetric kernels", "zprime"), ("plain kernels", "plain")):
        generator = SymmetricGenerator(kind, first=args.size // 16)
        discriminator = SymmetricDiscriminator(kind != "plain", args.size)
        nets[name] = nn.ModuleList([generator, discriminator]).to(device)
    z = torch.rand(8, 100, device=device) * 2 - 1

    def step(pair):
        pair[1](pair[0](z)).sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()

    times = measure({name: lambda pair=pair: step(pair) for name, pair in nets.items()}, args.runs)
    return {"settings": _settings(args, batch=8), "rows": _rows(times, nets)}


def benchmark_pipelines(args):
    """Time pipelines on an aligned crop and, by stage, on whole photos, next to the networks of LaMa, StarGAN and
    GFPGAN (random weights) in the same run. CPU times are the minimum of all runs. Also set OMP_NUM_THREADS to the
    number of threads, which NumPy reads."""
    return {
        "settings": _settings(args, batch=1),
        **stages.benchmark(args.runs, args.megapixels, args.backend),
    }


def table(report):
    rows = report["rows"]
    lines = [f"| | parameters | median ms | 10-90 % | of the {rows[-1]['row']} |", "|---|---|---|---|---|"]
    for row in rows:
        ratio = row["median_ms"] / rows[-1]["median_ms"]
        lines.append(
            f"| {row['row']} | {row['parameters'] / 1e6:.2f} M | {row['median_ms']:.1f} | "
            f"{row['p10_ms']:.1f}-{row['p90_ms']:.1f} | {ratio:.2f} |"
        )
    return "\n".join(lines)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tasks = parser.add_subparsers(dest="task", required=True)
    for name in ("complete", "symmetrize", "layers", "pipelines"):
        if name == "layers":
            task = tasks.add_parser(
                name, help="symmetric against plain kernels", description=benchmark_layers.__doc__
            )
        elif name == "pipelines":
            task = tasks.add_parser(
                name, help="photo to photo, by stage", description=benchmark_pipelines.__doc__
            )
            task.add_argument("--megapixels", type=float, nargs="*", default=[3, 12], help="sizes of photos")
            task.add_argument("--backend", choices=BACKENDS, default="torch", help="of facesym.load")
        else:
            task = tasks.add_parser(name, help=f"the network of {name}", description=benchmark.__doc__)
            task.add_argument("--model", help="zoo id, folder or Hub repository (default: the task's)")
        size = 128 if name == "layers" else 256
        task.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
        task.add_argument("--runs", type=int, default=50, help="timed runs of each (default 50)")
        task.add_argument("--json", action="store_true", help="print JSON in place of the table")
        if name == "pipelines":
            task.set_defaults(size=size, device="cpu")
            continue
        task.add_argument("--size", type=int, default=size, help=f"side of the image (default {size})")
        task.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    kinds = {"layers": benchmark_layers, "pipelines": benchmark_pipelines}
    try:
        report = kinds.get(args.task, benchmark)(args)
    except FacesymError as error:
        sys.exit(f"error: {error}")
    if args.json:
        print(json.dumps(report, indent=1))
        return
    text = stages.table(report) if args.task == "pipelines" else table(report)
    print(", ".join(f"{key} {value}" for key, value in report["settings"].items()), text, sep="\n\n")


if __name__ == "__main__":
    main()
