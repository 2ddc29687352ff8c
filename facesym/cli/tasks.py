"""`facesym symmetrize|rotate|normalize|transfer`: arguments and output files of each."""

import argparse
from pathlib import Path
from typing import Any

from ..attributes import choose
from ..errors import ImageError, did_you_mean
from ..faces.load import Photo
from .complete import Complete
from .folder import run_folder
from .options import UsageError, add_command, add_photo_arguments, number, take_back_image
from .photo import run_photo
from .task import PASTE_HELP, Media, Task, Unedited, faces_folder, name_faces


def add_parsers(commands: Any) -> None:
    """Add a parser for every task; `args.run(args)` returns the exit status."""
    for task in TASKS:
        parser = add_command(
            commands, task.name, task.summary,
            usage=task.usage, description=task.description, examples=task.examples,
        )  # fmt: skip
        task.add_arguments(parser)
        add_photo_arguments(parser, task.name)
        parser.set_defaults(run=_run, task=task)


def _run(args):
    take_back_image(args, args.task.greedy)
    task = args.task(args)
    return run_folder(task, args) if args.image.is_dir() else run_photo(task, args)


class Symmetrize(Task):
    """`facesym symmetrize`."""

    name = "symmetrize"
    summary = "make a face symmetric and measure its asymmetry"
    description = """\
Writes the photo with a symmetric face and prints the asymmetry of the original: an
index per region and overall in percent of the distance between the outer eye
corners, the difference in appearance, and the head's roll and yaw in degrees. For a
folder, asymmetry.csv and asymmetry.json hold these numbers with one row per face,
as fractions of that distance."""
    examples = (
        ("facesym symmetrize photo.jpg -o symmetric.png", "Make one face symmetric."),
        (
            "facesym symmetrize photo.jpg --extras",
            "Also write the heat map and the mirrored halves.",
        ),
        (
            "facesym symmetrize photos/ -o symmetric/ --faces all",
            "Edit every face in every photo and write a table of their asymmetry.",
        ),
    )
    settings = ("method", "extras")
    table = "asymmetry"

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--method", choices=["model", "left", "right", "average"], default="model",
            help="use the model, mirror the left or right half at the midline of the landmarks, or average the face "
            "and its mirror image (default: model)",
        )  # fmt: skip
        parser.add_argument(
            "--extras", action="store_true",
            help="also write the heat map and six images of each face to a folder next to each result",
        )  # fmt: skip

    def call(self, pipe: Any, photo: Path | Photo, inputs: list[Path]) -> Any:
        return pipe(photo, faces=self.args.faces, method=self.args.method, composites=self.args.extras)

    def numbers(self, result: Any) -> dict[str, Any]:
        return {
            "asymmetry": [{key: round(value, 4) for key, value in face.items()} for face in result.asymmetry]
        }

    def findings(self, numbers: dict[str, Any]) -> list[str]:
        def text(key, value):
            if key == "appearance":
                return f"{key} {value:.2f}"
            return f"{key} {value:.1f}°" if key in ("roll", "yaw") else f"{key} {100 * value:.1f} %"

        rows = [", ".join(text(*item) for item in row.items()) for row in numbers["asymmetry"]]
        return [
            *name_faces(rows),
            "% of the distance between the outer eye corners; appearance: difference of shading and texture between "
            "the halves, in units of the face's contrast (0.4 is common)",
        ]

    def files(self, result: Any, output: Path) -> dict[Path, Media]:
        files = super().files(result, output)
        if self.args.extras:
            from ..asymmetry import draw_heatmap

            folder = _extras_folder(output)
            for i, (crop, heat, faces) in enumerate(zip(result.crop, result.heatmap, result.composites)):
                prefix = f"{i}-" if self.args.faces == "all" else ""
                for name, image in {"heatmap": draw_heatmap(crop, heat), **faces}.items():
                    plain = name in ("heatmap", "original")
                    files[folder / f"{prefix}{name}.png"] = Unedited(image) if plain else image
        return files

    def extras(self, output: Path) -> list[Path]:
        return super().extras(output) + [_extras_folder(output)] * self.args.extras


def _extras_folder(output):
    return output.with_name(f"{output.stem}-extras")


