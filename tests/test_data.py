"""The stream of samples, masks, and what is never read."""

import io

import numpy as np
import pytest
from PIL import Image
from training import ROOT, draw_face, make_faces, make_pairs, template

from facesym import ImageError
from facesym.data import excluded, masks
from facesym.data.complete import CompletionSamples
from facesym.data.faces import FaceFolders, compress
from facesym.data.masks import random_mask
from facesym.data.metadata import find_folders, read_metadata, split_rows
from facesym.data.pairs import Pairs


def test_the_stream_depends_on_seed_and_number_alone(folders):
    faces = FaceFolders([folders[0]], 64)
    one, other, seeded = (CompletionSamples(faces, None, seed=seed) for seed in (0, 0, 1))
    ahead = one[11]["image"]
    for n in range(11):
        other[n]
    assert (other[11]["image"] == ahead).all()
    assert (seeded[11]["image"] != ahead).any()


def test_images_are_compressed_as_rgb():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64))
    errors = []
    for channel in range(3):
        image = np.full((64, 64, 3), 128, np.uint8)
        image[..., channel] = noise
        output = compress(np.random.default_rng(0), image, 60, 61)[..., channel]
        errors.append(np.abs(output.astype(int) - noise).mean())
    assert errors[1] < errors[0] < errors[2]  # as their weights in the luma


def test_eyewear_is_masked_only_over_bare_eyes(folders, monkeypatch):
    rng, points = np.random.default_rng(0), template(256)
    x, y = points[36:48].astype(int).T
    visible = np.array([masks.eyewear(rng, 256, points)[y, x].mean() for _ in range(40)])
    assert 0.25 < np.mean(visible < 0.1) < 0.75  # sunglasses cover the eyes
    assert 0.25 < np.mean(visible > 0.4) < 0.75  # frames do not

    stripes = np.tile(np.float32([0, 1]), (64, 32))
    monkeypatch.setattr(masks, "eyewear", lambda rng, size, points: stripes)
    faces, drawn = FaceFolders([folders[0]], 64), {}
    for bare in (True, False):
        samples = CompletionSamples(faces, None, np.full(len(faces), bare))
        drawn[bare] = [(samples[n]["mask"][0].numpy() == stripes).all() for n in range(40)]
    assert any(drawn[True]) and not any(drawn[False])


NAMES = sorted(line for line in excluded.LIST.read_text().splitlines() if "/" in line[1:] and line[0] != "#")


def test_masks_always_leave_something_known_and_something_missing():
    rng, points = np.random.default_rng(0), template(64)
    shares = [1 - random_mask(rng, 64, points, None).mean() for _ in range(200)]
    assert min(shares) > 0.01 and max(shares) < 0.65
    assert np.std(shares) > 0.05


def test_pictures_of_minors_are_never_read_by_name(tmp_path):
    its, name = NAMES[0].split("/")
    text = f"file_name,subject,split\n{name},1,train\ngrown-up.webp,2,train\n"
    for folder in (its, "another"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "metadata.csv").write_text(text)
    assert [row["index"] for row in read_metadata(tmp_path / its)] == [1]
    assert len(read_metadata(tmp_path / "another")) == 2  # a plain number is many sets' name


def test_names_that_are_a_sets_own_count_in_any_folder():
    name = next(name for name in NAMES if name.startswith("lfw/")).removeprefix("lfw/")
    stem = name.removesuffix(".webp")
    for folder, file in (
        ("lfw", name),
        ("faces", name),
        ("photos", f"{stem}.jpg"),
        ("out", f"a_folder_{name}"),
    ):
        assert excluded.is_excluded_name(folder, file)
    assert not excluded.is_excluded_name("lfw", f"{stem}1.webp")


@pytest.fixture
def listed(monkeypatch, tmp_path):
    """A list that holds the hash of a drawn image; and that image."""
    rng = np.random.default_rng(3)
    picture = draw_face(rng, template(128) + rng.normal(0, 2, (68, 2)), 128)
    (tmp_path / "list.txt").write_text(f"# a comment\nhash:{excluded.image_hash(picture)}\n")
    monkeypatch.setattr(excluded, "LIST", tmp_path / "list.txt")
    for cached in (excluded._listed, excluded._of_file):
        cached.cache_clear()
    yield picture
    monkeypatch.undo()
    for cached in (excluded._listed, excluded._of_file):
        cached.cache_clear()


def encoded(picture, kind, **options):
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return Image.open(data)


def test_a_picture_is_known_again_however_it_is_saved(listed):
    saved = [
        encoded(listed, "JPEG", quality=40),
        encoded(listed, "WEBP", quality=60),
        listed.resize((90, 90)),
    ]
    assert all(excluded.is_excluded_image(picture) for picture in saved)
    rng = np.random.default_rng(4)
    others = [draw_face(rng, template(128) + rng.normal(0, 2, (68, 2)), 128) for _ in range(20)]
    assert not any(excluded.is_excluded_image(picture) for picture in others)


