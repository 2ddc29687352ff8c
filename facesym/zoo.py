"""Find, verify and load the released models, which zoo.json describes.

Models are searched in the package (`facesym/weights/<id>/`), then in the local Hub cache, then on the Hub at the pinned
revision. Weights must have the SHA-256 in zoo.json.

The name of a model is a task ("complete", for its default model) or a zoo id ("symmfc-256"); `load` and `locate` also
take a local folder or a Hub repository "owner/name".
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .device import check_device
from .errors import ZooError, did_you_mean
from .files import CONFIG_NAME, WEIGHTS_NAME, check_sha256, read_file, sha256_of, write_atomic
from .hub import HubOptions, cached_file, check_options, fetch_file, is_repo_id
from .logging import get_logger

if TYPE_CHECKING:
    from typing import Unpack

    import torch

    from .models.base import Model

__all__ = ["get", "list_models", "load", "path", "pull", "verify"]

_PACKAGE = Path(__file__).parent
WEIGHTS = _PACKAGE / "weights"
# Inside the package once installed, at the root of the repository in a checkout.
ZOO_FILE = next(path for path in (_PACKAGE / "zoo.json", _PACKAGE.parent / "zoo.json") if path.exists())

# Required fields of an entry. Optional: `limits` (a sentence for the model card) and `formats` (see facesym.export).
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
    "training_data": list,  # names of the datasets; facesym.card has their terms
    "train_command": str,
    "paper": str | None,
    "metrics": list,  # of {"data": ..., "protocol": ..., "values": {name: number, or row: {name: number}}}
    "default": bool,  # whether it is the default of its task
}


class ModelFiles(NamedTuple):
    """Paths of a model's files on this machine.

    Attributes:
        config: config.json.
        weights: model.safetensors.
        sha256: expected SHA-256 of the weights in hex; None if unknown.
    """

    config: Path
    weights: Path
    sha256: str | None


def list_models() -> list[dict[str, Any]]:
    """Return the entries of all models in zoo.json.

    Raises:
        ZooError: zoo.json is missing or not valid.
    """
    try:
        entries = json.loads(read_file(ZOO_FILE))
    except (ValueError, RecursionError) as error:
        raise ZooError(f"{ZOO_FILE} is not valid JSON: {error}.") from error
    if not isinstance(entries, list):
        raise ZooError(f"{ZOO_FILE} must contain a list of models.")
    for entry in entries:
        _check(entry)
    return entries


if not TYPE_CHECKING:  # it would make every name an attribute

    def __getattr__(name):
        if name == "list":
            warnings.warn("facesym.zoo.list is deprecated: use list_models", DeprecationWarning, stacklevel=2)
            return list_models
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def get(name: str) -> dict[str, Any]:
    """Return a model's entry in zoo.json.

    Args:
        name: a task (its default model) or a zoo id.

    Raises:
        ZooError: the name is unknown; the message lists the known names and suggests the closest one.
    """
    named = _named()
    if name in named:
        return named[name]
    hint = did_you_mean(str(name), named)
    raise ZooError(f"There is no model {str(name)!r}.{hint} Known: {', '.join(sorted(named)) or 'none yet'}.")


def path(name: str | os.PathLike, **hub: Unpack[HubOptions]) -> Path:
    """Return the folder with a model's config.json and model.safetensors; download them from the Hub if necessary.

    Args:
        name: see `load`.
        hub: see `load`.

    Raises:
        ZooError: the name is unknown, the weights are altered or not published yet, there is no network, or the disk
            is full.
    """
    files = locate(name, **hub)
    _check_files(files)
    return files.weights.parent


def verify(name: str) -> bool:
    """Verify the SHA-256 of a model's local weights, without downloading anything.

    Args:
        name: a task (its default model) or a zoo id.

    Returns:
        True; otherwise an error is raised.

    Raises:
        ZooError: the name is unknown, or the weights are altered or not on this machine.
    """
    entry = get(name)
    folder = local_path(entry)
    if folder is None:
        raise ZooError(f"{name} is not on this machine: download it with `facesym zoo pull {name}`.")
    _check_files(_files(folder, entry))
    return True


def pull(name: str) -> Path:
    """Like `path`, for a task or a zoo id, but download altered files in the local cache again."""
    entry = get(name)
    folder = local_path(entry)
    if folder not in (None, WEIGHTS / entry["id"]) and sha256_of(folder / WEIGHTS_NAME) != entry["sha256"]:
        return path(name, force_download=True)
    return path(name)


def locate(name: str | os.PathLike, **hub: Unpack[HubOptions]) -> ModelFiles:
    """Locate a model's files; download them if they are not on this machine.

    Args:
        name: a task, a zoo id, a local folder, or a Hub repository "owner/name". A path object always means a folder.
        hub: see `facesym.hub.HubOptions`. With a ``revision`` or a ``subfolder``, a zoo model is loaded from its Hub
            repository instead of the package, without a checksum.

    Raises:
        ZooError: the name is unknown, or the Hub cannot provide the model.
    """
    check_options(hub)
    entry = _named().get(name) if isinstance(name, str) else None
    if entry is not None:
        if hub.get("revision") or hub.get("subfolder"):
            return _fetch(entry["repo_id"], hub)
        folder = local_path(entry, hub.get("cache_dir"))
        packaged = folder == WEIGHTS / entry["id"]
        if folder is not None and (packaged or not hub.get("force_download")):
            return _files(folder, entry)
        return _fetch_pinned(entry, hub)
    if os.path.isdir(name):  # unlike Path.is_dir, False for a name that is too long
        return _files(Path(name, hub.get("subfolder") or ""))
    if isinstance(name, str) and is_repo_id(name):
        return _fetch(name, hub)
    if isinstance(name, str) and "/" not in name:
        get(name)  # raises, with the closest name
    raise ZooError(f"{name} is neither a folder nor a Hub repository (owner/name).")


def load(
    name: str | os.PathLike,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    **hub: Unpack[HubOptions],
) -> Model:
    """Load a network in eval mode.

    Args:
        name: a task ("complete": its default model), a zoo id, a local folder, or a Hub repository "owner/name".
        device: device of the network.
        dtype: type of the weights; default float32.
        hub: ``subfolder``, ``revision``, ``token``, ``cache_dir``, ``local_files_only``, ``force_download``: see
            `facesym.hub.HubOptions`.

    Raises:
        ZooError: the name is unknown, or the weights are missing, altered or incompatible.
        DeviceError: the device is unavailable, or the type is not one of floating point.
    """
    from .models.base import Model

    check_device(device)
    get_logger().info("loading %s", name)
    return Model.from_pretrained(name, dtype=dtype, **hub).to(device)


def local_path(entry: dict[str, Any], cache_dir: str | os.PathLike | None = None) -> Path | None:
    """Return the model's folder in the package or in the local Hub cache, unverified, or None."""
    packaged = WEIGHTS / entry["id"]
    if (packaged / WEIGHTS_NAME).exists():
        return packaged
    if entry["revision"] is None:
        return None
    config, weights = (
        cached_file(entry["repo_id"], name, entry["revision"], cache_dir)
        for name in (CONFIG_NAME, WEIGHTS_NAME)
    )
    return weights.parent if config and weights else None


