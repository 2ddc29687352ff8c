"""The command `facesym`: work on the faces in photos and folders, look after the models, measure."""

import argparse
import csv
import io
import json
import os
import sys
import warnings
from functools import partial
from pathlib import Path

from . import __version__, cli_zoo
from .errors import FacesymError, ImageError, ZooError
from .faces.load import FORMATS, save_image
from .files import write_atomic

ETHICS = "For photos of adults. What a model puts in is made up: label edited faces as edited."
READABLE = {*FORMATS, ".bmp", ".tif", ".tiff", ".gif"}


def main(argv=None):
    """Run the command; exits with 0, 1 (something failed) or 2 (wrong arguments)."""
    parser = argparse.ArgumentParser("facesym", description=f"Face models built on symmetry. {ETHICS}")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_complete(commands)
    _add_symmetrize(commands)
    _add_rotate(commands)
    _add_normalize(commands)
    _add_transfer(commands)
    cli_zoo.add_parser(commands)
    # What follows these commands is their own parsers'.
    evaluate = commands.add_parser("evaluate", help="measure models", add_help=False)
    evaluate.set_defaults(run=_evaluate)
    prepare = commands.add_parser("prepare", help="make folders of faces to train with", add_help=False)
    prepare.set_defaults(run=_prepare)
    args, rest = parser.parse_known_args(argv)
    if rest and args.run not in (_evaluate, _prepare):
        parser.error(f"unknown arguments: {' '.join(rest)}")
    args.rest = rest
    try:
        code = args.run(args)
    except FacesymError as error:
        print(f"facesym: {error}", file=sys.stderr)
        code = 1
    sys.exit(code)


def _add_task(commands, task, what):
    """A command of a task with the arguments that all tasks share."""
    command = commands.add_parser(task, help=what, description=f"{what[0].upper()}{what[1:]}. {ETHICS}")
    command.add_argument("image", type=Path, metavar="IMAGE_OR_FOLDER")
    command.add_argument(
        "-o", "--output", type=Path, metavar="OUT", help=f"default: beside the photo, …-{task}.png"
    )
    command.add_argument(
        "--faces", default="largest", help="largest, all, or a number from left to right (0 first)"
    )
    command.add_argument("--model", default=task, help="a zoo id, a model folder or a Hub repository")
    command.add_argument("--device", default="cpu", help="e.g. cuda")
    command.add_argument("--json", action="store_true", help="print a line of JSON for each photo")
    command.set_defaults(task=task)
    return command


def _add_complete(commands):
    command = _add_task(commands, "complete", "fill in the hidden part of a face")
    command.add_argument(
        "--mask", type=Path, required=True, metavar="MASK_OR_FOLDER",
        help="white = fill in, of the photo's size; for a folder, a folder of masks of the same names",
    )  # fmt: skip
    command.set_defaults(run=_complete)


def _add_symmetrize(commands):
    command = _add_task(commands, "symmetrize", "make a face symmetric, and measure how asymmetric it was")
    command.add_argument(
        "--method", choices=["model", "left", "right", "average"], default="model",
        help="left, right, average: mirror about the landmarks' middle line instead (default: model)",
    )  # fmt: skip
    command.add_argument(
        "--extras", action="store_true",
        help="also write, beside each result, the heat map and the six pictures of each face",
    )  # fmt: skip
    command.set_defaults(run=_symmetrize)


def _add_rotate(commands):
    command = _add_task(commands, "rotate", "turn the head in a photo")
    command.add_argument(
        "--yaw", type=float, nargs="+", default=[-20, 20], metavar="DEGREES",
        help="one number: a picture (default: …-rotate.png); two: a film from one to the other and back "
        "(…-rotate.mp4, or .gif by -o); 0 = towards the camera, negative = to the picture's left; after the photo "
        "(default: -20 20)",
    )  # fmt: skip
    command.add_argument("--frames", type=int, default=25, help="of the film, one way (default 25)")
    command.add_argument("--steps", type=int, default=200, help="of the tuning (default 200)")
    command.add_argument("--seconds", type=float, help="time budget of a fit (default: as long as it takes)")
    command.add_argument("--paste", action="store_true", help="one number: lay the face over the photo")
    command.set_defaults(run=_rotate)


def _add_normalize(commands):
    command = _add_task(commands, "normalize", "make a face frontal and neutral")
    command.add_argument(
        "--paste", action="store_true", help="lay the face over the photo (for heads that are not turned)"
    )
    command.add_argument(
        "--walk", type=int, default=0, metavar="N",
        help="also write N frames on the way there as a film, …-walk.mp4, beside each result",
    )  # fmt: skip
    command.set_defaults(run=_normalize)


