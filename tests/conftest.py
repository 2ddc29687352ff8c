"""What several tests need: a photo that may be shown, and a small random completion model."""

import os

# `make test` runs two tests at a time (pytest-xdist): one thread each, also of what they start. Before torch is there.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import tempfile

# Nothing that a test decodes goes into the user's cache.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="facesym-cache-")

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image


@pytest.fixture(scope="session")
def astronaut():
    """Eileen Collins, NASA, public domain: a 512x512 RGB photo with one face."""
    from skimage import data

    return Image.fromarray(data.astronaut())


@pytest.fixture(scope="session")
def pair(astronaut):
    """Two faces side by side, the right one larger."""
    photo = Image.new("RGB", (812, 512))
    photo.paste(astronaut.resize((300, 300), Image.Resampling.LANCZOS), (0, 100))
    photo.paste(astronaut, (300, 0))
    return photo


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
    """A hole over the astronaut's eye on the image's left: 512x512 bool."""
    hole = np.zeros((512, 512), bool)
    hole[95:130, 190:225] = True
    return hole


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """A folder of twelve schematic faces and one of four masks, in the formats of `facesym prepare`."""
    from training import make_faces, make_masks

    root = tmp_path_factory.mktemp("data")
    return make_faces(root / "faces"), make_masks(root / "masks")


@pytest.fixture(scope="session")
def vgg16(tmp_path_factory):
    """A file of VGG16's random weights under torchvision's names, as far as they are used."""
    from train.backbone import LAYERS

    tensors, channels, place = {}, 3, 0
    for layer in LAYERS[:10]:
        if layer == "M":
            place += 1
            continue
        tensors[f"features.{place}.weight"] = torch.randn(layer, channels, 3, 3) * (2 / 9 / channels) ** 0.5
        tensors[f"features.{place}.bias"] = torch.zeros(layer)
        channels, place = layer, place + 2
    file = tmp_path_factory.mktemp("backbone") / "vgg16.safetensors"
    safetensors.torch.save_file(tensors, file)
    return file
