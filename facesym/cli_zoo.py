"""`facesym zoo list|pull|verify|push`: look at, fetch, check and publish the released models."""

import argparse
import sys
from pathlib import Path

from facesym import zoo
from facesym.errors import ZooError
from facesym.files import CONFIG_NAME, WEIGHTS_NAME, read_file, write_atomic


def add_parser(subparsers) -> None:
    """Add the command to the parser of `facesym`; `args.run(args)` returns the exit code."""
    parser = subparsers.add_parser("zoo", help="the released models: list, fetch, check, publish")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    command = commands.add_parser("list", help="every model, and where it is")
    command.set_defaults(run=_list)

    command = commands.add_parser("pull", help="fetch models into the local cache")
    command.add_argument("ids", nargs="*", metavar="ID", help="default: every model")
    command.set_defaults(run=_pull)

    command = commands.add_parser("verify", help="compute the checksums anew; exit code 1 if one is wrong")
    command.add_argument("ids", nargs="*", metavar="ID", help="default: every model on this machine")
    command.set_defaults(run=_verify)

    command = commands.add_parser(
        "push", help="publish a model on the Hub with its card, and pin that revision"
    )
    command.add_argument("id", metavar="ID")
    command.add_argument(
        "--dry-run", action="store_true", help="only write what would be published to -o FOLDER"
    )
    command.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="folder for --dry-run")
    command.set_defaults(run=_push)


def _list(args: argparse.Namespace) -> int:
    rows = [("ID", "TASK", "DEFAULT", "PARAMS", "SIZE", "WHERE", "LICENSE")]
    for entry in zoo.list():
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
    for id in args.ids or [entry["id"] for entry in zoo.list()]:
        try:
            print(f"{id}: {zoo.pull(id)}")
        except ZooError as error:
            print(f"{id}: {error}", file=sys.stderr)
            failed = True
    return int(failed)


def _verify(args: argparse.Namespace) -> int:
    failed = False
    for id in args.ids or [entry["id"] for entry in zoo.list()]:
        try:
            if not args.ids and zoo.local_path(zoo.get(id)) is None:
                print(f"{id}: not on this machine")
                continue
            zoo.verify(id)
            print(f"{id}: as released")
        except ZooError as error:
            print(f"{id}: {error}", file=sys.stderr)
            failed = True
    return int(failed)


def _push(args: argparse.Namespace) -> int:
    if args.dry_run != (args.output is not None):
        raise ZooError("--dry-run and -o FOLDER go together: say where to write what would be published.")
    if args.dry_run:
        for name, data in release_files(args.id).items():
            write_atomic(args.output / name, data, ZooError)
        print(f"Nothing was published. See {args.output / 'README.md'}")
        return 0
    revision = push(args.id)
    print(f"{zoo.get(args.id)['repo_id']} is published; {zoo.ZOO_FILE} now pins revision {revision}")
    return 0


def release_files(id: str) -> dict[str, bytes]:
    """What a Hub repository of the model holds: config.json, model.safetensors, README.md.

    Raises:
        ZooError: unknown id, or its weights are not on this machine or altered.
    """
    from facesym.card import model_card

    zoo.verify(id)
    folder = zoo.local_path(zoo.get(id))
    files = {name: read_file(folder / name) for name in (CONFIG_NAME, WEIGHTS_NAME)}
    return {**files, "README.md": model_card(zoo.get(id)).encode()}


def push(id: str) -> str:
    """Upload the model and its card in one commit and pin that commit in zoo.json.

    Returns:
        The commit hash.

    Raises:
        ZooError: as `release_files`; no network; no right to write to the repository.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    repo_id = zoo.get(id)["repo_id"]
    operations = [CommitOperationAdd(name, data) for name, data in release_files(id).items()]
    api = HfApi()
    try:
        api.create_repo(repo_id, exist_ok=True)
        revision = api.create_commit(repo_id, operations, commit_message=f"Release {id}").oid
    except OfflineModeIsEnabled as error:
        raise ZooError("HF_HUB_OFFLINE is set: unset it to publish.") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise ZooError(
                f"The Hub refused to let you write to {repo_id}: `hf auth login` with a token that may, or "
                "change repo_id in zoo.json."
            ) from error
        raise ZooError(f"Could not publish {repo_id}: {error}") from error
    except Exception as error:  # huggingface_hub's HTTP library, and its errors, change with its version
        raise ZooError(f"Could not publish {repo_id}: {error}. Check the network and try again.") from error
    try:
        zoo.set_revision(id, revision)
    except ZooError as error:
        raise ZooError(
            f"{repo_id} is published, but its revision {revision} could not be written: {error}"
        ) from error
    return revision
