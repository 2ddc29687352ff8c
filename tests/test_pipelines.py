"""What the five pipelines have in common: see mixins.py."""

import subprocess
import sys
from typing import ClassVar

import pytest
from mixins import PipelineTests
from PIL import Image

import facesym
from facesym.models.lssl import GROUPS


class TestComplete(PipelineTests):
    network = "SymmFCNet"
    masks = True
    choices = ([],)


class TestSymmetrize(PipelineTests):
    network = "SymmetrizerVAE"
    options: ClassVar = {"exact": False}  # by which half it is, a network of random weights decides on a hair
    arguments = ("--extras",)
    files: ClassVar = [
        f"extras/{name}.png"
        for name in ("average", "heatmap", "left", "mirrored", "model", "original", "right")
    ]
    choices = (False,)


class TestRotate(PipelineTests):
    network = "SymmetricGenerator"
    options: ClassVar = {"yaw": 5, "steps": 1}
    batches = False
    arguments = ("--yaw", 5, "--steps", 1)

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def short(cls):
        """What a turn is measured by takes longer than fitting a small network."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("facesym.pipelines.rotate.POSITIONS", 3)
            patch.setattr("facesym.fit.STARTS", 8)
            patch.setattr("rotate.BUDGET", 0.5)  # of the page
            yield


class TestNormalize(PipelineTests):
    network = "NormalizedFaceGAN"
    arguments = ("--walk", 3)
    files = ("walk.mp4",)


class TestTransfer(PipelineTests):
    network = "AttributeGenerator"
    options: ClassVar = {"to": "happy"}
    arguments = ("--to", "happy", "--light", "dark", "--grid")
    files: ClassVar = [f"grid/{name}.png" for names in GROUPS.values() for name in names]
    choices = (1, True, "happy")


def test_a_list_of_photos_needs_as_many_masks(tiny_model, astronaut, eye_hole):
    pipe = facesym.load(tiny_model)
    for masks in (eye_hole, [eye_hole], [eye_hole] * 3):
        with pytest.raises(facesym.ImageError, match="list of as many masks"):
            pipe([astronaut] * 2, masks)


def test_a_child_forked_after_use_works(tiny_model, astronaut, eye_hole, tmp_path):
    astronaut.save(tmp_path / "photo.png")
    Image.fromarray(eye_hole).save(tmp_path / "mask.png")
    code = """if True:
        import os, sys, torch, facesym
        torch.set_num_threads(2)
        pipe = facesym.load(sys.argv[1])
        pipe("photo.png", "mask.png")
        child = os.fork()
        if not child:
            pipe("photo.png", "mask.png")
            os._exit(0)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    subprocess.run([sys.executable, "-c", code, str(tiny_model)], cwd=tmp_path, check=True, timeout=120)


def test_pipelines_can_be_imported_by_name():
    from facesym.pipelines import CompletePipeline

    assert CompletePipeline.task == "complete" and "RotatePipeline" in dir(facesym.pipelines)
    with pytest.raises(AttributeError, match="NoPipeline"):
        facesym.pipelines.NoPipeline  # noqa: B018
