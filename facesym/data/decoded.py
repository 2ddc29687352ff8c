"""Decoded images in memory-mapped files, shared by processes and by later runs."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np


def cache_folder() -> Path:
    """Return the default folder for decoded images: ``facesym`` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "facesym"


def decoded(
    rows: list[dict[str, Any]], landmarks: Any, size: int, read: Callable, cache: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Decode images at one size.

    Args:
        rows: of `facesym.data.metadata.read_metadata`.
        landmarks: Nx68x2 in pixels of the stored images.
        size: side S in pixels.
        read: called with (row, landmarks, size); returns the image, SxSx3 uint8, and its landmarks at that size.
        cache: folder of memory-mapped files; None keeps the images in memory only.

    Returns:
        images: NxSxSx3 uint8; changes are not written to the cache.
        landmarks: Nx68x2 float32.
    """
    if cache is None:
        images = np.empty((len(rows), size, size, 3), np.uint8)
        return images, _fill(images, rows, landmarks, size, read)
    folder = Path(cache) / _key(rows, landmarks, size)
    if not folder.is_dir():
        _write(folder, rows, landmarks, size, read)
    return np.load(folder / "images.npy", mmap_mode="c"), np.load(folder / "landmarks.npy")


def _key(rows, landmarks, size):
    """Return a name that identifies the current versions of these images."""
    digest = hashlib.sha256(f"1 {size}".encode())
    for row in rows:
        found = row["path"].stat() if row["path"].exists() else None
        stamp = (found.st_size, found.st_mtime_ns) if found else ()
        digest.update(f"{row['path'].resolve()} {stamp}\n".encode())
    digest.update(np.ascontiguousarray(landmarks, np.float32).tobytes())
    return f"{len(rows)}-{size}-{digest.hexdigest()[:16]}"


def _fill(images, rows, landmarks, size, read):
    points = np.empty((len(rows), 68, 2), np.float32)

    def one(i):
        images[i], points[i] = read(rows[i], landmarks[i], size)

    with ThreadPoolExecutor() as pool:  # PIL's decoders release the GIL
        list(pool.map(one, range(len(rows))))
    return points


def _write(folder, rows, landmarks, size, read):
    """Decode into a folder, atomically."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        images = np.lib.format.open_memmap(partial / "images.npy", "w+", np.uint8, (len(rows), size, size, 3))
        np.save(partial / "landmarks.npy", _fill(images, rows, landmarks, size, read))
        images.flush()
        partial.rename(folder)
    except OSError:
        if not folder.is_dir():  # another process may have been first
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
