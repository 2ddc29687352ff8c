"""Base class of all networks: strict loading and saving of a folder with config.json and model.safetensors."""

import hashlib
import inspect
import json
import os
from pathlib import Path
from typing import Any, Self, TypeVar, Unpack

import safetensors
import safetensors.torch
import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.models.modeling_utils import ModelMixin

from .. import card, zoo
from ..device import check_dtype
from ..errors import ZooError
from ..files import CONFIG_NAME, WEIGHTS_NAME, check_sha256, read_file, write_atomic
from ..hub import HubOptions, publish

_LARGEST = 16384


class Model(ModelMixin, ConfigMixin):
    """A network with `from_pretrained`, `save_pretrained` and `push_to_hub`.

    Subclasses decorate their constructor with diffusers' `@register_to_config` and give each keyword a type and a
    default. Loading is strict: where diffusers only warns about missing or unexpected keys, wrong shapes and unknown
    settings, these raise ZooError, as do damaged files. Pickled checkpoints are not supported.
    """

    config_name = CONFIG_NAME  # type: ignore[assignment]

    @property
    def config(self) -> Any:
        """Arguments of the constructor, as attributes and as a mapping."""
        return super().config

    @property
    def device(self) -> torch.device:
        """Device of the weights. (The property of diffusers visits all modules, which takes milliseconds.)"""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return next(self.parameters()).dtype

    @torch.inference_mode(False)  # tensors created in inference mode could not be trained later
    def to(self, *args: Any, **kwargs: Any) -> Self:  # type: ignore[override]
        """Move the network; see `torch.nn.Module.to`. (The method of diffusers warns needlessly about dtypes.)"""
        torch.nn.Module.to(self, *args, **kwargs)
        return self

    @classmethod
    @torch.inference_mode(False)
    def from_pretrained(  # type: ignore[override]
        cls,
        name: str | os.PathLike,
        *,
        dtype: torch.dtype | None = None,
        torch_dtype: torch.dtype | None = None,
        sha256: str | None = None,
        **hub: Unpack[HubOptions],
    ) -> Self:
        """Load a model in eval mode, on the CPU.

        `Model.from_pretrained` reads the class from the config; subclasses load only models of their own class.

        Args:
            name: a task ("complete": its default model), a zoo id, a local folder, or a Hub repository "owner/name".
            dtype: type of the floating point weights; default: float32, whatever the stored type.
            torch_dtype: older name of ``dtype`` in diffusers.
            sha256: expected SHA-256 of model.safetensors in hex; default: the one in the zoo, if any.
            hub: ``subfolder``, ``revision``, ``token``, ``cache_dir``, ``local_files_only``, ``force_download``: see
                `facesym.hub.HubOptions`.

        Raises:
            DeviceError: ``dtype`` is not a floating point type.
            ZooError: the name is unknown, a file is missing, altered or damaged, or weights or settings do not fit the
                class.
        """
        check_dtype(dtype or torch_dtype)
        files = zoo.locate(name, **hub)
        # Check the shapes on the meta device first: a damaged config could request more memory than there is.
        outline = _build(cls, files.config, "meta")
        tensors = _read_weights(outline, files.weights, sha256 or files.sha256)
        model = _build(cls, files.config, "cpu")
        model.load_state_dict(tensors)
        return model.to(dtype or torch_dtype or torch.float32).eval()

    def save_pretrained(  # type: ignore[override]
        self, folder: str | os.PathLike, dtype: torch.dtype | None = None
    ) -> None:
        """Write config.json and model.safetensors, each atomically.

        Args:
            folder: folder to write; created if it does not exist.
            dtype: stored type of the floating point weights, e.g. torch.float16; default: their current type.
                Integer buffers keep their type.

        Raises:
            ZooError: a weight is NaN or infinite in ``dtype``, or the folder cannot be written.
        """
        files = self._files(dtype)
        for name in (WEIGHTS_NAME, CONFIG_NAME):
            write_atomic(Path(folder) / name, files[name], ZooError)

    def push_to_hub(  # type: ignore[override]
        self,
        repo_id: str,
        *,
        dtype: torch.dtype | None = None,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
    ) -> str:
        """Upload config and weights, and a model card if the repository has none. Creates the repository if needed.

        Args:
            repo_id: "owner/name".
            dtype: stored type of the floating point weights; default: their current type.
            commit_message: default: "Upload <class>".
            private: whether to create a private repository; default: the owner's setting.
            token: Hub token; default: the one of `hf auth login`.

        Returns:
            The commit hash, for use as ``revision``.

        Raises:
            ZooError: a weight is not finite, there is no network, or the token has no write access.
        """
        files = self._files(dtype)
        digest = hashlib.sha256(files[WEIGHTS_NAME]).hexdigest()
        entry = next((entry for entry in zoo.list_models() if entry["sha256"] == digest), None)
        in_zoo = entry is not None
        entry = entry or self._describe(dtype, digest)
        text = card.model_card(entry | {"id": entry.get("id") or repo_id, "repo_id": repo_id}, in_zoo=in_zoo)
        return publish(
            repo_id,
            files,
            commit_message or f"Upload {type(self).__name__}",
            card=text.encode(),
            private=private,
            token=token,
        )

    def _files(self, dtype: torch.dtype | None) -> dict[str, bytes]:
        """Return the files of the saved model: {file name: content}."""
        tensors = {}
        for key, tensor in self.state_dict().items():
            if tensor.is_floating_point():
                tensor = tensor.to(dtype or tensor.dtype)
                if not tensor.isfinite().all():
                    raise ZooError(
                        f"{key} has values that are not finite in {tensor.dtype}, so nothing was saved: choose a "
                        "wider dtype, or check the training run."
                    )
            # Copy to contiguous memory: safetensors rejects channels_last and tied tensors.
            tensors[key] = tensor.detach().to("cpu", copy=True).contiguous()
        weights = safetensors.torch.save(tensors, metadata={"format": "pt"})
        return {CONFIG_NAME: self.to_json_string().encode(), WEIGHTS_NAME: weights}

    def _describe(self, dtype: torch.dtype | None, sha256: str) -> dict:
        """Return the fields for the card of a model that is not in the zoo."""
        name = type(self).__name__
        same_class = [entry for entry in zoo.list_models() if entry["class"] == name and entry["default"]]
        return {
            "task": same_class[0]["task"] if same_class else "",
            "class": name,
            "params": self.num_parameters(),
            "dtype": str(dtype or self.dtype).removeprefix("torch."),
            "input_size": self.config.get("input_size"),
            "sha256": sha256,
        }


