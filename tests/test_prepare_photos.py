"""`facesym prepare photos`, with datasets in local files."""

import io

import numpy as np
import pytest
from PIL import Image

from facesym.data.prepare import main
from facesym.errors import FacesymError

datasets = pytest.importorskip("datasets")
NAMES = ["ann", "bob"]


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    """The library's cache in a folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield


def encoded(kind, shade):
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (shade, 90, 90)).save(file, kind)
    return file.getvalue()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Five images of two people and a row without one, in a Parquet file."""
    pictures = [
        encoded("PNG", 10),
        encoded("JPEG", 20),
        encoded("PNG", 30),
        None,
        b"broken",
        encoded("WEBP", 40),
    ]
    features = datasets.Features(
        {
            "photo": datasets.Image(),
            "thumbnail": datasets.Image(),
            "who": datasets.ClassLabel(names=NAMES),
            "name": datasets.Value("string"),
        }
    )
    rows = {
        "photo": [data and {"bytes": data, "path": None} for data in pictures],
        "thumbnail": [{"bytes": encoded("PNG", 0), "path": None}] * 6,
        "who": [0, 1, 0, 0, 1, -1],
        "name": ["Ann O/1", "Bob", "Ann O/2", "Ann O/1", "Bob", None],
    }
    folder = tmp_path_factory.mktemp("dataset")
    datasets.Dataset.from_dict(rows, features=features).to_parquet(folder / "train.parquet")
    return folder


def prepare(*arguments):
    main(["photos", *map(str, arguments)])


def test_photos_are_written_as_they_are_stored(dataset, tmp_path, capsys):
    prepare(dataset, tmp_path, "--image", "photo", "--person", "who")
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert files == {"ann/0.png", "bob/1.jpg", "ann/2.png", "bob/4.jpg", "5.webp"}
    assert (tmp_path / "bob" / "1.jpg").read_bytes() == encoded("JPEG", 20)
    assert "exported 5 photos" in capsys.readouterr().out
    (tmp_path / "bob" / "1.jpg").write_bytes(b"kept")  # what is there is not written again
    (tmp_path / "ann" / "0.png").unlink()
    prepare(dataset, tmp_path, "--image", "photo", "--person", "who")
    assert (tmp_path / "bob" / "1.jpg").read_bytes() == b"kept" and (tmp_path / "ann" / "0.png").exists()


def test_different_people_have_different_folders(dataset, tmp_path):
    prepare(dataset, tmp_path, "--image", "photo", "--person", "name")
    found = sorted(path.name for path in tmp_path.iterdir())
    assert len(found) == 4 and {"5.webp", "Bob"} < set(found)  # the last one is unknown
    assert sum(name.startswith("Ann_O_") for name in found) == 2


def test_a_folder_of_images_is_a_dataset_too(tmp_path):
    for name in ("a", "b"):
        Image.fromarray(np.full((16, 16, 3), ord(name), np.uint8)).save(tmp_path / f"{name}.png")
    prepare(tmp_path, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "1.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "several columns of images: --image is one of photo, thumbnail"),
        (["--image", "who"], "the column who has no images"),
        (["--image", "photo", "--person", "nobody"], "no column nobody: --person is one of photo"),
        (["--split", "test"], "could not be loaded.*test"),
    ],
)
def test_wrong_names_are_clear_errors(dataset, tmp_path, arguments, message):
    with pytest.raises(FacesymError, match=message):
        prepare(dataset, tmp_path, *arguments)
    assert not list(tmp_path.iterdir())


def test_a_dataset_without_images_or_without_a_place_is_a_clear_error(tmp_path):
    datasets.Dataset.from_dict({"text": ["a"]}).to_parquet(tmp_path / "data" / "train.parquet")
    with pytest.raises(FacesymError, match="no column of images, only text"):
        prepare(tmp_path / "data", tmp_path / "out")
    with pytest.raises(FacesymError, match="could not be loaded"):
        prepare(tmp_path / "nowhere", tmp_path / "out")
