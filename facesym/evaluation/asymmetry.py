"""`facesym evaluate asymmetry`: the asymmetry indices against the strength of a simulated palsy.

facesym evaluate asymmetry --faces FACES/scut FACES/generated -o results/asymmetry
"""

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..asymmetry import measure_asymmetry
from ..data.symmetric import simulate_palsy
from ..errors import ImageError
from .data import add_common_arguments, load_pictures, select_pictures, yaw_of
from .report import plot
from .tables import markdown, save_rows

STRENGTHS = (0, 0.25, 0.5, 0.75, 1.0, 1.25)
FRONTAL = 20  # degrees of yaw: a palsy is simulated on faces that are turned less


def add_arguments(command):
    add_common_arguments(command)
    command.add_argument("-n", type=int, default=100, help="pictures at most (default 100)")
    command.add_argument("--size", type=int, default=256, help="side of the pictures (default 256)")


def run(args):
    """Measure the asymmetry indices of held-out faces with a simulated palsy of growing strength: a table, a CSV file
    and a plot."""
    rows = select_pictures(args.faces, 0, None, args.seed)
    rows = [row for row in rows if abs(yaw_of(row, 0)) < FRONTAL][: args.n]
    if not rows:
        raise ImageError(f"no test picture is turned by less than {FRONTAL} degrees")
    pictures, points = load_pictures(rows, args.size)
    measured = []
    for i, (picture, p) in enumerate(tqdm(list(zip(pictures, points)), unit="face", disable=None)):
        for strength in STRENGTHS:
            image, _ = simulate_palsy(picture, p, ("left", "right")[i % 2], strength)
            about = {"picture": f"{rows[i]['set']}/{rows[i]['file_name']}", "strength": strength}
            measured.append(about | measure_asymmetry(Image.fromarray(image)).numbers())
    names = [name for name in measured[0] if name not in ("picture", "strength", "roll", "yaw")]
    values = np.array([[row[name] for name in names] for row in measured])
    values = values.reshape(len(rows), len(STRENGTHS), -1)
    args.out.mkdir(parents=True, exist_ok=True)
    save_rows(args.out / "pictures.csv", measured)
    _plot(names, values, args.out / "palsy.png")
    print(
        f"\n{len(rows)} pictures; steps of the strength at which the index grows, and its mean at each strength\n"
    )
    grows = (np.diff(values, axis=1) > 0).mean((0, 1))
    table = [
        {"row": name, "grows": grows[k], "means": values[:, :, k].mean(0)} for k, name in enumerate(names)
    ]
    columns = {f"{strength:g}": f"{{means[{i}]:.3f}}" for i, strength in enumerate(STRENGTHS)}
    print(markdown(table, {"grows": "{grows:.0%}"} | columns))
    print(f"\nwritten: {args.out}")


def _plot(names, values, path):
    with plot(path, 2, figsize=(9, 3.6)) as axes:
        for k, name in enumerate(names):
            axis = axes[1] if name == "appearance" else axes[0]
            style = dict(linewidth=3, color="black") if name == "overall" else {}
            axis.plot(STRENGTHS, values[:, :, k].mean(0), marker="o", markersize=3, label=name, **style)
            if name in ("overall", "appearance"):
                low, high = np.quantile(values[:, :, k], [0.1, 0.9], axis=0)
                axis.fill_between(STRENGTHS, low, high, alpha=0.15, color="black")
        axes[0].set(xlabel="strength of the simulated palsy", ylabel="index (outer-eye distances)")
        axes[1].set(xlabel="strength of the simulated palsy", ylabel="mean of the heat map", ylim=(0, None))
        axes[0].legend(fontsize=8)
        axes[1].set_title("appearance", fontsize=10)
        axes[0].set_title("landmarks", fontsize=10)
