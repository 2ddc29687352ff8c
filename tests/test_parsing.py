"""The face parser: its labels, its measure."""

import numpy as np
import pytest
import torch
from PIL import Image
from training import template

from facesym import ImageError
from facesym.models.parser import CLASSES
from train.parsing import UNKNOWN as UNLABELLED
from train.parsing import intersection_over_union, landmark_labels, load_labels


def test_landmark_labels_name_the_features():
    points = template(128)
    labels = landmark_labels(points, 128)

    def at(k):
        return CLASSES[labels[tuple(np.round(points[k].mean(0))[::-1].astype(int))]]

    assert at(slice(36, 42)) == at(slice(17, 22)) == "eyes and brows"
    assert at(slice(48, 60)) == "mouth" and at([30, 33]) == "nose" and at([2, 31]) == "skin"
    assert labels[2, 2] == UNLABELLED and CLASSES.index("hair") not in labels


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
