"""Run a pipeline on a single photo."""

import argparse
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from ..errors import FacesymError, ImageError, command_message
from ..faces.load import Photo, save_image
from .model import TaskModel
from .task import Media, Task, Unedited


def run_photo(task: Task, args: argparse.Namespace) -> int:
    """Process a single photo and return the exit status.

    Raises:
        FacesymError: the input, the output or the model is invalid; with --json, the error is printed first, as for the
            photos of a folder. Everything that can be checked without the model is checked before it is loaded.
    """
    try:
        return _run_photo(task, args)
    except FacesymError as error:
        if args.json:
            print(json.dumps({"image": str(args.image), "error": command_message(error)}))
        raise


def _run_photo(task, args):
    photo = args.image
    output = args.output or photo.with_name(f"{photo.stem}-{task.name}{task.suffix}")
    if output.is_dir():
        example = output / f"{photo.stem}{task.suffix}"
        raise ImageError(f"{output} is a folder: name a file for the result, such as {example}.")
    if output.suffix.lower() not in task.suffixes:
        raise ImageError(
            f"Cannot write {output}: its name must end in {', '.join(task.suffixes)}.{task.suffix_advice}"
        )
    if not args.overwrite:
        refuse_existing([output, *task.extras(output)], photo)
    inputs = task.inputs(photo)
    image = task.check_photo(photo, inputs)
    model = TaskModel(args.model, task.name, args.device)
    task.check_model(model.config)
    numbers, _ = edit_photo(task, model.pipeline, image, inputs, output)
    for note in numbers["notes"]:
        print(f"facesym: {note}", file=sys.stderr)
    if args.json:
        print(json.dumps({"image": str(photo), "output": str(output), **numbers}))
        return 0
    for path in [output, *task.extras(output)]:
        if path.exists():
            print(path)
    for line in task.findings(numbers):
        print(line)
    return 0


def refuse_existing(paths: list[Path], photo: Path) -> None:
    """Raise an error instead of overwriting files.

    Args:
        paths: files and folders to be written.
        photo: the photo they are made from.

    Raises:
        ImageError: one of them exists.
    """
    for path in paths:
        if os.path.lexists(path):
            what = "is the photo itself" if path.exists() and path.samefile(photo) else "exists"
            raise ImageError(f"{path} {what}: choose another name with -o, or replace it with --overwrite.")


def edit_photo(
    task: Task, pipe: Any, photo: Path | Photo, inputs: list[Path], output: Path
) -> tuple[dict[str, Any], list[Path]]:
    """Run the pipeline on a photo and write its files, with the main result last.

    Args:
        task: the task to run.
        pipe: the pipeline of the task.
        photo: path of the photo, or the photo if it was read already.
        inputs: paths of the other input files.
        output: path of the result.

    Returns:
        The numbers of the result, for JSON, and the paths of the written files.

    Raises:
        FacesymError: the pipeline fails, or a file cannot be written.
    """
    from ..pipelines.notes import with_likeness

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # they are in the notes of the result
        result = task.call(pipe, photo, inputs)
    files = task.files(result, output)
    for path in sorted(files, key=lambda path: path == output):
        write_media(files[path], path, task.name)
    notes = with_likeness(result.notes, result.identity) if task.same_person else result.notes
    numbers = {
        "faces": [
            {"box": [round(x, 1) for x in face.box], "score": round(face.score, 3)} for face in result.faces
        ],
        "identity": result.identity,
        **task.numbers(result),
        "seconds": round(result.seconds, 3),
        "notes": list(map(command_message, notes)),
    }
    return numbers, list(files)


def write_media(media: Media, path: Path, task: str) -> None:
    """Write an image, or a list of frames as a video, tagged as edited by a task unless it is Unedited."""
    if isinstance(media, list):
        from ..video import save_video

        save_video(media, path, task)
    elif isinstance(media, Unedited):
        save_image(media.image, path, None)
    else:
        save_image(media, path, task)
