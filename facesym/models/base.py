"""The base class of every network: one folder holds config.json and model.safetensors, read strictly."""

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
from ..errors import ZooError
from ..files import CONFIG_NAME, WEIGHTS_NAME, check_sha256, read_file, write_atomic
from ..hub import HubOptions, publish

_LARGEST = 16384


class Model(ModelMixin, ConfigMixin):
    """A network with `from_pretrained`, `save_pretrained` and `push_to_hub`.

    Subclasses decorate their constructor with diffusers' `@register_to_config` and give each keyword a type
    and a default. Unlike diffusers' own loading, which only warns, nothing is guessed: a key too many or too
    few, a wrong shape, an unknown setting, or a damaged file raises ZooError. Pickles are never read.
    """

    config_name = CONFIG_NAME  # type: ignore[assignment]

    @property
    def config(self) -> Any:
        """The constructor's settings, as attributes and as a mapping."""
        return super().config

    @property
    def device(self) -> torch.device:
        """Where its weights are. (Diffusers' own walks through all modules, which takes milliseconds.)"""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of its weights."""
        return next(self.parameters()).dtype

    @torch.inference_mode(False)  # so that it can be trained later, wherever it is moved
    def to(self, *args: Any, **kwargs: Any) -> Self:  # type: ignore[override]
        """torch's own: the one of diffusers warns at each change of dtype about modules we do not have."""
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

        `Model.from_pretrained` itself reads the class from the config; a subclass takes only its own models.

        Args:
            name: a task ("complete": its default model), a zoo id, a local folder, or a Hub repository "owner/name".
            dtype: type of the floating point weights; default float32, however they are stored.
            torch_dtype: the same, under diffusers' older name.
            sha256: hex digest which model.safetensors must have; default: what the zoo knows.
            hub: ``subfolder``, ``revision``, ``token``, ``cache_dir``, ``local_files_only``, ``force_download``: see
                `facesym.hub.HubOptions`.

        Raises:
            ZooError: nothing of that name, a missing, altered or damaged file, or weights or settings which do not
                fit the class.
        """
        files = zoo.locate(name, **hub)
        # On "meta", which holds no numbers, first: settings of a damaged config may ask for more memory than there is.
        outline = _build(cls, files.config, "meta")
        tensors = _read_weights(outline, files.weights, sha256 or files.sha256)
        model = _build(cls, files.config, "cpu")
        model.load_state_dict(tensors)
        return model.to(dtype or torch_dtype or torch.float32).eval()

    def save_pretrained(  # type: ignore[override]
        self, folder: str | os.PathLike, dtype: torch.dtype | None = None
    ) -> None:
        """Write config.json and model.safetensors; a stop half-way leaves the earlier files as they were.

        Args:
            folder: made if it does not exist.
            dtype: stored type of the floating point weights, e.g. torch.float16; default: as they are.
                Integer buffers keep their type.

        Raises:
            ZooError: a weight is NaN or infinite (in `dtype`), or the disk is full.
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
        """Upload config and weights, making the repository if needed, and a model card if it has none.

        Args:
            repo_id: "owner/name".
            dtype: stored type of the floating point weights; default: as they are.
            commit_message: default: "Upload <class>".
            private: whether a new repository is; default: as the owner's settings say.
            token: Hub token; default: the one of `hf auth login`.

        Returns:
            The commit hash, to be used as `revision`.

        Raises:
            ZooError: a weight is not finite, no network, or no right to write to the repository.
        """
        files = self._files(dtype)
        digest = hashlib.sha256(files[WEIGHTS_NAME]).hexdigest()
        entry = next((entry for entry in zoo.list_models() if entry["sha256"] == digest), None)
        if entry is None:
            entry = self._describe(dtype, digest)
        text = card.model_card(entry | {"id": entry.get("id") or repo_id, "repo_id": repo_id})
        return publish(
            repo_id,
            files,
            commit_message or f"Upload {type(self).__name__}",
            card=text.encode(),
            private=private,
            token=token,
        )

    def _files(self, dtype: torch.dtype | None) -> dict[str, bytes]:
        """{file name: content} of a saved model."""
        tensors = {}
        for key, tensor in self.state_dict().items():
            if tensor.is_floating_point():
                tensor = tensor.to(dtype or tensor.dtype)
                if not tensor.isfinite().all():
                    raise ZooError(
                        f"{key} has values that are not finite in {tensor.dtype}: nothing was saved."
                    )
            # A copy in plain memory order: safetensors refuses channels_last and tied tensors.
            tensors[key] = tensor.detach().to("cpu", copy=True).contiguous()
        weights = safetensors.torch.save(tensors, metadata={"format": "pt"})
        return {CONFIG_NAME: self.to_json_string().encode(), WEIGHTS_NAME: weights}

    def _describe(self, dtype: torch.dtype | None, sha256: str) -> dict:
        """What a card says of a model that is not in the zoo."""
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
    """An integer of a config. No width or depth is that large: it would fill the memory before it is found out."""
    value = int(text)
    if abs(value) > _LARGEST:
        raise ValueError(f"{text} is larger than any setting")
    return value


def _build(cls: type[M], config_file: Path, device: str) -> M:
    """A network with random weights on a device, from its config."""
    try:
        config = json.loads(read_file(config_file), parse_int=_setting)
        stored_class = config.get("_class_name", cls.__name__)
    except (ValueError, AttributeError, RecursionError) as error:
        raise ZooError(f"{config_file} is not a model's config (a JSON object): {error}.") from error

    if cls is Model:
        import facesym.models

        if stored_class not in facesym.models.__all__:
            raise ZooError(f"{config_file} is for {stored_class!r}, which is no class of facesym.models.")
        cls = getattr(facesym.models, stored_class)
    elif stored_class != cls.__name__:
        raise ZooError(f"{config_file} is for a {stored_class}, not for a {cls.__name__}.")

    settings = {key: value for key, value in config.items() if not key.startswith("_")}
    unknown = sorted(settings.keys() - inspect.signature(cls).parameters.keys())
    if unknown:
        raise ZooError(
            f"{config_file} has settings this version's {cls.__name__} does not know: {', '.join(unknown)}."
        )
    try:
        # The initial weights are thrown away: do not let them advance the caller's random numbers.
        with torch.random.fork_rng(devices=[]), torch.device(device):
            return cls(**settings)
    except Exception as error:  # whatever a setting of another kind, or out of range, leads to
        raise ZooError(f"{config_file} does not describe a valid {cls.__name__}: {error}") from error


def _read_weights(model: Model, file: Path, sha256: str | None) -> dict[str, torch.Tensor]:
    """The tensors of a file, which fit the model."""
    data = read_file(file)  # read once, so that what was checked is what is loaded
    if sha256 is not None:
        check_sha256(file, data, sha256)
    try:
        tensors = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise ZooError(f"{file} is damaged or is no safetensors file: {error}.") from error

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
