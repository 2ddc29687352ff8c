"""Files of models, read and checked; anything written in one step. Nothing here imports torch."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from facesym.errors import FacesymError, ZooError

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"


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
        ZooError: the file is missing, cannot be read, or is only a Git LFS pointer to the file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ZooError(
            f"{path} is missing or cannot be read ({error.strerror}); a model folder holds {CONFIG_NAME} and "
            f"{WEIGHTS_NAME}."
        ) from error
    if data.startswith(b"version https://git-lfs.github.com/spec/"):
        raise ZooError(f"{path} is a Git LFS pointer, not the file that it stands for: run `git lfs pull`.")
    return data


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
