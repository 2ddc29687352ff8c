"""Faces of unknown people (no subject in metadata.csv): no image counts as a person, nor do they as one."""

import csv
import json
import shutil
from argparse import Namespace

import numpy as np
import pytest

from facesym import evaluation
from facesym.data import prepare_pairs
from facesym.data.expressions import Expressions
from facesym.data.metadata import hold_out
from facesym.data.simulate import FaceMesh
from facesym.errors import ImageError
from facesym.evaluation import asymmetry, identity, normalize
from facesym.evaluation.smiles import smile_pairs


def without_people(folder, out):
    """A copy of a folder of faces whose people are unknown."""
    shutil.copytree(folder, out)
    with open(out / "metadata.csv", newline="") as file:
        rows = [row | {"subject": ""} for row in csv.DictReader(file)]
    with open(out / "metadata.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return out


def held_out(rows):
    note = hold_out(rows, 0.3)
    return [row["split"] == "val" for row in rows], note


def test_images_of_unknown_people_are_held_out_by_image():
    rows = [{"file_name": f"{i}.webp", "subject": "", "split": "train"} for i in range(100)]
    held, note = held_out(rows)
    assert 15 < sum(held) < 45 and note.endswith("by image")
    known = [{"file_name": f"{i}.webp", "subject": f"person {i % 25}", "split": "train"} for i in range(50)]
    mixed, note = held_out(known + rows)
    assert mixed[50:] == held and mixed[:25] == mixed[25:50] and any(mixed[:25])
    assert note.endswith("by person or, if unknown, image")
    few, note = held_out(known[:19] + rows)
    assert few[19:] == held and note.endswith("by image")


@pytest.mark.parametrize("subjects", ["known", "unknown"])
def test_the_same_people_are_held_out_of_faces_and_of_pairs(subjects, tmp_path):
    """Of at least 20 people; also from a folder whose name has a hyphen, and with several pairs of one photo."""
    faces = [
        {
            "file_name": f"{i}.webp",
            "subject": f"person-{i // 2}" if subjects == "known" else "",
            "split": "train",
        }
        for i in range(100)
    ]
    pairs = []
    for kind in ("turned", "simulated"):
        for i, row in enumerate(faces):
            pairs.append(prepare_pairs.describe(i, kind, tmp_path / "my-photos", row, row))
    held, note = held_out(faces)
    assert 15 < sum(held) < 45
    assert note.endswith("by person" if subjects == "known" else "by image")
    assert held_out(pairs)[0] == 2 * held


def test_two_views_of_unknown_people_are_no_pair(studio, mesh_file, tmp_path):
    folder = without_people(studio, tmp_path / "london")
    kinds = [[task[1] for task in prepare_pairs._plan([each], 3, np.random.default_rng(0))]
             for each in (studio, folder)]  # fmt: skip
    assert "real" in kinds[0] and "real" not in kinds[1] and kinds[1].count("simulated") == 3
    with pytest.raises(ImageError, match="no frontal neutral and smiling images of the same people"):
        Expressions(folder, FaceMesh(mesh_file), 96)


def test_no_two_photos_are_of_one_unknown_person(studio_of_a_person, tmp_path, monkeypatch):
    london, lfw = studio_of_a_person
    unknown = without_people(london, tmp_path / "london")
    sets = [
        normalize.picture_sets(Namespace(london=folder, lfw=lfw, web=[], seed=0, n=1))
        for folder in (london, unknown)
    ]
    assert [list(each) for each in sets] == [
        ["London, front, neutral", "London, front, smiling", "LFW"],
        ["LFW"],
    ]
    monkeypatch.setattr("facesym.evaluation.smiles.SIZE", 128)
    assert len(smile_pairs([london])) == 1 and not smile_pairs([unknown])
    assert asymmetry.measure_persons([{"set": "a", "subject": ""}] * 4, 10) == {}
    rows = [{"set": name, "subject": "", "file_name": f"{i}.webp"} for name in "ab" for i in range(10)]
    monkeypatch.setattr(identity, "select_pictures", lambda *_: rows)
    with pytest.raises(ImageError, match="verification needs at least 10 pairs"):
        identity.run(Namespace(faces=[], seed=0, n=100))


def test_the_evaluation_of_completion_counts_no_unknown_people(sets, tmp_path, quick_descriptor, capsys):
    for folder in (sets / "small", without_people(sets / "small", tmp_path / "small")):
        command = [
            "complete",
            "--faces",
            folder,
            "--masks",
            sets / "masks",
            "--size",
            64,
            "-o",
            tmp_path / "out",
        ]
        evaluation.main([str(word) for word in command])
        settings = json.loads((tmp_path / "out" / "results.json").read_text())["settings"]
        known = folder == sets / "small"
        assert settings["people"] == (2 if known else None)
        assert (settings["different_people_within"] is not None) == known
        printed = capsys.readouterr().out
        assert f"2 images of {'2' if known else 'unknown'} people" in printed
        assert ("by chance" in printed) == known
