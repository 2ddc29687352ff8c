"""What the five pipelines have in common: see mixins.py."""

from typing import ClassVar

import pytest
import torch
from mixins import PipelineTests

import facesym
from facesym.models import AttributeGenerator, NormalizedFaceGAN, SymmetricGenerator, SymmetrizerVAE


def saved(net, folder):
    net.save_pretrained(folder)
    return folder


class TestComplete(PipelineTests):
    masks = True

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, tiny_model):
        return tiny_model


class TestSymmetrize(PipelineTests):
    options: ClassVar = {"exact": False}  # by which half it is, a net of random weights decides on a hair

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, tmp_path_factory):
        torch.manual_seed(0)
        net = SymmetrizerVAE(widths=(8, 8, 16, 16), latent=4, fold=2, input_size=128)
        return saved(net, tmp_path_factory.mktemp("symmetrizer"))


class TestRotate(PipelineTests):
    options: ClassVar = {"yaw": 5, "steps": 1}
    batches = False

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, tmp_path_factory):
        torch.manual_seed(0)
        net = SymmetricGenerator(first=4, widths=(16, 8, 8), latent=16, asymmetric=4, yaw=True)
        return saved(net, tmp_path_factory.mktemp("generator"))


class TestNormalize(PipelineTests):
    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, tmp_path_factory):
        torch.manual_seed(0)
        net = NormalizedFaceGAN(encoder_widths=(8,) * 5, hidden=16, latent=8, decoder_widths=(8,) * 5)
        return saved(net, tmp_path_factory.mktemp("nfgan"))


class TestTransfer(PipelineTests):
    options: ClassVar = {"to": "happy"}

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, tmp_path_factory):
        torch.manual_seed(0)
        net = AttributeGenerator(widths=(8, 8, 16, 16, 16), blocks=1, input_size=64)
        return saved(net, tmp_path_factory.mktemp("transfer"))


def test_a_list_of_photos_needs_as_many_masks(tiny_model, astronaut, eye_hole):
    pipe = facesym.load(tiny_model)
    for masks in (eye_hole, [eye_hole], [eye_hole] * 3):
        with pytest.raises(facesym.ImageError, match="list of as many masks"):
            pipe([astronaut] * 2, masks)
