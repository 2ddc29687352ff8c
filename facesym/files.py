"""Read and verify files of models; write and delete files and tables. This module does not import torch."""

import contextlib
import csv
import hashlib
import io
import json
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from facesym.errors import FacesymError, ImageError, ZooError

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex.

    Raises:
        ZooError: the file is missing or cannot be read.
    """
    return hashlib.sha256(read_file(path)).hexdigest()


def nfc(name: str | os.PathLike) -> str:
    """Return a name in Unicode's composed form, since systems write "ë" in two ways."""
    return unicodedata.normalize("NFC", os.fspath(name))


def checksum(path: Path) -> str:
    """Return the hex SHA-256 of a file of any size.

    Raises:
        ImageError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}.") from error


def remove_unchanged(folder: Path, checksums: dict[str, str]) -> None:
    """Delete files that an earlier run wrote, except those that were changed since.

    Args:
        folder: folder of the files.
        checksums: {path relative to the folder: hex SHA-256 of the file as it was written}.

    Raises:
        ImageError: a file cannot be read.
    """
    for name, written in checksums.items():
        file = folder / name
        if file.is_file() and checksum(file) == written:
            file.unlink()


def check_sha256(path: Path, data: bytes, sha256: str) -> None:
    """Check the bytes read from `path` against the digest of the released file.

    Raises:
        ZooError: they differ.
    """
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ZooError(
            f"{path} is not the released file (its sha256 differs): it is damaged or altered. "
            "Download it again with `facesym zoo pull`; if it is in facesym's package, reinstall facesym."
        )


def read_file(path: Path) -> bytes:
    """Read a file of a model folder as bytes.

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
        raise ZooError(f"{path} is a Git LFS pointer instead of the file: run `git lfs pull`.")
    return data


@contextlib.contextmanager
def atomic_file(path: Path, error: type[FacesymError] = FacesymError) -> Iterator[BinaryIO]:
    """Open a file that replaces `path` atomically, so that no reader sees a partial file.

    A symbolic link stays, and its target is replaced. The file has a temporary name until the block ends. If the block
    fails, it is deleted and `path` does not change. The folder is created if it does not exist.

    Args:
        path: the file to write.
        error: class of the error to raise.

    Yields:
        A binary file, open to read and write.

    Raises:
        error: no room, no permission, a name that is too long, a folder that is a file.
    """
    path = Path(os.path.realpath(path))  # of a symbolic link, the target is replaced
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
        raise error(f"Cannot write {path}: {reason}. An existing file is unchanged.") from cause
    finally:
        with contextlib.suppress(OSError):  # keep the first error
            partial.unlink()


def write_atomic(path: Path, data: bytes, error: type[FacesymError] = FacesymError) -> None:
    """Replace `path` by `data` atomically; see `atomic_file`.

    Raises:
        error: as `atomic_file`.
    """
    with atomic_file(path, error) as file:
        file.write(data)


def save_table(
    rows: list[dict[str, Any]], path: Path, error: type[FacesymError] = FacesymError
) -> list[Path]:
    """Write rows as ``path`` with .csv and .json appended; columns that a row lacks stay empty.

    The CSV file begins with a byte order mark, without which Excel misreads accents.

    Args:
        rows: flat dicts.
        path: of the files, without that ending.
        error: class of the error to raise if a file cannot be written.

    Returns:
        The paths of the two files.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, dict.fromkeys(key for row in rows for key in row), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    paths = [path.with_name(f"{path.name}{suffix}") for suffix in (".csv", ".json")]
    write_atomic(paths[0], text.getvalue().encode("utf-8-sig", errors="backslashreplace"), error)
    write_atomic(paths[1], (json.dumps(rows, indent=1) + "\n").encode(), error)
    return paths
