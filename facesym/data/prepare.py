"""Prepare data for training and evaluation: photos from a dataset, aligned faces from photos, masks for completion,
and pairs for NFGAN.

examples:
  facesym prepare photos OWNER/NAME PHOTOS --person label
  facesym prepare faces PHOTOS FACES --size 256 --workers 2
  facesym prepare masks MASKS --count 600
  facesym prepare pairs PAIRS FACES --mesh ict_face_model.npz --expressions LONDON --count 20000
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ..packages import require_packages
from .masks import prepare_masks
from .prepare_faces import prepare_faces, summary
from .prepare_pairs import prepare_pairs
from .prepare_photos import prepare_photos


def main(argv: Sequence[str] | None = None) -> None:
    """Run `facesym prepare` with these arguments (a list of strings; default: the process's own).

    Raises:
        FacesymError: a folder or a package is missing, or an output folder belongs to another run.
    """
    parser = argparse.ArgumentParser(
        "facesym prepare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_photos(commands)
    _add_faces(commands)
    _add_masks(commands)
    _add_pairs(commands)
    args = parser.parse_args(argv)
    require_packages(("imagehash", "sklearn"), "facesym prepare", "eval")
    try:
        args.run(args)
    except KeyboardInterrupt:
        sys.exit("\nstopped; the same command continues from here")


def _add_photos(commands):
    command = commands.add_parser(
        "photos",
        help="export the photos of a Hugging Face dataset",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Write each image of a dataset, as it is stored, into a folder of photos for\n"
        "`facesym prepare faces`. Check that its licence and its people allow your use.",
        epilog="example:\n  facesym prepare photos OWNER/NAME PHOTOS --person label",
    )
    command.add_argument(
        "dataset", help="name on the Hub (OWNER/NAME), or a local folder that datasets.load_dataset reads"
    )
    command.add_argument("out", type=Path, help="folder to write, or that of an interrupted run to continue")
    command.add_argument("--split", default="train", help="split to export (default train)")
    command.add_argument("--image", metavar="COLUMN", help="column with the images (default: the only one)")
    command.add_argument("--person", metavar="COLUMN", help="column that says whose face it is")
    command.set_defaults(run=_photos)


def _photos(args):
    require_packages(("datasets",), "facesym prepare photos", "train")
    count = prepare_photos(args.dataset, args.out, split=args.split, image=args.image, person=args.person)
    print(f"exported {count} photos to {args.out}")


def _add_faces(commands):
    command = commands.add_parser(
        "faces",
        help="cut aligned faces out of photos",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Cut the largest face out of every photo (FFHQ framing), with landmarks, pose, expression\n"
        "(neutral, happy, surprised) and sharpness.",
        epilog="Use photos of adults only: the command cannot tell anyone's age. Remove photos of minors\n"
        "and of people who have not agreed first.\n\n"
        "The splits (80/10/10) go by person if each sub-folder is one person: there are at least 20, none\n"
        "has more than 10 % of the photos, and no photo is outside. Otherwise they go by image, and the\n"
        "column subject of metadata.csv is empty.\n\n"
        "example:\n  facesym prepare faces PHOTOS FACES --size 256 --workers 2",
    )
    command.add_argument("photos", type=Path, help="folder of photos, including its sub-folders")
    command.add_argument("out", type=Path, help="folder to write, or that of an interrupted run to continue")
    command.add_argument("--size", type=int, default=256, help="side of the crops, in pixels (default 256)")
    command.add_argument("--workers", type=int, default=2, help="number of processes (default 2)")
    command.add_argument(
        "--landmarks", choices=["dlib", "facesym"],
        help="model of the 68 landmarks (default: dlib if it is installed)",
    )  # fmt: skip
    command.add_argument(
        "--min-score", type=float, default=0.8, help="smallest score of the detector, 0 to 1 (default 0.8)"
    )
    command.add_argument(
        "--min-side",
        type=float,
        help="smallest side of the face's square in the photo, in pixels (default: --size)",
    )
    command.add_argument(
        "--min-sharp", type=float, default=7.0,
        help="smallest sharpness: standard deviation of the Laplacian at 128x128 (default 7)",
    )  # fmt: skip
    command.set_defaults(run=_faces)


def _faces(args):
    if args.landmarks is None:
        args.landmarks = "dlib" if find_spec("dlib") and find_spec("face_recognition_models") else "facesym"
    settings = {
        "size": args.size,
        "landmarks": args.landmarks,
        "min_score": args.min_score,
        "min_side": args.size if args.min_side is None else args.min_side,
        "min_sharp": args.min_sharp,
    }
    print(summary(prepare_faces(args.photos, args.out, settings, args.workers)))
    print(f"{args.out / 'report.json'} lists every dropped photo")


def _add_masks(commands):
    command = commands.add_parser(
        "masks",
        help="draw irregular masks for completion",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Draw irregular masks (PNG, white = missing) of six sizes, up to 60 % of the image, for\n"
        "training and evaluation. Published figures use NVIDIA's irregular masks (G. Liu et al., ECCV 2018).",
        epilog="example:\n  facesym prepare masks MASKS --count 600",
    )
    command.add_argument("out", type=Path, help="folder to write")
    command.add_argument("--count", type=int, default=600, help="number of masks (default 600)")
    command.add_argument("--size", type=int, default=256, help="side in pixels (default 256)")
    command.add_argument("--seed", type=int, default=0, help="random seed (default 0)")
    command.set_defaults(run=_masks)


def _masks(args):
    prepare_masks(args.out, args.count, args.size, args.seed)
    print(f"wrote {args.count} masks to {args.out}")


def _add_pairs(commands):
    command = commands.add_parser(
        "pairs",
        help="make pairs of faces for normalize and transfer",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Make pairs of a face and the same person frontal and neutral. There are simulated pairs\n"
        "(frontal, neutral faces by yaw and neutral of metadata.csv, turned or given an expression),\n"
        "real pairs from folders with several views of a person (view, expression), and photos of turned\n"
        "or expressive faces, whose target the mesh turns to the front and landmarks make neutral.",
        epilog="example:\n  facesym prepare pairs PAIRS FACES --mesh ict_face_model.npz --expressions LONDON",
    )
    command.add_argument("out", type=Path, help="folder to write")
    command.add_argument("faces", nargs="+", type=Path, help="folders of aligned faces")
    command.add_argument(
        "--mesh",
        type=Path,
        required=True,
        help="ict_face_model.npz (the face area of ICT FaceKit, MIT licence)",
    )
    command.add_argument(
        "--expressions", type=Path, required=True,
        help="folder of frontal faces that show the same people neutral and smiling",
    )  # fmt: skip
    command.add_argument("--count", type=int, default=20000, help="number of simulated pairs (default 20000)")
    command.add_argument("--size", type=int, default=128, help="side of the images in pixels (default 128)")
    command.add_argument("--seed", type=int, default=0, help="random seed (default 0)")
    command.add_argument("--workers", type=int, default=2, help="number of processes (default 2)")
    command.set_defaults(run=_pairs)


def _pairs(args):
    counts = prepare_pairs(
        args.out, args.faces, args.mesh, args.expressions, args.count, args.size, args.seed, args.workers
    )
    print("\n".join(f"{count:6d} {kind}" for kind, count in sorted(counts.items())))
    print(f"{args.out / 'preview.png'} shows examples")