def describe(id: str, folder: str | os.PathLike, **fields: Any) -> dict[str, Any]:
    """Compute a model's entry for zoo.json without writing it.

    `sha256`, `params`, `dtype` and `class` are read from the files. Other fields come from `fields`, from the previous
    entry, or from defaults: repo_id "facesym/<id>", framing "ffhq", and default True for the first model of a task.
    When the weights change, the revision, metrics and formats of the previous entry are dropped. A model with another
    ``repo_id`` is another model and takes nothing from the previous entry.

    Args:
        id: name of the model.
        folder: folder written by `save_pretrained`.
        fields: see FIELDS. `metrics` may also be one dict {"protocol": …, "data": …, name: number, …}; "data" defaults
            to the training data.

    Returns:
        The entry.

    Raises:
        ZooError: the model cannot be loaded, or a field is missing or has the wrong type.
    """
    from safetensors.torch import load

    from .models.base import Model

    folder = Path(folder)
    model = Model.from_pretrained(folder)
    tensors = load(read_file(folder / WEIGHTS_NAME)).values()
    dtype = next(tensor.dtype for tensor in tensors if tensor.is_floating_point())
    entries = list_models()
    previous = next((entry for entry in entries if entry["id"] == id), {})
    if fields.get("repo_id", previous.get("repo_id")) != previous.get("repo_id"):
        previous = {}  # another model of that name
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
        previous = {key: previous[key] for key in previous.keys() - {"revision", "metrics", "formats"}}
    entry = {**guessed, **previous, **fields, **computed}
    if isinstance(entry["metrics"], dict):
        values = dict(entry["metrics"])
        data = values.pop("data", ", ".join(entry.get("training_data", [])))
        entry["metrics"] = [{"data": data, "protocol": values.pop("protocol", ""), "values": values}]
    entry = {key: entry[key] for key in [*FIELDS, *entry] if key in entry}  # the order of the schema
    _check(entry)
    return entry


