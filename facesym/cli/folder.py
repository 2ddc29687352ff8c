"""Run a pipeline on a folder of photos and record each result."""

import argparse
import json
import os
import sys
from pathlib import Path

from ..errors import FacesymError, ImageError, NothingFoundError, command_message
from ..files import checksum
from ..logging import progress_bar
from .model import TaskModel
from .photo import edit_photo
from .records import Records
from .task import Task
from .walk import find_photos, name_outputs, output_folder, report_skipped


def run_folder(task: Task, args: argparse.Namespace) -> int:
    """Process a folder of photos and return the exit status.

    A photo that fails is recorded and does not stop the run. A result is not recomputed if it was made from the same
    photo by the same model with the same options.

    Raises:
        FacesymError: the folders or the model cannot be used.
    """
    out = output_folder(args, task.name, task.suffixes)
    rank, world = find_process()
    masks = getattr(args, "mask", None)
    photos, skipped = find_photos(
        args.image, args.recursive, [out, masks] if isinstance(masks, Path) else [out]
    )
    if rank == 0:
        report_skipped(skipped)
    if not photos:
        raise ImageError(f"{args.image} has no photos.")
    records = Records(out, args.image, task.name, task.table)
    if not args.overwrite:
        records.check_reports()
    device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if world > 1 and args.device == "cuda" else args.device
    model = TaskModel(args.model, task.name, device)
    task.check_model(model.config)
    outputs = name_outputs(photos, task.suffix)
    run = FolderRun(task, args, records, model)
    try:
        run.edit_all({photo: out / outputs[photo] for photo in photos[rank::world]}, quiet=rank > 0)
    finally:
        uncovered = f"{run.uncovered} with nothing to complete, " if run.uncovered else ""
        print(
            f"{run.done} done, {run.kept} unchanged, {uncovered}{run.failed} failed: {out}", file=sys.stderr
        )
        if run.uncovered:
            print(
                "To choose areas yourself, pass --mask FOLDER: a folder of masks (white = fill in) that have the names "
                "of the photos.",
                file=sys.stderr,
            )
        records.write_reports({photo.as_posix(): out / output for photo, output in outputs.items()})
    return int(run.failed > 0)


class FolderRun:
    """A run through a folder.

    Args:
        task: what to do with each photo.
        args: parsed arguments.
        records: records of the output folder.
        model: the model to run.

    Attributes:
        done, kept, uncovered, failed: number of photos that were edited, were already up to date, have nothing to
            complete by their automatic mask, or failed.
    """

    def __init__(self, task: Task, args: argparse.Namespace, records: Records, model: TaskModel) -> None:
        self.task, self.args, self.records, self.model = task, args, records, model
        self.done = self.kept = self.uncovered = self.failed = 0

    def edit_all(self, outputs: dict[Path, Path], quiet: bool) -> None:
        """Process photos.

        Args:
            outputs: {path of a photo, relative to the folder: path of its result}.
            quiet: hide the progress bar.
        """
        for photo, output in progress_bar(outputs.items(), unit="photo", disable=quiet):
            plan = self._attempt(self._plan, photo, output)
            if plan is None:
                continue
            inputs, made_by, current = plan
            if current:
                self.kept += 1
                continue
            pipeline = self.model.pipeline  # a loading error is not the photo's fault and ends the run
            numbers = self._attempt(self._edit, photo, output, inputs, made_by, pipeline)
            if numbers is not None:
                self.done += 1
                tabled = self.task.table is not None
                messages = [*numbers["notes"], *([] if tabled else self.task.findings(numbers))]
                self._tell(photo, messages, {"output": str(output), **numbers})

    def _plan(self, photo, output):
        """Return the inputs of a result, what determines it, and whether it is up to date.

        Raises:
            ImageError: an input is missing, or the result would overwrite other files.
        """
        source = self.args.image / photo
        inputs = self.task.inputs(source)
        made_by = {
            "options": self.task.options(),
            "weights": self.model.checksum,
            "sources": [checksum(path) for path in (source, *inputs)],
        }
        if self.records.is_current(output, made_by):
            return inputs, made_by, True
        if not self.args.overwrite:
            self.records.check_files(output, [output, *self.task.extras(output)])
        return inputs, made_by, False

    def _edit(self, photo, output, inputs, made_by, pipeline):
        """Make a result and its record; return its numbers."""
        self.records.begin(output, photo.as_posix())
        numbers, files = edit_photo(self.task, pipeline, self.args.image / photo, inputs, output)
        self.records.finish(output, photo.as_posix(), made_by, files, numbers)
        return numbers

    def _attempt(self, step, photo, output, *more):
        """Run a step and return its result; if it fails, record the error and return None.

        No exception caused by a single photo may end the batch, not even an unexpected one.
        """
        try:
            return step(photo, output, *more)
        except FacesymError as error:
            uncovered = isinstance(error, NothingFoundError)
            reason = NothingFoundError.SHORT if uncovered else command_message(error)
        except Exception as error:
            reason, uncovered = f"unexpected {type(error).__name__}: {error}", False
        self.uncovered += uncovered
        self.failed += not uncovered
        self._tell(photo, [reason], {"error": reason})
        try:
            self.records.fail(output, photo.as_posix(), reason)
        except FacesymError as error:  # most likely the disk is full
            self._tell(photo, [str(error)])
        return None

    def _tell(self, photo, messages, line=None):
        """Print the messages of a photo and the path of its result or, with --json, its JSON line."""
        from tqdm import tqdm

        for message in messages:
            tqdm.write(f"{photo}: {message}", file=sys.stderr)
        if line and self.args.json:
            told = json.dumps({"image": str(self.args.image / photo), **line})
        else:
            told = line and line.get("output")
        if told:
            with tqdm.external_write_mode(sys.stdout):
                print(told, flush=True)  # at once, also to a file or a pipe


def find_process() -> tuple[int, int]:
    """Return (rank, world size) under `accelerate launch`, torchrun or MPI; (0, 1) otherwise.

    They come from environment variables: processes need no communication and may start at different times.
    """
    for rank, size in (
        ("RANK", "WORLD_SIZE"),
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
        ("PMI_RANK", "PMI_SIZE"),
    ):
        if rank in os.environ and size in os.environ:
            return int(os.environ[rank]), int(os.environ[size])
    return 0, 1
