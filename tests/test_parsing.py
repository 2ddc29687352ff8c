"""The face parser: its labels, its measure."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from training import template

from facesym import ImageError
from facesym.data.people import backdrop, compose, cut_person
from facesym.models.parser import CLASSES
from train import parsing
from train.parsing import (
    ANY,
    BACKGROUND,
    CLOTHES,
    HAIR,
    SKIN,
    intersection_over_union,
    landmark_labels,
    load_labels,
    person_labels,
    set_loss,
)


def test_landmark_labels_name_the_features():
    points = template(128)
    labels = landmark_labels(points, 128)

    def at(k):
        (only,) = [name for i, name in enumerate(CLASSES) if labels[row(points[k].mean(0))] >> i & 1]
        return only

    def row(point):
        return tuple(np.round(point)[::-1].astype(int))

    assert at(slice(36, 42)) == at(slice(17, 22)) == "eyes and brows"
    assert at(slice(48, 60)) == "mouth" and at([30, 33]) == "nose" and at([2, 31]) == "skin"
    assert labels[2, 2] == ANY and not (labels == HAIR).any()
    assert labels[row(points[27] - [0, 20])] == SKIN | HAIR  # the forehead


def test_a_person_is_labelled_by_silhouette_and_colour():
    """Brown hair, a blue shirt and a sleeveless shoulder of a grey figure on a plain background."""
    points = 64 + 0.65 * (template(128) - 64)
    image = np.full((128, 128, 3), 230, np.uint8)
    image[100:, 20:108], image[20:110, 34:94], image[8:44, 30:98] = (
        (40, 60, 200),
        (180, 180, 180),
        (70, 40, 20),
    )
    person = np.dstack([image, 255 * (image != 230).any(2)]).astype(np.uint8)
    labels = person_labels(person, points)
    assert labels[14, 64] == HAIR and labels[124, 24] == CLOTHES and labels[60, 4] == BACKGROUND
    assert labels[100, 38] & SKIN and not labels[100, 38] & BACKGROUND


def test_the_loss_of_a_set_is_that_of_the_sum_of_its_probabilities():
    logits = torch.randn(1, 7, 1, 2)
    labels = torch.tensor([[[SKIN | HAIR, CLOTHES]]])
    p = logits.softmax(1)[0, :, 0]
    expected = -(torch.log(p[1, 0] + p[2, 0]) + torch.log(p[6, 1])) / 2
    assert torch.isclose(set_loss(logits, labels), expected)
    assert set_loss(logits, torch.full((1, 1, 2), 127)) < 1e-6


def test_people_are_cut_out_of_plain_backgrounds_only():
    points = 64 + 0.65 * (template(128) - 64)
    y, x = np.mgrid[:128, :128]
    head = np.hypot((x - 64) / 32, (y - 62) / 46) < 1
    plain = np.where(head[..., None], np.uint8([150, 110, 90]), np.uint8([60, 140, 200]))
    person = cut_person(plain, points)
    assert ((person[..., 3] > 128) == head)[:110].mean() > 0.97
    done = compose(person, np.zeros_like(plain))
    assert done[2, 2].max() == 0 and np.abs(done[70, 64].astype(int) - [150, 110, 90]).max() < 3
    rng = np.random.default_rng(0)
    busy = np.where(head[..., None], plain, rng.integers(0, 255, plain.shape, np.uint8))
    assert cut_person(busy, points) is None
    for _ in range(9):
        made = backdrop(rng, plain)
        assert made.shape == plain.shape and made.dtype == np.uint8


def test_intersection_over_union(labelled):
    pictures = load_labels(labelled, 64, ("test",))

    class Truth(torch.nn.Module):
        def forward(self, images):
            labels = torch.from_numpy(pictures[0][1].astype(np.int64))[None]
            return torch.nn.functional.one_hot(labels, len(CLASSES)).permute(0, 3, 1, 2).float()

    class Skin(torch.nn.Module):
        def forward(self, images):
            logits = torch.zeros(1, len(CLASSES), 64, 64)
            logits[:, 1] = 1
            return logits

    right = intersection_over_union(Truth(), pictures)
    assert right["background"] == right["skin"] == right["eyes and brows"] == 1
    share = (pictures[0][1] == 1).mean()
    assert intersection_over_union(Skin(), pictures)["skin"] == pytest.approx(share)


def test_label_maps_that_make_no_sense_are_refused(labelled, tmp_path):
    for file in labelled.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    Image.fromarray(np.full((64, 64), 9, np.uint8)).save(tmp_path / "3.label.png")
    with pytest.raises(ImageError, match="0 to 5"):
        load_labels(tmp_path, 64, ("test",))
    (tmp_path / "3.label.png").unlink()
    with pytest.raises(ImageError, match="cannot read"):
        load_labels(tmp_path, 64, ("test",))


def test_people_are_cut_out_once_and_only_as_many_as_asked(monkeypatch):
    cut = []
    monkeypatch.setattr(parsing, "cut_person", lambda image, points: cut.append(image) or np.zeros((8, 8, 4)))
    monkeypatch.setattr(parsing, "CACHED", 2)
    samples = parsing.ParsingSamples([], SimpleNamespace(images=range(9), landmarks=range(9)))
    for k in (1, 2, 1, 3, 3):
        samples._person(k)
    assert cut == [1, 2, 3]
    cut.clear()
    monkeypatch.setattr(parsing, "silhouette", lambda *_: np.ones((8, 8)))
    for name in ("compose", "backdrop"):
        monkeypatch.setattr(parsing, name, lambda *_: np.zeros((8, 8, 3), np.uint8))

    class Faces(list):
        images = landmarks = range(9)

    logits = torch.arange(2.0).view(1, 2, 1, 1).expand(1, 2, 8, 8)
    overlap = parsing.person_overlap(lambda x: logits, Faces(range(9)), count=2)
    assert overlap["people"] == len(cut) == 2
