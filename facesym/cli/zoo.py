"""`facesym zoo list|pull|verify|push`: list, download, verify and publish the released models."""

import argparse
import sys
from pathlib import Path
from typing import Any

from facesym import zoo
from facesym.errors import ZooError
from facesym.files import CONFIG_NAME, WEIGHTS_NAME, read_file, write_atomic
from facesym.hub import publish

from .options import UsageError, add_command

SUMMARY = "list, download, verify and publish the released models"


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `facesym`; `args.run(args)` returns the exit status."""
    parser = add_command(
        subparsers, "zoo", SUMMARY, usage="COMMAND ...",
        description="""\
commands:
  list      list the models and their locations
  pull      download models to the local cache
  verify    verify the checksums of local models
  push      publish a model on the Hugging Face Hub""",
        examples=(
            ("facesym zoo list", "Show the models with their sizes and licences."),
            ("facesym zoo pull", "Download every model for offline use."),
        ),
    )  # fmt: skip
    commands = parser.add_subparsers(metavar="COMMAND", required=True, help=argparse.SUPPRESS)

    command = add_command(
        commands, "zoo list", "list the models and their locations", usage="",
        description="Downloads nothing. WHERE is package, cache, Hub or not published.",
        examples=[("facesym zoo list", "Print one line per model.")],
    )  # fmt: skip
    command.set_defaults(run=_list)

    command = add_command(
        commands, "zoo pull", "download models to the local cache", usage="[ID ...]",
        description="Verifies models in the cache and downloads damaged ones again.",
        examples=[("facesym zoo pull symmfc-256", "Download one model.")],
    )  # fmt: skip
    command.add_argument("ids", nargs="*", metavar="ID", help="models to download (default: all)")
    command.set_defaults(run=_pull)

    command = add_command(
        commands, "zoo verify", "verify the checksums of models", usage="[ID ...]",
        description="Recomputes the SHA-256 of the weights. The exit status is 1 if any differs.",
        examples=[("facesym zoo verify", "Verify every local model.")],
    )  # fmt: skip
    command.add_argument("ids", nargs="*", metavar="ID", help="models to verify (default: all local models)")
    command.set_defaults(run=_verify)

    command = add_command(
        commands, "zoo push", "publish a model and its card on the Hub and pin the revision",
        usage="ID [--dry-run -o FOLDER [--overwrite]]",
        description="""\
Needs a token with write access to the model's repository (`hf auth login`). The
command writes the new revision to zoo.json.""",
        examples=[("facesym zoo push symmfc-256 --dry-run -o release/", "Write the files to release/.")],
    )  # fmt: skip
    command.add_argument("id", metavar="ID", help="the model to publish")
    command.add_argument("--dry-run", action="store_true", help="write the files to a folder instead")
    command.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="folder for --dry-run")
    command.add_argument("--overwrite", action="store_true", help="replace existing files in that folder")
    command.set_defaults(run=_push)


def _list(args: argparse.Namespace) -> int:
    rows = [("ID", "TASK", "DEFAULT", "PARAMS", "SIZE", "WHERE", "LICENSE")]
    for entry in zoo.list_models():
        folder = zoo.local_path(entry)
        if folder is None:
            where = "Hub" if entry["revision"] else "not published"
        else:
            where = "package" if folder == zoo.WEIGHTS / entry["id"] else "cache"
        rows.append(
            (
                entry["id"],
                entry["task"],
                "yes" if entry["default"] else "",
                f"{entry['params'] / 1e6:.1f} M",
                f"{entry['input_size']} px",
                where,
                entry["license"],
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _pull(args: argparse.Namespace) -> int:
    failed = False
    for id in args.ids or [entry["id"] for entry in zoo.list_models()]:
        try:
            print(f"{id}: {zoo.pull(id)}")
        except ZooError as error:
            print(f"{id}: {error}", file=sys.stderr)
            failed = True
    return int(failed)


def _verify(args: argparse.Namespace) -> int:
    failed = False
    for id in args.ids or [entry["id"] for entry in zoo.list_models()]:
        try:
            if not args.ids and zoo.local_path(zoo.get(id)) is None:
                print(f"{id}: not on this machine")
                continue
            zoo.verify(id)
            print(f"{id}: verified")
        except ZooError as error:
            print(f"{id}: {error}", file=sys.stderr)
            failed = True
    return int(failed)


def _push(args: argparse.Namespace) -> int:
    if args.dry_run != (args.output is not None):
        raise UsageError("--dry-run and -o FOLDER go together: use both to write the files to a folder")
    if args.dry_run:
        files = release_files(args.id)
        found = [args.output / name for name in files if (args.output / name).exists()]
        if found and not args.overwrite:
            raise ZooError(
                f"{found[0]} exists: choose another folder with -o, or replace it with --overwrite."
            )
        for name, data in files.items():
            write_atomic(args.output / name, data, ZooError)
        print(f"Nothing was published. See {args.output / 'README.md'}")
        return 0
    revision = push(args.id)
    print(f"{zoo.get(args.id)['repo_id']} is published; {zoo.ZOO_FILE} now pins revision {revision}")
    return 0


def release_files(id: str) -> dict[str, bytes]:
    """Collect the files of the model's Hub repository: config.json, model.safetensors, README.md.

    Raises:
        ZooError: the id is unknown, or the weights are missing or altered.
    """
    from facesym.card import model_card

    zoo.verify(id)
    folder = zoo.path(id)
    files = {name: read_file(folder / name) for name in (CONFIG_NAME, WEIGHTS_NAME)}
    return {**files, "README.md": model_card(zoo.get(id), in_zoo=True).encode()}


def push(id: str) -> str:
    """Upload the model and its card in one commit and pin that commit in zoo.json.

    Returns:
        The commit hash.

    Raises:
        ZooError: see `release_files`; or there is no network, or the token has no write access.
    """
    repo_id = zoo.get(id)["repo_id"]
    revision = publish(repo_id, release_files(id), f"Release {id}")
    try:
        zoo.set_revision(id, revision)
    except ZooError as error:
        raise ZooError(
            f"{repo_id} is published, but its revision {revision} could not be written: {error}"
        ) from error
    return revision
