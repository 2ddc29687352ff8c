"""Export of a finished run: write the model and its card, and upload them on request."""

import json
import shutil
from pathlib import Path

import torch

from facesym import zoo
from facesym.card import model_card
from train.arguments import command_line

# Of released models, because of their training data, and of others.
LICENSE = "research use only (weights); Apache-2.0 (code)"
OWN_LICENSE = "not stated: it depends on the training images (weights); Apache-2.0 (code)"


def config_settings(args, net):
    """Parse ``--config``: {key: value}.

    Raises:
        SystemExit: the network has no such setting, or the value is not JSON.
    """
    settings = {}
    for text in args.config:
        key, _, value = text.partition("=")
        if key not in net.config:
            raise SystemExit(f"--config {text}: {type(net).__name__} has no setting {key!r}")
        try:
            settings[key] = json.loads(value)
        except ValueError as error:
            raise SystemExit(f"--config {text}: the value is not JSON: {error}") from error
    return settings


def export(run, net, fields):
    """Write a network as fp16 and its card to the run's folder and wherever the options ask for.

    Args:
        run: train.common.Run; ``--export``, ``--push-to-hub`` and ``--zoo`` name further destinations.
        net: a facesym Model.
        fields: fields of its zoo.json entry (task, input_size, training_data …), see facesym.zoo.register; the
            licence is LICENSE or OWN_LICENSE unless given.
    """
    args, folder = run.args, run.out / "model"
    net.register_to_config(**config_settings(args, net))
    net.save_pretrained(folder, dtype=torch.float16)
    place = Path(args.export or folder)
    if "training_data" not in fields:
        fields["training_data"] = run.sets()
    fields = {"train_command": command_line(), "license": LICENSE if args.zoo else OWN_LICENSE} | fields
    if args.zoo:
        fields |= {"train_command": f"train/recipes/{args.zoo}.sh"}
    where = {"repo_id": args.push_to_hub or str(place)}
    name = (
        args.zoo
        or (args.push_to_hub or (place.name if args.export else run.out.resolve().name)).split("/")[-1]
    )
    entry = zoo.describe(name, folder, **fields, **({} if args.zoo else where))
    card = model_card(entry, args.zoo or where["repo_id"], in_zoo=bool(args.zoo))
    (folder / "README.md").write_text(card)
    run.print(f"wrote {folder}")
    if args.export:
        shutil.copytree(folder, place, dirs_exist_ok=True)
        run.print(f"wrote {place}")
    if args.zoo:
        zoo.register(args.zoo, folder, **fields)
        run.print(f"added {args.zoo} to {zoo.WEIGHTS} and {zoo.ZOO_FILE}")
    if args.push_to_hub:
        push(folder, args.push_to_hub)
        run.print(f"pushed {args.push_to_hub}")


def push(folder, repo_id):
    """Upload a model's folder with its card; create the repository if it does not exist."""
    from huggingface_hub import HfApi

    api = HfApi()
    api.create_repo(repo_id, exist_ok=True)
    api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Upload model")
