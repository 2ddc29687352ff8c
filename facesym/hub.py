"""One file from the Hugging Face Hub or its local cache, with every failure told as a ZooError.

`huggingface_hub` does the work (cache, resume of cut downloads, HF_HUB_OFFLINE, HF_ENDPOINT); this module only
turns its many exceptions into messages that say what to do.
"""

import errno
import re
from pathlib import Path

from facesym.errors import ZooError

_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_repo_id(name: str) -> bool:
    """Whether `name` has the form of a Hub repository, "owner/name"."""
    return bool(_REPO_ID.fullmatch(name))


def cached_file(repo_id: str, filename: str, revision: str | None = None) -> Path | None:
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
    import httpx
    from huggingface_hub import errors, hf_hub_download
    from huggingface_hub.constants import HF_HUB_CACHE, is_offline_mode

    where = f"{filename} of {repo_id}" + (f" at {revision}" if revision else "")
    try:
        return Path(hf_hub_download(repo_id, filename, revision=revision, token=token, force_download=force))
    except errors.GatedRepoError as error:
        raise ZooError(
            f"{repo_id} asks you to accept its terms on the Hub and to `hf auth login`."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ZooError(f"{repo_id} has no revision {revision!r} on the Hub.") from error
    except errors.EntryNotFoundError as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            if is_offline_mode():
                raise ZooError(
                    f"{where} is not in the local cache ({HF_HUB_CACHE}) and HF_HUB_OFFLINE is set. Unset it, or "
                    "fetch the model once on a machine with network and copy the cache."
                ) from error
            raise ZooError(
                f"{where} is not in the local cache ({HF_HUB_CACHE}) and the Hub could not be reached. Check the "
                "network (or HF_ENDPOINT) and try again."
            ) from error
        raise ZooError(f"{repo_id} has no file {filename} on the Hub: it is not a facesym model.") from error
    except errors.RepositoryNotFoundError as error:
        raise ZooError(
            f"There is no repository {repo_id} on the Hub, or it is private: check the name, or `hf auth login`."
        ) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ZooError(
                f"No room left on the disk for {where}. Free some, or set HF_HOME to a folder on another disk."
            ) from error
        raise ZooError(
            f"Could not fetch {where}: {error}. What was downloaded is kept; try again."
        ) from error
    except (errors.HfHubHTTPError, httpx.HTTPError, RuntimeError, ValueError) as error:
        raise ZooError(
            f"Could not fetch {where}: {error}. What was downloaded is kept; try again."
        ) from error
