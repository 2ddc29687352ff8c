"""What several tests need: a photo that may be shown, and a small random completion model."""

import numpy as np
import pytest
import torch
from PIL import Image


@pytest.fixture(scope="session")
def astronaut():
    """Eileen Collins, NASA, public domain: a 512x512 RGB photo with one face."""
    from skimage import data

    return Image.fromarray(data.astronaut())


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """Folder of a random SymmFCNet of the smallest size."""
    from facesym.models import SymmFCNet

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny")
    SymmFCNet.preset("tiny", input_size=128).save_pretrained(folder)
    return folder


@pytest.fixture
def eye_hole():
    """A hole over the astronaut's eye on the picture's left: 512x512 bool."""
    hole = np.zeros((512, 512), bool)
    hole[95:130, 190:225] = True
    return hole
