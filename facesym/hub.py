"""The Hugging Face Hub: download models from it or read its local cache, and publish models on it.

`huggingface_hub` does the work (cache, resumed downloads, HF_HUB_OFFLINE, HF_ENDPOINT); this module turns its many
exceptions into ZooErrors that say what to do. It does not import torch.
"""

import errno
import os
import re
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from .errors import ZooError

_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class HubOptions(TypedDict, total=False):
    """Options for downloading a model, as in diffusers' ``from_pretrained``.

    Attributes:
        subfolder: folder inside the repository (or inside a local folder) that holds the model.
        revision: commit hash, tag or branch; default: the commit that the zoo pins, else the main branch.
        token: Hub token, for private models; default: the one of `hf auth login`, if any; False sends none.
        cache_dir: folder of the local cache; default: that of huggingface_hub (HF_HOME).
        local_files_only: only look in the local cache.
        force_download: download again even if the cache has the model.
    """

    subfolder: str | None
    revision: str | None
    token: str | bool | None
    cache_dir: str | os.PathLike | None
    local_files_only: bool
    force_download: bool


def check_options(hub: Mapping[str, object]) -> None:
    """Check the names of Hub options.

    Args:
        hub: see `HubOptions`.

    Raises:
        TypeError: there is no option of that name.
    """
    unknown = sorted(hub.keys() - HubOptions.__annotations__.keys())
    if unknown:
        known = ", ".join(HubOptions.__annotations__)
        raise TypeError(f"There is no option {unknown[0]!r}; the Hub options are {known}.")


def is_repo_id(name: str) -> bool:
    """Whether `name` has the form of a Hub repository, "owner/name"."""
    return bool(_REPO_ID.fullmatch(name))


def _text(path: str | os.PathLike | None) -> str | None:
    return None if path is None else os.fspath(path)


def cached_file(
    repo_id: str, filename: str, revision: str, cache_dir: str | os.PathLike | None = None
) -> Path | None:
    """Return the file in the local Hub cache, or None. Does not use the network."""
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(repo_id, filename, cache_dir=_text(cache_dir), revision=revision)
    return Path(cached) if isinstance(cached, str) else None  # it can also be a "known to be missing" marker


def fetch_file(
    repo_id: str,
    filename: str,
    revision: str | None = None,
    *,
    subfolder: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> Path:
    """Return the file's path in the local cache; download it if it is not there.

    Args:
        repo_id: "owner/name".
        filename: name inside the repository or its ``subfolder``.
        revision: commit hash, tag or branch; None is the main branch.
        subfolder: see `HubOptions`.
        token: see `HubOptions`.
        cache_dir: see `HubOptions`.
        local_files_only: see `HubOptions`.
        force_download: see `HubOptions`.

    Raises:
        ZooError: unknown repository, revision or file; no network, HF_HUB_OFFLINE or ``local_files_only`` and nothing
            in the cache; a broken connection; a full disk.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.constants import is_offline_mode

    if force_download and is_offline_mode():
        raise ZooError(
            f"{filename} of {repo_id} cannot be downloaded again while HF_HUB_OFFLINE is set: unset it, or omit "
            "force_download."
        )
    try:
        file = hf_hub_download(
            repo_id,
            filename,
            subfolder=subfolder,
            revision=revision,
            token=token,
            cache_dir=_text(cache_dir),
            local_files_only=local_files_only,
            force_download=force_download,
        )
    except Exception as error:  # huggingface_hub's HTTP library and its errors change between versions
        name = f"{subfolder}/{filename}" if subfolder else filename
        raise ZooError(_explain(error, repo_id, name, revision, cache_dir, local_files_only)) from error
    return Path(str(file))


def _explain(error, repo_id, name, revision, cache_dir, local_files_only):
    """Explain an error of a download and what to do."""
    from huggingface_hub import errors
    from huggingface_hub.constants import HF_HUB_CACHE, is_offline_mode

    where = f"{name} of {repo_id}" + (f" at {revision}" if revision else "")
    absent = f"{where} is not in the local cache ({cache_dir or HF_HUB_CACHE})"
    if isinstance(error, errors.GatedRepoError):
        return f"{repo_id} asks you to accept its terms on the Hub and to `hf auth login`."
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"There is no repository {repo_id} on the Hub (nor a folder of that name here), or it is private: check "
            "the name, or `hf auth login`."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repo_id} has no revision {revision!r} on the Hub: check the commit, tag or branch."
    if isinstance(error, errors.LocalEntryNotFoundError):
        if local_files_only:
            return f"{absent}: download it once without local_files_only."
        if is_offline_mode():
            return (
                f"{absent} and HF_HUB_OFFLINE is set. Unset it, or download the model on another machine and "
                "copy the cache."
            )
        return f"{absent} and the Hub could not be reached. Check the network (or HF_ENDPOINT) and try again."
    if isinstance(error, errors.EntryNotFoundError):
        return f"{repo_id} has no file {name}: it is not a facesym model. Check the name and subfolder."
    if getattr(error, "errno", None) == errno.ENOSPC:
        return (
            f"The disk is full: no space for {where}. Free some, or set HF_HOME to a folder on another disk."
        )
    return f"Cannot download {where}: {error}. Check the network and try again."


def publish(
    repo_id: str,
    files: Mapping[str, bytes],
    message: str,
    *,
    card: bytes | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
) -> str:
    """Upload files in one commit; create the repository if it does not exist.

    Args:
        repo_id: "owner/name".
        files: {name inside the repository: content}.
        message: message of the commit.
        card: README.md, uploaded only if the repository has none.
        private: whether to create a private repository; None: the owner's setting.
        token: Hub token; None: the one of `hf auth login`, if any.

    Returns:
        The commit hash.

    Raises:
        ZooError: there is no network, or the token has no write access.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(token=token)
    with _upload_errors(repo_id, "choose another repository (in zoo.json: repo_id)"):
        api.create_repo(repo_id, private=private, exist_ok=True)
        if card is not None and not api.file_exists(repo_id, "README.md"):
            files = {**files, "README.md": card}
        operations = [CommitOperationAdd(name, data) for name, data in files.items()]
        return api.create_commit(repo_id, operations, commit_message=message).oid


def publish_space(repo_id: str, folder: Path, message: str) -> str:
    """Make a folder the content of a Space; create the Space if it does not exist.

    Args:
        repo_id: "owner/name".
        folder: folder with all files of the Space; other files in the Space are deleted.
        message: message of the commit.

    Returns:
        URL of the Space.

    Raises:
        ZooError: there is no network, or the token has no write access.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    with _upload_errors(repo_id, "name another Space"):
        address = api.create_repo(repo_id, repo_type="space", space_sdk="gradio", exist_ok=True)
        api.upload_folder(
            repo_id=repo_id,
            repo_type="space",
            folder_path=folder,
            delete_patterns="*",
            commit_message=message,
        )
        return str(address)


@contextmanager
def _upload_errors(repo_id, otherwise):
    """Turn the errors of an upload into ZooErrors; ``otherwise``: what to do without write access."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        yield
    except OfflineModeIsEnabled as error:
        raise ZooError("HF_HUB_OFFLINE is set: unset it to publish.") from error
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            raise ZooError(
                f"You have no write access to {repo_id} on the Hub: run `hf auth login` with a token that has, or "
                f"{otherwise}."
            ) from error
        raise ZooError(f"Cannot publish {repo_id}: {error}") from error
    except Exception as error:  # as in fetch_file
        raise ZooError(f"Cannot publish {repo_id}: {error}. Check the network and try again.") from error
