"""The command `facesym`: complete faces in photos and folders, look after the models, measure."""

import argparse
import json
import os
import sys
import warnings
from pathlib import Path

from . import __version__, cli_zoo
from .errors import FacesymError, ImageError
from .faces.load import FORMATS, save_image

ETHICS = "For photos of adults. Filled-in parts are made up: label edited faces as edited."
READABLE = {*FORMATS, ".bmp", ".tif", ".tiff", ".gif"}


def main(argv=None):
    """Run the command; exits with 0, 1 (something failed) or 2 (wrong arguments)."""
    parser = argparse.ArgumentParser("facesym", description=f"Face models built on symmetry. {ETHICS}")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_complete(commands)
    cli_zoo.add_parser(commands)
    evaluate = commands.add_parser(
        "evaluate", help="measure models (in a checkout: train/evaluate.py)", add_help=False
    )
    evaluate.set_defaults(run=_evaluate)
    # What follows `evaluate` is train/evaluate.py's.
    args, rest = parser.parse_known_args(argv)
    if rest and args.run is not _evaluate:
        parser.error(f"unknown arguments: {' '.join(rest)}")
    args.rest = rest
    try:
        code = args.run(args)
    except FacesymError as error:
        print(f"facesym: {error}", file=sys.stderr)
        code = 1
    sys.exit(code)


def _add_complete(commands):
    command = commands.add_parser(
        "complete",
        help="fill in the hidden part of a face",
        description=f"Fill in the hidden part of a face. {ETHICS}",
    )
    command.add_argument("image", type=Path, metavar="IMAGE_OR_FOLDER")
    command.add_argument(
        "--mask", type=Path, required=True, metavar="MASK_OR_FOLDER",
        help="white = fill in, of the photo's size; for a folder, a folder of masks of the same names",
    )  # fmt: skip
    command.add_argument(
        "-o", "--output", type=Path, metavar="OUT", help="default: beside the photo, …-complete.png"
    )
    command.add_argument(
        "--faces", default="largest", help="largest, all, or a number from left to right (0 first)"
    )
    command.add_argument("--model", default="complete", help="a zoo id, a model folder or a Hub repository")
    command.add_argument("--device", default="cpu", help="e.g. cuda")
    command.add_argument("--json", action="store_true", help="print a line of JSON for each photo")
    command.set_defaults(run=_complete)


def _complete(args):
    from . import load

    faces = int(args.faces) if args.faces.lstrip("-").isdigit() else args.faces
    if faces not in ("largest", "all") and not isinstance(faces, int):
        raise ImageError(f"--faces takes largest, all or a number, not {faces}.")
    rank, world = _process()
    device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if world > 1 and args.device == "cuda" else args.device

    def one(photo, mask, output):
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always", UserWarning)
            result = pipe(photo, mask, faces=faces)
        save_image(result.images[0], output, "complete")
        return {
            "faces": [{"box": face.box, "score": round(face.score, 3)} for face in result.faces],
            "hole_share": round(result.hole_share, 5),
            "seconds": round(result.seconds, 3),
            "notes": [str(note.message) for note in notes if issubclass(note.category, UserWarning)],
        }

    if args.image.is_dir():
        if not args.mask.is_dir():
            raise ImageError(f"{args.image} is a folder: --mask must be a folder of masks of the same names.")
        masks = {path.stem: path for path in sorted(args.mask.iterdir()) if path.suffix.lower() in READABLE}
        photos = sorted(p for p in args.image.iterdir() if p.suffix.lower() in READABLE)
        if not photos:
            raise ImageError(f"{args.image} has no pictures ({', '.join(sorted(READABLE))}).")
        pipe = load(args.model, device=device)
        out = args.output or args.image.with_name(args.image.name + "-complete")
        return _folder({photo: masks.get(photo.stem) for photo in photos}, out, one, args.json, rank, world)
    output = args.output or args.image.with_name(f"{args.image.stem}-complete.png")
    if output.suffix.lower() not in FORMATS:
        raise ImageError(f"Cannot write {output.name}: use one of {', '.join(FORMATS)}.")
    pipe = load(args.model, device=device)
    numbers = one(args.image, args.mask, output)
    for note in numbers["notes"]:
        print(f"facesym: {note}", file=sys.stderr)
    print(json.dumps({"image": str(args.image), "output": str(output), **numbers}) if args.json else output)
    return 0


def _folder(photos, out, one, as_json, rank, world):
    """Work through photos (path: its mask, or None).

    What fails is listed and does not stop the rest; what is there already is not made again.
    """
    from tqdm import tqdm

    # Two photos may differ in their ending alone; their results must not.
    stems = [photo.stem for photo in photos]
    outputs = {p: out / f"{p.stem if stems.count(p.stem) == 1 else p.name}.png" for p in photos}
    mine = list(photos)[rank::world]
    errors, done = {}, 0
    for photo in tqdm(mine, unit="photo", disable=None if rank == 0 else True):
        if outputs[photo].exists():
            continue
        try:
            if photos[photo] is None:
                raise ImageError(f"there is no mask of the name {photo.stem}")
            numbers = one(photo, photos[photo], outputs[photo])
        except FacesymError as error:
            errors[photo.name] = str(error)
            line = {"image": str(photo), "error": str(error)}
        else:
            done += 1
            line = {"image": str(photo), "output": str(outputs[photo]), **numbers}
        if as_json:
            print(json.dumps(line), flush=True)
    name = "errors.json" if world == 1 else f"errors-{rank}.json"
    if errors:
        out.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(json.dumps(errors, indent=2) + "\n")
        for photo, error in errors.items():
            print(f"{photo}: {error}", file=sys.stderr)
    else:
        (out / name).unlink(missing_ok=True)  # an earlier run's, since mended
    skipped = len(mine) - done - len(errors)
    print(f"{done} done, {skipped} were there already, {len(errors)} failed: {out}", file=sys.stderr)
    return int(bool(errors))


def _process():
    """(rank, processes) under `accelerate launch`, torchrun or MPI; (0, 1) otherwise.

    Read from their variables, since photos need no communication: machines may start at different times.
    """
    for rank, size in (
        ("RANK", "WORLD_SIZE"),
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
        ("PMI_RANK", "PMI_SIZE"),
    ):
        if rank in os.environ and size in os.environ:
            return int(os.environ[rank]), int(os.environ[size])
    return 0, 1


def _evaluate(args):
    root = Path(__file__).resolve().parents[1]
    if not (root / "train" / "evaluate.py").is_file():
        raise FacesymError(
            "`facesym evaluate` needs the repository's train/ folder: clone it, and pip install -e ."
        )
    sys.path.insert(0, str(root))
    from train.evaluate import main as evaluate

    evaluate(args.rest)
    return 0
