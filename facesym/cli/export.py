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
Exports each network with a dynamic batch size. ONNX export writes two files: one
with float32 weights and one, half as large, with float16 weights; for completion also
one that computes in int8, which is faster. The command runs each file on two
portraits, checks the outputs against PyTorch and prints the largest difference.
Without -o, the files go where facesym.load(..., backend="onnx") finds them: those
of a model folder into that folder.""",
        examples=(
            ("facesym export symmetrize -o exported/", "Write one network."),
            ("facesym export runs/mine/model", "Export a model that you trained."),
            ("facesym export", "Export every network for onnxruntime."),
        ),
    )  # fmt: skip
    command.add_argument(
        "ids", nargs="*", metavar="ID", help="models, tasks or model folders (default: all models)"
    )
    command.add_argument("--format", choices=("onnx", "torch"), default="onnx", help="default: onnx")
    command.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="folder to write; each model gets a subfolder"
    )
    command.add_argument("--overwrite", action="store_true", help="replace existing files in that folder")
    command.add_argument(
        "--push-to-hub", action="store_true",
        help="upload the ONNX files to the model's repository and pin them in zoo.json",
    )  # fmt: skip
    command.set_defaults(run=_export)


def _export(args: argparse.Namespace) -> int:
    from facesym import export

    if args.push_to_hub and (args.output or args.format != "onnx"):
        raise UsageError("--push-to-hub only uploads ONNX files: omit -o and --format torch")
    if args.push_to_hub:
        args.ids = [zoo.get(id)["id"] for id in args.ids]  # not folders
    for folder, (name, id) in _folders(args).items():
        with _quiet():
            exported = export.export(name, args.format)
        if args.push_to_hub:
            places = [push(id, exported)] * len(exported)
        else:
            places = [str(path) for path in export.save(exported, folder)]
        for place, each in zip(places, exported):
            error, size = max(each.errors.values()), len(each.data) / 1e6
            print(
                f"{place}  {each.format}  {size:.1f} MB  differs from torch by at most {error:.1g}",
                flush=True,
            )
    return 0


def _folders(args):
    """Return {folder to write: (name, id) of the model}.

    Raises:
        ZooError: a name is unknown, two models would be written to one folder, or a file exists.
    """
    from facesym import export, onnx

    folders: dict[Path, tuple[str, str]] = {}
    for name in args.ids or [entry["id"] for entry in zoo.list_models()]:
        entry = onnx.find_entry(name)
        folder = args.output / entry["id"] if args.output else onnx.place(entry)
        if folder in folders:
            raise ZooError(
                f"{folders[folder][0]} and {name} would both be written to {folder}: export one at a time."
            )
        names = [onnx.FILES[format] for format in export.FORMATS[args.format]]
        found = [folder / name for name in names if (folder / name).exists()]
        if args.output and found and not args.overwrite:
            raise ZooError(f"{found[0]} exists: choose another folder, or replace it with --overwrite.")
        folders[folder] = name, entry["id"]
    return folders


def push(id: str, exported: Any) -> str:
    """Upload exported files to the model's repository and pin the commit and the files in zoo.json.

    Returns:
        Repository and revision.

    Raises:
        ZooError: the model is not published yet, there is no network, or the token has no write access.
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
    """Suppress the output and logs of the exporters."""
    logging.disable(logging.WARNING)
    try:
        with open(os.devnull, "w") as null, redirect_stdout(null), redirect_stderr(null):
            yield
    finally:
        logging.disable(logging.NOTSET)
