"""Files: models fetched from the Hugging Face Hub or its local cache; anything written in one step.

`huggingface_hub` does the fetching (cache, resume of cut downloads, HF_HUB_OFFLINE, HF_ENDPOINT); this module
turns its many exceptions into ZooErrors that say what to do. Nothing here imports torch.
"""

import contextlib
import errno
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from facesym.errors import FacesymError, ZooError

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"

_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_repo_id(name: str) -> bool:
    """Whether `name` has the form of a Hub repository, "owner/name"."""
    return bool(_REPO_ID.fullmatch(name))


def cached_file(repo_id: str, filename: str, revision: str) -> Path | None:
    """The file in the local Hub cache, or None. Never touches the network."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo_id, filename, revision=revision)
    return Path(found) if isinstance(found, str) else None  # it can also be a "known to be missing" marker


def fetch_file(
    repo_id: str, filename: str, revision: str | None = None, *, token: str | None = None, force: bool = False
) -> Path:
    """The file's place in the local cache; downloaded when it is not there yet.

    Args:
        repo_id: "owner/name".
        filename: name inside the repository.
        revision: commit hash, tag or branch; None is the main branch.
        token: Hub token; None takes the one of `hf auth login`, if any.
        force: download again although the cache has the file.

    Raises:
        ZooError: unknown repository, revision or file; no network or HF_HUB_OFFLINE and nothing in the cache;
            a broken connection; a full disk.
    """
    from huggingface_hub import errors, hf_hub_download
    from huggingface_hub.constants import HF_HUB_CACHE, is_offline_mode

    where = f"{filename} of {repo_id}" + (f" at {revision}" if revision else "")
    offline = (
        f"{where} is not in the local cache ({HF_HUB_CACHE}) and HF_HUB_OFFLINE is set. Unset it, or fetch "
        "the model once on a machine with network and copy the cache."
    )
    if force and is_offline_mode():
        raise ZooError(offline)
    try:
        return Path(hf_hub_download(repo_id, filename, revision=revision, token=token, force_download=force))
    except errors.GatedRepoError as error:
        raise ZooError(
            f"{repo_id} asks you to accept its terms on the Hub and to `hf auth login`."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ZooError(
            f"There is no repository {repo_id} on the Hub (nor a folder of that name here), or it is "
            "private: check the name, or `hf auth login`."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ZooError(f"{repo_id} has no revision {revision!r} on the Hub.") from error
    except errors.LocalEntryNotFoundError as error:
        if is_offline_mode():
            raise ZooError(offline) from error
        raise ZooError(
            f"{where} is not in the local cache ({HF_HUB_CACHE}) and the Hub could not be reached. Check the "
            "network (or HF_ENDPOINT) and try again."
        ) from error
    except errors.EntryNotFoundError as error:
        raise ZooError(f"{repo_id} has no file {filename}: it is not a facesym model.") from error
    except (
        Exception
    ) as error:  # the HTTP library below huggingface_hub, and its errors, change with its version
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise ZooError(
                f"No room left on the disk for {where}. Free some, or set HF_HOME to a place on another disk."
            ) from error
        raise ZooError(f"Could not fetch {where}: {error}. Check the network and try again.") from error


def sha256_of(path: Path) -> str:
    """Hex digest of a file.

    Raises:
        ZooError: the file is missing or cannot be read.
    """
    return hashlib.sha256(read_file(path)).hexdigest()


def check_sha256(path: Path, data: bytes, sha256: str) -> None:
    """Compare the bytes read from `path` with the digest of the released file.

    Raises:
        ZooError: they differ.
    """
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ZooError(
            f"{path} is not the file that was released (its sha256 differs): it is damaged or was altered. "
            "Fetch it again with `facesym zoo pull`; if facesym brought it, install facesym again."
        )


def read_file(path: Path) -> bytes:
    """The bytes of a file of a model folder.

    Raises:
        ZooError: the file is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ZooError(
            f"{path} is missing or cannot be read ({error.strerror}); a model folder holds {CONFIG_NAME} and "
            f"{WEIGHTS_NAME}."
        ) from error


@contextlib.contextmanager
def atomic_file(path: Path, error: type[FacesymError] = FacesymError) -> Iterator[BinaryIO]:
    """Open a file to write that takes the place of `path` in one step, so that no reader meets half a file.

    It has another, short name until the block ends; if the block fails, it goes and what was at `path` stays. The
    folder is made if need be.

    Args:
        path: where the file is to be.
        error: what to raise.

    Yields:
        A binary file, open to read and write.

    Raises:
        error: no room, no permission, a name that is too long, a folder that is a file.
    """
    partial = path.with_name(f".{os.urandom(6).hex()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as cause:
        reason = cause.strerror or cause
        raise error(f"Could not write {path}: {reason}. What was there before is unchanged.") from cause
    finally:
        with contextlib.suppress(OSError):  # of an error, the first is the one to be told
            partial.unlink()


def write_atomic(path: Path, data: bytes, error: type[FacesymError] = FacesymError) -> None:
    """Replace `path` by `data` in one step; see `atomic_file`.

    Raises:
        error: as `atomic_file`.
    """
    with atomic_file(path, error) as file:
        file.write(data)