M = TypeVar("M", bound=Model)


def _setting(text: str) -> int:
    """Parse an integer of a config; reject values so large that building the network would exhaust the memory."""
    value = int(text)
    if abs(value) > _LARGEST:
        raise ValueError(f"{text} is out of range")
    return value


def _build(cls: type[M], config_file: Path, device: str) -> M:
    """Build a network with random weights from its config."""
    try:
        config = json.loads(read_file(config_file), parse_int=_setting)
        stored_class = config.get("_class_name", cls.__name__)
    except (ValueError, AttributeError, RecursionError) as error:
        raise ZooError(f"{config_file} is not a model's config (a JSON object): {error}.") from error

    if cls is Model:
        import facesym.models

        if stored_class not in facesym.models.__all__:
            raise ZooError(f"{config_file} is for {stored_class!r}, which is not a class of facesym.models.")
        cls = getattr(facesym.models, stored_class)
    elif stored_class != cls.__name__:
        raise ZooError(f"{config_file} is for a {stored_class}, not for a {cls.__name__}.")

    settings = {key: value for key, value in config.items() if not key.startswith("_")}
    unknown = sorted(settings.keys() - inspect.signature(cls).parameters.keys())
    if unknown:
        raise ZooError(
            f"{config_file} has settings that this version's {cls.__name__} does not have: {', '.join(unknown)}. "
            "Update facesym, or use another model."
        )
    try:
        # The initial weights are discarded: they must not advance the caller's random state.
        with torch.random.fork_rng(devices=[]), torch.device(device):
            return cls(**settings)
    except Exception as error:  # invalid settings can raise anything
        raise ZooError(f"{config_file} does not describe a valid {cls.__name__}: {error}") from error


def _read_weights(model: Model, file: Path, sha256: str | None) -> dict[str, torch.Tensor]:
    """Read the tensors of a file and check them against the model's state dict."""
    data = read_file(file)  # read once, so that the checked bytes are the loaded ones
    if sha256 is not None:
        check_sha256(file, data, sha256)
    try:
        tensors = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise ZooError(
            f"{file} is damaged or not a safetensors file ({error}): download or save it again."
        ) from error

    expected = model.state_dict()
    faults = [f"missing: {key}" for key in expected if key not in tensors]
    faults += [f"unexpected: {key}" for key in tensors if key not in expected]
    faults += [
        f"{key} has shape {tuple(tensors[key].shape)}, not {tuple(tensor.shape)}"
        for key, tensor in expected.items()
        if key in tensors and tensors[key].shape != tensor.shape
    ]
    if faults:
        more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise ZooError(f"{file} does not fit {type(model).__name__}: {'; '.join(faults[:5])}{more}.")
    return tensors
