"""`facesym prepare`: photos to a folder of aligned faces to train and measure with; masks for completion; aligned faces
to pairs for NFGAN.

facesym prepare faces PHOTOS OUT --size 256 --workers 2
facesym prepare masks OUT --count 600
facesym prepare pairs OUT FACES [FACES …] --mesh ict_face_model.npz --expressions LONDON --count 20000
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


def main(argv: Sequence[str] | None = None) -> None:
    """Run `facesym prepare` with these arguments (a list of strings; default: the process's own).

    Raises:
        FacesymError: a folder or a package is missing, or a folder cannot be gone on with.
    """
    parser = argparse.ArgumentParser(
        "facesym prepare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_faces(commands)
    _add_masks(commands)
    _add_pairs(commands)
    args = parser.parse_args(argv)
    require_packages(("imagehash", "sklearn"), "facesym prepare", "train")
    try:
        args.run(args)
    except KeyboardInterrupt:
        sys.exit("\nstopped; the same command goes on from here")


def _add_faces(commands):
    command = commands.add_parser(
        "faces",
        help="photos to aligned faces",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Cut the largest face out of every photo (FFHQ framing), with landmarks, pose and sharpness.",
        epilog="Adults only: this tool cannot tell anyone's age. Remove photos of minors, and of people who\n"
        "have not agreed, before you run it. A sub-folder is a person, and so is a photo at the top; the\n"
        "splits (80/10/10) go by person, or by image where that would leave one empty.",
    )
    command.add_argument("photos", type=Path, help="folder of photos, searched with all its sub-folders")
    command.add_argument(
        "out", type=Path, help="folder to write; give the same again to go on with a stopped run"
    )
    command.add_argument("--size", type=int, default=256, help="side of the crops, in pixels (default 256)")
    command.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    command.add_argument(
        "--landmarks", choices=["dlib", "facesym"],
        help="whose 68 landmarks (default: dlib where it is installed)",
    )  # fmt: skip
    command.add_argument("--min-score", type=float, default=0.8, help="of the detector, 0-1 (default 0.8)")
    command.add_argument(
        "--min-side", type=float, help="of the face's square in the photo, in pixels (default: --size)"
    )
    command.add_argument(
        "--min-sharp", type=float, default=7.0,
        help="standard deviation of the Laplacian at 128x128 (default 7)",
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
        help="irregular masks, to train completion with",
        description="Draw irregular masks (PNG, white = hidden) of six sizes, up to 60 % of the image, for training "
        "and for measuring. The masks of published figures are NVIDIA's irregular mask set (G. Liu et al., ECCV 2018).",
    )
    command.add_argument("out", type=Path, help="folder to write")
    command.add_argument("--count", type=int, default=600, help="of masks (default 600)")
    command.add_argument("--size", type=int, default=256, help="side in pixels (default 256)")
    command.add_argument("--seed", type=int, default=0, help="of the drawing (default 0)")
    command.set_defaults(run=_masks)


def _masks(args):
    prepare_masks(args.out, args.count, args.size, args.seed)
    print(f"wrote {args.count} masks to {args.out}")


def _add_pairs(commands):
    command = commands.add_parser(
        "pairs",
        help="aligned faces to pairs, to train normalize and transfer with",
        description="Make pairs of a face and the same person frontal and neutral: turned and expressive versions of "
        "frontal, neutral faces (metadata.csv: yaw, neutral); the real pairs of folders that have several views of a "
        "person (view, expression); and turned or expressive photos, brought to the front by the mesh, the expression "
        "taken off by landmarks.",
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
        help="folder with the same people neutral and smiling, from the front",
    )  # fmt: skip
    command.add_argument("--count", type=int, default=20000, help="of simulated pairs (default 20000)")
    command.add_argument("--size", type=int, default=128, help="side of the images (default 128)")
    command.add_argument("--seed", type=int, default=0, help="of the simulation (default 0)")
    command.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    command.set_defaults(run=_pairs)


def _pairs(args):
    counts = prepare_pairs(
        args.out, args.faces, args.mesh, args.expressions, args.count, args.size, args.seed, args.workers
    )
    print("\n".join(f"{count:6d} {kind}" for kind, count in sorted(counts.items())))
    print(f"{args.out / 'preview.png'} shows some")
