"""`facesym complete`: its arguments and output."""

import argparse
from pathlib import Path
from typing import Any

from ..attributes import OCCLUSIONS
from ..errors import ImageError
from ..faces.load import Photo, load_mask
from ..faces.occlusion import automatic_kinds
from .options import UsageError
from .task import Task, name_faces
from .walk import Masks


class Complete(Task):
    """`facesym complete`."""

    name = "complete"
    summary = "complete the missing part of a face"
    usage = "IMAGE_OR_FOLDER --mask MASK_OR_FOLDER [-o OUT] [options]"
    description = """\
The mask is an image of the photo's size: white where something covers the face
(sunglasses, a hand, a scratch), black elsewhere. --mask auto finds it. The model
copies missing pixels from the other half of the face where they are visible,
adjusts their illumination, and generates the rest. Pixels outside the mask do
not change."""
    examples = (
        ("facesym complete photo.jpg --mask mask.png -o done.png", "Complete one photo."),
        (
            "facesym complete photo.jpg --mask auto:glasses -o done.png",
            "Find and remove glasses; auto finds anything that covers the face.",
        ),
        (
            "facesym complete photos/ --mask masks/ -o done/",
            "Complete every photo in a folder: photos/a.jpg with masks/a.png, and so on.\n"
            "      Run the same command again to continue an interrupted run.",
        ),
        (
            "accelerate launch -m facesym complete photos/ --mask masks/ --device cuda",
            "Split the folder across the GPUs of one or more machines.",
        ),
    )

    same_person = False  # as far as the photo shows: something covers the face

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        photos, masks = args.image, args.mask
        self.masks: Masks | None = None
        if masks is None:
            raise UsageError("name a mask with --mask MASK, or let --mask auto find what covers the face")
        if isinstance(masks, str) or not photos.is_dir():
            return
        if not masks.is_dir():
            raise ImageError(f"{photos} is a folder: --mask must be a folder of masks with the same names.")
        if masks.samefile(photos):
            raise ImageError(f"{photos} holds both photos and masks: move the masks to a separate folder.")
        self.masks = Masks(masks, args.recursive)

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--mask", type=_mask, metavar="MASK_OR_FOLDER",
            help="mask image, white = missing; for a folder of photos, a folder of masks with the same names; auto: "
            f"find what covers the face; auto:KIND,...: only some of {', '.join(OCCLUSIONS)}",
        )  # fmt: skip

    def options(self) -> dict[str, Any]:
        automatic = {"mask": self.args.mask} if isinstance(self.args.mask, str) else {}
        return super().options() | automatic

    def inputs(self, photo: Path) -> list[Path]:
        if isinstance(self.args.mask, str):
            return []
        return [self.args.mask if self.masks is None else self.masks.of(photo.relative_to(self.args.image))]

    def check_photo(self, photo: Path, inputs: list[Path]) -> Photo:
        read = super().check_photo(photo, inputs)
        if inputs:
            load_mask(inputs[0], read.image.size, read.full_size)
        return read

    def call(self, pipe: Any, photo: Path | Photo, inputs: list[Path]) -> Any:
        return pipe(photo, *(inputs or [self.args.mask]), faces=self.args.faces)

    def numbers(self, result: Any) -> dict[str, Any]:
        return {"mask_fraction": round(result.mask_fraction, 5), "covered": result.covered}

    def findings(self, numbers: dict[str, Any]) -> list[str]:
        if not isinstance(self.args.mask, str):
            return []
        kinds = [
            ", ".join(f"{kind} on {fraction:.0%} of the face" for kind, fraction in face.items())
            for face in numbers["covered"]
        ]
        return name_faces([f"found {each or 'nothing'}" for each in kinds])


def _mask(text):
    """Parse --mask: a path, or the name of an automatic mask."""
    try:
        return text if automatic_kinds(text) else Path(text)
    except ImageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
