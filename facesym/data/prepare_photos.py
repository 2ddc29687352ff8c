"""Export the photos of a Hugging Face dataset into a folder for `facesym prepare faces` (`facesym prepare photos`)."""

import hashlib
import io
import re
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import FacesymError
from ..faces.load import READABLE
from ..files import write_atomic
from ..logging import progress_bar


def prepare_photos(
    dataset: str,
    out: str | Path,
    *,
    split: str = "train",
    image: str | None = None,
    person: str | None = None,
) -> int:
    """Write each image of a dataset into a folder, as it is stored. Existing files are kept, so that an interrupted
    run continues.

    Args:
        dataset: name of a dataset on the Hub (owner/name), or a local folder that ``datasets.load_dataset`` reads.
        out: folder to write: ``<row>.<ending>``, in a sub-folder for each person that ``person`` names.
        split: name of the split.
        image: column with the images; default: the only one.
        person: column with a name, number or label of the person in the image; the label -1 means unknown.

    Returns:
        The number of images exported, those of an earlier run included. Rows without an image are left out.

    Raises:
        FacesymError: the dataset or the split cannot be loaded, or a column does not exist or has no images.
    """
    import datasets

    try:
        rows = datasets.load_dataset(str(dataset), split=split)
    except Exception as error:  # the library raises many types
        raise FacesymError(
            f"the dataset {dataset} could not be loaded: check its name, the split and the connection ({error})"
        ) from error
    image = _image_column(rows.features, image, datasets.Image)
    if person is not None and person not in rows.features:
        raise FacesymError(
            f"the dataset has no column {person}: --person is one of {', '.join(rows.features)}"
        )
    label = getattr(rows.features.get(person), "int2str", str)
    rows = rows.cast_column(image, datasets.Image(decode=False))
    digits, count = len(str(len(rows))), 0
    for i, row in enumerate(progress_bar(rows, desc="photos", unit="photo")):
        stored = row[image]
        try:
            data = stored and (stored["bytes"] or Path(stored["path"]).read_bytes())
        except OSError as error:
            raise FacesymError(f"the image of row {i} is not in the dataset: {error}") from error
        if not data:
            continue
        known = person is not None and row[person] not in (None, -1)
        folder = Path(out) / _folder_name(label(row[person])) if known else Path(out)
        target = folder / f"{i:0{digits}}{_ending(stored['path'], data)}"
        if not target.exists():
            write_atomic(target, data, FacesymError)
        count += 1
    return count


def _image_column(features: Any, name: str | None, kind: type) -> str:
    """Return the name of the column with the images."""
    images = [column for column, feature in features.items() if isinstance(feature, kind)]
    if name is None and len(images) == 1:
        return images[0]
    if name in images:
        return str(name)
    if not images:
        raise FacesymError(f"the dataset has no column of images, only {', '.join(features)}")
    wrong = (
        "the dataset has several columns of images" if name is None else f"the column {name} has no images"
    )
    raise FacesymError(f"{wrong}: --image is one of {', '.join(images)}")


def _folder_name(text):
    """Return a folder name for a person: readable, and different for different people."""
    readable = re.sub(r"[^\w-]+", "_", text).strip("_")[:60]
    return readable if readable == text else f"{readable}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _ending(path, data):
    """Return the file name ending of an image's bytes: its own, or that of its format."""
    suffix = Path(path or "").suffix.lower()
    if suffix in READABLE:
        return suffix
    try:
        with Image.open(io.BytesIO(data)) as image:
            return f".{image.format}".lower().replace("jpeg", "jpg")
    except OSError:
        return ".jpg"  # `facesym prepare faces` reports it
