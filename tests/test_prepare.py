"""`facesym prepare`: photos in, a training folder out; on scikit-image's astronaut and on made images."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from skimage import data as skimage_data
from training import PATIENCE

from facesym.data import masks
from facesym.data import prepare_faces as prepare
from facesym.data.balance import kinds
from facesym.data.faces import FaceFolders
from facesym.data.lssl import AttributeSamples
from facesym.data.pairs import Pairs
from facesym.data.prepare import main
from facesym.errors import FacesymError
from facesym.faces import pose
from facesym.models.lssl import GROUPS

EXAMPLES = Path(__file__).resolve().parents[1] / "spaces" / "examples"
SETTINGS = {"size": 128, "landmarks": "dlib", "min_score": 0.7, "min_side": 64, "min_sharp": 5.0}


@pytest.fixture
def photos(tmp_path):
    """Two good photos of two people, and one photo for each common fault."""
    folder = tmp_path / "photos"
    (folder / "eileen").mkdir(parents=True)
    astronaut = Image.fromarray(skimage_data.astronaut())
    astronaut.save(folder / "eileen" / "space.png")
    mirrored = astronaut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    mirrored.save(folder / "someone.jpg", quality=95)
    Image.new("RGB", (200, 200), "grey").save(folder / "wall.png")
    astronaut.resize((100, 100)).save(folder / "tiny.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image")
    (folder / "notes.txt").write_text("not a photo")
    return folder


def read_rows(out):
    with open(out / "metadata.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_the_folder_has_the_format_of_a_training_set(photos, tmp_path):
    out = tmp_path / "out"
    report = prepare.prepare_faces(photos, out, SETTINGS, workers=1)
    rows, points = read_rows(out), np.load(out / "landmarks.npy")
    assert [row["file_name"] for row in rows] == ["eileen_space.webp", "someone.webp"]
    assert [row["subject"] for row in rows] == ["", ""]  # unknown
    assert points.shape == (2, 68, 2) and points.dtype == np.float32
    for row, face in zip(rows, points, strict=True):
        with Image.open(out / row["file_name"]) as crop:
            assert crop.size == (128, 128) and crop.format == "WEBP"
        assert 0.7 < float(row["det"]) <= 1 and abs(float(row["yaw"])) < 30 and float(row["sharp"]) > 5
        assert row["split"] in ("train", "val", "test")
        eyes, mouth = face[36:48].mean(0), face[48:68].mean(0)
        assert abs(eyes[0] - 64) < 16 and eyes[1] < mouth[1] - 16
    assert report["kept"] == 2 and report["photos"] == 5 and report["other_files_ignored"] == 1
    assert report["subjects"] is None and report["split_by"] == "image"
    # a mirrored face looks the other way
    assert float(rows[0]["yaw"]) == pytest.approx(-float(rows[1]["yaw"]), abs=6)


@pytest.fixture(scope="module")
def own_faces(tmp_path_factory):
    """A folder made by `facesym prepare faces` of two neutral photos and two smiling ones, for training."""
    root = tmp_path_factory.mktemp("own")
    photos, out = root / "photos", root / "faces"
    photos.mkdir()
    for name in ("grace-hopper", "astronaut"):
        with Image.open(EXAMPLES / f"{name}.jpg") as image:
            image.save(photos / f"{name}.png")
            image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(photos / f"{name}-mirrored.png")
    main(["faces", str(photos), str(out), "--size", "128", "--workers", "1", "--landmarks", "facesym"])
    table = re.sub(",(val|test),", ",train,", (out / "metadata.csv").read_text())
    (out / "metadata.csv").write_text(table)
    return out


def test_photos_get_scores_of_their_expressions(own_faces):
    rows = read_rows(own_faces)
    assert len(rows) == 4
    for row in rows:
        scores = {name: float(row[name]) for name in ("neutral", "happy", "surprised")}
        assert sum(scores.values()) == pytest.approx(1, abs=0.002)
        assert scores["happy" if "astronaut" in row["file_name"] else "neutral"] > 0.85


def test_a_profile_gets_no_scores():
    entry = {"row": ["a.webp", 0.9, 80.0, 0.0, 9.0, 9.0], "landmarks": np.zeros((68, 2)).tolist()}
    assert prepare._expression(entry) == ["", "", ""]


def test_pairs_are_made_from_ones_own_photos(own_faces, studio, mesh_file, tmp_path):
    out = tmp_path / "pairs"
    main(
        ["pairs", str(out), str(own_faces), "--mesh", str(mesh_file), "--expressions", str(studio), "--count", "3",
         "--size", "64", "--workers", "1"]
    )  # fmt: skip
    pairs = Pairs(out)
    made = [(row["kind"], row["target"].partition("faces-")[2]) for row in pairs.rows]
    assert sorted(kind for kind, _ in made) == ["expressive"] * 2 + ["simulated"] * 3
    assert all(("astronaut" in target) == (kind == "expressive") for kind, target in made)
    assert {row["expression"] for row in pairs.rows if row["kind"] == "expressive"} == {"smiling"}


def test_ones_own_photos_are_labelled_for_transfer(own_faces):
    faces = FaceFolders([own_faces], 64)
    found = kinds(faces)
    assert found["happy"].sum() == 2 and not found["sad"].any()
    samples, expressions = AttributeSamples(faces), GROUPS["expression"]
    for i, row in enumerate(faces.rows):
        sample = samples.sample(i, np.random.default_rng(i))
        name = "happy" if "astronaut" in row["file_name"] else "neutral"
        own = sample["own"][: len(expressions)].tolist()
        assert own == [float(each == name) for each in expressions]
        assert (sample["known"][: len(expressions)] == 1).all()


def test_every_dropped_photo_is_reported_with_its_reason(photos, tmp_path):
    prepare.prepare_faces(photos, tmp_path / "out", SETTINGS, workers=1)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    reasons = {photo["photo"]: photo["dropped"] for photo in report["dropped_photos"]}
    assert reasons == {"broken.jpg": "unreadable", "tiny.png": "too_small", "wall.png": "no_face"}
    assert report["dropped"] == {"unreadable": 1, "too_small": 1, "no_face": 1}


def test_blurred_faces_are_dropped(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    blurred = Image.fromarray(skimage_data.astronaut()).filter(ImageFilter.GaussianBlur(5))
    blurred.save(folder / "soft.png")
    report = prepare.prepare_faces(folder, tmp_path / "out", SETTINGS, workers=1)
    assert report["dropped"] == {"blurred": 1}


def test_a_stopped_run_goes_on_and_gives_the_same_tables(photos, tmp_path, monkeypatch):
    prepare.prepare_faces(photos, tmp_path / "whole", SETTINGS, workers=1)
    out = tmp_path / "out"
    work, calls = prepare.prepare_one, []

    def stops_at_the_third(task):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(task)
        return work(task)

    monkeypatch.setattr(prepare, "prepare_one", stops_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare_faces(photos, out, SETTINGS, workers=1)
    with open(out / prepare.JOURNAL, "a") as journal:
        journal.write('{"photo": "someone.jpg", "row": ["som')  # a line that a crash cut off

    journal = (out / prepare.JOURNAL).read_text()
    old = journal.replace('"someone.webp", ', '"someone.webp", "someone", "train", ')  # of an earlier version
    (out / prepare.JOURNAL).write_text(old.replace('_space.webp", ', '_space.webp", "eileen", "val", '))
    again = []
    monkeypatch.setattr(prepare, "prepare_one", lambda task: again.append(task) or work(task))
    prepare.prepare_faces(photos, out, SETTINGS, workers=1)
    assert len(again) == 4  # without the photo that was read
    for name in ("metadata.csv", "landmarks.npy"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_photo_that_could_not_be_read_is_tried_again(photos, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(prepare, "write_atomic", full)
        with pytest.raises(OSError, match="no space"):  # for the tables, too
            prepare.prepare_faces(photos, tmp_path / "out", SETTINGS, workers=1)
    report = prepare.prepare_faces(photos, tmp_path / "out", SETTINGS, workers=1)
    assert report["kept"] == 2 and "failed" not in report["dropped"]


def test_other_settings_do_not_mix_into_a_begun_folder(photos, tmp_path):
    prepare.prepare_faces(photos, tmp_path / "out", SETTINGS, workers=1)
    with pytest.raises(FacesymError, match="was started with --size 128; use the same"):
        prepare.prepare_faces(photos, tmp_path / "out", SETTINGS | {"size": 32}, workers=1)


def test_a_photo_removed_later_leaves_the_tables_and_the_folder(photos, tmp_path):
    out = tmp_path / "out"
    prepare.prepare_faces(photos, out, SETTINGS, workers=1)
    (photos / "someone.jpg").unlink()
    report = prepare.prepare_faces(photos, out, SETTINGS, workers=1)
    assert report["kept"] == 1 and len(np.load(out / "landmarks.npy")) == 1
    assert [p.name for p in out.glob("*.webp")] == ["eileen_space.webp"]


def test_empty_or_missing_folders_are_clear_errors(tmp_path):
    with pytest.raises(FacesymError, match="not a folder"):
        prepare.prepare_faces(tmp_path / "none", tmp_path / "out", SETTINGS, workers=1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FacesymError, match="has no photos"):
        prepare.prepare_faces(tmp_path / "empty", tmp_path / "out", SETTINGS, workers=1)


def test_the_command_with_two_processes(photos, tmp_path):
    command = [
        sys.executable,
        "-m",
        "facesym",
        "prepare",
        "faces",
        str(photos),
        str(tmp_path / "out"),
        "--size",
        "64",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert "kept 2 of 5 photos" in done.stdout and "no_face" in done.stdout
    assert "people unknown" in done.stdout and "split by image" in done.stdout
    assert len(read_rows(tmp_path / "out")) == 2


def test_two_photos_of_one_name_do_not_overwrite_each_other(tmp_path):
    (tmp_path / "a").mkdir()
    for path in ("a/b.jpg", "a_b.jpg", "a/b.png", "c.jpg"):
        (tmp_path / path).write_bytes(b"")
    named, _ = prepare.find_photos(tmp_path)
    assert len(named) == 4 and "c" in named


def test_photos_are_of_every_format_that_facesym_reads(tmp_path):
    names = ["a.HEIC", "b.avif", "c.jfif", "d.jp2", "e.jpg"]
    for name in [*names, "f.txt", ".g.jpg"]:
        (tmp_path / name).write_bytes(b"")
    named, others = prepare.find_photos(tmp_path)
    assert [path.name for path in named.values()] == names and others == 2


def test_splits_are_about_80_10_10_and_go_by_subject():
    splits = [prepare.split_of(f"person {i}") for i in range(2000)]
    assert splits == [prepare.split_of(f"person {i}") for i in range(2000)]
    assert abs(splits.count("train") - 1600) < 60
    assert abs(splits.count("val") - 200) < 50 and abs(splits.count("test") - 200) < 50


def test_head_pose_of_a_turned_model():
    model = np.zeros((68, 3))
    model[pose.POSE_LANDMARKS] = pose.POSE_POINTS
    for yaw, pitch in ((0, 0), (35, 0), (-20, 15), (10, -25)):
        y, p = np.radians([yaw, pitch])
        turn_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
        turn_x = np.array(
            [[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]]
        )  # nose goes down
        seen = (model @ (turn_y @ turn_x).T)[:, :2] * 40 + 64
        assert pose.head_pose(seen) == pytest.approx((yaw, pitch), abs=0.5)


def people_of(*folders):
    """Settle the people of so many images per folder: [(folder, count), …]; "" is the top of the folder of photos."""
    paths = [Path(folder, f"{i}.jpg") for folder, count in folders for i in range(count)]
    people, reason = prepare.settle_people(
        [("_".join(path.parts)[:-4] + ".webp", prepare.folder_of(path)) for path in paths]
    )
    return [subject for subject, _ in people], [split for _, split in people], reason


@pytest.mark.parametrize("folders", [1, 2, 3, 5, 19])
@pytest.mark.parametrize("loose", [0, 100])
def test_the_people_of_a_few_folders_are_unknown(folders, loose):
    subjects, splits, reason = people_of(("", loose), *((f"holiday {i}", 30) for i in range(folders)))
    assert set(subjects) == {""} and "sub-folders, fewer than 20" in reason
    assert set(splits) == {"train", "val", "test"} and splits.count("train") > 0.6 * len(splits)


@pytest.mark.parametrize("folders", [20, 30, 200])
def test_many_folders_are_people(folders):
    subjects, splits, reason = people_of(*((f"lfw/person {i}", 3) for i in range(folders)))
    assert not reason and len(set(subjects)) == folders and "" not in subjects
    assert all(len(set(splits[i : i + 3])) == 1 for i in range(0, len(splits), 3))
    assert set(splits) == {"train", "val", "test"} and splits.count("train") > splits.count("val")


@pytest.mark.parametrize(
    ("folder", "count", "words"),
    [("dataset/images", 100, "dataset/images has 56% of the photos"), ("", 2, r"not all .* \(2 are not\)")],
)
def test_people_are_unknown_if_photos_beside_their_folders_are_of_others(folder, count, words):
    subjects, splits, reason = people_of((folder, count), *((f"person {i}", 2) for i in range(40)))
    assert set(subjects) == {""} and re.search(words, reason)
    assert set(splits) == {"train", "val", "test"}


def test_loose_photos_are_split_by_image():
    subjects, splits, reason = people_of(("", 30))
    assert set(subjects) == {""} and reason == "no sub-folder has several photos"
    assert set(splits) == {"train", "val", "test"}


def test_folders_of_one_name_in_different_folders_are_different_people():
    folders = [f"person {i}/front" for i in range(20)]
    subjects, _, reason = people_of(*((folder, 2) for folder in folders))
    assert not reason and sorted(set(subjects)) == sorted(folders)


def test_no_split_is_empty_if_there_are_ten_people():
    for first in range(0, 300, 10):
        rows = [(f"{i}.webp", "") for i in range(first, first + 10)]
        assert {split for _, split in prepare.settle_people(rows)[0]} == {"train", "val", "test"}


def test_masks_of_all_sizes(tmp_path):
    masks.prepare_masks(tmp_path / "masks", 24, 64)
    hidden = masks.load_irregular(tmp_path / "masks", 64, ("train", "val", "test")).mean((1, 2))
    for low, (least, most) in enumerate(masks.MASK_SIZES):
        assert ((hidden[low::6] >= least) & (hidden[low::6] <= most + 0.02)).all()
    with pytest.raises(FacesymError, match="is not empty"):
        masks.prepare_masks(tmp_path / "masks", 24, 64)