class Rotate(Task):
    """`facesym rotate`."""

    name = "rotate"
    summary = "turn the head in a photo"
    usage = "IMAGE_OR_FOLDER [--yaw DEGREES [DEGREES]] [-o OUT] [options]"
    description = """\
Fits a symmetric GAN to the face, which takes about half a minute on a CPU, and
turns the head. One yaw gives an image, two give a video. Yaw is in degrees: 0 faces
the camera, and negative values turn to the left of the image. The head turns only
as far as the identity model still recognises the person; the command reports when
this limits the range."""
    examples = (
        (
            "facesym rotate photo.jpg --yaw -20 20 -o turning.mp4",
            "Make a video from 20° left to 20° right and back.",
        ),
        (
            "facesym rotate photo.jpg --yaw 0 -o frontal.png",
            "Turn the head to the camera and write an image.",
        ),
        ("facesym rotate photo.jpg --seconds 10", "Limit the fit to ten seconds."),
    )
    greedy = "yaw"
    settings = ("yaw", "frames", "steps", "seconds", "paste")

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        try:
            args.yaw = [number(-90, 90)(text) for text in args.yaw or ("-20", "20")]
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"argument --yaw: {error}") from None
        if len(args.yaw) > 2:
            raise UsageError(f"argument --yaw: takes one or two numbers, not {len(args.yaw)}")
        self.video = len(args.yaw) == 2
        if self.video and args.paste:
            raise UsageError("argument --paste: needs a single --yaw, since videos show only the face")
        if self.video and args.frames < 2:
            raise UsageError("argument --frames: a video needs at least two")
        self.suffix = ".mp4" if self.video else ".png"

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--yaw", nargs="+", metavar="DEGREES",
            help="one yaw for an image, or the first and last yaw of a looping .mp4 or .gif video (default: -20 20)",
        )  # fmt: skip
        parser.add_argument(
            "--frames",
            type=number(1, 1000, int),  # the limit of the pipeline, which is not imported: it needs torch
            default=25,
            metavar="N",
            help="number of frames in each direction (default: 25)",
        )
        parser.add_argument(
            "--steps",
            type=number(1, kind=int),
            default=200,
            metavar="N",
            help="number of fine-tuning steps of the generator (default: 200)",
        )
        parser.add_argument(
            "--seconds", type=number(0.1), metavar="S", help="time limit of the fit (default: none)"
        )
        parser.add_argument("--paste", action="store_true", help=PASTE_HELP)

    @property
    def suffixes(self) -> tuple[str, ...]:
        from ..video import FORMATS as VIDEOS

        return VIDEOS if self.video else super().suffixes

    @property
    def suffix_advice(self) -> str:
        if self.video:
            return " For an image, give a single angle, such as --yaw 20."
        return " For a video, give two angles, such as --yaw -20 20."

    def call(self, pipe: Any, photo: Path | Photo, inputs: list[Path]) -> Any:
        args = self.args
        return pipe(
            photo, yaw=args.yaw if self.video else args.yaw[0], frames=args.frames, steps=args.steps,
            seconds=args.seconds, faces=args.faces, paste=args.paste,
        )  # fmt: skip

    def numbers(self, result: Any) -> dict[str, Any]:
        return {"fit": result.fit}

    def files(self, result: Any, output: Path) -> dict[Path, Media]:
        if not self.video:
            return super().files(result, output)
        folder = faces_folder(output)
        return {
            folder / f"{i}{output.suffix}" if i else output: frames for i, frames in enumerate(result.frames)
        }


