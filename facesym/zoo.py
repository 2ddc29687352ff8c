"""The released models: zoo.json says what they are, this module finds, checks and loads their weights.

A model is looked for in the package (`facesym/weights/<id>/`), then in the local Hub cache, then on the Hub
at the pinned revision. Whatever is found must have the sha256 that zoo.json gives.
"""

from __future__ import annotations  # `list` below is not the builtin

import builtins
import difflib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from facesym.device import check_device
from facesym.errors import ZooError
from facesym.files import (
    CONFIG_NAME,
    WEIGHTS_NAME,
    cached_file,
    check_sha256,
    fetch_file,
    read_file,
    sha256_of,
    write_atomic,
)

if TYPE_CHECKING:
    import torch

    from facesym.models.base import Model

_PACKAGE = Path(__file__).parent
WEIGHTS = _PACKAGE / "weights"
# Inside the package once installed, at the root of the repository in a checkout.
ZOO_FILE = next(path for path in (_PACKAGE / "zoo.json", _PACKAGE.parent / "zoo.json") if path.exists())

# What every entry must have; `limits` (a sentence for the model card) may be added.
FIELDS = {
    "id": str,
    "task": str,
    "class": str,  # in facesym.models
    "repo_id": str,
    "revision": str | None,  # commit on the Hub; null until the first push
    "sha256": str,  # of model.safetensors
    "params": int,
    "input_size": int,  # side in pixels
    "framing": str,
    "dtype": str,  # as stored
    "license": str,
    "training_data": list,  # names of the sets; facesym.card knows their terms
    "train_command": str,
    "paper": str | None,
    "metrics": list,  # of {"data": ..., "protocol": ..., "values": {name: number, or row: {name: number}}}
    "default": bool,  # what its task loads
}


def list() -> list[dict]:
    """Every model's entry of zoo.json.

    Raises:
        ZooError: zoo.json is missing or not valid.
    """
    try:
        entries = json.loads(read_file(ZOO_FILE))
    except (ValueError, RecursionError) as error:
        raise ZooError(f"{ZOO_FILE} is not valid JSON: {error}.") from error
    if not isinstance(entries, builtins.list):
        raise ZooError(f"{ZOO_FILE} must hold a list of models.")
    for entry in entries:
        _check(entry)
    return entries


def get(id: str) -> dict:
    """One model's entry of zoo.json.

    Raises:
        ZooError: unknown id; the message lists the known ones and the closest.
    """
    return _find(id, {entry["id"]: entry for entry in list()})


def path(id: str) -> Path:
    """The folder that holds the model's config.json and model.safetensors; fetched from the Hub if need be.

    Raises:
        ZooError: unknown id, altered weights, no network, not published yet, full disk.
    """
    entry = get(id)
    folder = local_path(entry) or _fetch(entry)
    _check_files(entry, folder)
    return folder


def verify(id: str) -> bool:
    """Compute the sha256 of the model's weights on this machine anew; nothing is downloaded.

    Returns:
        True. (Anything else is an error.)

    Raises:
        ZooError: unknown id, weights altered, or not on this machine.
    """
    entry = get(id)
    folder = local_path(entry)
    if folder is None:
        raise ZooError(f"{id} is not on this machine: fetch it with `facesym zoo pull {id}`.")
    _check_files(entry, folder)
    return True


def pull(id: str) -> Path:
    """As `path`, but an altered file in the local cache is fetched anew."""
    entry = get(id)
    folder = local_path(entry)
    if folder is None:
        folder = _fetch(entry)
    elif folder != WEIGHTS / id and sha256_of(folder / WEIGHTS_NAME) != entry["sha256"]:
        folder = _fetch(entry, force=True)
    _check_files(entry, folder)
    return folder


