"""The model of a command: located and checked first, loaded only when needed."""

import functools
import json
import sys
from typing import Any

from .. import onnx, zoo
from ..device import check_device
from ..errors import ZooError
from ..files import read_file, sha256_of


class TaskModel:
    """A model, by its name, for one task.

    Args:
        name: a task, a zoo id, a model folder, or a Hub repository "owner/name".
        task: the task to run.
        device: the device to run on.

    Attributes:
        config: contents of its config.json.
        checksum: hex SHA-256 of its weights.

    Raises:
        ZooError: the model does not exist or belongs to another task.
        DeviceError: the device is unavailable.
    """

    def __init__(self, name: str, task: str, device: str = "cpu") -> None:
        self.name, self.task, self.device = name, task, device
        files = zoo.locate(name)
        self.checksum = files.sha256 or sha256_of(files.weights)
        try:
            self.config = json.loads(read_file(files.config))
            kind = self.config.get("_class_name")
        except (ValueError, AttributeError) as error:
            raise ZooError(f"{files.config} is not a model config (a JSON object): {error}.") from error
        self._check_task({entry["class"]: entry["task"] for entry in zoo.list_models()}.get(kind, task))
        check_device(device)

    @functools.cached_property
    def pipeline(self) -> Any:
        """The pipeline, loaded on first use."""
        from .. import load

        if onnx.backend() == "torch":
            _import_diffusers()
        pipeline = load(self.name, device=self.device)
        self._check_task(pipeline.task)
        return pipeline

    def _check_task(self, task):
        if task != self.task:
            raise ZooError(f"{self.name} is a model of `facesym {task}`, not of {self.task}.")


def _import_diffusers():
    """Import diffusers without torch's compiler, which would take longer to import than a photo takes.

    diffusers only marks transformer blocks for it, and does without where it is missing. A command compiles nothing.
    """
    absent = "torch._dynamo" not in sys.modules
    if absent:
        sys.modules["torch._dynamo"] = None  # type: ignore[assignment]  # importing it raises ImportError
    try:
        import diffusers.utils.torch_utils  # noqa: F401
    finally:
        if absent:
            del sys.modules["torch._dynamo"]
