"""Measure models on people held out from training.

    facesym evaluate complete --faces FACES/scut FACES/generated --masks MASKS --alexnet ALEXNET --size 256 \\
        --models symmfc-256 runs/ablation/export -n 400 -o results/complete-256

Each task writes results.json (means and all settings) and image grids, and prints its tables in Markdown. Results are
deterministic.
"""

import argparse
import inspect
import textwrap
from collections.abc import Sequence
from importlib import import_module

from .. import zoo
from ..packages import require_packages

# `run` of a task's module returns the metrics for zoo.json, or None if it has none.
TASKS = {
    "complete": "face completion: irregular masks and a centre square",
    "faces": "alignment of tilted faces",
    "identity": "face verification on held-out people",
    "occlusion": "the automatic mask on drawn and real occlusions",
    "symmetrize": "recognition error of symmetrized faces",
    "asymmetry": "reliability of the asymmetry measures",
    "reference": "healthy range of the measures of `facesym study`",
    "symgan": "symmetry of generators and Fréchet distances",
    "rotate": "fits to held-out faces and turned heads",
    "normalize": "identity, pose and expression of normalized faces",
    "ckplus": "expression recognition with normalized faces as training data",
    "transfer": "transferred expression, pose and lighting",
    "augment": "expression recognition with synthetic faces as training data",
}
PACKAGES = (
    "dlib",
    "face_recognition_models",
    "imagehash",
    "lpips",
    "matplotlib",
    "skimage",
    "sklearn",
    "torchvision",
)


def main(argv: Sequence[str] | None = None) -> None:
    """Run `facesym evaluate` with these arguments (a list of strings; default: those of the process).

    Raises:
        FacesymError: a package of the extra ``eval``, a folder or a model is missing.
    """
    parser = argparse.ArgumentParser(
        "facesym evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(metavar="TASK", required=True)
    for name, summary in TASKS.items():
        module = import_module(f".{name}", __name__)
        example = textwrap.dedent((module.__doc__ or "").split("\n\n")[1]).strip()
        command = commands.add_parser(
            name,
            help=summary,
            description=textwrap.fill(inspect.getdoc(module.run) or "", 80),
            epilog=f"example:\n{textwrap.indent(example, '  ')}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.add_argument(
            "--zoo",
            metavar="ID",
            help="also replace the metrics of this model in zoo.json, as recipes do",
        )
        command.set_defaults(run=module.run)
    args = parser.parse_args(argv)
    require_packages(PACKAGES, "facesym evaluate", "eval")
    if args.zoo:
        zoo.get(args.zoo)  # check the name before the slow parts
    measured = args.run(args)
    if args.zoo and not measured:
        print("this task has no metrics for zoo.json: nothing was written there")
    elif args.zoo:
        zoo.set_metrics(args.zoo, measured)
        print(f"wrote {zoo.ZOO_FILE}")