def register(id: str, folder: str | os.PathLike, **fields: Any) -> dict[str, Any]:
    """Add a model to zoo.json or update its entry. The recipes in train/ use it.

    Args:
        id: name of the model and of its folder.
        folder: folder written by `save_pretrained`; copied to facesym/weights/<id>/ unless it is that folder.
        fields: see `describe`.

    Returns:
        The entry, see `describe`.

    Raises:
        ZooError: the model cannot be loaded, or a field is missing or has the wrong type. Nothing is written.
    """
    folder, entry = Path(folder), describe(id, folder, **fields)
    task, others = entry["task"], [other for other in list_models() if other["id"] != id]
    packaged = WEIGHTS / id
    if folder.resolve() != packaged.resolve():
        for name in (WEIGHTS_NAME, CONFIG_NAME):
            write_atomic(packaged / name, read_file(folder / name), ZooError)
    if entry["default"]:
        others = [{**other, "default": other["default"] and other["task"] != task} for other in others]
    _write([*others, entry])
    return entry


def set_revision(id: str, revision: str, **fields: Any) -> None:
    """Pin a model to a Hub commit in zoo.json, as `facesym zoo push` does after uploading.

    Args:
        id: a task (its default model) or a zoo id.
        revision: commit hash.
        fields: other fields that the commit changes, such as ``formats``.
    """
    _change(id, revision=revision, **fields)


def set_metrics(id: str, metrics: list[dict[str, Any]]) -> None:
    """Replace a model's metrics in zoo.json, as `facesym evaluate --zoo` does.

    Args:
        id: a task (its default model) or a zoo id.
        metrics: see FIELDS.
    """
    _change(id, metrics=metrics)


def _change(id, **fields):
    id = get(id)["id"]
    _write([{**entry, **fields} if entry["id"] == id else entry for entry in list_models()])


def _write(entries: list[dict]) -> None:
    entries = sorted(entries, key=lambda entry: (entry["task"], not entry["default"], entry["id"]))
    write_atomic(ZOO_FILE, (json.dumps(entries, indent=2, ensure_ascii=False) + "\n").encode(), ZooError)


def _named() -> dict[str, dict[str, Any]]:
    """Return the entries by task (default model) and by id; ids take precedence."""
    entries = list_models()
    return {e["task"]: e for e in entries if e["default"]} | {e["id"]: e for e in entries}


def _files(folder: Path, entry: dict[str, Any] | None = None) -> ModelFiles:
    return ModelFiles(folder / CONFIG_NAME, folder / WEIGHTS_NAME, entry["sha256"] if entry else None)


def _fetch(repo_id: str, hub: HubOptions) -> ModelFiles:
    config, weights = (fetch_file(repo_id, name, **hub) for name in (CONFIG_NAME, WEIGHTS_NAME))
    return ModelFiles(config, weights, None)


def _fetch_pinned(entry: dict[str, Any], hub: HubOptions) -> ModelFiles:
    if entry["revision"] is None:
        raise ZooError(
            f"{entry['id']} is not in {WEIGHTS} and has not been published on the Hub yet. Restore that "
            f"folder (git checkout, or reinstall facesym), or train the model: {entry['train_command']}"
        )
    return _fetch(entry["repo_id"], {**hub, "revision": entry["revision"]})._replace(sha256=entry["sha256"])


def _check_files(files: ModelFiles) -> None:
    read_file(files.config)
    data = read_file(files.weights)
    if files.sha256 is not None:
        check_sha256(files.weights, data, files.sha256)


def _check(entry: dict) -> None:
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
        raise ZooError(f"{ZOO_FILE} has an entry without an id: {entry!r}.")
    missing = [field for field in FIELDS if field not in entry]
    if missing:
        raise ZooError(f"The zoo entry {entry['id']} lacks {', '.join(missing)}.")
    for field, kind in FIELDS.items():
        if not isinstance(entry[field], kind) or (kind is int and isinstance(entry[field], bool)):
            raise ZooError(f"The zoo entry {entry['id']} has an invalid {field}: {entry[field]!r}.")
    for metric in entry["metrics"]:
        if not isinstance(metric, dict) or not all(metric.get(key) for key in ("data", "protocol", "values")):
            raise ZooError(
                f"The zoo entry {entry['id']} has a metric without data, protocol or values: {metric!r}."
            )