def test_a_listed_content_is_read_nowhere(listed, tmp_path):
    """Neither as a face nor in a pair, under whatever name."""
    faces, pairs = make_faces(tmp_path / "faces"), make_pairs(tmp_path / "pairs")
    encoded(listed, "JPEG", quality=70).save(faces / "1.webp")
    listed.resize((64, 64)).save(pairs / "inputs" / "2.webp")
    listed.resize((64, 64)).save(pairs / "targets" / "5.webp")
    names = [row["file_name"] for row in FaceFolders([faces], 64).rows]
    assert names == [f"{i}.webp" for i in range(8) if i != 1]
    read = [row["input"] for row in Pairs(pairs).rows]
    assert read == [f"{i}.webp" for i in range(12) if i not in (2, 5)]


def test_pairs_of_listed_pictures_are_known_by_name(tmp_path):
    folder, name = NAMES[0].split("/")
    pairs = make_pairs(tmp_path / "pairs")
    written = (pairs / "pairs.csv").read_text()
    for target, photo in ((f"{folder}-{name}", "a.webp"), (f"{folder}-a.webp", name)):
        changed = written.replace("0.webp,0.webp,set,0.webp", f"0.webp,{target},{folder},{photo}", 1)
        (pairs / "pairs.csv").write_text(changed)
        assert "0.webp" not in [row["input"] for row in Pairs(pairs).rows]


def table(folder, rows):
    """A folder's metadata.csv of (name, subject, split)."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["file_name,subject,split", *(",".join(row) for row in rows)]
    (folder / "metadata.csv").write_text("\n".join(lines))
    return folder


def test_a_folder_its_parent_and_its_files_mean_the_same(tmp_path):
    one, other = (make_faces(tmp_path / name, count=2) for name in ("one", "other"))
    for given in ([one, other], [tmp_path], sorted(tmp_path.glob("*/*")), [one, tmp_path]):
        assert find_folders(given) == [one, other]
    for path, what in ((tmp_path / "none", "does not exist"), (ROOT / "docs", "has no metadata.csv")):
        with pytest.raises(ImageError, match=rf"{what}.*`facesym prepare`"):
            find_folders([path])


def test_pictures_are_held_out_where_the_folders_hold_out_none(tmp_path):
    """By person; by image where there are few people; at least one."""
    many = table(tmp_path / "many", [(f"{i}.webp", str(i % 100), "train") for i in range(400)])
    rows, note = split_rows([many], ("val",), fraction="auto")
    assert 4 <= len(rows) <= 40 and len(rows) % 4 == 0 and "by person" in note
    train, _ = split_rows([many], ("train",), fraction="auto")
    assert len(train) + len(rows) == 400
    assert not {row["subject"] for row in train} & {row["subject"] for row in rows}
    assert 140 < len(split_rows([many], ("val",), fraction=0.5)[0]) < 260
    assert split_rows([many], ("val",)) == ([], "")
    two = table(tmp_path / "two", [(f"{i}.webp", "ab"[i % 2], "train") for i in range(120)])
    rows, note = split_rows([two], ("val",), fraction="auto")
    assert 1 <= len(rows) <= 15
    assert note == f"no image is of the split val: {len(rows)} of 120 held out for validation, by image"
    three = table(tmp_path / "three", [(f"{i}.webp", "a", "train") for i in range(3)])
    assert len(split_rows([three], ("val",), fraction="auto")[0]) >= 1


def test_what_the_folders_hold_out_stays_so(folders):
    rows, note = split_rows([folders[0]], ("val",))
    assert [row["file_name"] for row in rows] == ["8.webp", "9.webp"] and not note
    rows, note = split_rows([folders[0]], ("test",), fraction=0.5)
    assert [row["file_name"] for row in rows] == ["10.webp", "11.webp"]


def test_pictures_are_decoded_once(folders, tmp_path, monkeypatch):
    faces = make_faces(tmp_path / "faces")
    plain = FaceFolders([faces], 32)
    first = FaceFolders([faces], 32, cache=tmp_path / "cache")
    monkeypatch.setattr("facesym.data.faces.read_face", lambda *_: pytest.fail("decoded again"))
    again = FaceFolders([faces], 32, cache=tmp_path / "cache")
    for found in (first, again):
        assert (found.images == plain.images).all() and (found.landmarks == plain.landmarks).all()
    again.images[0] = 0  # in this process alone
    assert (FaceFolders([faces], 32, cache=tmp_path / "cache").images == plain.images).all()
    Image.new("RGB", (64, 64), "red").save(faces / "0.webp")
    with pytest.raises(pytest.fail.Exception, match="decoded again"):
        FaceFolders([faces], 32, cache=tmp_path / "cache")
    assert [path.name[0] for path in (tmp_path / "cache").iterdir()] == ["8"]  # no half-written folder


@pytest.mark.parametrize("table", ["", "file_name,subject\na.png,\n"])
def test_a_table_without_its_columns_is_a_clear_error(table, tmp_path):
    (tmp_path / "metadata.csv").write_text(table)
    with pytest.raises(ImageError, match=r"metadata\.csv has no column .*split"):
        read_metadata(tmp_path)


def test_a_folder_without_its_landmarks_is_a_clear_error(tmp_path):
    faces = make_faces(tmp_path / "faces")
    (faces / "landmarks.npy").write_bytes(b"")
    with pytest.raises(ImageError, match=r"landmarks\.npy"):
        FaceFolders([faces], 32)