def load(
    name: str | os.PathLike, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> Model:
    """A network in eval mode.

    Args:
        name: a task ("complete": its default model), a zoo id, a local folder, or a Hub repository
                "owner/name".
        device: where to put it.
        dtype: type of the weights; default float32.

    Raises:
        ZooError: nothing of that name, or its weights are missing, altered or do not fit.
        DeviceError: no such device on this machine.
    """
    from facesym.models.base import Model

    check_device(device)
    entries = list()
    # The ids come last: no task may hide one.
    named = {entry["task"]: entry for entry in entries if entry["default"]} | {e["id"]: e for e in entries}
    if name in named:
        entry = named[name]
        folder = local_path(entry) or _fetch(entry)
        model = Model.from_pretrained(folder, dtype=dtype, sha256=entry["sha256"])
    elif Path(name).is_dir() or "/" in str(name):
        model = Model.from_pretrained(name, dtype=dtype)
    else:
        _find(str(name), named)  # raises, with the closest name
    return model.to(device)


def local_path(entry: dict) -> Path | None:
    """The model's folder in the package or in the local Hub cache, unchecked; None if it is in neither."""
    packaged = WEIGHTS / entry["id"]
    if (packaged / WEIGHTS_NAME).exists():
        return packaged
    if entry["revision"] is None:
        return None
    cached = [cached_file(entry["repo_id"], name, entry["revision"]) for name in (CONFIG_NAME, WEIGHTS_NAME)]
    return cached[1].parent if all(cached) else None


def describe(id: str, folder: str | os.PathLike, **fields) -> dict:
    """A model's entry as zoo.json would have it; nothing is written.

    `sha256`, `params`, `dtype` and `class` are read from the files. The other fields of zoo.json come from
    `fields`, else from the earlier entry, else: repo_id "facesym/<id>", framing "ffhq", default True for the
    first model of its task. When the weights change, the earlier entry's revision and metrics are dropped:
    they were another file's.

    Args:
        id: name of the model.
        folder: what `save_pretrained` wrote.
        fields: see FIELDS. `metrics` may also be one dict {"protocol": …, "data": …, name: number, …};
            without data, they were measured on the sets trained on.

    Returns:
        The entry.

    Raises:
        ZooError: the folder does not load, or a field is missing or of the wrong type.
    """
    from safetensors.torch import load

    from facesym.models.base import Model

    folder = Path(folder)
    model = Model.from_pretrained(folder)
    tensors = load(read_file(folder / WEIGHTS_NAME)).values()
    dtype = next(tensor.dtype for tensor in tensors if tensor.is_floating_point())
    entries = list()
    previous = next((entry for entry in entries if entry["id"] == id), {})
    task = fields.get("task", previous.get("task"))
    computed = {
        "id": id,
        "class": type(model).__name__,
        "sha256": sha256_of(folder / WEIGHTS_NAME),
        "params": model.num_parameters(),
        "dtype": str(dtype).removeprefix("torch."),
    }
    guessed = {
        "repo_id": f"facesym/{id}",
        "framing": "ffhq",
        "default": not any(
            entry["task"] == task and entry["default"] for entry in entries if entry["id"] != id
        ),
        "revision": None,
        "metrics": [],
    }
    if previous.get("sha256") != computed["sha256"]:
        previous = {key: previous[key] for key in previous.keys() - {"revision", "metrics"}}
    entry = {**guessed, **previous, **fields, **computed}
    if isinstance(entry["metrics"], dict):
        values = dict(entry["metrics"])
        data = values.pop("data", ", ".join(entry.get("training_data", [])))
        entry["metrics"] = [{"data": data, "protocol": values.pop("protocol", ""), "values": values}]
    entry = {key: entry[key] for key in [*FIELDS, *entry] if key in entry}  # the order of the schema
    _check(entry)
    return entry


def register(id: str, folder: str | os.PathLike, **fields) -> dict:
    """Enter a model into zoo.json, or bring its entry up to date. For the recipes of train/.

    Args:
        id: name of the model, also of its folder.
        folder: what `save_pretrained` wrote; copied to facesym/weights/<id>/ unless it is that.
        fields: as of `describe`.

    Returns:
        The entry, see `describe`.

    Raises:
        ZooError: the folder does not load, or a field is missing or of the wrong type. Nothing is written.
    """
    folder, entry = Path(folder), describe(id, folder, **fields)
    task, others = entry["task"], [other for other in list() if other["id"] != id]
    packaged = WEIGHTS / id
    if folder.resolve() != packaged.resolve():
        for name in (WEIGHTS_NAME, CONFIG_NAME):
            write_atomic(packaged / name, read_file(folder / name), ZooError)
    if entry["default"]:
        others = [{**other, "default": other["default"] and other["task"] != task} for other in others]
    _write([*others, entry])
    return entry


def set_revision(id: str, revision: str) -> None:
    """Pin the model to a commit on the Hub, in zoo.json. `facesym zoo push` does it after the upload."""
    get(id)
    _write([{**entry, "revision": revision} if entry["id"] == id else entry for entry in list()])


def _write(entries: list[dict]) -> None:
    entries = sorted(entries, key=lambda entry: (entry["task"], not entry["default"], entry["id"]))
    write_atomic(ZOO_FILE, (json.dumps(entries, indent=2, ensure_ascii=False) + "\n").encode(), ZooError)


def _find(name: str, known: dict[str, dict]) -> dict:
    if name in known:
        return known[name]
    close = difflib.get_close_matches(str(name), known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ZooError(f"There is no model {name!r}.{hint} Known: {', '.join(sorted(known)) or 'none yet'}.")


def _fetch(entry: dict, force: bool = False) -> Path:
    if entry["revision"] is None:
        raise ZooError(
            f"{entry['id']} is not in {WEIGHTS} and has not been published on the Hub yet. Restore that "
            f"folder (git checkout, or install facesym again), or train it: {entry['train_command']}"
        )
    for name in (CONFIG_NAME, WEIGHTS_NAME):
        file = fetch_file(entry["repo_id"], name, entry["revision"], force=force)
    return file.parent


def _check_files(entry: dict, folder: Path) -> None:
    read_file(folder / CONFIG_NAME)
    check_sha256(folder / WEIGHTS_NAME, read_file(folder / WEIGHTS_NAME), entry["sha256"])


def _check(entry: dict) -> None:
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
        raise ZooError(f"{ZOO_FILE}: an entry without an id: {entry!r}.")
    missing = [field for field in FIELDS if field not in entry]
    if missing:
        raise ZooError(f"The zoo's entry {entry['id']} lacks {', '.join(missing)}.")
    for field, kind in FIELDS.items():
        if not isinstance(entry[field], kind) or (kind is int and isinstance(entry[field], bool)):
            raise ZooError(f"The zoo's entry {entry['id']} has {field} = {entry[field]!r}.")
    for metric in entry["metrics"]:
        if not isinstance(metric, dict) or not all(metric.get(key) for key in ("data", "protocol", "values")):
            raise ZooError(
                f"The zoo's entry {entry['id']} has a metric without data, protocol and values: {metric!r}."
            )
