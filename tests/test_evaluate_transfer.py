"""`facesym evaluate transfer` and `augment`, on the astronaut and a tiny random network."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from facesym import evaluation, metrics
from facesym.data.attributes import relight
from facesym.evaluation import classifiers
from facesym.evaluation.augment import synthesize, tight, train_mixed
from facesym.evaluation.classifiers import AttributeClassifier
from facesym.evaluation.expressions import folds, predict, train_classifier
from facesym.evaluation.transfer import attribute_means, lpips_outside
from facesym.models.lssl import GROUPS


@pytest.fixture
def model(saved):
    return saved("AttributeGenerator")


def test_transferred_faces_are_measured(
    studio_of_a_person,
    mesh_file,
    model,
    alexnet,
    tmp_path,
    quick_descriptor,
    capsys,
    monkeypatch,
):
    def outside(a, b, *_):
        return np.abs(a.astype(float) - b).mean((1, 2, 3))

    monkeypatch.setattr(metrics, "lpips", outside)  # it wants the real backbone
    monkeypatch.setattr(classifiers, "SIDE", 32)  # quicker
    command = [
        "transfer", "--faces", *map(str, studio_of_a_person), "--mesh", str(mesh_file), "--alexnet", str(alexnet),
        "--models", f"tiny={model}", "-n", "2", "--grid", "1",
    ]  # fmt: skip
    evaluation.main([*command, "--classifier-steps", "2", "-o", str(tmp_path)])
    found = json.loads((tmp_path / "results.json").read_text())
    lines = {(line["row"], line["attribute"]): line for line in found["results"]["attributes"]}
    assert {name for name, _ in lines} == {"photo", "mesh", "tiny"} and ("mesh", "happy") not in lines
    # The faces are a frontal neutral and a frontal happy one: each is asked for what it has not.
    counts = {attribute: line["pictures"] for (name, attribute), line in lines.items() if name == "tiny"}
    assert counts["neutral"] == counts["happy"] == 1 and counts["surprised"] == counts["left 45"] == 2
    assert "frontal" not in counts and "normal" not in counts
    photo = lines["photo", "surprised"]
    assert photo["identity_distance"] == photo["lpips_outside"] == 0 and photo["sharpness"] == 1
    assert lines["tiny", "surprised"]["lpips_outside"] > 0
    for attribute, degrees in (("left 45", 45), ("right 20", 20)):
        assert lines["photo", attribute]["yaw_error"] == pytest.approx(degrees, abs=12)
    mean = next(
        line
        for line in found["results"]["attribute_groups"]
        if (line["row"], line["group"]) == ("tiny", "light")
    )
    each = [line for line in found["results"]["groups"] if line["group"] == "light"]
    both = [line["accuracy"] for line in each if line["row"].startswith("tiny, set")]
    assert len(both) == 2 and mean["accuracy"] == pytest.approx(np.mean(both))
    assert (tmp_path / "grid-tiny.png").exists() and "| pose: mesh |" in capsys.readouterr().out
    # The same classifier again gives the same numbers.
    evaluation.main(
        [*command, "--classifier", str(tmp_path / "classifier.pt"), "-o", str(tmp_path / "again")]
    )
    again = json.loads((tmp_path / "again" / "results.json").read_text())
    assert again["results"] == found["results"]


def test_the_classifier_learns_the_lights(studio_of_a_person, monkeypatch):
    monkeypatch.setattr(classifiers, "SIDE", 32)  # quicker
    folder, _ = studio_of_a_person
    classifier = AttributeClassifier().train([folder], steps=40, batch=16)
    with Image.open(folder / "test-neutral.webp") as picture:
        face = np.asarray(picture.convert("RGB"))
    rng = np.random.default_rng(1)
    names = [name for name in GROUPS["light"] for _ in range(4)]
    lit = np.stack([relight(rng, face, name).round().astype(np.uint8) for name in names])
    predicted = [GROUPS["light"][k] for k in classifier(lit, "light")]
    assert np.mean([a == b for a, b in zip(predicted, names)]) > 0.6


def test_only_what_is_outside_the_face_counts_there(monkeypatch, crop):
    monkeypatch.setattr(metrics, "lpips", lambda a, b, *_: (a != b).any(-1).mean((1, 2)))
    face = np.asarray(crop)[None]
    smile, background = face.copy(), face.copy()
    smile[:, 60:80, 50:80] += 9
    background[:, :10] += 9
    assert lpips_outside(smile, face, None) == 0
    assert lpips_outside(background, face, None) > 0.05


def test_a_group_s_row_is_the_mean_of_its_attributes():
    lines = [
        {"row": "a", "group": "light", "attribute": "dark", "pictures": 3, "accuracy": 0.5},
        {"row": "a", "group": "light", "attribute": "weak", "pictures": 1, "accuracy": 1.0},
    ]
    assert attribute_means(lines) == [{"row": "a", "group": "light", "accuracy": 0.75}]


def test_expressions_are_learned_from_synthetic_faces(studio_of_a_person, tmp_path, capsys, monkeypatch):
    """A stand-in for the model that gives each expression a stripe of its own width: what it teaches is predicted."""
    width = {"neutral": 12, "happy": 16, "surprised": 20}

    class Pipe:
        net = SimpleNamespace(config=SimpleNamespace(input_size=32))

        def run(self, crop, larger, ways):
            faces = np.zeros((len(ways), 32, 32, 3), np.uint8)
            for face, way in zip(faces, ways):
                face[:, : width[way["expression"]]] = 200
            return [Image.fromarray(face) for face in faces]

    monkeypatch.setattr("facesym.load", lambda name: Pipe())
    london, _ = studio_of_a_person
    evaluation.main(
        ["augment", "--faces", str(london), "--models", "stripes=transfer", "--real", "1", "--counts", "0", "2",
         "--seeds", "1", "--steps", "3", "-o", str(tmp_path)]
    )  # fmt: skip
    (table,) = json.loads((tmp_path / "results.json").read_text())["results"].values()
    assert [row["count"] for row in table] == [0, 2] and (tmp_path / "augment.png").exists()
    assert "| stripes |" in capsys.readouterr().out
    made = synthesize(Pipe(), np.zeros((5, 64, 64, 3), np.uint8), 3, "stripes")
    assert {name: faces.shape for name, faces in made.items()} == dict.fromkeys(width, (3, 48, 48))
    pictures, labels = np.concatenate(list(made.values())), np.repeat(np.arange(3), 3)
    net = train_classifier(pictures, labels, 3, 12, 0)
    assert (predict(net, pictures) == labels).mean() > 0.6


def test_real_faces_are_half_of_what_is_learned_from_however_many_are_synthetic(monkeypatch):
    drawn = []
    draw = torch.multinomial
    monkeypatch.setattr(
        torch, "multinomial", lambda *args, **kw: drawn.append(draw(*args, **kw)) or drawn[-1]
    )
    real, synthetic = np.zeros((5, 48, 48), np.uint8), np.zeros((200, 48, 48), np.uint8)
    labels = np.arange(205) % 2
    train_mixed([real, synthetic[:50], synthetic[50:]], [labels[:5], labels[5:55], labels[55:]], 2, 6, 0)
    share = (torch.cat(drawn) < 5).float().mean().item()
    assert len(drawn) == 6 and share == pytest.approx(0.5, abs=0.1)


def test_a_tight_face_is_the_middle_of_the_crop():
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[30:88, 21:79] = 255
    assert tight(picture).shape == (48, 48) and tight(picture).min() > 250


def test_no_person_is_in_two_folds():
    subjects = [f"person {k % 7}" for k in range(50)]
    found = folds(subjects, 3)
    assert set(found) == {0, 1, 2}
    assert all(len({f for f, s in zip(found, subjects) if s == person}) == 1 for person in set(subjects))