def _add_transfer(commands):
    command = _add_task(commands, "transfer", "change a face's expression, pose or light")
    command.add_argument(
        "--to", nargs="+", default=[], metavar="ATTRIBUTE", help='of any group, e.g. happy "left 20" dark'
    )
    for group in ("expression", "pose", "light"):
        command.add_argument(f"--{group}", metavar="ATTRIBUTE", help=f"the same, of the group {group}")
    command.add_argument("--strength", type=float, default=1.0, help="0 to 1.5 (default 1)")
    command.add_argument("--paste", action="store_true", help="lay the face over the photo")
    command.add_argument(
        "--grid",
        action="store_true",
        help="also write every attribute's picture, in …-grid/ beside each result",
    )
    command.set_defaults(run=_transfer)


def _complete(args):
    if args.image.is_dir():
        if not args.mask.is_dir():
            raise ImageError(f"{args.image} is a folder: --mask must be a folder of masks of the same names.")
        masks = {path.stem: path for path in sorted(args.mask.iterdir()) if path.suffix.lower() in READABLE}
    else:
        masks = {args.image.stem: args.mask}

    def run(pipe, photo, output, faces):
        if photo.stem not in masks:
            raise ImageError(f"there is no mask of the name {photo.stem}")
        result = pipe(photo, masks[photo.stem], faces=faces)
        return result, {"mask_fraction": round(result.mask_fraction, 5)}, {}

    return _work(args, run)


def _symmetrize(args):
    def run(pipe, photo, output, faces):
        result = pipe(photo, faces=faces, method=args.method, composites=args.extras)
        extras = {}
        if args.extras:
            from .asymmetry import draw_heatmap

            # In a folder of their own: no extra can take another photo's name.
            folder = output.with_name(f"{output.stem}-extras")
            for i, (crop, heat, pictures) in enumerate(zip(result.crop, result.heatmap, result.composites)):
                number = f"{i}-" if faces == "all" else ""
                for name, picture in {"heatmap": draw_heatmap(crop, heat), **pictures}.items():
                    extras[folder / f"{number}{name}.png"] = picture
        rounded = [{key: round(value, 4) for key, value in numbers.items()} for numbers in result.asymmetry]
        return result, {"asymmetry": rounded}, extras

    return _work(args, run, table="asymmetry")


def _rotate(args):
    from .video import FORMATS as FILMS

    if len(args.yaw) > 2:
        raise ImageError(f"--yaw takes one number or two, not {len(args.yaw)}.")
    film = len(args.yaw) == 2
    if film and args.paste:
        raise ImageError("--paste is for one --yaw: a film shows the face alone.")
    if film and args.frames < 2:
        raise ImageError("A film needs at least two --frames.")

    def run(pipe, photo, output, faces):
        yaw = args.yaw if film else args.yaw[0]
        result = pipe(
            photo,
            yaw=yaw,
            frames=args.frames,
            steps=args.steps,
            seconds=args.seconds,
            faces=faces,
            paste=args.paste,
        )
        extras = {}
        if not args.paste:
            # The first face takes the output's name; the others lie in a folder: none can take another photo's name.
            folder = output.with_name(f"{output.stem}-faces")
            for i, series in enumerate(result.frames):
                frames = series if film else series[-1]
                extras[folder / f"{i}{output.suffix}" if i else output] = frames
        return result, {"fit": result.fit}, extras

    return _work(args, run, suffix=".mp4" if film else ".png", formats=FILMS if film else tuple(FORMATS))


def _normalize(args):
    if args.walk and args.walk < 2:
        raise ImageError("--walk takes at least two frames.")

    def run(pipe, photo, output, faces):
        result = pipe(photo, faces=faces, paste=args.paste, walk=args.walk)
        # The first face takes the output's name; what is more lies in a folder: none can take another photo's name.
        folder, extras = output.with_name(f"{output.stem}-faces"), {}
        if not args.paste:
            extras = {folder / f"{i}{output.suffix}": face for i, face in enumerate(result.images) if i}
        for i, frames in enumerate(result.walk):
            if frames:
                name = folder / f"{i}-walk.mp4" if i else output.with_name(f"{output.stem}-walk.mp4")
                extras[name] = frames
        return result, {"yaw": result.yaw}, extras

    return _work(args, run)


def _transfer(args):
    def run(pipe, photo, output, faces):
        named = {group: getattr(args, group) for group in ("expression", "pose", "light")}
        for group, name in named.items():
            if name and name not in pipe.net.groups.get(group, ()):
                raise ImageError(f"--{group} {name}: {args.model} has no such {group}.")
        to = [*args.to, *filter(None, named.values())]
        result = pipe(photo, to=to, strength=args.strength, faces=faces, paste=args.paste, grid=args.grid)
        folder, extras = output.with_name(f"{output.stem}-faces"), {}
        if not args.paste:
            extras = {folder / f"{i}{output.suffix}": face for i, face in enumerate(result.images) if i}
        for i, grid in enumerate(result.grid):
            place = folder / f"{i}-grid" if i else output.with_name(f"{output.stem}-grid")
            extras |= {place / f"{name}{output.suffix}": face for name, face in grid.items()}
        return result, {"to": to}, extras

    return _work(args, run)


