"""The model that a command runs: found and checked first, loaded only when there is work for it."""

import functools
import json
from pathlib import Path

from .. import zoo
from ..device import check_device
from ..errors import ZooError
from ..files import CONFIG_NAME, WEIGHTS_NAME, fetch_file, is_repo_id, read_file, sha256_of


class TaskModel:
    """A model, by its name, for one task.

    Args:
        name: a task, a zoo id, a model folder, or a Hub repository "owner/name".
        task: what it is to do.
        device: where it is to run.

    Attributes:
        config: its config.json, a dict.
        checksum: hex sha256 of its weights.

    Raises:
        ZooError: no such model, or one of another task.
        DeviceError: no such device on this machine.
    """

    def __init__(self, name, task, device="cpu"):
        self.name, self.task, self.device = name, task, device
        folder, self.checksum = _find(name)
        try:
            self.config = json.loads(read_file(folder / CONFIG_NAME))
            kind = self.config.get("_class_name")
        except (ValueError, AttributeError) as error:
            raise ZooError(
                f"{folder / CONFIG_NAME} is not a model's config (a JSON object): {error}."
            ) from error
        self._check_task({entry["class"]: entry["task"] for entry in zoo.list()}.get(kind, task))
        check_device(device)

    @functools.cached_property
    def pipeline(self):
        """The pipeline, loaded on first use."""
        from .. import load

        pipeline = load(self.name, device=self.device)
        self._check_task(pipeline.task)
        return pipeline

    def _check_task(self, task):
        if task != self.task:
            raise ZooError(f"{self.name} is a model of `facesym {task}`, not of {self.task}.")


def _find(name):
    """The model's folder and its weights' checksum; fetches a model that is not on this machine."""
    entries = zoo.list()
    named = {entry["task"]: entry for entry in entries if entry["default"]} | {e["id"]: e for e in entries}
    if name in named:
        entry = named[name]
        return zoo.local_path(entry) or zoo.path(entry["id"]), entry["sha256"]
    if Path(name).is_dir():
        folder = Path(name)
    elif is_repo_id(name):
        folder = fetch_file(name, CONFIG_NAME).parent
        fetch_file(name, WEIGHTS_NAME)
    else:
        zoo.get(name)  # raises, and names the closest model
    return folder, sha256_of(folder / WEIGHTS_NAME)