class Normalize(Task):
    """`facesym normalize`."""

    name = "normalize"
    summary = "make a face frontal and neutral"
    description = """\
Turns a face to the camera, removes its expression, and writes it as a separate
aligned image."""
    examples = (
        ("facesym normalize photo.jpg -o frontal.png", "Make one face frontal and neutral."),
        ("facesym normalize photo.jpg --walk 24", "Also write the video photo-normalize-walk.mp4."),
    )
    settings = ("paste", "walk")

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--paste", action="store_true", help=f"{PASTE_HELP} (only for frontal heads)")
        parser.add_argument(
            "--walk", type=number(2, 100, int), default=0, metavar="N",
            help="also write a video of N frames from the photo to the result, …-walk.mp4, next to each result",
        )  # fmt: skip

    def call(self, pipe: Any, photo: Path | Photo, inputs: list[Path]) -> Any:
        return pipe(photo, faces=self.args.faces, paste=self.args.paste, walk=self.args.walk)

    def numbers(self, result: Any) -> dict[str, Any]:
        return {"yaw": result.yaw}

    def files(self, result: Any, output: Path) -> dict[Path, Media]:
        files, folder = super().files(result, output), faces_folder(output)
        if self.args.walk:
            first = output.with_name(f"{output.stem}-walk.mp4")
            files |= {folder / f"{i}-walk.mp4" if i else first: walk for i, walk in enumerate(result.walk)}
        return files

    def extras(self, output: Path) -> list[Path]:
        walk = [output.with_name(f"{output.stem}-walk.mp4")] if self.args.walk else []
        return super().extras(output) + walk


class Transfer(Task):
    """`facesym transfer`."""

    name = "transfer"
    summary = "change the expression, pose or lighting of a face"
    usage = "IMAGE_OR_FOLDER --to ATTRIBUTE [ATTRIBUTE ...] [-o OUT] [options]"
    description = """\
Changes the expression (neutral, happy, surprised), pose ("left 45", "left 20",
frontal, "right 20", "right 45") or light (normal, weak, dark, side) of a face. Give
at most one attribute per group; the other groups do not change."""
    examples = (
        ("facesym transfer photo.jpg --to happy -o happy.png", "Add a smile."),
        ('facesym transfer photo.jpg --to surprised "left 20" dark', "Change one attribute of each group."),
        (
            "facesym transfer photo.jpg --grid",
            "Write one image per attribute to the folder photo-transfer-grid/.",
        ),
    )
    greedy = "to"
    settings = ("to", "strength", "paste", "grid")

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.named = {group: getattr(args, group) for group in ("expression", "pose", "light")}
        args.to = [*args.to, *filter(None, self.named.values())]
        if not args.to and not args.grid:
            raise UsageError("name a target with --to ATTRIBUTE, or use --grid for every attribute")

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--to", nargs="+", action="extend", default=[], metavar="ATTRIBUTE",
            help="target attributes, at most one per group",
        )  # fmt: skip
        for group in ("expression", "pose", "light"):
            parser.add_argument(
                f"--{group}", metavar="ATTRIBUTE", help=f"target attribute of the group {group}"
            )
        parser.add_argument(
            "--strength", type=number(0, 1.5), default=1.0,
            help="strength of the change, from 0 (none) to 1.5; 1 matches the training data (default: 1)",
        )  # fmt: skip
        parser.add_argument("--paste", action="store_true", help=PASTE_HELP)
        parser.add_argument(
            "--grid", action="store_true",
            help="also write one image per attribute to a folder …-grid/ next to each result",
        )  # fmt: skip

    def check_model(self, config: dict[str, Any]) -> None:
        groups = dict(config.get("groups", ()))
        for group, name in self.named.items():
            if name and name not in groups.get(group, ()):
                hint = did_you_mean(name, groups.get(group, ()))
                raise ImageError(f"--{group} {name}: {self.args.model} has no such {group}.{hint}")
        if "pose" in choose(groups, self.args.to) and self.args.paste:
            raise UsageError("argument --paste: a turned head does not fit into the photo")

    def call(self, pipe: Any, photo: Path | Photo, inputs: list[Path]) -> Any:
        args = self.args
        return pipe(
            photo, to=args.to, strength=args.strength, faces=args.faces, paste=args.paste, grid=args.grid
        )

    def numbers(self, result: Any) -> dict[str, Any]:
        return {"to": self.args.to}

    def files(self, result: Any, output: Path) -> dict[Path, Media]:
        files, folder = super().files(result, output), faces_folder(output)
        for i, grid in enumerate(result.grid):
            place = folder / f"{i}-grid" if i else output.with_name(f"{output.stem}-grid")
            files |= {place / f"{name}{output.suffix}": image for name, image in grid.items()}
        return files

    def extras(self, output: Path) -> list[Path]:
        grid = [output.with_name(f"{output.stem}-grid")] if self.args.grid else []
        return super().extras(output) + grid


TASKS = (Complete, Symmetrize, Rotate, Normalize, Transfer)
