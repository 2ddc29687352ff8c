"""Measures of normalized faces."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from facesym import ImageError, evaluation, metrics
from facesym.data.lssl import LOOKS
from facesym.evaluation import ckplus
from facesym.models import AttributeGenerator


@pytest.fixture
def model(saved):
    return saved("NormalizedFaceGAN")


def test_normalized_faces_are_measured(
    studio_of_a_person,
    mesh_file,
    model,
    alexnet,
    tmp_path,
    quick_descriptor,
    capsys,
    monkeypatch,
):
    monkeypatch.setattr(metrics, "lpips", lambda a, b, *_: np.zeros(len(a)))  # it wants the real backbone
    london, lfw = studio_of_a_person
    torch.manual_seed(0)
    real = AttributeGenerator(  # at first it gives back what it is given: the mesh's face
        widths=(8, 8, 16, 16, 16), blocks=1, groups=tuple(LOOKS.items()), side_channels=3, input_size=128
    )
    real.save_pretrained(tmp_path / "mode b")
    evaluation.main(
        ["normalize", "--london", str(london), "--lfw", str(lfw), "--mesh", str(mesh_file), "--alexnet", str(alexnet),
         "--models", str(model), "--realism", f"real={tmp_path / 'mode b'}", "--web", str(lfw), "-n", "2",
         "-o", str(tmp_path)]
    )  # fmt: skip
    results = json.loads((tmp_path / "results.json").read_text())
    front = {row["row"]: row for row in results["results"]["London, front, neutral"]}
    alone = f"{model.name}, network alone"
    assert set(front) == {"photo", "mesh and mirror", "mesh, mirror, landmarks", model.name, alone, "real"}
    assert front["real"]["lpips"] == 0 and abs(front["real"]["psnr"] - front["mesh and mirror"]["psnr"]) < 4
    assert front["photo"]["identity_distance"] == 0 and front["photo"]["sharpness"] == pytest.approx(1)
    assert front["photo"]["yaw"] < 15 and front[model.name]["psnr"] < 60
    assert "psnr" not in results["results"]["LFW"][0]
    groups = {row["row"]: row for row in results["results"]["groups"]}
    twice = groups[f"photo, set {lfw.name}"]  # LFW and --web
    assert twice == results["results"]["LFW"][0] | {
        "row": twice["row"],
        "n": 4,
    }
    assert results["results"][lfw.name] == results["results"]["LFW"]
    assert "| photo |" in capsys.readouterr().out


def test_the_folders_must_say_what_is_needed(folders, mesh_file, model, alexnet, tmp_path):
    with pytest.raises(ImageError, match="no column"):
        evaluation.main(
            ["normalize", "--london", str(folders[0]), "--lfw", str(folders[0]), "--mesh", str(mesh_file),
             "--alexnet", str(alexnet), "--models", str(model), "-o", str(tmp_path)]
        )  # fmt: skip


def test_expressions_are_recognised_with_and_without_normalized_faces(
    model,
    crop,
    tmp_path,
    capsys,
    monkeypatch,
):
    monkeypatch.setattr(ckplus, "FOLDS", 2)
    rows = ["file_name,subject,expression"]
    grey = np.asarray(crop.convert("L").crop((27, 38, 101, 112)).resize((48, 48)))
    (tmp_path / "faces").mkdir()
    for person in range(8):
        for expression, picture in (("happy", grey), ("angry", 255 - grey)):
            name = f"{person}-{expression}.png"
            Image.fromarray(picture).save(tmp_path / "faces" / name)
            rows.append(f"{name},{person},{expression}")
    (tmp_path / "faces" / "metadata.csv").write_text("\n".join(rows))
    trained, train = [], ckplus.train_classifier

    def spy(x, y, classes, steps, seed, weights=None):
        trained.append((x.shape[1:], len(x), classes, steps, weights))
        faces_alone = len(trained) <= ckplus.FOLDS  # the only classifiers whose accuracy is looked at
        return train(x, y, classes, steps if faces_alone else 1, seed, weights)

    monkeypatch.setattr(ckplus, "train_classifier", spy)
    evaluation.main(
        ["ckplus", "--ckplus", str(tmp_path / "faces"), "--models", str(model), "--seeds", "1", "--epochs", "8",
         "-o", str(tmp_path / "out")]
    )  # fmt: skip
    table = json.loads((tmp_path / "out" / "results.json").read_text())["results"]
    more = [f"{model.name}, one in eight", f"{model.name}, second channel"]
    assert [row["row"] for row in table] == ["faces alone", model.name, *more]
    alone, half, eighth, channel = trained[::2]
    assert alone[:3] == ((48, 48), 8, 2) and channel[:3] == ((2, 48, 48), 8, 2)
    assert half[:3] == eighth[:3] == ((48, 48), 16, 3) and len({row[3] for row in trained}) == 1
    for row, fraction in ((half, 0.5), (eighth, 0.125)):  # the normalized faces are the second half
        assert row[4][8:].sum() / row[4].sum() == pytest.approx(fraction)
    assert table[0]["accuracy"] > 0.8  # a face and its negative are easy to tell apart
    assert (tmp_path / "out" / f"{model.name}.png").exists() and "±" in capsys.readouterr().out
