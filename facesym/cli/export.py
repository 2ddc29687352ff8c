"""`facesym export`: write the zoo's networks as ONNX files or torch.export programs."""

import argparse
import logging
import os
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from facesym import zoo
from facesym.errors import ZooError
from facesym.hub import publish

from .options import UsageError, add_command

SUMMARY = "write networks as ONNX or torch.export files"


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `facesym`; `args.run(args)` returns the exit status."""
    command = add_command(
        subparsers, "export", SUMMARY,
        usage="[ID ...] [--format onnx|torch] [-o FOLDER [--overwrite] | --push-to-hub]",
        description="""\
A network becomes a graph for any number of faces at once. ONNX comes in two sizes:
float32, and half as large with the weights in float16. Each file is run on two
portraits and must give what torch gives; the greatest difference is printed.
Without -o the files go where facesym.load(..., backend="onnx") looks for them.""",
        examples=(
            ("facesym export symmetrize -o exported/", "Write one network."),
            ("facesym export", "Export every network, to work with onnxruntime."),
        ),
    )  # fmt: skip
    command.add_argument("ids", nargs="*", metavar="ID", help="models or tasks (default: every model)")
    command.add_argument("--format", choices=("onnx", "torch"), default="onnx", help="default: onnx")
    command.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="folder, with one for each model"
    )
    command.add_argument("--overwrite", action="store_true", help="replace existing files in that folder")
    command.add_argument(
        "--push-to-hub", action="store_true",
        help="publish the ONNX files beside the model, and pin them in zoo.json",
    )  # fmt: skip
    command.set_defaults(run=_export)


def _export(args: argparse.Namespace) -> int:
    from facesym import export, onnx

    if args.push_to_hub and (args.output or args.format != "onnx"):
        raise UsageError("--push-to-hub publishes ONNX files, and writes none")
    entries = [zoo.get(id) for id in args.ids] if args.ids else zoo.list_models()
    for entry in entries:
        folder = (args.output or onnx.folder()) / entry["id"]
        names = [onnx.FILES[format] for format in export.FORMATS[args.format]]
        found = [folder / name for name in names if (folder / name).exists()]
        if args.output and found and not args.overwrite:
            raise ZooError(f"{found[0]} exists: choose another folder, or replace it with --overwrite.")
        with _quiet():
            exported = export.export(entry["id"], args.format)
        if args.push_to_hub:
            places = [push(entry["id"], exported)] * len(exported)
        else:
            places = [str(path) for path in export.save(exported, folder)]
        for place, each in zip(places, exported):
            error, size = max(each.errors.values()), len(each.data) / 1e6
            print(
                f"{place}  {each.format}  {size:.1f} MB  differs from torch by at most {error:.1g}",
                flush=True,
            )
    return 0


def push(id: str, exported: Any) -> str:
    """Publish exported files beside their model, and pin the commit and the files in zoo.json.

    Returns:
        Where they are.

    Raises:
        ZooError: the model is not published yet; no network; no right to write to the repository.
    """
    from facesym import export, onnx

    entry = zoo.get(id)
    if entry["revision"] is None:
        raise ZooError(f"{id} is not published: run `facesym zoo push {id}` first.")
    files = {onnx.FILES[each.format]: each.data for each in exported}
    revision = publish(entry["repo_id"], files, f"Export {id} to ONNX")
    zoo.set_revision(id, revision, formats=export.describe(exported))
    return f"{entry['repo_id']}@{revision[:7]}"


@contextmanager
def _quiet():
    """Without what the exporters print and log about their own steps."""
    logging.disable(logging.WARNING)
    try:
        with open(os.devnull, "w") as null, redirect_stdout(null), redirect_stderr(null):
            yield
    finally:
        logging.disable(logging.NOTSET)