def _work(args, run, table=None, suffix=".png", formats=tuple(FORMATS)):
    """One photo, or a folder of them, through a pipeline.

    Args:
        run: (pipeline, photo, output, faces) -> the result, numbers to tell, further files (path: an image, or a film's
            frames); the output itself, if it is not the result's image, among them.
        table: of the numbers, the list (a dict a face) that a folder's run also keeps in <table>.csv and .json.
        suffix: of outputs that have no name yet.
        formats: that outputs may have.
    """
    from . import load

    faces = int(args.faces) if args.faces.lstrip("-").isdigit() else args.faces
    if faces not in ("largest", "all") and not isinstance(faces, int):
        raise ImageError(f"--faces takes largest, all or a number, not {faces}.")
    rank, world = _process()
    device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if world > 1 and args.device == "cuda" else args.device

    def one(photo, output, keep=None):
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always", UserWarning)
            result, numbers, extras = run(pipe, photo, output, faces)
        if keep:
            keep(numbers)
        # The result comes last: once it is there, all else is.
        main = extras.pop(output, result.images[0])
        for path, made in {**extras, output: main}.items():
            _write(made, path, args.task)
        return {
            "faces": [{"box": face.box, "score": round(face.score, 3)} for face in result.faces],
            "identity": result.identity,
            **numbers,
            "seconds": round(result.seconds, 3),
            "notes": [str(note.message) for note in notes if issubclass(note.category, UserWarning)],
        }

    if args.image.is_dir():
        photos = sorted(p for p in args.image.iterdir() if p.suffix.lower() in READABLE)
        if not photos:
            raise ImageError(f"{args.image} has no pictures ({', '.join(sorted(READABLE))}).")
    else:
        output = args.output or args.image.with_name(f"{args.image.stem}-{args.task}{suffix}")
        if output.suffix.lower() not in formats:
            raise ImageError(f"Cannot write {output.name}: use one of {', '.join(formats)}.")
    pipe = load(args.model, device=device)
    if pipe.task != args.task:
        raise ZooError(f"{args.model} is a model of `facesym {pipe.task}`, not of {args.task}.")
    if args.image.is_dir():
        out = args.output or args.image.with_name(f"{args.image.name}-{args.task}")
        return _folder(photos, out, one, args.json, rank, world, table, suffix)
    numbers = one(args.image, output)
    for note in numbers["notes"]:
        print(f"facesym: {note}", file=sys.stderr)
    if args.json:
        print(json.dumps({"image": str(args.image), "output": str(output), **numbers}))
        return 0
    print(output)
    for row in numbers.get(table, []):
        print("  ".join(f"{key} {value:.3f}" for key, value in row.items()))
    return 0


def _write(made, path, task):
    """An image or, from a list of frames, a film."""
    if isinstance(made, list):
        from .video import save_video

        save_video(made, path, task)
    else:
        save_image(made, path, task)


def _folder(photos, out, one, as_json, rank, world, table, ending):
    """Work through photos.

    What fails is listed and does not stop the rest; what is there already is not made again.
    """
    from tqdm import tqdm

    # Two photos may differ in their ending alone; their results must not.
    stems = [photo.stem for photo in photos]
    outputs = {p: out / f"{p.stem if stems.count(p.stem) == 1 else p.name}{ending}" for p in photos}
    mine = list(photos)[rank::world]
    suffix = "" if world == 1 else f"-{rank}"
    errors, done = {}, 0
    for photo in tqdm(mine, unit="photo", disable=None if rank == 0 else True):
        if outputs[photo].exists():
            continue
        keep = partial(_keep_rows, out / f"{table}{suffix}", photo.name, table) if table else None
        try:
            numbers = one(photo, outputs[photo], keep)
        except FacesymError as error:
            errors[photo.name] = str(error)
            line = {"image": str(photo), "error": str(error)}
        else:
            done += 1
            line = {"image": str(photo), "output": str(outputs[photo]), **numbers}
        if as_json:
            print(json.dumps(line), flush=True)
    name = f"errors{suffix}.json"
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


def _keep_rows(file, photo, table, numbers):
    """Put a photo's rows (a dict a face) into <file>.json and <file>.csv, in the place of its earlier ones."""
    whole = file.with_suffix(".json")
    rows = json.loads(whole.read_text()) if whole.exists() else []
    rows = [row for row in rows if row["photo"] != photo]
    rows += [{"photo": photo, "face": i, **row} for i, row in enumerate(numbers[table])]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(whole, (json.dumps(rows, indent=1) + "\n").encode())
    write_atomic(file.with_suffix(".csv"), text.getvalue().encode())


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
    from .evaluation import main

    main(args.rest)
    return 0


def _prepare(args):
    from .data.prepare import main

    main(args.rest)
    return 0
